"""The formats that `simmc import` reads besides tables and arrays: the only list of them."""

from __future__ import annotations

from simmc.data.importing import bvh, c3d, kinect, ntu, pose_json
from simmc.data.importing.recording import Format


def _any(head: bytes) -> bool:
    """The ending of the name says enough; the reader says what is wrong with the content."""
    return True


_JSON = (".json", ".jsonl")
FORMATS: tuple[Format, ...] = (
    Format("BVH", (".bvh",), _any, bvh.read),
    Format("C3D", (".c3d",), _any, c3d.read),
    Format("NTU RGB+D", (".skeleton",), _any, ntu.read),
    Format("Azure Kinect", _JSON, kinect.is_azure_kinect, kinect.read_azure_kinect),
    Format("Kinect v2", _JSON, kinect.is_kinect_v2, kinect.read_kinect_v2),
    Format(
        "OpenPose",
        (".json",),
        pose_json.is_openpose,
        pose_json.read_openpose,
        pose_json.frame_of,
        pose_json.join_openpose,
    ),
    Format("MediaPipe Pose", _JSON, pose_json.is_mediapipe, pose_json.read_mediapipe),
    Format("COCO keypoints", _JSON, pose_json.is_keypoints, pose_json.read_keypoints),
)


def format_of(path: str, head: bytes) -> Format | None:
    """The format of a file by its name's ending and its first bytes; None if it is none of them.

    JSON is recognised by its keys, so that `head` should be long: the first 64 kB or more.
    """
    name = path.lower()
    for form in FORMATS:
        if name.endswith(form.suffixes) and form.matches(head):
            return form
    return None
