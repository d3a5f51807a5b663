"""Compiled loops of the approximate neighbour search: leaves of trees, neighbours of neighbours."""

# Arguments of compiled loops are left without types where any floating type may come.
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from simmc.clustering.neighbor_loops import insert
from simmc.compiled import compiled


@compiled()
def keep_within_leaf(products, half, leaf, values, candidates):
    """Offer every row of a leaf to every other one; rows that are listed already are passed over.

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
        near: (N, 2 links) int32, written; -1 is no one.
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
    """One round of descent for rows begin..end-1: the neighbours of their neighbours are offered.

    Two old links in a row lead to someone who was offered in an earlier round. Reads `values` and
    `candidates`, writes the `new_` ones, so that the outcome does not depend on who is first.
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
        for p in range(m):  # fresh is who was not listed before
            k = new_candidates[i, p]
            fresh[i, p] = k >= 0 and stamp[k] != -2 - i
