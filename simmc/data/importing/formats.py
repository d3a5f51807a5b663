"""The formats that `simmc import` reads besides tables and arrays: the only list of them."""

from __future__ import annotations

from simmc.data.importing import bvh, c3d, kinect, ntu, pose_json
from simmc.data.importing.recording import Format

_JSON = (".json", ".jsonl")
FORMATS: tuple[Format, ...] = (
    Format("BVH", (".bvh",), bvh.read),
    Format("C3D", (".c3d",), c3d.read),
    Format("NTU RGB+D", (".skeleton",), ntu.read),
    Format(
        "Azure Kinect",
        _JSON,
        kinect.read_azure_kinect,
        (b'"joint_positions"', b'"bone_list"', b'"k4abt_'),
    ),
    Format(
        "Kinect v2",
        _JSON,
        kinect.read_kinect_v2,
        (b'"spinebase"', b'"jointtype"', b'"camerax"'),
    ),
    Format(
        "OpenPose",
        (".json",),
        pose_json.read_openpose,
        (b'"pose_keypoints', b'"people"'),
        pose_json.frame_of,
        pose_json.join_openpose,
    ),
    Format("MediaPipe Pose", _JSON, pose_json.read_mediapipe, (b'landmarks"',)),
    Format("COCO keypoints", _JSON, pose_json.read_keypoints, (b'"keypoints"', b'"instance_info"')),
)


def format_of(path: str, head: bytes) -> Format | None:
    """The format of a file by its name's ending and its first bytes; None if it is none of them.

    JSON is recognised by its keys, so that `head` should be long: the first 64 kB or more.
    """
    name, low = path.lower(), head.lower()
    for form in FORMATS:
        if name.endswith(form.suffixes) and (
            not form.marks or any(mark in low for mark in form.marks)
        ):
            return form
    return None
