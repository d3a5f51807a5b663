"""Tracklet-level matching: consecutive windows of a recording (a walk) are matched as one.

docs/matching.md has the rules.
"""

import numpy as np

from simmc.evaluation.expansion import unit_length


def walks_of(recording: np.ndarray, size: int | None) -> np.ndarray:
    """The walk of every window: so many windows of a recording one after another, or all of them.

    The last walk of a recording has what is left over.

    Args:
        recording: (N,) integers, the windows of a recording in the order of time.
        size: windows of a walk; None: all of a recording.

    Returns:
        (N,) int64, 0 .. W-1, numbered in the order of their first windows.
    """
    n = len(recording)
    order = np.argsort(recording, kind="stable")
    is_first = np.ones(n, bool)
    is_first[1:] = recording[order[1:]] != recording[order[:-1]]
    starts = np.flatnonzero(is_first)
    place = np.arange(n) - np.repeat(starts, np.diff([*starts, n]))  # within the recording
    begins = is_first if size is None else place % size == 0
    walk = np.empty(n, np.int64)
    walk[order] = np.cumsum(begins) - 1
    first = np.unique(walk, return_index=True)[1]
    number = np.empty(len(first), np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return number[walk]


def pooled(features: np.ndarray, walk: np.ndarray, *, unit: bool) -> np.ndarray:
    """(W, d) mean features of the walks, in the type of the features.

    Args:
        features: (N, d) of the windows.
        walk: (N,) int64, 0 .. W-1, each of them used.
        unit: scale the means to unit length.
    """
    order = np.argsort(walk, kind="stable")
    starts = np.flatnonzero(np.diff(walk[order], prepend=-1))
    sums = np.add.reduceat(features[order].astype(np.float64), starts, axis=0)
    means = (sums / np.bincount(walk)[:, None]).astype(features.dtype)
    return unit_length(means) if unit else means


def of_walks(values: np.ndarray, walk: np.ndarray) -> np.ndarray:
    """(W,) what (N,) values are in the first window of each walk."""
    return values[np.unique(walk, return_index=True)[1]]
