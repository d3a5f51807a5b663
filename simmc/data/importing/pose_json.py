"""JSON of pose estimators: OpenPose, COCO-like keypoints (AlphaPose, MMPose), MediaPipe Pose.

2D positions are those of the image, y down, with z = 0. A joint of confidence 0 was not seen.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
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

# number of keypoints -> skeleton, and how many are joints; the others are of face and hands. The
# first joints of the skeleton are those of the file, the rest is computed.
_LAYOUTS = {
    17: (skeletons.COCO_17, 17),
    18: (skeletons.OPENPOSE_18, 18),
    25: (skeletons.BODY_25, 25),
    26: (skeletons.HALPE_26, 26),
    33: (skeletons.MEDIAPIPE_33, 33),
    133: (skeletons.COCO_FEET, 23),  # COCO whole body
    136: (skeletons.HALPE_26, 26),  # Halpe full body
}
_LIFTED = (skeletons.HUMAN_17, 17)
_NUMBERED = re.compile(r"(.*?)[_-]?(\d{1,18})(?:_keypoints)?\.json", re.ASCII | re.IGNORECASE)
_LAST_NUMBER = re.compile(r"(\d{1,18})\D*$", re.ASCII)
_WORLD = ("poseworldlandmarks", "worldlandmarks")
_IMAGE = ("poselandmarks", "landmarks")


@dataclass(frozen=True, eq=False)
class _Seen:
    """One body in one frame."""

    where: str  # it stands: file, and entry or frame
    points: np.ndarray  # (n, 3 or 4): x, y, perhaps z, confidence
    key: str | None = None  # its number, if it has one


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
    """The bodies of one frame, each a recording of one frame; none if nobody was seen.

    Raises:
        UserError: the file is damaged.
    """
    seen = _people(path, data)
    return _followed(path, [(0, seen)]) if seen else []


def join_openpose(name: str, files: Sequence[tuple[int, str, bytes]]) -> list[Body]:
    """The recordings of frames of one folder. 3D keypoints are used where they are there.

    Args:
        name: of the first recording.
        files: number, path and content of each frame, ascending. Where a number is missing, no
            body was seen.

    Raises:
        UserError: a file is damaged, the frames do not fit together, or no body was seen.
    """
    frames = [_people(path, data) for _, path, data in files]
    return _followed(name, zip(_places([number for number, _, _ in files]), frames, strict=True))


def _people(path: str, data: bytes) -> list[_Seen]:
    """The bodies in the file of a frame; an empty list of people is a valid frame."""
    seen: list[_Seen] = []
    people = listed(keyed(parse(path, data)).get("people"), path, "people")
    for place, person in enumerate(people, start=1):
        where = f"{path}, person {place}"
        about = keyed(person)
        deep = bool(about.get("posekeypoints3d"))
        keys = ("posekeypoints3d",) if deep else ("posekeypoints2d", "posekeypoints")
        values: Any = next((about[key] for key in keys if about.get(key)), [])
        width = 4 if deep else 3
        if count := len(listed(values, where, "numbers")) // width:  # else only a hand was seen
            seen.append(_Seen(where, array(values, (count, width), where)))
    return seen


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
    entries_of = [keyed(entry) for entry in listed(found, path, "detections")]
    frame_ids = [e.get("imageid", e.get("frameid", e.get("frame"))) for e in entries_of]
    wrong = [place for place, one in enumerate(frame_ids, 1) if not isinstance(one, int | str)]
    if wrong:
        raise UserError(
            f"{path}, entry {wrong[0]}: there is no 'image_id'{_first_of(len(wrong))}; write the "
            "file again"
        )
    by_frame: defaultdict[tuple[str, int], list[_Seen]] = defaultdict(list)
    for place, (about, frame) in enumerate(zip(entries_of, frame_ids, strict=True), start=1):
        where = f"{path}, entry {place}"
        values = listed(about.get("keypoints"), where, "keypoints")
        points = array(values, (len(values) // 3, 3), where)
        key = key_of(about.get("trackid", about.get("idx")))
        by_frame[_frame_order(frame)].append(_Seen(where, points, key))
    order = sorted(by_frame)
    frames = [by_frame[frame] for frame in order]
    return _followed(path, zip(_places([number for _, number in order]), frames, strict=True))


def _frame_order(frame: int | str) -> tuple[str, int]:
    """Sorts '9.jpg' before '10.jpg'."""
    if isinstance(frame, int):
        return "", max(min(frame, 2**62), 0)
    match = _LAST_NUMBER.search(frame[-200:])
    return (frame[-200:][: match.start()], int(match[1])) if match else (frame[-200:], 0)


def _mmpose(entries: Mapping[str, Any], path: str) -> list[Body]:
    """The bodies of a file of MMPose: frames of instances, with x, y or x, y, z."""
    frames: list[list[_Seen]] = []
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
            xyz = array(points, (count, width), where)
            scores = array(about.get("keypointscores", [1] * count), (count, 1), where)
            seen.append(_Seen(where, np.hstack([xyz, scores]), key_of(about.get("trackid"))))
        frames.append(seen)
    names = keyed(keyed(entries.get("metainfo")).get("keypointid2name")) or None
    notes = []
    if names is None and any(one.points.shape[1] == 4 for seen in frames for one in seen):
        notes.append("the file does not name its keypoints: they are taken for COCO's")
    return _followed(path, enumerate(frames), names, notes=notes)


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
        where = f"{path}, frame {place}"
        frames.append([_Seen(where, pose) for pose in _poses(value, where, deep)])
    times, notes = times_of(results)
    if not deep:
        notes = (*notes, "image landmarks: x and y are shares of the width and the height")
    return _followed(path, enumerate(frames), notes=notes, times=times, metres=deep, up="-y")


def _poses(value: Any, where: str, deep: bool) -> Iterator[np.ndarray]:
    """The landmarks (33, 3 or 4) of a frame: a list of them, or a list of such lists."""
    value = keyed(value).get("landmark", value)
    if not value:
        return
    first = listed(value, where, "landmarks")[0]
    for pose in value if isinstance(first, list) or "landmark" in keyed(first) else [value]:
        points = listed(keyed(pose).get("landmark", pose), where, "landmarks")
        rows = [keyed(point) for point in points]
        axes = ("x", "y", "z") if deep else ("x", "y")
        values = [[row.get(axis) for axis in axes] + [row.get("visibility", 1)] for row in rows]
        yield array(values, (33, len(axes) + 1), where)


# what they share


def _followed(
    path: str,
    frames: Iterable[tuple[int, Sequence[_Seen]]],
    names: Mapping[str, Any] | None = None,
    *,
    notes: Sequence[str] = (),
    times: np.ndarray | None = None,
    metres: bool = False,
    up: str = "",
) -> list[Body]:
    """Recordings by the bodies' numbers, if all have one; else by position.

    `frames` are the place of each frame and the bodies in it; `names` those of MMPose's keypoints,
    if the file has them. `up` is the axis of 3D bodies that points up, if the format fixes it.
    """
    given = [(place, list(seen)) for place, seen in frames]
    count, width = _shape(path, [one for _, seen in given for one in seen])
    flat = width == 3  # x, y, confidence
    skeleton, kept = _layout(path, count, flat, names)
    more = [*notes]
    for name in skeleton.joints[kept:]:
        more.append(f"{name} is computed: the middle of {' and '.join(MIDDLES[name])}")
    if count > kept:
        more.append(f"{count - kept} keypoints of face and hands are not used")
    bodies = [one for _, seen in given for one in seen]
    bare = [one.where for one in bodies if one.key is None]
    if not bare:
        _check_keys(given)
        tracks = by_id(
            [(at, [(one.key, _pose(one.points, skeleton, kept)) for one in s]) for at, s in given],
            path,
        )
    else:
        if len(bare) < len(bodies):
            more.append(f"{bare[0]}: the body has no number{_first_of(len(bare))}; none is used")
        if any(len(seen) > 1 for _, seen in given):
            more.append(
                "which body is which is not in the file: each goes on at the nearest position"
            )
        tracks = by_position(
            [(at, [_pose(one.points, skeleton, kept) for one in seen]) for at, seen in given], path
        )
    up = "-y" if flat else up
    return to_bodies(
        path, tracks, skeleton.joints, times=times, notes=more, flat=flat, metres=metres, up=up
    )


def _shape(path: str, bodies: Sequence[_Seen]) -> tuple[int, int]:
    """The shape (n, 3 or 4) of the keypoints of all bodies; UserError if they differ."""
    shapes = Counter(one.points.shape for one in bodies)
    if not shapes:
        raise UserError(f"{path}: no body was seen in any frame; remove the file")
    (usual, _), *others = shapes.most_common()
    if others:
        odd = [one for one in bodies if one.points.shape != usual]
        n, width = odd[0].points.shape
        raise UserError(
            f"{odd[0].where}: {n} keypoints in {width - 1}D, and {usual[0]} in {usual[1] - 1}D "
            f"elsewhere: bodies have different keypoints{_first_of(len(odd))}; divide, correct or "
            "remove the file"
        )
    return usual


def _check_keys(frames: Iterable[tuple[int, Sequence[_Seen]]]) -> None:
    """UserError if a number occurs twice in a frame."""
    twice: list[_Seen] = []
    for _, seen in frames:
        keys: set[str | None] = set()
        for one in seen:
            twice += [one] if one.key in keys else []
            keys.add(one.key)
    if twice:
        raise UserError(
            f"{twice[0].where}: body {twice[0].key} occurs twice in its frame"
            f"{_first_of(len(twice))}; give every body its own number"
        )


def _first_of(count: int) -> str:
    """How many entries have a fault whose first place was named."""
    return f" (the first of {count:,} entries)" if count > 1 else ""


def _layout(
    path: str, count: int, flat: bool, names: Mapping[str, Any] | None
) -> tuple[Skeleton, int]:
    """What the keypoints are, by their names, if the file has them, and by their number."""
    first = names.get("0") if names else "nose"
    if count == 17 and first == "root" and not flat:
        return _LIFTED
    if count == 17 and first != "nose":
        raise UserError(
            f"{path}: 17 keypoints that begin with {str(first)[:40]!r} are not those of COCO; "
            "import them as an array with the names of the joints"
        )
    if count not in _LAYOUTS:
        raise UserError(
            f"{path}: {numbered('{} keypoints', count)}; known are "
            f"{', '.join(map(str, _LAYOUTS))}. Import others as an array with the names of joints"
        )
    return _LAYOUTS[count]


def _pose(values: np.ndarray, skeleton: Skeleton, kept: int) -> np.ndarray:
    """The joints (J, 3) of keypoints (n, 3 or 4): x, y, perhaps z, confidence."""
    xyz = np.zeros((skeleton.n_joints, 3))
    width = values.shape[1] - 1
    xyz[:kept, :width] = values[:kept, :width]
    xyz[:kept][~(values[:kept, width] > 0)] = np.nan
    for place in range(kept, len(xyz)):
        xyz[place] = xyz[skeleton.indices(MIDDLES[skeleton.joints[place]])].mean(0)
    return xyz


def _places(numbers: Sequence[int]) -> list[int]:
    """Places of frames, from 0, by their ascending numbers.

    A gap that ends every recording becomes no longer than that: two numbers could otherwise stand
    for a year of frames.
    """
    steps = np.clip(np.diff(np.array(numbers, dtype=np.int64)), 1, LONGEST_GAP + 2)
    return [0, *np.cumsum(steps).tolist()]
