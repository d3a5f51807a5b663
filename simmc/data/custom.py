"""What `simmc.data.store.write_dataset` requires of names, skeleton, windows and recordings.

Shape letters: N windows, f frames, J joints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from simmc.data import specs
from simmc.data.arrays import check_coordinates
from simmc.data.conventions import Given, extents, scale_of, three_axes, y_up
from simmc.data.manifest import NAME, RecordingEntry, is_span, read_manifest, time_attributes
from simmc.data.skeletons import LEVELS, Skeleton
from simmc.errors import UserError

Pairs = Mapping[str, tuple[np.ndarray, np.ndarray]]  # split -> windows (N, f, J, 3), labels (N,)
Sets = dict[str, tuple[np.ndarray, np.ndarray]]
_NAME = re.compile(r"\w([\w -]{0,62}\w)?")
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9])", re.IGNORECASE)  # by Windows


def check_names(name: str, splits: Iterable[str]) -> None:
    """UserError if the name of the set or of a split cannot be a folder's, or is taken."""
    for text, what in ((name, "the dataset"), *((split, "a split") for split in splits)):
        if not is_name(text):
            raise UserError(
                f"{text!r} cannot be the name of {what}: use letters, digits, '_', '-' and spaces "
                "between them, 64 at most, and no name that Windows reserves; no '.' or '/'"
            )
    if name.casefold() in specs.TAKEN:
        raise UserError(f"{name}: the name is taken by a built-in dataset; choose another")
    known: dict[str, str] = {}
    for split in splits:
        if (other := known.setdefault(split.casefold(), split)) != split:
            raise UserError(f"{name}: the splits {other} and {split} differ only in case")


def is_name(text: object) -> bool:
    """Whether a text can be the name of a set or split."""
    if not isinstance(text, str) or _RESERVED.fullmatch(text):
        return False
    return _NAME.fullmatch(text) is not None and len(text.encode()) <= 64


