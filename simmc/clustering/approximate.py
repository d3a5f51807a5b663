"""Approximate k-nearest neighbours of every row among all rows, in time near to linear in N.

A few trees split the rows repeatedly at the median of a random direction; rows of one leaf are
compared by one matrix product. Neighbours in different leaves are found in rounds of descent, which
compare each row with the neighbours of its neighbours (Dong, Moses and Li, "Efficient k-nearest
neighbor graph construction for generic similarity measures", WWW 2011). A sample of rows is
searched exactly first, so the rounds end when its recall is reached, and the recall is known.

The distances of what is found are exact, ordered as `k_nearest` orders them. The same seed gives
the same lists, with any number of threads.
"""

# Arguments of compiled loops are left without types where any floating type may come.
# mypy: disable-error-code="no-untyped-def"

import numpy as np
import torch

from simmc.clustering.neighbors import (
    SPARE,
    Neighbors,
    Screen,
    as_rows,
    k_nearest,
    screen_of,
    search,
)
from simmc.compiled import Threads, compiled, multiply_by_threads, over_rows
from simmc.distances import insert, rank

EXACT_UP_TO = 4096  # rows; below, the exact search is as fast
LEAF = 512  # most rows of a leaf
TREES = 5
LINKS = 20  # of a row, and as many back; the whole list, where descent stops too early
MOST_ROUNDS = 16
SAMPLE = 500  # rows searched exactly
HALT = 0.002  # gain of recall in a round that is not worth a further one


def approximate_neighbors(
    features: np.ndarray,
    k: int,
    *,
    recall: float = 0.97,
    seed: int = 0,
    executor: Threads | None = None,
) -> Neighbors:
    """Find most of the k nearest rows of every row (k is cut to N).

    Args:
        features: (N, d) finite floats.
        k: neighbours a row, itself included.
        recall: share of the true neighbours to be found, above 0 and at most 1. It is measured on
            a sample of rows and can be missed, see `Neighbors.recall`.
        seed: of the sample and of the trees.
        executor: threads of this process; None means as many as torch uses.

    Returns:
        Neighbors, with the recall on the sample. Up to 4,096 rows are searched exactly.

    Raises:
        ValueError: not a finite two-dimensional array, k < 1, or a recall outside (0, 1].
    """
    if not 0.0 < recall <= 1.0:
        raise ValueError(f"recall must be above 0 and at most 1, not {recall}")
    rows = as_rows(features)
    n = len(rows)
    executor = executor or Threads()
    if n <= EXACT_UP_TO or k + SPARE >= LEAF:
        return k_nearest(rows, k, executor=executor)
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.choice(n, SAMPLE, replace=False))
    screen = screen_of(rows)
    truth = search(rows, screen, k, k + SPARE, sample)[1]
    graph = _Graph(screen, k + SPARE, rng, executor)
    del screen  # the graph has a copy in an order of its own
    graph.plant(TREES)
    links, reached = min(LINKS, k + SPARE), 0.0
    for _ in range(MOST_ROUNDS):
        graph.descend(links)
        before, reached = reached, _recall(rows, graph.lists(sample), sample, truth)
        if reached >= recall or (reached - before < HALT and links == k + SPARE):
            break
        if reached - before < HALT:
            links = k + SPARE
            graph.fresh[:] = True
    indices, squared = np.empty((n, k), np.int32), np.empty((n, k))

    def settle(a: int, b: int) -> None:
        here = np.arange(a, b)
        rank(rows, here, graph.lists(here), indices[a:b], squared[a:b])

    over_rows(settle, n, executor.count)
    return Neighbors(indices, squared, reached)


def _recall(rows: np.ndarray, lists: np.ndarray, sample: np.ndarray, truth: np.ndarray) -> float:
    """Share of the k nearest that are as near as the true ones: equal distances do not matter."""
    squared = np.empty(truth.shape)
    rank(rows, sample, lists, np.empty(truth.shape, np.int32), squared)
    return float(np.mean(squared <= truth[:, -1:]))


class _Graph:
    """Lists of neighbours that improve from round to round.

    The rows are kept in the order of a tree's leaves: what one row reads, the next
    often reads again, while it is still in the processor's cache.

    Args:
        screen: the features.
        m: length of the lists.
        rng: source of the trees' directions.
        executor: threads to work on.
    """

    def __init__(self, screen: Screen, m: int, rng: np.random.Generator, executor: Threads) -> None:
        n = len(screen.rows)
        self.rng, self.executor = rng, executor
        self.order = np.concatenate(_leaves(screen.rows, rng)).astype(np.int32)
        self.place = np.empty(n, np.int32)
        self.place[self.order] = np.arange(n, dtype=np.int32)
        self.rows, self.half = screen.rows[self.order], screen.half[self.order]
        self.values = np.full((n, m), np.inf, np.float32)
        self.candidates = np.full((n, m), -1, np.int32)
        self.fresh = np.ones((n, m), np.bool_)

    def plant(self, trees: int) -> None:
        """Compare the rows that share a leaf in one of some new trees."""
        rows = torch.from_numpy(self.rows)

        def compare(leaf: np.ndarray) -> None:
            members = rows[torch.from_numpy(leaf)]
            products = torch.mm(members, members.T).numpy()
            keep_within_leaf(products, self.half, leaf, self.values, self.candidates)

        for _ in range(trees):
            multiply_by_threads(compare, _leaves(self.rows, self.rng), self.executor.count)

    def descend(self, links: int) -> None:
        """One round: every row follows the first `links` of every list."""
        n = len(self.candidates)
        near, new = np.empty((n, 2 * links), np.int32), np.empty((n, 2 * links), np.bool_)
        both_ways(self.candidates, self.fresh, links, near, new)
        values, candidates = np.empty_like(self.values), np.empty_like(self.candidates)
        shared = (
            self.rows, self.half, near, new,
            self.values, self.candidates, values, candidates, self.fresh,
        )  # fmt: skip
        self.executor.map(look_around, shared, n)
        self.values, self.candidates = values, candidates

    def lists(self, which: np.ndarray) -> np.ndarray:
        """(n, m) int32 candidates of some rows, both by their original numbers; -1: none."""
        mine = self.candidates[self.place[which]]
        return np.where(mine < 0, -1, self.order[mine])


