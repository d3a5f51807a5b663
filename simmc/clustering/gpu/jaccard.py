"""k-reciprocal Jaccard distances on a device, exact and sparse.

The same numbers as `simmc.clustering.jaccard`, where they are documented. Sums of single
precision run in its order: terms are sorted by the pair that they belong to, by a sort that keeps
the order of equal keys, and added position by position for all pairs at once.

Read on the host: sizes (entries of a block of rows, the longest row, the longest run of terms) and
the bounds of the blocks of rows.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

from simmc.clustering.gpu.tiles import blocks, fold, room, runs, spread, sum_in_order

FIXED = 2**32  # fixed-point unit of the overlaps' first estimate


@dataclass(frozen=True)
class SparseRows:
    """A matrix of n rows and N columns as compressed rows.

    Attributes:
        start: (n + 1,) int64, where each row's entries begin.
        column: (E,) int64, ascending in each row.
        value: (E,) float32.
    """

    start: torch.Tensor
    column: torch.Tensor
    value: torch.Tensor

    def __len__(self) -> int:
        return len(self.start) - 1

    def __getitem__(self, rows: torch.Tensor) -> "SparseRows":
        """Some of the rows."""
        count = self.start.diff()[rows]
        entry, _ = spread(self.start[rows], count)
        start = torch.cat([count.new_zeros(1), count.cumsum(0)])
        return SparseRows(start, self.column[entry], self.value[entry])


@dataclass(frozen=True)
class JaccardGraph:
    """All pairs of rows within eps of each other; see `simmc.clustering.JaccardGraph`.

    Attributes:
        start: (G + 1,) int64, where each node's entries begin.
        column: (E,) int64 nodes, ascending for each node.
        distance: (E,) float32, Jaccard distances, all <= eps.
        eps: the cut.
        node: (N,) int64, the node of each row, numbered by first appearance; None: its own.
    """

    start: torch.Tensor
    column: torch.Tensor
    distance: torch.Tensor
    eps: float
    node: torch.Tensor | None = None

    def __len__(self) -> int:
        """N, the number of rows."""
        return len(self.start) - 1 if self.node is None else len(self.node)

    def within(self, eps: float) -> "JaccardGraph":
        """The same graph less the entries beyond a smaller eps."""
        near = self.distance <= float(np.float32(eps))
        count = torch.cat([self.start.new_zeros(1), torch.cumsum(near, 0)])
        start, column, distance = count[self.start], self.column[near], self.distance[near]
        return JaccardGraph(start, column, distance, eps, self.node)


@torch.no_grad()
def unit_rows(rows: torch.Tensor) -> torch.Tensor:
    """Rows scaled to length 1; zero rows stay zero.

    Single-precision lengths have the bits that numpy gives them: sums in its order, and the root
    by way of double precision, because torch's own is not always the nearest number.
    """
    # by a power of two first, which is exact: squares neither vanish nor leave the range
    if rows.shape[1]:
        rows = _scaled(rows, -torch.frexp(rows.abs().amax(1, keepdim=True)).exponent)
    norms = _sum_like_numpy(rows * rows).double().sqrt().to(rows.dtype)[:, None]
    return rows / torch.where(norms == 0, 1, norms)


def _scaled(rows: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    """Rows times 2^exponent, in two steps: the factor itself may be out of range."""
    half = exponent.div(2, rounding_mode="floor")
    return torch.ldexp(torch.ldexp(rows, half), exponent - half)


def _sum_like_numpy(terms: torch.Tensor) -> torch.Tensor:
    """Sum over the columns in the order of numpy: eight sums of up to 128 terms, then halves."""
    n = terms.shape[1]
    if n > 128:
        half = n // 2 - n // 2 % 8
        return _sum_like_numpy(terms[:, :half]) + _sum_like_numpy(terms[:, half:])
    whole = n - n % 8
    total = terms.new_zeros(len(terms))
    if whole:
        eight = terms[:, :8].clone()
        for p in range(8, whole, 8):
            eight += terms[:, p : p + 8]
        two = eight[:, 0::2] + eight[:, 1::2]
        total = (two[:, 0] + two[:, 1]) + (two[:, 2] + two[:, 3])
    for p in range(whole, n):
        total = total + terms[:, p]
    return total


@torch.no_grad()
def graph_from_neighbors(
    rows: torch.Tensor, neighbors: torch.Tensor, eps: float, *, k2: int = 6
) -> JaccardGraph:
    """Neighbour lists to the graph of all pairs with Jaccard distance <= eps: the steps below.

    Args:
        rows: (N, d) float32 or float64, as ranked.
        neighbors: (N, k1) int64, nearest first.
        eps: cut, below 1.
        k2: length of the lists over which weights are averaged.
    """
    weights = expand_weights(neighbor_weights(rows, neighbors), neighbors, k2)
    equal = _twins(neighbors, k2)
    if equal is None:
        return radius_graph(weights, eps)
    first, node = equal
    return replace(radius_graph(weights[first], eps), node=node)


def _twins(neighbors: torch.Tensor, k2: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    """`simmc.clustering.jaccard.twins`, as int64 tensors."""
    every = torch.arange(len(neighbors), device=neighbors.device)
    if k2 == 1 or len(neighbors) == 0:
        return None
    moved = neighbors[:, 0] != every
    checked = moved.scatter(0, neighbors[moved, 0], True).nonzero()[:, 0]
    if len(checked) == 0:
        return None
    kind = torch.unique(neighbors[checked, :k2], dim=0, return_inverse=True)[1]
    first_of_kind = torch.full_like(checked, len(neighbors)).scatter_reduce(
        0, kind, checked, "amin"
    )
    first = every.scatter(0, checked, first_of_kind[kind])
    kept = first.unique()
    return None if len(kept) == len(first) else (kept, torch.searchsorted(kept, first))


@torch.no_grad()
def neighbor_weights(rows: torch.Tensor, neighbors: torch.Tensor) -> SparseRows:
    """Soft neighbourhoods V from ordered neighbour lists.

    Args:
        rows: (N, d) float32 or float64, as ranked.
        neighbors: (N, k1) int64, nearest first.

    Returns:
        (N, N) sparse, rows sum to 1; the softmax is computed in float64.
    """
    n, k1 = neighbors.shape
    half = min(int(np.around(k1 / 2)) + 1, k1)
    mutual, around = _reciprocal(neighbors, k1), _reciprocal(neighbors, half)
    around = torch.cat([around, around.new_full((1, half), n)])  # an empty list
    counts, columns, values = [], [], []
    for a, b in blocks(n, k1 * half * (k1 + 100), rows.device):
        members = _members(mutual[a:b], around)
        row, place = (members < n).nonzero(as_tuple=True)
        column = members[row, place]
        count = (members < n).sum(1)
        position = torch.arange(len(row), device=rows.device) - (count.cumsum(0) - count)[row]
        scores = 2.0 * _products(rows, row + a, column)
        longest = int(count.max())
        table = scores.new_full((max(longest, 1), b - a), -torch.inf)
        table[position, row] = scores
        table = (table - table.amax(0)).exp_()  # the largest is taken off: no overflow
        total = torch.zeros_like(table[0])
        for p in range(longest):
            total += table[p]
        counts.append(count)
        columns.append(column)
        values.append((table / total)[position, row].float())
    return _stack(counts, columns, values, neighbors)


def _reciprocal(neighbors: torch.Tensor, length: int) -> torch.Tensor:
    """(N, length) int64: those of the first `length` of L_i that have i among theirs, else N."""
    n = len(neighbors)
    lists = neighbors[:, :length]
    mutual = torch.empty_like(lists)
    for a, b in blocks(n, 10 * length * length, lists.device):
        own = torch.arange(a, b, device=lists.device)[:, None, None]
        mutual[a:b] = torch.where((lists[lists[a:b]] == own).any(2), lists[a:b], n)
    return mutual


def _members(core: torch.Tensor, around: torch.Tensor) -> torch.Tensor:
    """R* of some rows: each member once, its places ascending, N elsewhere.

    Args:
        core: (n, k1) int64, R(i, k1) with N for none.
        around: (N + 1, half) int64, R(q, k1 / 2) likewise.
    """
    n = len(around) - 1
    near = around[core]  # (n, k1, half)
    exists = near < n
    inside = (near[..., None] == core[:, None, None]).any(3) & exists
    joins = 3 * inside.sum(2) > 2 * exists.sum(2)
    near = torch.where(joins[..., None], near, n).flatten(1)
    members = torch.cat([core, near], 1).sort(1).values
    repeated = members[:, 1:] == members[:, :-1]
    members[:, 1:].masked_fill_(repeated, n)
    return members


def _products(rows: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Inner products (n,) float64 of pairs of rows."""
    products = torch.empty(len(one), dtype=torch.float64, device=rows.device)
    for a, b in blocks(len(one), 24 * rows.shape[1], rows.device):
        products[a:b] = fold(rows[one[a:b]].double().mul_(rows[other[a:b]].double()))
    return products