def check_folder(folder: Path, name: str) -> None:
    """UserError if a folder holds anything but an earlier version of the custom set."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    content = read_manifest(folder)[0] if folder.is_dir() else None
    if content is None or content.get("dataset") != name or "protocol" in content:
        raise UserError(
            f"{folder}: exists already and holds no {NAME} of write_dataset for {name}, so it is "
            "left alone; choose another name or data_root, or move the folder away"
        )


def _check_skeleton(name: str, skeleton: Skeleton) -> None:
    """UserError if joint names are ambiguous, or bones and parts are not made of them."""
    joints = list(skeleton.joints)
    if twice := sorted({joint for joint in joints if joints.count(joint) > 1}):
        raise UserError(f"{name}: the skeleton has several joints {twice[0]!r}")
    skeleton.index(skeleton.root)
    for bone in skeleton.edges:
        if len(set(bone)) != 2:
            raise UserError(f"{name}: the bone {tuple(bone)} needs two joints")
    skeleton.edge_indices()
    for level in LEVELS:
        if skeleton.table(level):
            skeleton.parts(level)


def checked(name: str, splits: Pairs, skeleton: Skeleton, gallery_of: Mapping[str, str]) -> Sets:
    """Float64 windows with NaN where masked, and int64 labels; UserError if either is invalid."""
    needed = {specs.TRAIN, *gallery_of, *gallery_of.values()}
    check_names(name, needed)
    if set(splits) != needed:
        raise UserError(f"{name}: splits must be {', '.join(sorted(needed))}; got {list(splits)}")
    _check_skeleton(name, skeleton)
    sets: Sets = {}
    for split, given in splits.items():
        where = f"{name}, {split}"
        try:
            windows, labels = given
        except (TypeError, ValueError):
            raise UserError(f"{where}: expected a pair, windows and their labels") from None
        sets[split] = _windows(windows, skeleton, where), labels
    if len(lengths := {windows.shape[1] for windows, _ in sets.values()}) != 1:
        raise UserError(f"{name}: all splits need windows of one length, not {sorted(lengths)}")
    for split, (windows, labels) in sets.items():
        where = f"{name}, {split}"
        sets[split] = windows, _integers(labels, len(windows), where, "its label")
    return sets


def to_metres(name: str, sets: Sets, unit: str, up: str) -> Given:
    """Bring the windows of `sets` to three axes, metres and y up; how they were given.

    UserError where a coordinate cannot be a position.
    """
    if len(axes := {windows.shape[3] for windows, _ in sets.values()}) != 1:
        raise UserError(f"{name}: all splits need as many coordinates, not {sorted(axes)}")
    scale = scale_of(unit, extents(three_axes(sets[specs.TRAIN][0])))
    for split, (windows, labels) in sets.items():
        windows = y_up(three_axes(windows), up)
        sets[split] = windows if scale == 1 else windows * scale, labels
        check_coordinates(sets[split][0], f"{name}, {split}", allow_nan=True)
    return {"unit": unit, "up": up, "dimensions": axes.pop(), "scale": scale}


def _windows(windows: Any, skeleton: Skeleton, where: str) -> np.ndarray:
    try:
        found = np.ma.array(windows, copy=False)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{where}: the windows are no array of numbers ({error}); all need as many frames, "
            "joints and coordinates"
        ) from None
    expected = (
        f"expected numbers of shape (N, f, {skeleton.n_joints}, 3), or 2 for plane poses, with N "
        "and f > 0"
    )
    if found.dtype.kind not in "fiu":
        raise UserError(
            f"{where}: windows of the type {found.dtype}, {expected}; all windows need as many "
            "frames"
        )
    due = [(skeleton.n_joints, axes) for axes in (2, 3)]
    if found.ndim != 4 or found.shape[2:] not in due or 0 in found.shape:
        raise UserError(
            f"{where}: windows of shape {found.shape}, {expected} for the skeleton "
            f"{skeleton.name!r}"
        )
    return np.asarray(np.ma.filled(found.astype(np.float64, copy=False), np.nan))


def _integers(given: Any, count: int, where: str, what: str) -> np.ndarray:
    """(N,) int64; UserError unless there is one 64-bit integer for each window."""
    expected = f"{where}: expected one integer for each of the {count} windows, {what}"
    try:
        numbers = np.asanyarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{expected} ({error})") from None
    if numbers.shape != (count,) or numbers.dtype.kind not in "iu":
        raise UserError(f"{expected}; got {numbers.dtype} of shape {numbers.shape}")
    if np.ma.is_masked(numbers):
        raise UserError(f"{expected}; some are masked")
    if numbers.dtype.kind == "u" and numbers.max() > np.iinfo(np.int64).max:
        raise UserError(f"{expected}; {numbers.max()} is larger than 2**63 - 1")
    return np.asarray(numbers).astype(np.int64)


def drop_unseen(name: str, sets: Sets, skeleton: Skeleton, zeros: str) -> dict[str, dict[str, int]]:
    """Set joints at exactly (0, 0, 0) to NaN in `sets`, if `zeros` says that they are missing.

    Returns split -> numbers of `zero_joints`, `unseen_joints` (over all frames) and `zero_frames`.
    UserError for a window without any joint, and for a joint that is at (0, 0, 0) in every frame:
    the root of relative coordinates, or a joint that no sensor gave.
    """
    if zeros not in ("missing", "position"):
        raise UserError(f"{name}: zeros is {zeros!r}; choose missing or position")
    counts: dict[str, dict[str, int]] = {}
    always, ever = np.ones(skeleton.n_joints, dtype=bool), np.zeros(skeleton.n_joints, dtype=bool)
    for split, (windows, labels) in sets.items():
        unseen, zero = np.isnan(windows).any(3), np.asarray((windows == 0).all(3))
        empty = np.asarray(zero.all(2))
        always &= np.all(zero | unseen, axis=(0, 1))
        ever |= np.any(zero & ~empty[..., None], axis=(0, 1))
        if zeros == "missing" and zero.any():
            unseen |= zero
            sets[split] = np.where(zero[..., None], np.nan, windows), labels
        if (blind := np.all(unseen, axis=(1, 2))).any():
            raise UserError(
                f"{name}, {split}: window {int(blind.argmax())} has no joint that was seen "
                f"({int(blind.sum())} such windows in all); leave such windows out"
            )
        found = {"zero_joints": zero, "zero_frames": empty, "unseen_joints": unseen}
        counts[split] = {key: int(which.sum()) for key, which in found.items() if which.any()}
    if zeros == "missing" and (always & ever).any():
        joint = skeleton.joints[int((always & ever).argmax())]
        raise UserError(
            f"{name}: the joint {joint} is at (0, 0, 0) in every frame. If coordinates are "
            'relative to it, use write_dataset(..., zeros="position"), which takes zeros as '
            "positions; if it was never seen, leave it out of the skeleton"
        )
    return counts


def zeros_remark(name: str, sets: Pairs, counts: Mapping[str, Mapping[str, int]]) -> str:
    """How many joints at (0, 0, 0) were taken as not seen; "" if there were none."""
    joints = sum(count.get("zero_joints", 0) for count in counts.values())
    frames = sum(count.get("zero_frames", 0) for count in counts.values())
    if not joints:
        return ""
    total = sum(windows[..., 0].size for windows, _ in sets.values())
    return (
        f"{name}: {joints:,} of {total:,} joint positions are exactly (0, 0, 0) and were taken as "
        f"not seen ({frames:,} frames have no joint); where zero is a position, use "
        'write_dataset(..., zeros="position")'
    )


def list_recordings(
    name: str,
    splits: Pairs,
    recordings: Mapping[str, np.ndarray],
    spans: Mapping[int, tuple[float, float]],
) -> tuple[dict[str, np.ndarray], list[RecordingEntry]]:
    """Index (N,) int64 of every window's recording, by split; and the manifest's list of them.

    `recordings` and `spans` are what `write_dataset` takes as recordings and times.
    """
    if unknown := sorted(set(recordings) - set(splits)):
        raise UserError(f"{name}: recordings of {', '.join(unknown)}, which is no split")
    split_of: dict[int, str] = {}
    identity: dict[int, int | None] = {}
    numbers: dict[str, np.ndarray] = {}
    for split, given in recordings.items():
        labels = splits[split][1]
        found = _integers(given, len(labels), f"{name}, {split}", "the number of its recording")
        for number in np.unique(found).tolist():
            if number in split_of:
                raise UserError(
                    f"{name}: recording {number} is in {split_of[number]} and in {split}; every "
                    "recording needs a number of its own and belongs to one split as a whole"
                )
            split_of[number] = split
        numbers[split] = found
    _check_spans(name, spans, split_of)
    for split, found in numbers.items():
        identity |= _identities(name, split, found, splits[split][1])
    known = np.array(sorted(split_of), dtype=np.int64)
    places = {split: np.searchsorted(known, found) for split, found in numbers.items()}
    return places, [
        {
            "name": str(number),
            "identity": identity[number],
            "role": "",
            "split": split_of[number],
            "attributes": time_attributes(*spans[number]) if number in spans else {},
            "frames": None,  # unknown: windows were cut before
            "sha256": None,
        }
        for number in known.tolist()
    ]


def _identities(
    name: str, split: str, numbers: np.ndarray, labels: np.ndarray
) -> dict[int, int | None]:
    """The identity of every recording; None for a training recording that shows several."""
    values, person = np.unique(labels, return_inverse=True)
    known, recording = np.unique(numbers, return_inverse=True)
    pairs = np.unique(recording * len(values) + person)
    of, shown = pairs // len(values), pairs % len(values)
    several = np.bincount(of) > 1
    if several.any() and not specs.is_training(split):
        worst = int(several.argmax())
        who = " and ".join(map(str, values[shown[of == worst]].tolist()))
        raise UserError(
            f"{name}, {split}: recording {known[worst]} shows the identities {who}; a recording "
            "shows one person: cut it where the person changes"
        )
    first = values[shown[np.searchsorted(of, np.arange(len(known)))]]
    rows = zip(known.tolist(), first.tolist(), several.tolist(), strict=True)
    return {number: None if mixed else label for number, label, mixed in rows}


def _check_spans(
    name: str, spans: Mapping[int, tuple[float, float]], split_of: Mapping[int, str]
) -> None:
    for number, span in spans.items():
        if number not in split_of:
            raise UserError(f"{name}: times of recording {number}, which no window belongs to")
        try:
            begin, end = map(float, span)
        except (TypeError, ValueError):
            begin = end = 0.0
        if not is_span(begin, end):
            raise UserError(
                f"{name}: recording {number} has the times {span}; expected (start, end) in "
                "seconds, the start before the end"
            )
