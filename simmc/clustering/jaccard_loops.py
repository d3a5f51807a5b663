"""Compiled loops of the sparse Jaccard distance.

Rows are processed in a given `order`: place p is the row numbered order[p], and rank[order[p]] = p.
Lists and columns hold row numbers. A loop over a block processes the places begin to end - 1 and
returns its results one after another.
"""

# Arguments of compiled loops are left without types where any floating type may come.
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from simmc.compiled import compiled

MOST_INSERTED = 48  # entries up to which sorting by insertion is the faster way


@compiled()
def reciprocal(order, rank, lists, length, begin, end):
    """(end - begin, length) int32: R(i) in the order of L_i, padded with -1."""
    mutual = np.full((end - begin, length), -1, np.int32)
    for at in range(begin, end):
        kept = 0
        for p in range(length):
            theirs = rank[lists[at, p]]
            for q in range(length):
                if lists[theirs, q] == order[at]:
                    mutual[at - begin, kept] = lists[at, p]
                    kept += 1
                    break
    return mutual


@compiled(fastmath={"reassoc", "contract"})
def expand_and_weigh(order, rank, rows, mutual, mutual_half, begin, end):
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
        for j in mutual[at]:
            if j < 0:
                break
            in_core[j] = i
            stamp[j] = i
            members[size] = j
            size += 1
        core = size
        for p in range(core):
            theirs = rank[members[p]]
            total = 0
            inside = 0
            for j in mutual_half[theirs]:
                if j < 0:
                    break
                total += 1
                inside += in_core[j] == i
            if 3 * inside > 2 * total:
                for j in mutual_half[theirs]:
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
def mean_rows(rank, start, columns, values, lists, begin, end):
    """Mean of the sparse rows named by each list, for a block of lists."""
    n = len(start) - 1
    k2 = lists.shape[1]
    sums = np.zeros(n, np.float32)
    stamp = np.full(n, -1, np.int32)
    most = 0
    for at in range(begin, end):
        for j in lists[at]:
            most += start[rank[j] + 1] - start[rank[j]]
    counts = np.empty(end - begin, np.int64)
    out_columns = np.empty(most, np.int32)
    out_values = np.empty(most, np.float32)
    filled = 0
    for at in range(begin, end):
        size = 0
        for j in lists[at]:
            for p in range(start[rank[j]], start[rank[j] + 1]):
                c = columns[p]
                if stamp[c] != at:
                    stamp[c] = at
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
    """A block of rows of the radius graph, each pair once: entries a row, places, distances.

    A row lists places from its own on, in no order.
    """
    n = len(start) - 1
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
        for p in range(start[at], start[at + 1]):  # numbers ascend, whatever the order of rows
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
def mirror(counts, columns, values):
    """The whole of a symmetric sparse matrix from half of it, columns in no order."""
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


@compiled()
def by_number(order, start, places, values):
    """A sparse matrix whose rows and columns are places, by numbers instead, columns ascending."""
    n = len(order)
    whole = np.zeros(n + 1, np.int64)
    for at in range(n):
        whole[order[at] + 1] = start[at + 1] - start[at]
    for i in range(n):
        whole[i + 1] += whole[i]
    columns = np.empty(len(places), np.int32)
    by_column = np.empty(len(values), np.float32)
    for at in range(n):
        here = whole[order[at]]
        length = start[at + 1] - start[at]
        if length > MOST_INSERTED:
            numbers = order[places[start[at] : start[at + 1]]]
            sequence = np.argsort(numbers)
            columns[here : here + length] = numbers[sequence]
            by_column[here : here + length] = values[start[at] : start[at + 1]][sequence]
            continue
        for p in range(start[at], start[at + 1]):
            number = order[places[p]]
            to = here + p - start[at]
            while to > here and columns[to - 1] > number:
                columns[to] = columns[to - 1]
                by_column[to] = by_column[to - 1]
                to -= 1
            columns[to] = number
            by_column[to] = values[p]
    return whole, columns, by_column


@compiled()
def depth_first(neighbors):
    """(N,) int32: the order of rows that `near_order` describes."""
    n, k = neighbors.shape
    order = np.empty(n, np.int32)
    waiting = np.empty(n, np.int32)
    seen = np.zeros(n, np.bool_)
    done = 0
    for seed in range(n):
        if seen[seed]:
            continue
        seen[seed] = True
        waiting[0] = seed
        size = 1
        while size:
            size -= 1
            i = waiting[size]
            order[done] = i
            done += 1
            for p in range(k - 1, -1, -1):
                j = neighbors[i, p]
                if not seen[j]:
                    seen[j] = True
                    waiting[size] = j
                    size += 1
    return order
