"""The formats that `simmc import` reads: the only list of them, and which one a file has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from simmc.data.importing import bvh, c3d, kinect, ntu, pose_json
from simmc.data.importing.description import Description
from simmc.data.importing.nested import read_json, read_npy, read_npz, read_text_or_json
from simmc.data.importing.recording import Body
from simmc.data.importing.tabular import read_parquet, read_text
from simmc.errors import UserError

_HEAD = 2**16  # bytes by which a format is recognised: JSON by its keys


@dataclass(frozen=True)
class Format:
    """A format of the field: how its files are recognised and read."""

    name: str
    suffixes: tuple[str, ...]  # lower case, with the dot
    read: Callable[[str, bytes], list[Body]]  # path in the source, content; UserError if invalid
    # Small letters of which the beginning holds some; none: the ending of the name says enough, and
    # the reader says what is wrong with the content.
    marks: tuple[bytes, ...] = ()
    # Only for formats with a file for each frame: the recording of a path and the frame's number,
    # and how the frames of one recording (number, path and content, in order) become bodies.
    frame_of: Callable[[str], tuple[str, int]] | None = None
    join: Callable[[str, Sequence[tuple[int, str, bytes]]], list[Body]] | None = None


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
# readers of general files, by ending
GENERAL: Mapping[str, Callable[[str, bytes, Description], list[Body]]] = {
    ".csv": read_text,
    ".tsv": read_text,
    ".tab": read_text,
    ".txt": read_text_or_json,
    ".parquet": read_parquet,
    ".npy": read_npy,
    ".npz": read_npz,
    ".json": read_json,
    ".jsonl": read_json,
    ".ndjson": read_json,
}


ENDINGS = tuple(dict.fromkeys([*GENERAL, *(s for form in FORMATS for s in form.suffixes)]))


def format_of(path: str, data: bytes) -> Format | None:
    """The format of a file by its name's ending and its first bytes; None if it is general."""
    name, head = path.lower(), data[:_HEAD].lower()
    for form in FORMATS:
        marked = not form.marks or any(mark in head for mark in form.marks)
        if name.endswith(form.suffixes) and marked:
            return form
    return None


def is_known(path: str) -> bool:
    """Whether there may be a reader for a file, by its ending."""
    return path.lower().endswith(ENDINGS)


def read_bodies(path: str, data: bytes, told: Description) -> list[Body]:
    """The bodies of a file of any known format; UserError if it cannot be read."""
    found = format_of(path, data)
    if found is not None:
        return found.read(path, data)
    reader = GENERAL.get(PurePosixPath(path.lower()).suffix)
    if reader is None:
        raise UserError(f"{path}: no reader for this ending; known are {', '.join(ENDINGS)}")
    return reader(path, data, told)