def _leaves(rows: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """The leaves of one tree, of at most LEAF rows each.

    All nodes of a level are split at their medians along one direction, the difference of two
    rows: more rows lie along it than along any other.
    """
    levels = int(np.ceil(np.log2(len(rows) / LEAF)))
    ends = rng.integers(len(rows), size=(2, levels))
    directions = rows[ends[0]] - rows[ends[1]]
    along = torch.mm(torch.from_numpy(rows), torch.from_numpy(directions).T).numpy()
    leaves = [np.arange(len(rows))]
    for level in range(levels):
        halves = []
        for node in leaves:
            middle = len(node) // 2
            split = node[np.argpartition(along[node, level], middle)]
            halves += [split[:middle], split[middle:]]
        leaves = halves
    return leaves


@compiled()
def keep_within_leaf(products, half, leaf, values, candidates):
    """Insert every row of a leaf into the list of every other one, unless it is there already.

    Args:
        products: (b, b) float32, inner products of the rows of the leaf.
        half: (N,) float32, half the squared norms.
        leaf: (b,) the rows.
        values: (N, m) float32 ascending, half the squared distances less a constant of the row.
        candidates: (N, m) int32.
    """
    m = values.shape[1]
    for r in range(len(leaf)):
        i = leaf[r]
        for c in range(len(leaf)):
            value = half[leaf[c]] - products[r, c]
            if value < values[i, m - 1]:
                listed = False
                for p in range(m):
                    listed |= candidates[i, p] == leaf[c]
                if not listed:
                    insert(values, candidates, i, value, leaf[c])


@compiled()
def both_ways(candidates, fresh, links, near, new):
    """Links of every row to those it lists first, and from those that list it first.

    Args:
        candidates: (N, m) int32.
        fresh: (N, m) bool: the candidate is new since the last round.
        links: how many of a list count, and how many links back a row has at most.
        near: (N, 2 links) int32, written; -1: none.
        new: (N, 2 links) bool, written: the link is new.
    """
    n = len(candidates)
    taken = np.zeros(n, np.int32)
    near[:] = -1
    for p in range(links):  # the nearest first: they are the likeliest to be worth a link back
        for i in range(n):
            j = candidates[i, p]
            if j < 0:
                continue
            near[i, p] = j
            new[i, p] = fresh[i, p]
            if taken[j] < links:
                near[j, links + taken[j]] = i
                new[j, links + taken[j]] = fresh[i, p]
                taken[j] += 1


@compiled(fastmath={"reassoc", "contract"})
def look_around(
    rows, half, near, new, values, candidates, new_values, new_candidates, fresh, begin, end
):
    """One round of descent for rows begin..end-1: compare them with the neighbours of neighbours.

    Two old links in a row lead to a row that was compared in an earlier round. Reads `values` and
    `candidates`, writes the `new_` ones, so that the order of rows has no influence.
    """
    n, d = rows.shape
    m = values.shape[1]
    links = near.shape[1]
    stamp = np.full(n, -1, np.int32)
    for i in range(begin, end):
        stamp[i] = i
        for p in range(m):
            new_values[i, p] = values[i, p]
            new_candidates[i, p] = candidates[i, p]
            if candidates[i, p] >= 0:
                stamp[candidates[i, p]] = i
        for p in range(links):
            j = near[i, p]
            if j < 0:
                continue
            for q in range(-1, links):
                k = j if q < 0 else near[j, q]
                if k < 0 or stamp[k] == i or not (new[i, p] or (q >= 0 and new[j, q])):
                    continue
                stamp[k] = i
                product = np.float32(0.0)
                for e in range(d):
                    product += rows[i, e] * rows[k, e]
                value = half[k] - product
                if value < new_values[i, m - 1]:
                    insert(new_values, new_candidates, i, value, k)
        for p in range(m):
            if candidates[i, p] >= 0:
                stamp[candidates[i, p]] = -2 - i
        for p in range(m):  # fresh: not listed before
            k = new_candidates[i, p]
            fresh[i, p] = k >= 0 and stamp[k] != -2 - i
