"""JSON of pose estimators: OpenPose, COCO-like keypoints (AlphaPose, MMPose), MediaPipe Pose.

2D positions are those of the image, y down, with z = 0. A joint of confidence 0 was not seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from simmc.data import skeletons
from simmc.data.importing.json_frames import (
    array,
    frames_of,
    key_of,
    keyed,
    listed,
    parse,
    times_of,
)
from simmc.data.importing.recording import Body
from simmc.data.importing.tracks import LONGEST_GAP, by_id, by_position, to_bodies
from simmc.data.skeletons import MIDDLES, Skeleton
from simmc.errors import UserError, numbered


@dataclass(frozen=True)
class _Layout:
    """What the keypoints of a file are."""

    skeleton: Skeleton  # its first joints are those of the file, the others are computed
    kept: int  # keypoints that are joints; the others are of face and hands


_LAYOUTS = {
    17: _Layout(skeletons.COCO_17, 17),
    18: _Layout(skeletons.OPENPOSE_18, 18),
    25: _Layout(skeletons.BODY_25, 25),
    26: _Layout(skeletons.HALPE_26, 26),
    33: _Layout(skeletons.MEDIAPIPE_33, 33),
    133: _Layout(skeletons.COCO_FEET, 23),  # COCO whole body
    136: _Layout(skeletons.HALPE_26, 26),  # Halpe full body
}
_LIFTED = _Layout(skeletons.HUMAN_17, 17)
_NUMBERED = re.compile(r"(.*?)[_-]?(\d{1,18})(?:_keypoints)?\.json", re.ASCII | re.IGNORECASE)
_LAST_NUMBER = re.compile(r"(\d{1,18})\D*$", re.ASCII)
_BY_POSITION = "which body is which is not in the file: each goes on at the nearest position"
_WORLD = ("poseworldlandmarks", "worldlandmarks")
_IMAGE = ("poselandmarks", "landmarks")
_Seen = tuple[str | None, np.ndarray]  # the number of a body, if it has one; its pose (J, 3)


# OpenPose: a file for each frame


def frame_of(path: str) -> tuple[str, int]:
    """The recording and number of a frame: walk_000000000012_keypoints.json is 12 of 'walk'.

    Where the name is a number alone, the recording is the folder.
    """
    place = PurePosixPath(path)
    match = _NUMBERED.fullmatch(place.name)
    if match is None:
        return path, 0
    return (place.parent / match[1]).as_posix(), int(match[2])


def read_openpose(path: str, data: bytes) -> list[Body]:
    """The bodies of one frame, each a recording of one frame; `join_openpose` joins them.

    A frame without bodies gives none. 3D keypoints are used where they are there.

    Raises:
        UserError: the file is damaged.
    """
    found = []
    for person in listed(keyed(parse(path, data)).get("people"), path, "people"):
        about = keyed(person)
        deep = bool(about.get("posekeypoints3d"))
        keys = ("posekeypoints3d",) if deep else ("posekeypoints2d", "posekeypoints")
        values: Any = next((about[key] for key in keys if about.get(key)), [])
        width = 4 if deep else 3
        if count := len(listed(values, path, "numbers")) // width:  # else only a hand was seen
            layout = _layout(count, path)
            pose = _pose(array(values, (count, width), path), layout)
            found.append(Body(path, pose[None], layout.skeleton.joints, flat=not deep))
    return found


def join_openpose(name: str, frames: Sequence[tuple[int, Sequence[Body]]]) -> list[Body]:
    """The recordings of frames of one folder.

    Args:
        name: of the first recording.
        frames: number of each frame, ascending, and its bodies. Where a number is missing, no body
            was seen.

    Raises:
        UserError: the frames do not fit together, or no body was seen.
    """
    kinds = {(body.joints, body.flat) for _, bodies in frames for body in bodies}
    if len(kinds) != 1:
        wrong = "frames have different keypoints" if kinds else "no body was seen in any frame"
        raise UserError(f"{name}: {wrong}; correct or remove the files")
    joints, flat = kinds.pop()
    places = _places([number for number, _ in frames])
    seen = [
        (place, [body.xyz[0] for body in bodies])
        for place, (_, bodies) in zip(places, frames, strict=True)
    ]
    layout = next(one for one in _LAYOUTS.values() if one.skeleton.joints == joints)
    notes = _notes(layout, layout.kept)
    if any(len(bodies) > 1 for _, bodies in frames):
        notes.append(_BY_POSITION)
    tracks = by_position(seen, name)
    return to_bodies(name, tracks, joints, notes=notes, flat=flat, up="-y" if flat else "")


# COCO-like keypoints: all frames in one file


def read_keypoints(path: str, data: bytes) -> list[Body]:
    """The bodies of a file of COCO-like keypoints.

    It is a list of detections with 'image_id' (or 'frame_id') and 'keypoints', also as COCO's
    'annotations'; or MMPose's 'instance_info', whose 3D keypoints give 3D recordings. Bodies with
    'track_id' (AlphaPose: 'idx') go by that, others by position.

    Raises:
        UserError: the file is damaged, or holds no body.
    """
    value = parse(path, data)
    entries = keyed(value)
    if "instanceinfo" in entries:
        return _mmpose(entries, path)
    found = entries.get("annotations", value)
    by_frame: dict[tuple[str, int], list[_Seen]] = {}
    sizes = set()
    for place, entry in enumerate(listed(found, path, "detections"), start=1):
        where = f"{path}, entry {place}"
        about = keyed(entry)
        count = len(listed(about.get("keypoints"), where, "keypoints")) // 3
        sizes.add(count)
        pose = _pose(array(about["keypoints"], (count, 3), where), _layout(count, where))
        frame = about.get("imageid", about.get("frameid", about.get("frame")))
        if not isinstance(frame, int | str):
            raise UserError(f"{where}: there is no 'image_id'; write the file again")
        key = key_of(about.get("trackid", about.get("idx")))
        by_frame.setdefault(_frame_order(frame), []).append((key, pose))
    if len(sizes) != 1:
        wrong = "bodies have different numbers of keypoints" if sizes else "there is no body in it"
        raise UserError(f"{path}: {wrong}; divide or remove the file")
    order = sorted(by_frame)
    places = _places([number for _, number in order])
    frames: list[list[_Seen]] = [[] for _ in range(places[-1] + 1)]
    for at, frame in zip(places, order, strict=True):
        frames[at] = by_frame[frame]
    size = sizes.pop()
    layout = _layout(size, path)
    return _followed(path, frames, layout, _notes(layout, size), flat=True, up="-y")


def _frame_order(frame: int | str) -> tuple[str, int]:
    """Sorts '9.jpg' before '10.jpg'."""
    if isinstance(frame, int):
        return "", max(min(frame, 2**62), 0)
    match = _LAST_NUMBER.search(frame[-200:])
    return (frame[-200:][: match.start()], int(match[1])) if match else (frame[-200:], 0)


def _mmpose(entries: Mapping[str, Any], path: str) -> list[Body]:
    """The bodies of a file of MMPose: frames of instances, with x, y or x, y, z."""
    names = keyed(keyed(entries.get("metainfo")).get("keypointid2name"))
    frames: list[list[_Seen]] = []
    shapes = set()
    for place, info in enumerate(listed(entries["instanceinfo"], path, "frames"), start=1):
        where = f"{path}, frame {place}"
        seen: list[_Seen] = []
        for one in listed(keyed(info).get("instances"), where, "instances"):
            about = keyed(one)
            points = listed(about.get("keypoints"), where, "keypoints")
            width = len(points[0]) if points and isinstance(points[0], list) else 0
            count = len(points)
            if width not in (2, 3):
                raise UserError(f"{where}: keypoints are not x, y or x, y, z; write the file again")
            shapes.add((count, width))
            xyz = array(points, (count, width), where)
            scores = array(about.get("keypointscores", [1] * count), (count, 1), where)
            layout = _lifted_layout(names, count, width, where)
            seen.append((key_of(about.get("trackid")), _pose(np.hstack([xyz, scores]), layout)))
        frames.append(seen)
    if len(shapes) != 1:
        wrong = "bodies have different keypoints" if shapes else "there is no body in it"
        raise UserError(f"{path}: {wrong}; divide or remove the file")
    count, width = shapes.pop()
    layout = _lifted_layout(names, count, width, path)
    notes = _notes(layout, count)
    if width == 3 and not names:
        notes.append("the file does not name its keypoints: they are taken for COCO's")
    flat = width == 2
    return _followed(path, frames, layout, notes, flat=flat, up="-y" if flat else "")


def _lifted_layout(names: Mapping[str, Any], count: int, width: int, where: str) -> _Layout:
    """The layout of MMPose's keypoints by their names, if the file has them."""
    if names.get("0") == "root" and count == 17 and width == 3:
        return _LIFTED
    if count == 17 and names and names.get("0") != "nose":
        raise UserError(
            f"{where}: 17 keypoints that begin with {str(names.get('0'))[:40]!r} are not those of "
            "COCO; import them as an array with the names of the joints"
        )
    return _layout(count, where)


