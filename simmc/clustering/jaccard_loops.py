"""Compiled loops of the sparse Jaccard distance.

Those over a block work on the rows order[begin:end] and return them one after another.
"""

# Arguments of compiled loops are left without types where any floating type may come.
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from simmc.compiled import compiled


@compiled()
def reciprocal(order, neighbors, length, begin, end):
    """(end - begin, length) int32: R(i) in the order of L_i, padded with -1."""
    mutual = np.full((end - begin, length), -1, np.int32)
    for at in range(begin, end):
        i = order[at]
        kept = 0
        for p in range(length):
            j = neighbors[i, p]
            for q in range(length):
                if neighbors[j, q] == i:
                    mutual[at - begin, kept] = j
                    kept += 1
                    break
    return mutual


@compiled(fastmath={"reassoc", "contract"})
def expand_and_weigh(order, rows, mutual, mutual_half, begin, end):
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
    for at in range(begin, end):
        i = order[at]
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
        counts[at - begin] = size
        filled += size
    return counts, columns[:filled].copy(), values[:filled].copy()


@compiled()
def mean_rows(order, start, columns, values, lists, begin, end):
    """Mean of the sparse rows named by each list, for a block of lists."""
    n = len(start) - 1
    k2 = lists.shape[1]
    sums = np.zeros(n, np.float32)
    stamp = np.full(n, -1, np.int32)
    most = 0
    for at in range(begin, end):
        size = 0
        for j in lists[order[at]]:
            size += start[j + 1] - start[j]
        most += size
    counts = np.empty(end - begin, np.int64)
    out_columns = np.empty(most, np.int32)
    out_values = np.empty(most, np.float32)
    filled = 0
    for at in range(begin, end):
        i = order[at]
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
        counts[at - begin] = size
        filled += size
    return counts, out_columns[:filled].copy(), out_values[:filled].copy()


@compiled()
def place_rows(order, begin, counts, columns, values, start, all_columns, all_values):
    """Put the rows order[begin:] of one block to their places in a sparse matrix."""
    filled = 0
    for p in range(len(counts)):
        to = start[order[begin + p]]
        for e in range(counts[p]):
            all_columns[to + e] = columns[filled + e]
            all_values[to + e] = values[filled + e]
        filled += counts[p]


@compiled()
def invert(order, start, columns, values, n_columns):
    """The columns of a sparse matrix: where each begins, places of its rows in `order`, values.

    Places ascend in each column.
    """
    first = np.zeros(n_columns + 1, start.dtype)
    for k in columns:
        first[k + 1] += 1
    for k in range(n_columns):
        first[k + 1] += first[k]
    free = first[:-1].copy()
    places = np.empty(len(columns), np.int32)
    inverted = np.empty(len(columns), np.float32)
    for at in range(len(order)):
        for p in range(start[order[at]], start[order[at] + 1]):
            k = columns[p]
            places[free[k]] = at
            inverted[free[k]] = values[p]
            free[k] += 1
    return first, places, inverted


@compiled()
def overlaps(order, start, columns, values, first, places, inverted, eps, begin, end):
    """A block of rows of the radius graph, each pair once: entries a row, places, distances.

    A row lists the places, in `order`, from its own on.
    """
    n = len(order)
    overlap = np.zeros(n, np.float32)
    stamp = np.full(n, -1, np.int32)
    touched = np.empty(n, np.int32)
    counts = np.empty(end - begin, np.int64)
    room = 64 * (end - begin)
    out_places = np.empty(room, np.int32)
    out_values = np.empty(room, np.float32)
    filled = 0
    one, two, zero = np.float32(1.0), np.float32(2.0), np.float32(0.0)
    for at in range(begin, end):
        size = 0
        for p in range(start[order[at]], start[order[at] + 1]):  # ascending, whatever the order
            k = columns[p]
            mine = values[p]
            last = first[k + 1]
            q = _first_from(places, first[k], last, at)
            while q < last:
                to = places[q]
                if stamp[to] != at:
                    stamp[to] = at
                    overlap[to] = zero
                    touched[size] = to
                    size += 1
                overlap[to] += min(mine, inverted[q])
                q += 1
        before = filled
        for p in range(size):
            s = overlap[touched[p]]
            distance = max(one - s / (two - s), zero)
            if distance <= eps:
                if filled == room:
                    room *= 2
                    wider = np.empty(room, np.int32)
                    wider[:filled] = out_places
                    out_places = wider
                    longer = np.empty(room, np.float32)
                    longer[:filled] = out_values
                    out_values = longer
                out_places[filled] = touched[p]
                out_values[filled] = distance
                filled += 1
        counts[at - begin] = filled - before
    return counts, out_places[:filled].copy(), out_values[:filled].copy()


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
def mirror(order, counts, places, values):
    """A symmetric sparse matrix from half of it: start, columns, values; columns ascend."""
    n = len(order)
    start = np.zeros(n + 1, np.int64)
    p = 0
    for at in range(n):
        for _ in range(counts[at]):
            start[order[at] + 1] += 1
            if places[p] != at:
                start[order[places[p]] + 1] += 1
            p += 1
    for i in range(n):
        start[i + 1] += start[i]
    columns = np.empty(start[n], np.int32)
    whole = np.empty(start[n], np.float32)
    free = start[:-1].copy()
    p = 0
    for at in range(n):
        i = order[at]
        for _ in range(counts[at]):
            j = order[places[p]]
            columns[free[i]] = j
            whole[free[i]] = values[p]
            free[i] += 1
            if i != j:
                columns[free[j]] = i
                whole[free[j]] = values[p]
                free[j] += 1
            p += 1
    # Its transpose is itself; written row after row, its columns ascend.
    sorted_columns = np.empty_like(columns)
    sorted_values = np.empty_like(whole)
    free[:] = start[:-1]
    for i in range(n):
        for p in range(start[i], start[i + 1]):
            j = columns[p]
            sorted_columns[free[j]] = i
            sorted_values[free[j]] = whole[p]
            free[j] += 1
    return start, sorted_columns, sorted_values
