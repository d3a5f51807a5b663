"""Exact copies of windows and recordings: a probe that matches its copy says nothing of a method.

Shape letters: N windows, K floats of a window in one of its three planes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from simmc.data.recordings import Recording
from simmc.data.store import StoredSplit

_CHUNK = 256  # windows at a time, so that they stay in the cache
_HALF = np.uint64(32)


def count_copies(
    probe: StoredSplit, probes: np.ndarray, others: Mapping[str, tuple[StoredSplit, np.ndarray]]
) -> dict[str, int]:
    """Name of another split -> how many of the probe windows have an exact copy in it.

    `probes` and the arrays beside the other splits are the indices of the windows that count.
    """
    keys = _keys(probe)[probes]
    return {name: _copied(probe, probes, keys, *other) for name, other in others.items()}


def _copied(
    probe: StoredSplit, probes: np.ndarray, keys: np.ndarray, other: StoredSplit, others: np.ndarray
) -> int:
    if not len(probes) or not len(others):
        return 0
    known = _keys(other)[others]
    order = np.argsort(known)
    place = np.minimum(np.searchsorted(known, keys, sorter=order), len(known) - 1)
    found = order[place]
    alike = np.flatnonzero(known[found] == keys)
    count = 0
    for low in range(0, len(alike), _CHUNK):
        rows = alike[low : low + _CHUNK]
        for one, two in zip(probe.planes, other.planes, strict=True):
            rows = rows[(one[probes[rows]] == two[others[found[rows]]]).all((1, 2))]
        count += len(rows)
    return count


def _keys(split: StoredSplit) -> np.ndarray:
    """(N,) uint64 hashes; different windows share one with probability 2**-64."""
    rng = np.random.default_rng(0)
    keys = np.zeros(len(split), dtype=np.uint64)
    for plane in split.planes:
        count = plane[0].size
        weights = rng.integers(0, 2**63, count, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        for low in range(0, len(plane), _CHUNK):
            block = np.asarray(plane)[low : low + _CHUNK]
            rows = np.ascontiguousarray(block, dtype=np.float64)
            bits = rows.reshape(len(rows), count).view(np.uint64)
            # the low half of a float64 that was a float32 is 0, and a product keeps zeros there
            keys[low : low + _CHUNK] += np.einsum("nk,k->n", bits ^ (bits >> _HALF), weights)
    return keys


def same_recordings(recordings: Sequence[Recording]) -> list[list[str]]:
    """Names of recordings whose frames are the same, bit by bit, in groups of two and more."""
    groups: dict[tuple[int, bytes, bytes], list[list[Recording]]] = {}
    for recording in recordings:
        frames = recording.frames
        if not len(frames):
            continue
        alike = groups.setdefault((len(frames), frames[0].tobytes(), frames[-1].tobytes()), [])
        group = next((g for g in alike if np.array_equal(g[0].frames, frames)), None)
        if group is None:
            alike.append([recording])
        else:
            group.append(recording)
    found = (group for alike in groups.values() for group in alike if len(group) > 1)
    return [[recording.name for recording in group] for group in found]
