"""What `simmc.data.store.write_dataset` demands of a user's names, skeleton, windows and labels.

Shape letters: N windows, f frames, J joints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from simmc.data import specs
from simmc.data.manifest import NAME, read_manifest
from simmc.data.plausible import check_coordinates
from simmc.data.skeletons import LEVELS, Skeleton
from simmc.errors import UserError

Sets = dict[str, tuple[np.ndarray, np.ndarray]]  # split -> windows (N, f, J, 3), labels (N,)
_NAME = re.compile(r"\w([\w -]{0,62}\w)?")
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9])", re.IGNORECASE)  # by Windows


def check_names(name: str, splits: Iterable[str]) -> None:
    """UserError where a name cannot be a folder's on every system, or is taken.

    Args:
        name: of the dataset.
        splits: all of them, training included.
    """
    for text, what in ((name, "the dataset"), *((split, "a split") for split in splits)):
        if not is_name(text):
            raise UserError(
                f"{text!r} cannot be the name of {what}: use letters, digits, '_', '-' and spaces "
                "between them, 64 at most, and no name that Windows reserves; no '.' or '/'"
            )
    if name.casefold() in specs.TAKEN:
        raise UserError(f"{name}: the name is taken by a dataset of the table; choose another")
    known: dict[str, str] = {}
    for split in splits:
        if (other := known.setdefault(split.casefold(), split)) != split:
            raise UserError(f"{name}: the splits {other} and {split} differ in case alone")


def is_name(text: object) -> bool:
    """Whether a text can be the name of a set or split."""
    if not isinstance(text, str) or _RESERVED.fullmatch(text):
        return False
    return _NAME.fullmatch(text) is not None and len(text.encode()) <= 64


def check_folder(folder: Path, name: str) -> None:
    """UserError where a folder holds anything but an earlier version of the user's own set."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    content = read_manifest(folder)[0] if folder.is_dir() else None
    if content is None or content.get("dataset") != name or "protocol" in content:
        raise UserError(
            f"{folder}: is there already and holds no {NAME} of write_dataset for {name}, so it is "
            "left alone; choose another name or data_root, or move the folder away"
        )


def check_skeleton(name: str, skeleton: Skeleton) -> None:
    """UserError where names of joints are not clear, or bones and parts are not made of them.

    Args:
        name: of the dataset, for messages.
        skeleton: of the user.
    """
    joints = list(skeleton.joints)
    if twice := {joint for joint in joints if joints.count(joint) > 1}:
        raise UserError(f"{name}: the skeleton has several joints {sorted(twice)[0]!r}")
    skeleton.index(skeleton.root)
    for bone in skeleton.edges:
        if len(set(bone)) != 2:
            raise UserError(f"{name}: the bone {tuple(bone)} needs two joints")
    skeleton.edge_indices()
    for level in LEVELS:
        if skeleton.table(level):
            skeleton.parts(level)


def checked(
    name: str, splits: Mapping[str, tuple[np.ndarray, np.ndarray]], skeleton: Skeleton
) -> Sets:
    """The user's arrays: float64 windows with NaN where masked, int64 labels; UserError if off."""
    sets: Sets = {}
    for split, given in splits.items():
        where = f"{name}, {split}"
        try:
            windows, labels = given
        except (TypeError, ValueError):
            raise UserError(f"{where}: a pair is due, windows and their labels") from None
        sets[split] = _windows(windows, skeleton, where), labels
    if len(lengths := {windows.shape[1] for windows, _ in sets.values()}) != 1:
        raise UserError(f"{name}: all splits need windows of one length, not {sorted(lengths)}")
    for split, (windows, labels) in sets.items():
        where = f"{name}, {split}"
        check_coordinates(windows, where, unseen=True)
        sets[split] = windows, whole_numbers(labels, len(windows), where, "its label")
    return sets


def _windows(windows: Any, skeleton: Skeleton, where: str) -> np.ndarray:
    try:
        found = np.ma.array(windows, copy=False)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{where}: the windows are no array of numbers ({error}); all need as many frames, "
            "joints and coordinates"
        ) from None
    due = f"(N, f, {skeleton.n_joints}, 3) with N and f > 0"
    if found.dtype.kind not in "fiu":
        raise UserError(
            f"{where}: windows of the type {found.dtype}, where numbers {due} are due; all windows "
            "need as many frames"
        )
    if found.ndim != 4 or found.shape[2:] != (skeleton.n_joints, 3) or 0 in found.shape:
        raise UserError(
            f"{where}: windows of shape {found.shape}, where {due} is due for the skeleton "
            f"{skeleton.name!r}"
        )
    return np.asarray(np.ma.filled(found.astype(np.float64, copy=False), np.nan))


def whole_numbers(given: Any, count: int, where: str, what: str) -> np.ndarray:
    """(N,) int64; UserError where there is not one integer of 64 bits for each window."""
    due = f"{where}: one integer for each of the {count} windows is due, {what}"
    try:
        numbers = np.asanyarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{due} ({error})") from None
    if numbers.shape != (count,) or numbers.dtype.kind not in "iu":
        raise UserError(f"{due}; got {numbers.dtype} of shape {numbers.shape}")
    if np.ma.is_masked(numbers):
        raise UserError(f"{due}; some are masked")
    if numbers.dtype.kind == "u" and numbers.max() > np.iinfo(np.int64).max:
        raise UserError(f"{due}; {numbers.max()} is too large, 2**63 - 1 is the largest")
    return np.asarray(numbers).astype(np.int64)


def drop_unseen(name: str, sets: Sets, skeleton: Skeleton, zeros: str) -> dict[str, dict[str, int]]:
    """Set joints at exactly (0, 0, 0) to NaN in `sets`, where `zeros` says that they are missing.

    Returns:
        split -> number of joints, over all frames: `zero_joints` at (0, 0, 0), and `unseen_joints`,
        those that are missing; and of `zero_frames`, with all joints at (0, 0, 0).

    Raises:
        UserError: a window without any joint; a joint that is at (0, 0, 0) all of the time, which
            is the root of relative coordinates or a joint that no sensor gave.
    """
    counts: dict[str, dict[str, int]] = {}
    always, ever = np.ones(skeleton.n_joints, dtype=bool), np.zeros(skeleton.n_joints, dtype=bool)
    for split, (windows, labels) in sets.items():
        unseen, zero = np.isnan(windows).any(3), np.asarray((windows == 0).all(3))
        empty = np.asarray(zero.all(2))
        always &= np.all(zero | unseen, axis=(0, 1))
        ever |= np.any(zero & ~empty[..., None], axis=(0, 1))
        if zeros == "missing" and zero.any():
            unseen |= zero
            windows = np.where(zero[..., None], np.nan, windows)
            sets[split] = windows, labels
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


def zeros_remark(name: str, sets: Sets, counts: Mapping[str, Mapping[str, int]]) -> str:
    """How many joints at (0, 0, 0) were taken as not seen; "" where there were none."""
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
