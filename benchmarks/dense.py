"""The k-reciprocal Jaccard distance as the published re-ID programs compute it: dense.

Written from the description of the steps (Zhong et al., CVPR 2017; SimMC's supplement), with the
structure that those programs share: Python loops over rows, numpy inside them, and N x N arrays for
weights, averaged weights and distances. Where this leaves a choice, the faster way is used.
Neighbour lists are an input, so that the k-NN search is timed separately.
"""

import numpy as np

_COLUMNS = 64  # columns turned to rows at a time: one by one they would miss the cache


def dense_jaccard(rows: np.ndarray, neighbors: np.ndarray, k2: int) -> np.ndarray:
    """Jaccard distances of all pairs of rows.

    Args:
        rows: (N, d) floats, as ranked.
        neighbors: (N, k1) ints, nearest first.
        k2: length of the lists over which weights are averaged.

    Returns:
        (N, N) float32.
    """
    weights = reciprocal_weights(rows, neighbors)
    if k2 > 1:
        weights = averaged(weights, neighbors[:, :k2])
    return distances(weights)


def reciprocal_weights(rows: np.ndarray, neighbors: np.ndarray) -> np.ndarray:
    """(N, N) float32: each row's softmax over its expanded k-reciprocal neighbours, else 0."""
    n, k1 = neighbors.shape
    half = min(int(np.around(k1 / 2)) + 1, k1)
    mutual = [reciprocal(neighbors, i, k1) for i in range(n)]
    mutual_half = [reciprocal(neighbors, i, half) for i in range(n)]
    exact = rows.astype(np.float64)  # a last digit of V could otherwise decide about a pair
    in_core = np.zeros(n, bool)
    weights = np.zeros((n, n), np.float32)
    for i, core in enumerate(mutual):
        in_core[core] = True
        near = [mutual_half[q] for q in core]
        added = [c for c in near if 3 * np.count_nonzero(in_core[c]) > 2 * len(c)]
        in_core[core] = False
        if not len(core):  # k1 duplicates before it: the row is not in its own list
            continue
        members = np.unique(np.concatenate([core, *added]))
        scores = 2.0 * (exact[members] @ exact[i])
        scores = np.exp(scores - scores.max())
        weights[i, members] = scores / scores.sum()
    return weights


def reciprocal(neighbors: np.ndarray, i: int, length: int) -> np.ndarray:
    """Those of the first `length` neighbours of row i that count i among their own as many."""
    forward = neighbors[i, :length]
    return forward[(neighbors[forward, :length] == i).any(axis=1)]


def averaged(weights: np.ndarray, lists: np.ndarray) -> np.ndarray:
    """Local query expansion: every row becomes the mean of the rows in its list."""
    means = np.empty_like(weights)
    for i, several in enumerate(lists):
        np.mean(weights[several], axis=0, out=means[i])
    return means


def distances(weights: np.ndarray) -> np.ndarray:
    """(N, N) float32: 1 - s / (2 - s) with s_ij = sum over k of min(V_ik, V_jk)."""
    n = len(weights)
    holders = inverted(weights)
    result = np.empty((n, n), np.float32)
    for i in range(n):
        overlap = np.zeros(n, np.float32)
        for k in np.flatnonzero(weights[i]):
            who = holders[k]
            overlap[who] += np.minimum(weights[i, k], weights[who, k])
        result[i] = 1 - overlap / (2 - overlap)
    return np.maximum(result, 0, out=result)


def inverted(weights: np.ndarray) -> list[np.ndarray]:
    """For every column the rows that are not 0 there."""
    holders: list[np.ndarray] = []
    for a in range(0, len(weights), _COLUMNS):
        held = np.ascontiguousarray((weights[:, a : a + _COLUMNS] != 0).T)
        holders += [np.flatnonzero(column) for column in held]
    return holders
