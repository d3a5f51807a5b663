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
    digests = _digests(probe, probes)
    known = {name: set(_digests(split, rows)) for name, (split, rows) in others.items()}
    return {name: sum(map(found.__contains__, digests)) for name, found in known.items()}


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
