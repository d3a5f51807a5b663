"""Compiled loops of the sparse Jaccard distance, each over a block of rows."""

# Arguments of compiled loops are left without types where any floating type may come.
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from simmc.compiled import compiled


@compiled()
def reciprocal(neighbors, length, begin, end):
    """(end - begin, length) int32: R(i) in the order of L_i, padded with -1."""
    mutual = np.full((end - begin, length), -1, np.int32)
    for i in range(begin, end):
        kept = 0
        for p in range(length):
            j = neighbors[i, p]
            for q in range(length):
                if neighbors[j, q] == i:
                    mutual[i - begin, kept] = j
                    kept += 1
                    break
    return mutual


@compiled(fastmath={"reassoc", "contract"})
def expand_and_weigh(rows, mutual, mutual_half, begin, end):
    """Weights of rows begin..end-1: their number a row, columns and values one after another."""
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
def mean_rows(start, columns, values, lists, begin, end):
    """Mean of the sparse rows named by each list, for rows begin..end-1."""
    n = len(start) - 1
    k2 = lists.shape[1]
    sums = np.zeros(n, np.float32)
    stamp = np.full(n, -1, np.int32)
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
def overlaps(
    start, columns, values, inverted_start, inverted_rows, inverted_values, eps, begin, end
):
    """Upper half of rows begin..end-1 of the radius graph: entries a row, columns, distances.

    Row i lists the columns j >= i only.
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
            last = inverted_start[k + 1]
            q = _first_from(inverted_rows, inverted_start[k], last, i)
            while q < last:
                j = inverted_rows[q]
                if stamp[j] != i:
                    stamp[j] = i
                    overlap[j] = zero
                    touched[size] = j
                    size += 1
                overlap[j] += min(mine, inverted_values[q])
                q += 1
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
    """The whole of a symmetric sparse matrix from its upper half: start, columns, values."""
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
    place = start[:-1].copy()
    whole_columns = np.empty(start[n], np.int32)
    whole_values = np.empty(start[n], np.float32)
    p = 0
    for i in range(n):  # earlier rows have put their entries into row i already: ascending
        for _ in range(counts[i]):
            j = columns[p]
            whole_columns[place[i]] = j
            whole_values[place[i]] = values[p]
            place[i] += 1
            if j != i:
                whole_columns[place[j]] = i
                whole_values[place[j]] = values[p]
                place[j] += 1
            p += 1
    return start, whole_columns, whole_values
