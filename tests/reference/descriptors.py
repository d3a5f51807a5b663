"""The descriptors of one frame as the literature lists them: by Kinect joint number, in loops."""

from __future__ import annotations

import math

# number of the 14 joints of D_PG among 20 or 25 Kinect joints, and the tree's bones among the 14
POSE_GAIT = (3, 2, 8, 9, 10, 4, 5, 6, 16, 17, 18, 12, 13, 14)
BONES = "0-1 1-2 2-3 3-4 1-5 5-6 6-7 1-8 8-9 9-10 1-11 11-12 12-13"
D16 = "3-2 1-2 1-0 8-2 8-9 9-10 2-4 4-5 5-6 16-0 16-17 17-19 12-0 12-13 13-15"
# CASIA-B: Kinect number -> joints whose mean stands for it (hip centre 8, 11; torso below)
CASIA = {
    **{3: (0,), 2: (1,), 4: (5,), 5: (6,), 6: (7,), 8: (2,), 9: (3,), 10: (4,)},
    **{12: (11,), 13: (12,), 15: (13,), 16: (8,), 17: (9,), 19: (10,), 0: (8, 11)},
}


def distance(a, b):
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def mean(points):
    return [sum(values) / len(points) for values in zip(*points, strict=True)]


def pairs(text):
    return [tuple(map(int, pair.split("-"))) for pair in text.split()]


def d13(p):
    """13 features of a frame; `p[number]` is a joint."""
    feet = (p[15][1] + p[19][1]) / 2
    torso = distance(p[2], p[1])
    right_leg, left_leg = distance(p[16], p[17]), distance(p[13], p[12])
    return [
        p[3][1] - feet,
        p[2][1] - feet,
        distance(p[4], p[2]),
        distance(p[8], p[2]),
        distance(p[1], p[8]),
        distance(p[8], p[10]),
        distance(p[4], p[6]),
        right_leg,
        left_leg,
        torso,
        distance(p[16], p[12]),
        torso / max(right_leg, 0.1),
        torso / max(left_leg, 0.1),
    ]


def d16(p):
    """16 features of a frame."""
    feet = (p[15][1] + p[19][1]) / 2
    return [*(distance(p[a], p[b]) for a, b in pairs(D16)), p[3][1] - feet]


def pose_gait(frames):
    """81 features of every frame of a window."""
    poses = []
    for p in frames:
        middle = mean([p[16], p[12]])
        size = max(distance(p[2], middle), 1e-3)
        poses.append([[(x - n) / size for x, n in zip(p[j], p[2], strict=True)] for j in POSE_GAIT])
    rows = []
    for t, pose in enumerate(poses):
        bones = [[x - y for x, y in zip(pose[a], pose[b], strict=True)] for a, b in pairs(BONES)]
        row = [x for joint in pose for x in joint]
        row += [math.atan2(math.sqrt(x * x + z * z), y) for x, y, z in bones]
        row += [math.sqrt(x * x + y * y + z * z) for x, y, z in bones]
        after = poses[t + 1] if t + 1 < len(poses) else pose
        row += [distance(after[j], pose[j]) for j in range(14) if j != 1]
        rows.append(row)
    return rows


def as_kinect(frame):
    """A CASIA-B frame by the Kinect numbers that D13 and D16 ask for."""
    p = {number: mean([frame[j] for j in joints]) for number, joints in CASIA.items()}
    p[1] = mean([p[2], p[0]])
    return p
