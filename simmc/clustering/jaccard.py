"""k-reciprocal Jaccard distances, exact and sparse: only the pairs within eps are ever held.

The distance of the published programs is dense (N, N) although well over 99 % of its entries are
exactly 1. Here each row keeps a short list of weights (its soft neighbourhood V). Two rows can
only be nearer than 1 where their lists overlap, and overlaps are found through the columns of V.
Steps and constants: SimMC's public program; Zhong et al., "Re-ranking person re-identification
with k-reciprocal encoding", CVPR 2017.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from simmc.clustering.executors import Executor, Threads
from simmc.clustering.jaccard_loops import (
    expand_and_weigh,
    mean_rows,
    mirror,
    overlaps,
    reciprocal,
)
from simmc.clustering.neighbors import as_rows, k_nearest


@dataclass(frozen=True)
class JaccardGraph:
    """All pairs of rows within eps of each other, as symmetric compressed rows.

    Distances of exactly 0 are stored entries (duplicates). Every row lists itself, with two
    exceptions, as in the dense routine: rows with k1 or more duplicates before them drop out of
    their own neighbour list and, where k2 is 1, have no weights and no neighbours; and the
    distance to itself is only 0 to rounding, so that it can exceed an eps below 1e-6.

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
    executor: Executor | None = None,
) -> JaccardGraph:
    """Features to the graph of all pairs with Jaccard distance <= eps.

    Args:
        features: (N, d) finite floats.
        eps: cut, below 1 (at 1 every pair would be an edge).
        k1: length of the neighbour lists, the row itself included.
        k2: length of the lists over which weights are averaged (local query expansion).
        normalise: scale rows to unit length first. The public program does not (quirk Q1).
        executor: where blocks of rows are worked on; None: as many threads as torch uses.

    Raises:
        ValueError: bad features, or eps outside (0, 1).
    """
    rows = as_rows(features)
    if normalise:
        rows = unit_rows(rows)
    executor = executor or Threads()
    neighbors = k_nearest(rows, k1, executor=executor).indices
    weights = neighbor_weights(rows, neighbors, executor=executor)
    weights = expand_weights(weights, neighbors, k2, executor=executor)
    return radius_graph(weights, eps, executor=executor)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; zero rows stay zero."""
    # by a power of two first, which is exact: squares neither vanish nor leave the range
    exponent = np.frexp(np.abs(rows).max(axis=1, initial=0.0, keepdims=True))[1]
    rows = np.ldexp(rows, -exponent)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms == 0, 1, norms).astype(rows.dtype)


def neighbor_weights(
    rows: np.ndarray, neighbors: np.ndarray, *, executor: Executor | None = None
) -> sparse.csr_array:
    """Soft neighbourhoods V from ordered neighbour lists.

    With L_i the list of row i and R(i, k) = {j in first k+1 of L_i : i in first k+1 of L_j}:
    R*(i) = R(i, k1) united with every R(q, k1 / 2), q in R(i, k1), that lies for more than two
    thirds in R(i, k1); V_ij = softmax over j in R*(i) of -(2 - 2 x_i . x_j).

    Args:
        rows: (N, d) float32 or float64, as ranked.
        neighbors: (N, k1) int32, nearest first.
        executor: where blocks of rows are worked on; None: as many threads as torch uses.

    Returns:
        (N, N) sparse float32, rows sum to 1, columns ascending.
    """
    executor = executor or Threads()
    n, k1 = neighbors.shape
    half = min(int(np.around(k1 / 2)) + 1, k1)
    mutual = _joined(executor.map(reciprocal, (neighbors, k1), n), (0, k1))
    mutual_half = _joined(executor.map(reciprocal, (neighbors, half), n), (0, half))
    return _stack(executor.map(expand_and_weigh, (rows, mutual, mutual_half), n), n)


def expand_weights(
    weights: sparse.csr_array,
    neighbors: np.ndarray,
    k2: int,
    *,
    executor: Executor | None = None,
) -> sparse.csr_array:
    """Local query expansion: each row becomes the mean of the rows of its first k2 neighbours."""
    if k2 < 1:
        raise ValueError(f"k2 must be at least 1, not {k2}")
    if k2 == 1:
        return weights
    n = len(neighbors)
    lists = np.ascontiguousarray(neighbors[:, :k2])
    shared = weights.indptr, weights.indices, weights.data, lists
    return _stack((executor or Threads()).map(mean_rows, shared, n), n)


def radius_graph(
    weights: sparse.csr_array, eps: float, *, executor: Executor | None = None
) -> JaccardGraph:
    """Pairs with d_ij = 1 - s_ij / (2 - s_ij) <= eps, where s_ij = sum_k min(V_ik, V_jk).

    Sums run over ascending k in float32, as in the public dense routine, so that equal V give
    equal distances to the last bit. Each pair is summed once, for the smaller of its two rows.
    """
    if not eps > 0.0 or not np.float32(eps) < 1.0:  # float32: what distances are cut at
        raise ValueError(f"eps must lie between 0 and 1, not {eps}")
    n = weights.shape[0]
    inverted = weights.tocsc()
    shared = (
        weights.indptr, weights.indices, weights.data,
        inverted.indptr, inverted.indices, inverted.data,
        np.float32(eps),
    )  # fmt: skip
    parts = (executor or Threads()).map(overlaps, shared, n)
    if not parts:
        return JaccardGraph(
            np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), eps
        )
    counts, later, distance = (np.concatenate(p) for p in zip(*parts, strict=True))
    start, column, distance = mirror(counts, later, distance)
    return JaccardGraph(start, column, distance, eps)


def _joined(parts: list[np.ndarray], nothing: tuple[int, int]) -> np.ndarray:
    """Blocks of rows as one array."""
    return np.concatenate(parts) if parts else np.empty(nothing, np.int32)


def _stack(parts: list, n: int) -> sparse.csr_array:
    """Blocks of (row lengths, columns, values) as one (n, n) sparse matrix."""
    if not parts:
        return sparse.csr_array((n, n), dtype=np.float32)
    counts, columns, values = (np.concatenate(p) for p in zip(*parts, strict=True))
    start = np.concatenate([[0], np.cumsum(counts)])
    if start[-1] < np.iinfo(np.int32).max:
        start = start.astype(np.int32)  # scipy wants one index type
    return sparse.csr_array((values, columns, start), shape=(n, n))
