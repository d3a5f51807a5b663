"""k-reciprocal Jaccard distances, exact and sparse: only the pairs within eps are stored.

The distance of the published programs is dense (N, N) although well over 99 % of its entries are
exactly 1. Here each row keeps a short list of weights (its soft neighbourhood V). Two rows can
only be nearer than 1 where their lists overlap, and overlaps are found through the columns of V.
Steps and constants: SimMC's public program; Zhong et al., "Re-ranking person re-identification
with k-reciprocal encoding", CVPR 2017.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from simmc.clustering.jaccard_loops import (
    expand_and_weigh,
    invert,
    mean_rows,
    mirror,
    overlaps,
    reciprocal,
)
from simmc.clustering.neighbors import as_rows, k_nearest
from simmc.compiled import Executor, Threads, check_indices, check_rows


@dataclass(frozen=True)
class JaccardGraph:
    """All pairs of rows within eps of each other, as symmetric compressed rows.

    Distances of exactly 0 are stored entries (duplicates). Every row lists itself, with two
    exceptions, as in the dense routine: rows with k1 or more duplicates before them drop out of
    their own neighbour list and, where k2 is 1, have no weights and no neighbours; and the
    distance to itself is only 0 to rounding, so that it can exceed an eps below 1e-6.

    Rows that are known to have equal weights, as duplicates have, share one node of the graph: n
    of them would have n^2 entries. Without such rows, nodes are rows.

    Attributes:
        start: (G + 1,) int64, where each node's entries begin.
        column: (E,) int32 nodes, ascending for each node.
        distance: (E,) float32, Jaccard distances, all <= eps.
        eps: the cut.
        node: (N,) int32, the node of each row, numbered by first appearance; None: its own.
    """

    start: np.ndarray
    column: np.ndarray
    distance: np.ndarray
    eps: float
    node: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_rows("graph", self.start, len(self.column))
        check_indices("graph: column", self.column, len(self.start) - 1)
        if len(self.distance) != len(self.column):
            raise ValueError(f"{len(self.distance)} distances for {len(self.column)} entries")
        if self.node is not None:
            check_indices("graph: node", self.node, len(self.start) - 1)

    def __len__(self) -> int:
        """N, the number of rows."""
        return len(self.start) - 1 if self.node is None else len(self.node)

    def within(self, eps: float) -> "JaccardGraph":
        """The same graph less the entries beyond a smaller eps."""
        near = self.distance <= np.float32(eps)
        start = np.concatenate([[0], np.cumsum(near)])[self.start]
        return JaccardGraph(start, self.column[near], self.distance[near], eps, self.node)

    def whole(self) -> "JaccardGraph":
        """The same graph with a node for each row, however many entries that takes."""
        if self.node is None:
            return self
        n, nodes = len(self.node), len(self.start) - 1
        entry = np.arange(1, len(self.column) + 1)  # not distances: scipy may drop zeros
        shared = sparse.csr_array((entry, self.column, self.start), shape=(nodes, nodes))
        of = sparse.csr_array((np.ones(n, np.int64), (np.arange(n), self.node)), (n, nodes))
        pairs = sparse.csr_array(of @ shared @ of.T)
        pairs.sort_indices()
        return JaccardGraph(
            pairs.indptr.astype(np.int64),
            pairs.indices.astype(np.int32),
            self.distance[pairs.data - 1],
            self.eps,
        )


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
    neighbors = k_nearest(rows, k1, executor=executor).indices
    return graph_from_neighbors(rows, neighbors, eps, k2=k2, executor=executor)


def graph_from_neighbors(
    rows: np.ndarray,
    neighbors: np.ndarray,
    eps: float,
    *,
    k2: int = 6,
    executor: Executor | None = None,
) -> JaccardGraph:
    """Neighbour lists to the graph of all pairs with Jaccard distance <= eps: the steps below.

    Args:
        rows: (N, d) float32 or float64, as ranked.
        neighbors: (N, k1) int32, nearest first.
        eps: cut, below 1.
        k2: length of the lists over which weights are averaged.
        executor: where blocks of rows are worked on; None: as many threads as torch uses.
    """
    weights = neighbor_weights(rows, neighbors, executor=executor)
    weights = expand_weights(weights, neighbors, k2, executor=executor)
    equal = twins(neighbors, k2)
    if equal is None:
        return radius_graph(weights, eps, executor=executor)
    first, node = equal
    return replace(radius_graph(weights[first], eps, executor=executor), node=node)


def check_lists(neighbors: np.ndarray, n: int) -> None:
    """ValueError unless `neighbors` holds a list of rows for each of n rows."""
    if np.ndim(neighbors) != 2 or len(neighbors) != n:
        raise ValueError(f"neighbors must have shape ({n}, k), not {np.shape(neighbors)}")
    check_indices("neighbors", neighbors, n)


def twins(neighbors: np.ndarray, k2: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Rows whose expanded weights are equal because they are means over the same rows.

    So it is with duplicates, all of which have the lists of the first. n of them would be n^2
    pairs of a graph: 10^9 where an encoder has collapsed to a point.

    Args:
        neighbors: (N, k1) int32, nearest first, equal distances by index.
        k2: rows that weights are averaged over.

    Returns:
        None where there are none; else the first row of each kind, (n,) int64 ascending, and the
        place (N,) int32 therein of each row's kind.
    """
    n = len(neighbors)
    # the first of several duplicates comes before the others in the lists of all of them
    moved = np.flatnonzero(neighbors[:, 0] != np.arange(n)) if n else np.empty(0, np.int64)
    if k2 == 1 or len(moved) == 0:  # unexpanded weights are not a matter of these lists alone
        return None
    checked = np.union1d(moved, neighbors[moved, 0])
    _, first_of_kind, kind = np.unique(
        neighbors[checked, :k2], axis=0, return_index=True, return_inverse=True
    )
    first = np.arange(n)
    first[checked] = checked[first_of_kind[kind.ravel()]]
    kept = np.unique(first)
    if len(kept) == n:
        return None
    return kept, np.searchsorted(kept, first).astype(np.int32)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; zero rows stay zero."""
    # by a power of two first, which is exact: squares neither vanish nor leave the range
    exponent = np.frexp(np.abs(rows).max(axis=1, initial=0.0, keepdims=True))[1]
    rows = np.ldexp(rows, -exponent)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms == 0, 1, norms).astype(rows.dtype)


def neighbor_weights(
    rows: np.ndarray,
    neighbors: np.ndarray,
    *,
    half: int | None = None,
    executor: Executor | None = None,
) -> sparse.csr_array:
    """Soft neighbourhoods V from ordered neighbour lists.

    With L_i the list of row i and R(i, k) = {j in first k+1 of L_i : i in first k+1 of L_j}:
    R*(i) = R(i, k1) united with every R(q, k1 / 2), q in R(i, k1), that lies for more than two
    thirds in R(i, k1); V_ij = softmax over j in R*(i) of -(2 - 2 x_i . x_j).

    Args:
        rows: (N, d) float32 or float64, as ranked.
        neighbors: (N, k1) int32, nearest first.
        half: length of the lists behind R(q, k1 / 2); None: round(k1 / 2) + 1.
        executor: where blocks of rows are worked on; None: as many threads as torch uses.

    Returns:
        (N, N) sparse float32, rows sum to 1, columns ascending.
    """
    executor = executor or Threads()
    n = len(rows)
    check_lists(neighbors, n)
    k1 = neighbors.shape[1]
    lists = np.ascontiguousarray(neighbors)
    half = min(half or int(np.around(k1 / 2)) + 1, k1)
    mutual, mutual_half = (
        _joined(executor.map(reciprocal, (lists, length), n), (0, length)) for length in (k1, half)
    )
    return _stack(executor.map(expand_and_weigh, (rows, mutual, mutual_half), n), n)


def expand_weights(
    weights: sparse.csr_array,
    neighbors: np.ndarray,
    k2: int,
    *,
    executor: Executor | None = None,
) -> sparse.csr_array:
    """Local query expansion: each row becomes the mean of the rows of its first k2 neighbours.

    Args:
        weights: (N, N).
        neighbors: (N, k1) int32, nearest first.
        k2: at least 1.
        executor: where blocks of rows are worked on; None: as many threads as torch uses.

    Returns:
        (N, N) sparse float32, columns ascending.
    """
    if k2 < 1:
        raise ValueError(f"k2 must be at least 1, not {k2}")
    if k2 == 1:
        return weights
    n = len(neighbors)
    check_lists(neighbors, n)
    _check_weights(weights, n)
    lists = np.ascontiguousarray(neighbors[:, :k2])
    shared = weights.indptr, weights.indices, weights.data, lists
    return _stack((executor or Threads()).map(mean_rows, shared, n), n)


def radius_graph(
    weights: sparse.csr_array,
    eps: float,
    *,
    executor: Executor | None = None,
) -> JaccardGraph:
    """Pairs with d_ij = 1 - s_ij / (2 - s_ij) <= eps, where s_ij = sum_k min(V_ik, V_jk).

    Sums run over ascending k in float32, as in the public dense routine, so that equal V give
    equal distances to the last bit. Each pair is summed once.

    Args:
        weights: (n, N) sparse float32, columns ascending in each row.
        eps: cut, below 1.
        executor: where blocks of rows are worked on; None: as many threads as torch uses.
    """
    if not eps > 0.0 or not np.float32(eps) < 1.0:  # float32: what distances are cut at
        raise ValueError(f"eps must lie between 0 and 1, not {eps}")
    n, n_columns = weights.shape
    _check_weights(weights, n)
    rows = weights.indptr, weights.indices, weights.data
    # numpy asks the system for large pages, compiled loops do not
    columns = np.empty(n_columns + 1, rows[0].dtype), *(np.empty_like(part) for part in rows[1:])
    invert(*rows, *columns)
    parts = (executor or Threads()).map(overlaps, (*rows, *columns, np.float32(eps)), n)
    if not parts:
        return JaccardGraph(
            np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), eps
        )
    counts, column, distance = (np.concatenate(part) for part in zip(*parts, strict=True))
    start, column, distance = mirror(counts, column, distance)
    return JaccardGraph(start, column, distance, eps)


def _check_weights(weights: sparse.csr_array, n: int) -> None:
    """ValueError unless these are n whole rows of a sparse matrix."""
    if weights.shape[0] != n:
        raise ValueError(f"weights must have {n} rows, not {weights.shape[0]}")
    weights.check_format(full_check=True)


def _joined(parts: list[np.ndarray], nothing: tuple[int, int]) -> np.ndarray:
    """Blocks of rows as one array."""
    return np.concatenate(parts) if parts else np.empty(nothing, np.int32)


def _stack(parts: list[Any], n: int) -> sparse.csr_array:
    """Blocks of (row lengths, columns, values) as one (n, n) sparse matrix."""
    if not parts:
        return sparse.csr_array((n, n), dtype=np.float32)
    counts, columns, values = (np.concatenate(p) for p in zip(*parts, strict=True))
    start = np.concatenate([[0], np.cumsum(counts)])
    if start[-1] < np.iinfo(np.int32).max:
        start = start.astype(np.int32)  # scipy wants one index type
    return sparse.csr_array((values, columns, start), shape=(n, n))
