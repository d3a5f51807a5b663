"""A small file of every format of recordings, as their programs write them."""

import json
import struct

import numpy as np

from simmc.data.importing.kinect import _SDK

BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 1 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Chest
  {
    OFFSET 0 5.5 0.5
    CHANNELS 3 Yrotation Zrotation Xrotation
    End Site
    {
      OFFSET 0 4 0
    }
  }
  JOINT Leg
  {
    OFFSET 1.5 -1 0
    CHANNELS 4 Xrotation Yposition Yrotation Zrotation
    JOINT Toe
    {
      OFFSET 0 -7 0
      CHANNELS 1 Yrotation
      End Site
      {
        OFFSET 0 -1 2
      }
    }
  }
}
MOTION
Frames: 3
Frame Time: 0.04
"""
CHANNELS = 14
AZURE_NAMES = ["PELVIS", "SPINE_NAVEL", "SPINE_CHEST"]  # of 32: their order is fixed


def walk(frames: int, joints: int, seed: int = 0) -> np.ndarray:
    """A body (F, J, 3) that moves a little from frame to frame, rounded as files are."""
    rng = np.random.default_rng(seed)
    body = rng.uniform(-0.9, 0.9, size=(joints, 3)) + np.array([0, 0, 3])
    steps = rng.normal(scale=0.01, size=(frames, joints, 3)).cumsum(0)
    return np.round(body + steps + np.arange(frames)[:, None, None] * (0.03, 0, 0), 4)


def bvh(motion: np.ndarray | None = None) -> bytes:
    """Three frames; the channels have every kind of order."""
    if motion is None:
        motion = np.random.default_rng(0).uniform(-90, 90, size=(3, CHANNELS)).round(3)
    return (BVH + "\n".join(" ".join(map(str, line)) for line in motion.tolist())).encode()


def c3d(xyz: np.ndarray, names: list[str], processor: int = 84, scale: float = -1.0) -> bytes:
    """Markers (F, J, 3) in millimetres; NaN: not seen. A scale above 0 gives integers."""
    order = ">" if processor == 86 else "<"

    def floats(*values: float) -> bytes:
        made = np.array(values, f"{order}f4" if processor != 85 else "<f4")
        if processor != 85:
            return made.tobytes()
        return (made * 4).view("<u2").reshape(-1, 2)[:, ::-1].tobytes()

    def words(*values: int) -> bytes:
        return struct.pack(f"{order}{len(values)}H", *(value & 0xFFFF for value in values))

    def parameter(name: str, kind: int, shape: tuple[int, ...], data: bytes) -> bytes:
        rest = bytes([kind & 0xFF, len(shape), *shape]) + data + b"\0"
        return bytes([len(name), 1]) + name.encode() + words(len(rest) + 2) + rest

    width = max(map(len, names))
    labels = "".join(name.ljust(width) for name in names).encode()
    parameters = b"\x01\x50\x01" + bytes([processor])
    parameters += bytes([5, 0xFF]) + b"POINT" + words(3) + b"\0"
    parameters += parameter("LABELS", -1, (width, len(names)), labels)
    parameters += parameter("UNITS", -1, (2,), b"mm")
    parameters += parameter("RATE", 4, (), floats(50.0))
    parameters += parameter("Y_SCREEN", -1, (2,), b"+Z") + b"\0\0"
    points = np.concatenate([np.nan_to_num(xyz), np.zeros((*xyz.shape[:2], 1))], 2)
    points[..., 3] = np.where(np.isnan(xyz).any(2), -1, 0)
    if scale > 0:
        points[..., :3] /= scale
        data = np.round(points).astype(f"{order}i2").tobytes()
    else:
        data = floats(*points.ravel().tolist())
    header = b"\x02\x50" + words(xyz.shape[1], 0, 1, len(xyz), 0) + floats(scale)
    header += words(3, 0) + floats(50.0)
    return header.ljust(512, b"\0") + parameters.ljust(512, b"\0") + data


def ntu(bodies: dict[str, np.ndarray], absent: dict[str, set[int]] | None = None) -> bytes:
    """Bodies (F, 25, 3) by id; NaN: not tracked. `absent`: frames that a body is not in."""
    frames = len(next(iter(bodies.values())))
    lines = [str(frames)]
    for frame in range(frames):
        seen = [key for key in bodies if frame not in (absent or {}).get(key, ())]
        lines.append(str(len(seen)))
        for key in seen:
            lines += [f"{key} 0 1 1 1 1 0 0.01 -0.2 2", "25"]
            for point in bodies[key][frame]:
                state = 0 if np.isnan(point).any() else 2
                x, y, z = np.nan_to_num(point).tolist()
                lines.append(f"{x} {y} {z} 250.1 200.2 1000.5 500.5 0.1 0.2 0.3 0.9 {state}")
    return "\r\n".join(lines).encode() + b"\r\n"


def azure(bodies: dict[int, np.ndarray]) -> bytes:
    """Bodies (F, 32, 3) by id, metres."""
    frames = [
        {
            "bodies": [
                {
                    "body_id": key,
                    "joint_orientations": [[1.0, 0.0, 0.0, 0.0]] * 32,
                    "joint_positions": (xyz[place] * 1000).tolist(),
                }
                for key, xyz in bodies.items()
            ],
            "frame_id": place,
            "num_bodies": len(bodies),
            "timestamp_usec": 33_333 * place + 100,
        }
        for place in range(len(next(iter(bodies.values()))))
    ]
    content = {"bone_list": [["SPINE_CHEST", "SPINE_NAVEL"]], "frames": frames}
    return json.dumps(
        {**content, "joint_names": AZURE_NAMES, "k4abt_sdk_version": "1.1.2"}
    ).encode()


def kinect_v2(xyz: np.ndarray) -> bytes:
    """A body (F, 25, 3) as the objects of the sensor's programs; NaN: not tracked."""
    lines = []
    for place, frame in enumerate(xyz):
        joints = {
            name: {
                "JointType": number,
                "Position": dict(zip("XYZ", np.nan_to_num(frame[number]).tolist(), strict=True)),
                "TrackingState": 0 if np.isnan(frame[number]).any() else 2,
            }
            for number, name in enumerate(_SDK)
        }
        body = {"IsTracked": True, "TrackingId": 72057594037927936, "Joints": joints}
        time = f"00:00:{place / 30:010.7f}"
        lines.append(json.dumps({"RelativeTime": time, "Bodies": [body, {"IsTracked": False}]}))
    return "\n".join(lines).encode()


