"""Recordings of one's own data: checked, numbered as the manifest lists them, and described."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from simmc.data import specs, times
from simmc.data.own import whole_numbers
from simmc.errors import UserError


def listed(
    name: str,
    splits: Mapping[str, tuple[np.ndarray, np.ndarray]],
    recordings: Mapping[str, np.ndarray],
    spans: Mapping[int, tuple[float, float]],
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """The user's recordings in the form of the layout.

    Args:
        name: of the dataset, for messages.
        splits: split -> (windows, identity labels (N,) of integers).
        recordings: split -> (N,) integers, as `store.write_dataset` takes them.
        spans: recording -> (start, end) in seconds.

    Returns:
        split -> (N,) int64 place of every window's recording in the manifest's list; and that
        list, by rising number.
    """
    if unknown := sorted(set(recordings) - set(splits)):
        raise UserError(f"{name}: recordings of {', '.join(unknown)}, which is no split")
    numbers = {
        split: _checked(name, split, own, splits[split][1]) for split, own in recordings.items()
    }
    split_of: dict[int, str] = {}
    for split, own in numbers.items():
        for number in np.unique(own).tolist():
            if number in split_of:
                raise UserError(
                    f"{name}: recording {number} is in {split_of[number]} and in {split}; every "
                    "recording needs a number of its own, and belongs to one split as a whole"
                )
            split_of[number] = split
    _check_spans(name, spans, split_of)
    known = np.array(sorted(split_of), dtype=np.int64)
    places = {split: np.searchsorted(known, own) for split, own in numbers.items()}
    identity: dict[int, int | None] = {}
    for split, own in numbers.items():
        identity |= _identities(name, split, own, np.asarray(splits[split][1]))
    return places, [
        {
            "name": str(number),
            "identity": identity[number],
            "role": "",
            "split": split_of[number],
            "attributes": times.as_attributes(*spans[number]) if number in spans else {},
            "frames": None,  # before windows were cut: nobody has said
            "sha256": None,
        }
        for number in known.tolist()
    ]


def _checked(name: str, split: str, numbers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) int64, one number a window."""
    return whole_numbers(numbers, len(labels), f"{name}, {split}", "the number of its recording")


def _identities(
    name: str, split: str, numbers: np.ndarray, labels: np.ndarray
) -> dict[int, int | None]:
    """Whom every recording of a split shows; None where a recording to learn from shows several."""
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
    """UserError where a time is of no recording, or none."""
    for number, span in spans.items():
        if number not in split_of:
            raise UserError(f"{name}: times of recording {number}, which no window belongs to")
        try:
            begin, end = map(float, span)
        except (TypeError, ValueError):
            begin = end = 0.0
        if not times.is_span(begin, end):
            raise UserError(
                f"{name}: recording {number} has the times {span}; (start, end) in seconds is due, "
                "the start before the end"
            )