@torch.no_grad()
def expand_weights(weights: SparseRows, neighbors: torch.Tensor, k2: int) -> SparseRows:
    """Local query expansion: each row becomes the mean of the rows of its first k2 neighbours."""
    n = len(weights)
    if k2 < 1:
        raise ValueError(f"k2 must be at least 1, not {k2}")
    if k2 == 1 or n == 0:
        return weights
    lists = neighbors[:, :k2]
    k2 = lists.shape[1]
    length = weights.start.diff()
    counts, columns, values = [], [], []
    for a, b in blocks(n, 112 * k2 * (1 + int(length.max())), lists.device):
        listed = lists[a:b].flatten()
        entry, owner = spread(weights.start[listed], length[listed])
        key = owner // k2 * n + weights.column[entry]
        key, term, begin, run = runs(key, weights.value[entry], (b - a) * n)
        row = key // n
        bounds = torch.searchsorted(row, torch.arange(b - a + 1, device=row.device))
        counts.append(bounds.diff())
        columns.append(key % n)
        values.append(sum_in_order(term, begin, run) / k2)
    return _stack(counts, columns, values, neighbors)


@torch.no_grad()
def radius_graph(weights: SparseRows, eps: float) -> JaccardGraph:
    """Pairs with d_ij = 1 - s_ij / (2 - s_ij) <= eps, where s_ij = sum_k min(V_ik, V_jk).

    Most pairs that overlap at all overlap too little. They are excluded by fixed-point sums,
    which are fast and depend on no order; what remains is summed over ascending k in float32.

    Args:
        weights: one row a node.
        eps: cut, below 1.
    """
    if not eps > 0.0 or not np.float32(eps) < 1.0:  # float32: what distances are cut at
        raise ValueError(f"eps must lie between 0 and 1, not {eps}")
    n, device = len(weights), weights.start.device
    if n == 0 or len(weights.column) == 0:
        nothing = torch.zeros(0, dtype=torch.int64, device=device)
        return JaccardGraph(torch.zeros_like(weights.start), nothing, nothing.float(), eps)
    row = torch.repeat_interleave(
        torch.arange(n, device=device), weights.start.diff(), output_size=len(weights.column)
    )
    column, order = weights.column.sort(stable=True)
    inverted_row, inverted_value = row[order], weights.value[order]
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=device)
    # Row i meets only the rows from i on: its own place in the column and those after it.
    last = torch.searchsorted(column, weights.column, right=True)
    count = last - place
    cut = float(np.float32(eps))
    longest = int(weights.start.diff().max())
    least = int(FIXED * (2 * (1 - cut) / (2 - cut) - (longest + 16) * 2.0**-22))
    keys, distances = [], []
    for (a, p), (b, q) in _row_blocks(weights.start, count):
        entry, owner = spread(place[p:q], count[p:q])
        term = torch.minimum(weights.value[p:q][owner], inverted_value[entry])
        key = (row[p:q][owner] - a) * n + inverted_row[entry]
        del entry, owner
        key, term, begin, run = runs(key, term, (b - a) * n)
        estimate = (term.double() * FIXED).long().cumsum(0)
        estimate = torch.cat([estimate.new_zeros(1), estimate])
        near = (estimate[begin + run] - estimate[begin] >= least).nonzero()[:, 0]
        del estimate
        overlap = sum_in_order(term, begin[near], run[near])
        distance = (1 - overlap / (2 - overlap)).clamp_(min=0)
        kept = (distance <= cut).nonzero()[:, 0]
        keys.append(key[near[kept]] + a * n)
        distances.append(distance[kept])
    return _mirrored(torch.cat(keys), torch.cat(distances), n, eps)


