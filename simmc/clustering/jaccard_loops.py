"""Compiled loops of the sparse Jaccard distance.

A loop over a block processes the rows begin to end - 1 and returns their results one after another.
"""

# Arguments of compiled loops are left without types where any floating type may come.
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from simmc.compiled import compiled


@compiled()
def reciprocal(lists, length, begin, end):
    """(end - begin, length) int32: R(i) in the order of L_i, padded with -1."""
    mutual = np.full((end - begin, length), -1, np.int32)
    for i in range(begin, end):
        kept = 0
        for p in range(length):
            j = lists[i, p]
            for q in range(length):
                if lists[j, q] == i:
                    mutual[i - begin, kept] = j
                    kept += 1
                    break
    return mutual


@compiled(fastmath={"reassoc", "contract"})
def expand_and_weigh(rows, mutual, mutual_half, begin, end):
    """Weights of a block of rows: their number a row, columns and values one after another."""
    d = rows.shape[1]
    stamp = np.full(len(rows), -1, np.int32)  # stamp[j] == i: j is in R*(i)
    in_core = np.full(len(rows), -1, np.int32)
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
            theirs = mutual_half[members[p]]
            total = 0
            inside = 0
            for j in theirs:
                if j < 0:
                    break
                total += 1
                inside += in_core[j] == i
            if 3 * inside > 2 * total:
                for j in theirs:
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
def mean_rows(start, columns, values, lists, begin, end):
    """Mean of the sparse rows named by each list, for a block of lists."""
    n = len(start) - 1
    k2 = lists.shape[1]
    sums = np.zeros(n, np.float32)
    stamp = np.full(n, -1, np.int32)
    most = 0
    for i in range(begin, end):
        for j in lists[i]:
            most += start[j + 1] - start[j]
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
def invert(start, columns, values, first, places, inverted):
    """The columns of a sparse matrix: where each begins, places of its rows (ascending), values."""
    first[:] = 0
    for k in columns:
        first[k + 1] += 1
    for k in range(len(first) - 1):
        first[k + 1] += first[k]
    free = first[:-1].copy()
    for at in range(len(start) - 1):
        for p in range(start[at], start[at + 1]):
            k = columns[p]
            places[free[k]] = at
            inverted[free[k]] = values[p]
            free[k] += 1


@compiled()
def overlaps(start, columns, values, first, places, inverted, eps, begin, end):
    """A block of rows of the radius graph, each pair once: entries a row, columns, distances.

    A row lists rows from its own on, ascending.
    """
    n = len(start) - 1
    overlap = np.zeros(n, np.float32)
    stamp = np.full(n, -1, np.int32)
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
            last = first[k + 1]
            q = _first_from(places, first[k], last, i)
            while q < last:
                j = places[q]
                if stamp[j] != i:
                    stamp[j] = i
                    overlap[j] = zero
                    touched[size] = j
                    size += 1
                overlap[j] += min(mine, inverted[q])
                q += 1
        kept = 0
        for j in touched[:size]:
            s = overlap[j]
            overlap[j] = max(one - s / (two - s), zero)  # the distance from here on
            if overlap[j] <= eps:
                touched[kept] = j
                kept += 1
        touched[:kept].sort()
        if filled + kept > room:
            room = max(2 * room, filled + kept)
            wider = np.empty(room, np.int32)
            wider[:filled] = out_columns[:filled]
            out_columns = wider
            longer = np.empty(room, np.float32)
            longer[:filled] = out_values[:filled]
            out_values = longer
        for j in touched[:kept]:
            out_columns[filled] = j
            out_values[filled] = overlap[j]
            filled += 1
        counts[i - begin] = kept
    return counts, out_columns[:filled].copy(), out_values[:filled].copy()


@compiled()
def _first_from(ascending, low, high, wanted):
    """First place in low..high whose value is not below `wanted`."""
    while low < high:
        middle = (low + high) >> 1
        if ascending[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@compiled()
def mirror(counts, columns, values):
    """The whole of a symmetric sparse matrix from its columns from the diagonal on; all ascend."""
    n = len(counts)
    start = np.zeros(n + 1, np.int64)
    p = 0
    for i in range(n):
        for _ in range(counts[i]):
            start[i + 1] += 1
            if columns[p] != i:
                start[columns[p] + 1] += 1
            p += 1
    for i in range(n):
        start[i + 1] += start[i]
    free = start[:-1].copy()
    whole_columns = np.empty(start[n], np.int32)
    whole_values = np.empty(start[n], np.float32)
    p = 0
    for i in range(n):
        for _ in range(counts[i]):
            j = columns[p]
            whole_columns[free[i]] = j
            whole_values[free[i]] = values[p]
            free[i] += 1
            if j != i:
                whole_columns[free[j]] = i
                whole_values[free[j]] = values[p]
                free[j] += 1
            p += 1
    return start, whole_columns, whole_values