# MediaPipe


def read_mediapipe(path: str, data: bytes) -> list[Body]:
    """The bodies of a file of MediaPipe Pose: a list of results, one for each frame.

    World landmarks (metres, from the middle of the hips, y down) are used where they are there;
    else image landmarks, as 2D. Landmarks of visibility 0 were not seen.

    Raises:
        UserError: the file is damaged, or holds no body.
    """
    results = frames_of(path, data)
    found = [keyed(result) for result in results]
    deep = any(entries.get(key) for entries in found for key in _WORLD)
    frames: list[list[_Seen]] = []
    for place, entries in enumerate(found, start=1):
        value = next((entries[key] for key in (_WORLD if deep else _IMAGE) if key in entries), None)
        frames.append([(None, pose) for pose in _poses(value, f"{path}, frame {place}", deep)])
    times, notes = times_of(results)
    layout = _LAYOUTS[33]
    more = [*notes, *_notes(layout, 33)]
    if not deep:
        more.append("image landmarks: x and y are shares of the width and the height")
    return _followed(path, frames, layout, more, times=times, flat=not deep, metres=deep, up="-y")


def _poses(value: Any, where: str, deep: bool) -> Iterator[np.ndarray]:
    """The poses (J, 3) of a frame: a list of landmarks, or a list of such lists."""
    value = keyed(value).get("landmark", value)
    if not value:
        return
    first = listed(value, where, "landmarks")[0]
    for pose in value if isinstance(first, list) or "landmark" in keyed(first) else [value]:
        points = listed(keyed(pose).get("landmark", pose), where, "landmarks")
        rows = [keyed(point) for point in points]
        axes = ("x", "y", "z") if deep else ("x", "y")
        values = [[row.get(axis) for axis in axes] + [row.get("visibility", 1)] for row in rows]
        yield _pose(array(values, (33, len(axes) + 1), where), _LAYOUTS[33])


