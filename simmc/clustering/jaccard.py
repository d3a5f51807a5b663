"""k-reciprocal Jaccard distances, exact and sparse: only the pairs within eps are ever held.

The distance of the published programs is dense (N, N) although well over 99 % of its entries are
exactly 1. Here each row keeps a short list of weights (its soft neighbourhood V), two rows
can only be nearer than 1 where their lists overlap, and overlaps are found through the columns of V.
Steps and constants: SimMC's public program; Zhong et al., "Re-ranking person re-identification
with k-reciprocal encoding", CVPR 2017.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from simmc.clustering.neighbors import as_rows, k_nearest
from simmc.compiled import compiled, over_rows

BLOCK = 256  # rows a thread takes at a time


@dataclass(frozen=True)
class JaccardGraph:
    """All pairs of rows within eps of each other, as symmetric compressed rows.

    Distances of exactly 0 are stored entries (duplicates), and every row lists itself.

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

    Returns:
        (N, N) sparse float32, rows sum to 1, columns ascending.
    """
    n, k1 = neighbors.shape
    half = int(np.around(k1 / 2)) + 1
    threads = threads or torch.get_num_threads()
    mutual = _reciprocal(neighbors, k1)
    mutual_half = _reciprocal(neighbors, min(half, k1))
    parts = over_rows(
        lambda a, b: _expand_and_weigh(rows, mutual, mutual_half, a, b), n, threads, BLOCK
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
        lambda a, b: _mean_rows(weights.indptr, weights.indices, weights.data, lists, a, b),
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
        lambda a, b: _overlaps(
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


@compiled()
def _reciprocal(neighbors, length):  # pragma: no cover - compiled
    """(N, length) int32: R(i) in the order of L_i, padded with -1."""
    n = len(neighbors)
    mutual = np.full((n, length), -1, np.int32)
    for i in range(n):
        kept = 0
        for p in range(length):
            j = neighbors[i, p]
            for q in range(length):
                if neighbors[j, q] == i:
                    mutual[i, kept] = j
                    kept += 1
                    break
    return mutual


@compiled(fastmath={"reassoc", "contract"})
def _expand_and_weigh(rows, mutual, mutual_half, begin, end):  # pragma: no cover - compiled
    """Weights of rows begin..end-1: their number a row, columns and values one after another."""
    d = rows.shape[1]
    stamp = np.full(len(rows), -1, np.int64)  # stamp[j] == i: j is in R*(i)
    in_core = np.full(len(rows), -1, np.int64)
    most = mutual.shape[1] * (1 + mutual_half.shape[1])
    members = np.empty(most, np.int32)
    scores = np.empty(most)
    counts = np.empty(end - begin, np.int64)
    columns = np.empty((end - begin) * most, np.int32)
    values = np.empty((end - begin) * most, np.float32)
    filled = 0
    for i in range(begin, end):
        size = 0
        for j in mutual[i]:
            if j < 0:
                break
            in_core[j] = i
            stamp[j] = i
            members[size] = j
            size += 1
        core = size
        for p in range(core):
            q = members[p]
            total = 0
            inside = 0
            for j in mutual_half[q]:
                if j < 0:
                    break
                total += 1
                inside += in_core[j] == i
            if 3 * inside > 2 * total:
                for j in mutual_half[q]:
                    if j < 0:
                        break
                    if stamp[j] != i:
                        stamp[j] = i
                        members[size] = j
                        size += 1
        members[:size].sort()
        top = -np.inf
        for p in range(size):
            product = 0.0
            for e in range(d):
                product += np.float64(rows[i, e]) * np.float64(rows[members[p], e])
            scores[p] = 2.0 * product
            top = max(top, scores[p])
        total_weight = 0.0
        for p in range(size):
            scores[p] = np.exp(scores[p] - top)  # the row's largest is taken off: no overflow
            total_weight += scores[p]
        for p in range(size):
            columns[filled + p] = members[p]
            values[filled + p] = scores[p] / total_weight
        counts[i - begin] = size
        filled += size
    return counts, columns[:filled].copy(), values[:filled].copy()


@compiled()
def _mean_rows(start, columns, values, lists, begin, end):  # pragma: no cover - compiled
    """Mean of the sparse rows named by each list, for rows begin..end-1."""
    n = len(start) - 1
    k2 = lists.shape[1]
    sums = np.zeros(n, np.float32)
    stamp = np.full(n, -1, np.int64)
    most = 0
    for i in range(begin, end):
        size = 0
        for j in lists[i]:
            size += start[j + 1] - start[j]
        most += size
    counts = np.empty(end - begin, np.int64)
    out_columns = np.empty(most, np.int32)
    out_values = np.empty(most, np.float32)
    filled = 0
    for i in range(begin, end):
        size = 0
        for j in lists[i]:
            for p in range(start[j], start[j + 1]):
                c = columns[p]
                if stamp[c] != i:
                    stamp[c] = i
                    sums[c] = np.float32(0.0)
                    out_columns[filled + size] = c
                    size += 1
                sums[c] += values[p]
        out_columns[filled : filled + size].sort()
        for p in range(filled, filled + size):
            out_values[p] = sums[out_columns[p]] / np.float32(k2)
        counts[i - begin] = size
        filled += size
    return counts, out_columns[:filled].copy(), out_values[:filled].copy()


@compiled()
def _overlaps(
    start, columns, values, inverted_start, inverted_rows, inverted_values, eps, begin, end
):  # pragma: no cover - compiled
    """Rows begin..end-1 of the radius graph: entries a row, columns, distances."""
    n = len(start) - 1
    overlap = np.zeros(n, np.float32)
    stamp = np.full(n, -1, np.int64)
    touched = np.empty(n, np.int32)
    counts = np.empty(end - begin, np.int64)
    room = 64 * (end - begin)
    out_columns = np.empty(room, np.int32)
    out_values = np.empty(room, np.float32)
    filled = 0
    one, two, zero = np.float32(1.0), np.float32(2.0), np.float32(0.0)
    for i in range(begin, end):
        size = 0
        for p in range(start[i], start[i + 1]):
            k = columns[p]
            mine = values[p]
            for q in range(inverted_start[k], inverted_start[k + 1]):
                j = inverted_rows[q]
                if stamp[j] != i:
                    stamp[j] = i
                    overlap[j] = zero
                    touched[size] = j
                    size += 1
                overlap[j] += min(mine, inverted_values[q])
        before = filled
        for p in range(size):
            j = touched[p]
            distance = max(one - overlap[j] / (two - overlap[j]), zero)
            if distance <= eps:
                if filled == room:
                    room *= 2
                    wider = np.empty(room, np.int32)
                    wider[:filled] = out_columns
                    out_columns = wider
                    longer = np.empty(room, np.float32)
                    longer[:filled] = out_values
                    out_values = longer
                out_columns[filled] = j
                filled += 1
        out_columns[before:filled].sort()
        for p in range(before, filled):
            s = overlap[out_columns[p]]
            out_values[p] = max(one - s / (two - s), zero)
        counts[i - begin] = filled - before
    return counts, out_columns[:filled].copy(), out_values[:filled].copy()
