"""The k-reciprocal Jaccard distance as its steps are stated, dense and slow.

Zhong et al. 2017 as the skeleton re-ID programs apply it: lists of k1 rows, the row itself
included; raw features in the softmax; float32 where they use float32.
"""

import numpy as np


def nearest(features: np.ndarray, k: int) -> np.ndarray:
    """(N, k) indices by (squared distance in float64, index)."""
    x = features.astype(np.float64)
    lists = []
    for row in x:
        distance = ((x - row) ** 2).sum(1)
        lists.append(np.lexsort((np.arange(len(x)), distance))[:k])
    return np.array(lists, dtype=np.int64)


def reciprocal(lists: np.ndarray, i: int, k: int) -> list[int]:
    """R(i, k): those of the first k + 1 that have i among their own first k + 1."""
    forward = lists[i, : k + 1]
    return [j for j in forward if i in lists[j, : k + 1]]


def weights(features: np.ndarray, lists: np.ndarray, k1: int, k2: int) -> np.ndarray:
    """(N, N) float32 matrix V after the local query expansion."""
    n = len(features)
    x = features.astype(np.float64)
    v = np.zeros((n, n), np.float32)
    for i in range(n):
        core = reciprocal(lists, i, k1)
        expanded = set(core)
        for q in core:
            around = reciprocal(lists, q, int(np.around(k1 / 2)))
            if len(set(around) & set(core)) > 2 / 3 * len(around):
                expanded |= set(around)
        members = sorted(expanded)
        if not members:  # more than k1 duplicates: the row is not even in its own list
            continue
        score = -(2 - 2 * x[i] @ x[members].T)
        score = np.exp(score - score.max())
        v[i, members] = score / score.sum()
    if k2 > 1:
        v = np.stack([np.mean(v[lists[i, :k2]], axis=0) for i in range(n)])
    return v


def distances(v: np.ndarray) -> np.ndarray:
    """(N, N) float32 Jaccard distances."""
    n = len(v)
    d = np.empty((n, n), np.float32)
    for i in range(n):
        overlap = np.zeros(n, np.float32)
        for k in np.flatnonzero(v[i]):
            overlap += np.minimum(v[i, k], v[:, k])
        d[i] = 1 - overlap / (2 - overlap)
    return np.maximum(d, 0)


def jaccard(features: np.ndarray, k1: int = 20, k2: int = 6) -> np.ndarray:
    """Features (N, d) to dense distances (N, N)."""
    lists = nearest(features, min(k1, len(features)))
    return distances(weights(features, lists, k1, k2))