def _row_blocks(
    start: torch.Tensor, count: torch.Tensor
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Bounds of blocks of rows and of their entries, such that a block's terms fit into a step."""
    reached = torch.cat([count.new_zeros(1), count.cumsum(0)])[start]  # terms before each row
    length = max(1, room(start.device) // 128)
    cuts = torch.arange(length, max(length, int(reached[-1])), length, device=start.device)
    inner = torch.searchsorted(reached, cuts)
    rows = torch.cat([inner.new_zeros(1), inner, inner.new_full((1,), len(start) - 1)])
    rows = rows.unique_consecutive()
    return list(pairwise(zip(rows.tolist(), start[rows].tolist(), strict=True)))


def _stack(
    counts: list[torch.Tensor],
    columns: list[torch.Tensor],
    values: list[torch.Tensor],
    like: torch.Tensor,
) -> SparseRows:
    """Blocks of (row lengths, columns, values) as one matrix, on the device of `like`."""
    zero = torch.zeros(1, dtype=torch.int64, device=like.device)
    if not counts:
        return SparseRows(zero, zero[:0], zero[:0].float())
    start = torch.cat([zero, torch.cat(counts).cumsum(0)])
    return SparseRows(start, torch.cat(columns), torch.cat(values))


def _mirrored(key: torch.Tensor, distance: torch.Tensor, n: int, eps: float) -> JaccardGraph:
    """The whole symmetric graph from its pairs i <= j, given as i N + j."""
    row, column = key // n, key % n
    later = (row < column).nonzero()[:, 0]
    key, order = torch.cat([key, (column * n + row)[later]]).sort()
    start = torch.searchsorted(key, torch.arange(n + 1, device=key.device) * n)
    return JaccardGraph(start, key % n, torch.cat([distance, distance[later]])[order], eps)
