"""Exact copies of windows and recordings, which would make a result meaningless."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from simmc.data.recordings import Recording
from simmc.data.store import StoredSplit

_CHUNK = 1024  # windows in memory at a time


def count_copies(
    probe: StoredSplit, probes: np.ndarray, others: Mapping[str, tuple[StoredSplit, np.ndarray]]
) -> dict[str, int]:
    """Name of another split -> how many of the probe windows have an exact copy in it.

    `probes` and the arrays beside the other splits are the indices of the windows that count.
    """
    return {name: _count(probe, probes, *other) for name, other in others.items()}


def _count(probe: StoredSplit, probes: np.ndarray, split: StoredSplit, rows: np.ndarray) -> int:
    # hashing is slow, and only windows that begin with the same number can be copies
    ours, theirs = _first_numbers(probe, probes), _first_numbers(split, rows)
    known = set(_digests(split, rows[np.isin(theirs, ours)]))
    return sum(map(known.__contains__, _digests(probe, probes[np.isin(ours, theirs)])))


def _first_numbers(split: StoredSplit, rows: np.ndarray) -> np.ndarray:
    """The bits of the first coordinate of each window, (n,) int64."""
    return split.planes[0][rows, 0, 0].astype(np.float64).view(np.int64)


def _digests(split: StoredSplit, rows: np.ndarray) -> list[bytes]:
    """The sha256 of each window."""
    found = []
    for low in range(0, len(rows), _CHUNK):
        block = np.stack([plane[rows[low : low + _CHUNK]] for plane in split.planes], axis=1)
        windows = block.astype(np.float64, copy=False)
        found += [hashlib.sha256(window).digest() for window in windows]
    return found


def same_recordings(recordings: Sequence[Recording]) -> list[list[str]]:
    """Names of recordings with exactly the same frames, in groups of two and more."""
    groups: defaultdict[bytes, list[str]] = defaultdict(list)
    for recording in recordings:
        if len(recording.frames):
            digest = hashlib.sha256(np.ascontiguousarray(recording.frames).data).digest()
            groups[digest].append(recording.name)
    return [names for names in groups.values() if len(names) > 1]
