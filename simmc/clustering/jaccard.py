"""k-reciprocal Jaccard distances, exact and sparse: only the pairs within eps are ever held.

The distance of the published programs is dense (N, N) although well over 99 % of its entries are
exactly 1. Here each row keeps a short list of weights (its soft neighbourhood V). Two rows can
only be nearer than 1 where their lists overlap, and overlaps are found through the columns of V.
Steps and constants: SimMC's public program; Zhong et al., "Re-ranking person re-identification
with k-reciprocal encoding", CVPR 2017.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from simmc.clustering.jaccard_loops import expand_and_weigh, mean_rows, overlaps, reciprocal
from simmc.clustering.neighbors import as_rows, k_nearest
from simmc.compiled import over_rows

BLOCK = 256  # rows a thread takes at a time


@dataclass(frozen=True)
class JaccardGraph:
    """All pairs of rows within eps of each other, as symmetric compressed rows.

    Distances of exactly 0 are stored entries (duplicates). Every row lists itself, but for rows
    with k1 or more duplicates before them, which drop out of their own neighbour list and so have
    no weights and no neighbours, as in the dense routine.

    Attributes:
        start: (N + 1,) int64, where each row's entries begin.
        column: (E,) int32, ascending in each row.
        distance: (E,) float32, Jaccard distances, all <= eps.
        eps: the cut.
    """

    start: np.ndarray
    column: np.ndarray
    distance: np.ndarray
    eps: float

    def __len__(self) -> int:
        return len(self.start) - 1


def jaccard_graph(
    features: np.ndarray,
    eps: float,
    *,
    k1: int = 20,
    k2: int = 6,
    normalise: bool = False,
    threads: int | None = None,
) -> JaccardGraph:
    """Features to the graph of all pairs with Jaccard distance <= eps.

    Args:
        features: (N, d) finite floats.
        eps: cut, below 1 (at 1 every pair would be an edge).
        k1: length of the neighbour lists, the row itself included.
        k2: length of the lists over which weights are averaged (local query expansion).
        normalise: scale rows to unit length first. The public program does not (quirk Q1).
        threads: worker threads; None means as many as torch uses.

    Raises:
        ValueError: bad features, or eps outside (0, 1).
    """
    rows = as_rows(features)
    if normalise:
        rows = unit_rows(rows)
    neighbors = k_nearest(rows, k1, threads=threads).indices
    weights = expand_weights(neighbor_weights(rows, neighbors, threads=threads), neighbors, k2)
    return radius_graph(weights, eps, threads=threads)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; zero rows stay zero."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms == 0, 1, norms).astype(rows.dtype)


def neighbor_weights(
    rows: np.ndarray, neighbors: np.ndarray, *, threads: int | None = None
) -> sparse.csr_array:
    """Soft neighbourhoods V from ordered neighbour lists.

    With L_i the list of row i and R(i, k) = {j in first k+1 of L_i : i in first k+1 of L_j}:
    R*(i) = R(i, k1) united with every R(q, k1 / 2), q in R(i, k1), that lies for more than two
    thirds in R(i, k1); V_ij = softmax over j in R*(i) of -(2 - 2 x_i . x_j).

    Args:
        rows: (N, d) float32 or float64, as ranked.
        neighbors: (N, k1) int32, nearest first.
        threads: worker threads; None means as many as torch uses.

    Returns:
        (N, N) sparse float32, rows sum to 1, columns ascending.
    """
    n, k1 = neighbors.shape
    half = int(np.around(k1 / 2)) + 1
    threads = threads or torch.get_num_threads()
    mutual = reciprocal(neighbors, k1)
    mutual_half = reciprocal(neighbors, min(half, k1))
    parts = over_rows(
        lambda a, b: expand_and_weigh(rows, mutual, mutual_half, a, b), n, threads, BLOCK
    )
    return _stack(parts, n)


def expand_weights(
    weights: sparse.csr_array, neighbors: np.ndarray, k2: int, *, threads: int | None = None
) -> sparse.csr_array:
    """Local query expansion: each row becomes the mean of the rows of its first k2 neighbours."""
    if k2 <= 1:
        return weights
    n = len(neighbors)
    lists = np.ascontiguousarray(neighbors[:, :k2])
    parts = over_rows(
        lambda a, b: mean_rows(weights.indptr, weights.indices, weights.data, lists, a, b),
        n,
        threads or torch.get_num_threads(),
        BLOCK,
    )
    return _stack(parts, n)


def radius_graph(
    weights: sparse.csr_array, eps: float, *, threads: int | None = None
) -> JaccardGraph:
    """Pairs with d_ij = 1 - s_ij / (2 - s_ij) <= eps, where s_ij = sum_k min(V_ik, V_jk).

    Sums run over ascending k in float32, as in the public dense routine, so that equal V give
    equal distances to the last bit.
    """
    if not 0.0 < eps < 1.0:
        raise ValueError(f"eps must lie between 0 and 1, not {eps}")
    n = weights.shape[0]
    inverted = weights.tocsc()
    parts = over_rows(
        lambda a, b: overlaps(
            weights.indptr, weights.indices, weights.data,
            inverted.indptr, inverted.indices, inverted.data,
            np.float32(eps), a, b,
        ),
        n,
        threads or torch.get_num_threads(),
        BLOCK,
    )  # fmt: skip
    counts = np.concatenate([p[0] for p in parts]) if parts else np.zeros(0, np.int64)
    column = np.concatenate([p[1] for p in parts]) if parts else np.zeros(0, np.int32)
    distance = np.concatenate([p[2] for p in parts]) if parts else np.zeros(0, np.float32)
    return JaccardGraph(_starts(counts), column, distance, eps)


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _stack(parts: list, n: int) -> sparse.csr_array:
    """Blocks of (row lengths, columns, values) as one (n, n) sparse matrix."""
    if not parts:
        return sparse.csr_array((n, n), dtype=np.float32)
    counts, columns, values = (np.concatenate(p) for p in zip(*parts, strict=True))
    start = _starts(counts)
    if start[-1] < np.iinfo(np.int32).max:
        start = start.astype(np.int32)  # scipy wants one index type
    return sparse.csr_array((values, columns, start), shape=(n, n))