def kinect_v2_list(xyz: np.ndarray) -> bytes:
    """The same as lists of joints in the sensor's order, as programs for the web write it."""
    frames = [
        {
            "timestamp_ms": 33 * place,
            "bodies": [
                {
                    "trackingId": "7",
                    "tracked": True,
                    "joints": [
                        {"cameraX": x, "cameraY": y, "cameraZ": z, "depthX": 0.5}
                        for x, y, z in frame.tolist()
                    ],
                }
            ],
        }
        for place, frame in enumerate(xyz)
    ]
    return json.dumps(frames).encode()


def openpose(bodies: list[np.ndarray]) -> bytes:
    """One frame; bodies (J, 3) of x, y, confidence."""
    people = [
        {
            "person_id": [-1],
            "pose_keypoints_2d": body.ravel().tolist(),
            "face_keypoints_2d": [],
            "pose_keypoints_3d": [],
        }
        for body in bodies
    ]
    return json.dumps({"version": 1.3, "people": people}).encode()


def alphapose(frames: list[dict[int, np.ndarray]], idx: bool = True) -> bytes:
    """Frames of bodies (J, 3) of x, y, confidence by their numbers."""
    return json.dumps(
        [
            {
                "image_id": f"{place + 8}.jpg",
                "category_id": 1,
                "keypoints": body.ravel().tolist(),
                "score": 2.5,
                **({"idx": key} if idx else {}),
            }
            for place, bodies in enumerate(frames)
            for key, body in bodies.items()
        ]
    ).encode()


def mmpose(xyz: np.ndarray, names: list[str]) -> bytes:
    """A body (F, J, 2 or 3) with its scores."""
    info = [
        {
            "frame_id": place + 1,
            "instances": [{"keypoints": frame.tolist(), "keypoint_scores": [0.9] * len(frame)}],
        }
        for place, frame in enumerate(xyz)
    ]
    meta = {"keypoint_id2name": {str(place): name for place, name in enumerate(names)}}
    return json.dumps({"meta_info": meta, "instance_info": info}).encode()


def mediapipe(xyz: np.ndarray, world: bool = True, visible: np.ndarray | None = None) -> bytes:
    """A body (F, 33, 3); `visible` (F, 33)."""
    seen = np.ones(xyz.shape[:2]) if visible is None else visible
    frames = []
    for place, frame in enumerate(xyz):
        points = [
            {"x": x, "y": y, "z": z, "visibility": visibility}
            for (x, y, z), visibility in zip(frame.tolist(), seen[place].tolist(), strict=True)
        ]
        image = [dict(point, x=0.5) for point in points] if world else points
        world_points = {"poseWorldLandmarks": points} if world else {}
        frames.append({"timestamp_ms": 40 * place, "poseLandmarks": image, **world_points})
    return json.dumps({"frames": frames}).encode()