# what they share


def _layout(count: int, where: str) -> _Layout:
    if count not in _LAYOUTS:
        raise UserError(
            f"{where}: {numbered('{} keypoints', count)}; known are "
            f"{', '.join(map(str, _LAYOUTS))}. Import others as an array with the names of joints"
        )
    return _LAYOUTS[count]


def _pose(values: np.ndarray, layout: _Layout) -> np.ndarray:
    """The joints (J, 3) of keypoints (n, 3 or 4): x, y, perhaps z, confidence."""
    xyz = np.zeros((layout.skeleton.n_joints, 3))
    width = values.shape[1] - 1
    xyz[: layout.kept, :width] = values[: layout.kept, :width]
    xyz[: layout.kept][~(values[: layout.kept, width] > 0)] = np.nan
    for place in range(layout.kept, len(xyz)):
        of = layout.skeleton.indices(MIDDLES[layout.skeleton.joints[place]])
        xyz[place] = xyz[of].mean(0)
    return xyz


def _notes(layout: _Layout, count: int) -> list[str]:
    """What is computed and what is not used."""
    added = layout.skeleton.joints[layout.kept :]
    notes = [f"{name} is computed: the middle of {' and '.join(MIDDLES[name])}" for name in added]
    if count > layout.kept:
        notes.append(f"{count - layout.kept} keypoints of face and hands are not used")
    return notes


def _places(numbers: Sequence[int]) -> list[int]:
    """Places of frames, from 0, by their ascending numbers.

    A gap that ends every recording becomes no longer than that: two numbers could otherwise stand
    for a year of frames.
    """
    steps = np.clip(np.diff(np.array(numbers, dtype=np.int64)), 1, LONGEST_GAP + 2)
    return [0, *np.cumsum(steps).tolist()]


def _followed(
    path: str, frames: Sequence[Sequence[_Seen]], layout: _Layout, notes: list[str], **about: Any
) -> list[Body]:
    """Recordings by the bodies' numbers, if all have one; else by position."""
    if all(key is not None for seen in frames for key, _ in seen):
        tracks = by_id(frames, path)
    else:
        if any(len(seen) > 1 for seen in frames):
            notes.append(_BY_POSITION)
        places = enumerate([[pose for _, pose in seen] for seen in frames])
        tracks = by_position(places, path)
    return to_bodies(path, tracks, layout.skeleton.joints, notes=notes, **about)
