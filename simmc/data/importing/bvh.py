"""BVH files of motion capture: a skeleton, and rotations of its joints in every frame.

Positions follow by forward kinematics: a joint lies at its offset, turned by all joints above it.
Rotations are multiplied in the order of the channels, of any number and order. The unit is that of
the file; BVH does not say which.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from simmc.data.importing.recording import Body
from simmc.data.importing.tracks import check_positions
from simmc.errors import UserError, numbered

MOST_JOINTS = 1000
_POSITIONS = ("Xposition", "Yposition", "Zposition")
_ROTATIONS = ("Xrotation", "Yrotation", "Zrotation")
_CHANNELS = {name.lower(): name for name in (*_POSITIONS, *_ROTATIONS)}
# Most motion capture programs use these names. A name is that of the bone that begins at the joint,
# so that the arm begins at the shoulder, and the hand at the wrist.
_USUAL = {"Hips": "hip_center", "Spine": "spine", "Neck": "neck", "Head": "head"} | {
    f"{side}{theirs}": f"{side.lower()}_{ours}"
    for side in ("Left", "Right")
    for theirs, ours in (
        *(("UpLeg", "hip"), ("Leg", "knee"), ("Foot", "ankle"), ("ToeBase", "foot")),
        *(("Shoulder", "clavicle"), ("Arm", "shoulder"), ("ForeArm", "elbow"), ("Hand", "wrist")),
    )
}
_NEEDED = {"LeftUpLeg", "RightUpLeg", "LeftForeArm", "RightForeArm"}  # then the names are these


@dataclass
class _Joint:
    """A node of the skeleton, or the end of a bone."""

    name: str
    parent: int  # -1: a root
    offset: np.ndarray = field(default_factory=lambda: np.zeros(3))
    channels: tuple[str, ...] = ()
    first: int = 0  # place of its first channel in a line of motion


def read(path: str, data: bytes) -> list[Body]:
    """The recording of a BVH file; one for each root.

    Joints are those of the file, then the ends of bones as '<joint>_end'. Names that most motion
    capture programs use become those of docs/data.md 3.1, such as left_knee for LeftLeg.

    Raises:
        UserError: the file is damaged, or holds no motion.
    """
    text = data.decode("utf-8-sig", "replace")
    head, found, tail = text.partition("MOTION")
    if not found:
        raise UserError(f"{path}: there is no line MOTION, so the file is cut off; export it again")
    joints = _hierarchy(path, head)
    frames, seconds, values = _motion(path, tail, sum(len(joint.channels) for joint in joints))
    notes = [f"the unit is not in the file; bones are {_longest(joints):.3g} long at most"]
    places = _places(joints, values.reshape(frames, -1), notes)
    check_positions(places, path)
    times = np.arange(frames) * seconds if 0 < seconds < 1e6 else None
    if times is None:
        notes.append(f"a frame time of {seconds:g} is not valid: there are no times")
    names = _names(joints, notes)
    roots = [place for place, joint in enumerate(joints) if joint.parent < 0]
    bodies = []
    for number, start in enumerate(roots):
        part = slice(start, [*roots, len(joints)][number + 1])
        bones = tuple(
            (names[joint.parent], names[place])
            for place, joint in enumerate(joints)
            if start <= joint.parent and part.start <= place < part.stop
        )
        bodies.append(
            Body(
                name=path if number == 0 else f"{path}#{number + 1}",
                xyz=np.ascontiguousarray(places[:, part]),
                joints=tuple(names[part]),
                times=times,
                notes=tuple(notes) if number == 0 else (),
                bones=bones,
            )
        )
    return bodies


def _hierarchy(path: str, text: str) -> list[_Joint]:
    """The joints in order, each after its parent."""
    words = text.replace("{", " { ").replace("}", " } ").split()
    joints: list[_Joint] = []
    above: list[int] = []  # joints whose block is open
    opened = True  # whether the block of the last joint has begun
    at = width = 0

    def wrong(what: str) -> UserError:
        return UserError(
            f"{path}: {what} (word {at + 1} of the skeleton); the BVH file is not valid, export it "
            "again"
        )

    if not words or words[0].upper() != "HIERARCHY":
        raise UserError(f"{path}: does not begin with HIERARCHY; it is not a BVH file")
    at = 1
    while at < len(words):
        word = words[at].upper()
        if word in ("ROOT", "JOINT", "END"):
            end = at + 1
            while end < len(words) and words[end] not in "{}":
                end += 1
            if not opened or (word == "ROOT") == bool(above) or end == at + 1 or end - at > 20:
                raise wrong(f"{words[at][:20]} is not expected")
            if len(joints) == MOST_JOINTS:
                raise wrong(f"more than {MOST_JOINTS} joints")
            parent = above[-1] if above else -1
            name = " ".join(words[at + 1 : end])
            joints.append(_Joint(f"{joints[parent].name}_end" if word == "END" else name, parent))
            at, opened = end, False
        elif word == "{" and not opened:
            above.append(len(joints) - 1)
            at, opened = at + 1, True
        elif word == "}" and above and opened:
            above.pop()
            at += 1
        elif word == "OFFSET" and above and opened:
            numbers = _numbers(words[at + 1 : at + 4])
            if numbers is None or len(numbers) != 3:
                raise wrong("OFFSET needs three numbers")
            joints[above[-1]].offset = numbers
            at += 4
        elif word == "CHANNELS" and above and opened:
            joint = joints[above[-1]]
            given = words[at + 1 : at + 2]
            count = int(given[0]) if given and given[0] in map(str, range(1, 10)) else 0
            named = [_CHANNELS.get(name.lower(), "") for name in words[at + 2 : at + 2 + count]]
            if not count or len(named) != count or not all(named) or joint.channels:
                raise wrong(
                    "CHANNELS needs their number and as many of " + ", ".join(_CHANNELS.values())
                )
            joint.channels, joint.first = tuple(named), width
            width, at = width + count, at + 2 + count
        else:
            raise wrong(f"{words[at][:20]!r} is not expected")
    if above or not opened or not joints:
        raise wrong("the skeleton is not complete")
    return joints


def _motion(path: str, text: str, width: int) -> tuple[int, float, np.ndarray]:
    """Number of frames, seconds from frame to frame, and the numbers, (frames * width,)."""
    words = text.split(None, 5)
    if [word.lower() for word in (*words[:1], *words[2:4])] != ["frames:", "frame", "time:"]:
        raise UserError(
            f"{path}: 'Frames:' and 'Frame Time:' have to follow MOTION; export it again"
        )
    count, seconds = _numbers(words[1:2]), _numbers(words[4:5])
    values = _numbers(words[5].split() if len(words) > 5 else [])
    if count is None or seconds is None or not len(seconds) or count[0] != int(count[0]):
        raise UserError(f"{path}: frame number or frame time is not a number; correct it")
    if values is None:
        raise UserError(f"{path}: a number of the motion is not finite; export it again")
    if not len(values) or len(values) != count[0] * width:
        raise UserError(
            f"{path}: {numbered('{} frames', count[0])} of {numbered('{} channels', width)} have "
            f"{numbered('{} numbers', count[0] * width)}, and the file has {len(values):,}; it is "
            "cut off, or the number of frames is wrong"
        )
    return int(count[0]), float(seconds[0]), values


def _numbers(words: list[str]) -> np.ndarray | None:
    """Finite numbers, (n,) float64; None if a word is none."""
    try:
        values = np.array(words, dtype=np.float64) if "_" not in "".join(words) else None
    except ValueError:
        return None
    return values if values is not None and np.isfinite(values).all() else None


def _places(joints: list[_Joint], motion: np.ndarray, notes: list[str]) -> np.ndarray:
    """Positions of the joints, (frames, joints, 3), by forward kinematics.

    A position channel replaces that number of the offset, as most programs that write it mean.
    """
    places = np.empty((len(motion), len(joints), 3))
    turned: list[np.ndarray | None] = [None] * len(joints)  # rotations, for joints with children
    moved = []
    last_child = {joint.parent: place for place, joint in enumerate(joints)}
    for place, joint in enumerate(joints):
        local = np.repeat(joint.offset[None], len(motion), 0)
        turn = np.broadcast_to(np.eye(3), (len(motion), 3, 3))
        for number, channel in enumerate(joint.channels):
            values = motion[:, joint.first + number]
            if channel in _POSITIONS:
                local[:, _POSITIONS.index(channel)] = values
            else:
                turn = (
                    turn
                    @ Rotation.from_euler(channel[0], values[:, None], degrees=True).as_matrix()
                )
        if joint.parent >= 0 or joint.offset.any():
            moved += [joint.name] if any(one in _POSITIONS for one in joint.channels) else []
        if joint.parent < 0:
            places[:, place], turned[place] = local, turn
            continue
        above = turned[joint.parent]
        assert above is not None
        places[:, place] = places[:, joint.parent] + (above @ local[..., None])[..., 0]
        turned[place] = above @ turn if place in last_child else None
        if last_child[joint.parent] == place:
            turned[joint.parent] = None  # memory: only open branches are kept
    if moved:
        notes.append(
            numbered("{} [joint has|joints have] position channels, ", len(moved))
            + f"which replace the offset ({', '.join(moved[:3])})"
        )
    return places


def _longest(joints: list[_Joint]) -> float:
    return max(float(np.abs(joint.offset).max()) for joint in joints)


def _names(joints: list[_Joint], notes: list[str]) -> list[str]:
    """A name for each joint, no two alike; the project's where the file has the usual ones."""
    plain = [joint.name.rpartition(":")[2] for joint in joints]  # 'mixamorig:Hips'
    usual = set(plain) >= _NEEDED
    if usual:
        notes.append("joints have the project's names: LeftUpLeg is left_hip, LeftHand left_wrist")
    found: dict[str, int] = {}
    names, doubled = [], 0
    for joint, short in zip(joints, plain, strict=True):
        name = _USUAL.get(short, short) if usual else joint.name
        found[name] = found.get(name, 0) + 1
        if found[name] > 1:
            doubled += 1
            name = f"{name}_{found[name]}"
            found[name] = found.get(name, 0) + 1
        names.append(name)
    if len(set(names)) < len(names):
        names = [f"{place}_{name}" for place, name in enumerate(names)]
    if doubled:
        notes.append(
            numbered("{} [joint has|joints have] a name twice; a number was added", doubled)
        )
    return names
