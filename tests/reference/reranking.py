"""k-reciprocal re-ranking as Zhong et al. (CVPR 2017) state it, dense and slow.

Steps, constants and scaling as in the paper's public program; what it leaves open, the order of
equal distances, is by index. Weights are float32 and added up in ascending order, as there.
"""

import numpy as np

from tests.reference.metrics import squared_distances


def distances(probe, gallery, k1=20, k2=6, share=0.3, same=False):
    """(Np, Ng) float64 final distances."""
    rows = gallery if same else np.concatenate([probe, gallery])
    squares = squared_distances(rows, rows)
    most = squares.max(axis=1, keepdims=True)
    original = squares / np.where(most > 0, most, 1)
    ranking = np.argsort(squares, axis=1, kind="stable")
    v = _weights(original, ranking, k1)
    if k2 > 1:
        v = np.stack([_mean(v[ranking[i, :k2]]) for i in range(len(rows))])
    final = (1 - share) * _jaccard(v) + share * original
    return final[: len(probe), len(rows) - len(gallery) :]


def _reciprocal(ranking, i, k):
    """R(i, k): those of the first k + 1, i itself included, that have i among their own k + 1."""
    return [j for j in ranking[i, : k + 1] if i in ranking[j, : k + 1]]


def _weights(original, ranking, k1):
    n = len(original)
    v = np.zeros((n, n), np.float32)
    for i in range(n):
        core = _reciprocal(ranking, i, k1)
        members = set(core)
        for q in core:
            around = _reciprocal(ranking, q, int(np.around(k1 / 2)))
            if len(set(around) & set(core)) > 2 / 3 * len(around):
                members |= set(around)
        if members:
            members = sorted(members)
            weight = np.exp(-original[i, members])
            v[i, members] = weight / weight.sum()
    return v


def _mean(rows):
    total = np.zeros(rows.shape[1], np.float32)
    for row in rows:
        total += row
    return total / np.float32(len(rows))


def _jaccard(v):
    n = len(v)
    result = np.empty((n, n), np.float32)
    for i in range(n):
        overlap = np.zeros(n, np.float32)
        for k in np.flatnonzero(v[i]):
            overlap += np.minimum(v[i, k], v[:, k])
        result[i] = np.maximum(1 - overlap / (2 - overlap), 0)
    return result.astype(np.float64)
