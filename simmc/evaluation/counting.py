"""Exact positions of a probe's matches in the ranking of the whole gallery, without sorting it.

For one probe with P matches in a gallery of n windows only P + 1 numbers per row matter: how many
other windows are nearer than the first match, lie between the first and the second, and so on.
They are counted in one pass over the row of single-precision "screening" values:

1. The squared distances of the P matches are computed exactly (double precision, differences, a
   fixed order of summation) and sorted by (distance, gallery index): the thresholds.
2. Every other window falls into one of some thousand equal buckets; a bucket that no threshold
   comes near is simply counted.
3. A window in a bucket near a threshold is compared with the thresholds. If rounding of the
   screening value could have put it on the wrong side, its distance is computed exactly, too.

So the outcome is that of exact distances throughout, and equal windows tie whatever block of a
matrix product they were in. Letters: B probes of a block, n gallery, d features, P matches.
"""

import numpy as np

from simmc.compiled import compiled


@compiled()
def squared_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Euclidean distance in double precision, always summed in the same order.

    Eight separate sums: a single instruction each on today's processors, without giving the
    compiler leave to change the order (and with it the last bit) from one place to another.
    """
    d = a.shape[0]
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    k = 0
    while k + 8 <= d:
        t0 = np.float64(a[k]) - np.float64(b[k])
        t1 = np.float64(a[k + 1]) - np.float64(b[k + 1])
        t2 = np.float64(a[k + 2]) - np.float64(b[k + 2])
        t3 = np.float64(a[k + 3]) - np.float64(b[k + 3])
        t4 = np.float64(a[k + 4]) - np.float64(b[k + 4])
        t5 = np.float64(a[k + 5]) - np.float64(b[k + 5])
        t6 = np.float64(a[k + 6]) - np.float64(b[k + 6])
        t7 = np.float64(a[k + 7]) - np.float64(b[k + 7])
        s0 += t0 * t0
        s1 += t1 * t1
        s2 += t2 * t2
        s3 += t3 * t3
        s4 += t4 * t4
        s5 += t5 * t5
        s6 += t6 * t6
        s7 += t7 * t7
        k += 8
    while k < d:
        t0 = np.float64(a[k]) - np.float64(b[k])
        s0 += t0 * t0
        k += 1
    return ((s0 + s4) + (s1 + s5)) + ((s2 + s6) + (s3 + s7))


@compiled()
def _first_at_least(values: np.ndarray, count: int, wanted: float) -> int:
    """Number of values[:count] (ascending) below `wanted`."""
    low, high = 0, count
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@compiled()
def _bucket(value, scale, zero, top):  # type: ignore[no-untyped-def]  # one floating type for all
    """Bucket of a screening value less the lowest one; never decreasing in `value`."""
    place = value * scale
    place = place if place > zero else zero
    place = place if place < top else top
    return np.int32(place)


@compiled()
def _buckets(row, norms, limits, codes):  # type: ignore[no-untyped-def]
    """Buckets of a whole row; `limits` holds (lowest value, scale, 0, last bucket)."""
    low, scale, zero, top = limits[0], limits[1], limits[2], limits[3]
    for j in range(row.shape[0]):
        codes[j] = _bucket(norms[j] + row[j] - low, scale, zero, top)


@compiled()
def _near_thresholds(codes, near, histogram, candidates) -> int:  # type: ignore[no-untyped-def]
    """Count the windows of every bucket and list those whose bucket is near a threshold."""
    found = 0
    for j in range(codes.shape[0]):
        code = codes[j]
        histogram[code] += 1
        candidates[found] = j
        found += near[code]
    return found


@compiled()
def _set_buckets(t, count, slack, limits, near, codes_t):  # type: ignore[no-untyped-def]
    """Lay the buckets over the thresholds t[:count] (ascending, infinite ones last) and mark
    those within `slack` of one; the last bucket is for all that lies beyond."""
    last = count - 1
    while last > 0 and t[last] == np.inf:
        last -= 1
    top = near.shape[0] - 1
    low = t[0] - slack if t[0] < np.inf else 0.0
    width = t[last] + slack - low if t[last] < np.inf else 0.0
    scale = (top - 4) / width if width > 1e-30 else 1.0
    limits[0] = low - 2.0 / scale
    limits[1] = scale
    limits[2] = 0.0
    limits[3] = top
    edge = np.empty(3, limits.dtype)
    near[:] = 0
    for k in range(count):
        edge[0] = t[k] - slack
        edge[1] = t[k]
        edge[2] = t[k] + slack
        for e in range(3):
            edge[e] -= limits[0]
        codes_t[k] = _bucket(edge[1], limits[1], limits[2], limits[3])
        first = _bucket(edge[0], limits[1], limits[2], limits[3]) - 1
        final = _bucket(edge[2], limits[1], limits[2], limits[3]) + 1
        for b in range(max(first, 0), min(final, top) + 1):
            near[b] = 1


@compiled()
def _summary(e, count, ahead, no_later):  # type: ignore[no-untyped-def]
    """(first, second, last) rank of a match and the average precision.

    Args:
        e: ascending squared distances of the matches; the first `count` entries count.
        ahead: how many non-matches come before match k under (distance, index).
        no_later: how many non-matches are no farther than match k.
    """
    precision = 0.0
    group = 0
    for k in range(count):
        if k + 1 == count or e[k + 1] != e[k]:  # the end of a group of equal distances
            precision += (k + 1 - group) * (k + 1) / (k + 1 + no_later[k])
            group = k + 1
    second = ahead[1] + 2 if count > 1 else 0
    return ahead[0] + 1, second, ahead[count - 1] + count, precision / count


@compiled()
def rank_rows(  # type: ignore[no-untyped-def]
    start, stop, screen, norms, probes, shift, scale, slack, gallery, order, spans, hidden, refine,
    ranks, precision,
):  # fmt: skip
    """Ranks and average precision of the probes start..stop-1 of a block.

    Args:
        screen: (B, n) float; with `norms` (n,) added, the squared distance less the probe's own
            squared norm, columns in the order of `order`.
        probes, gallery: (B, d), (n, d) original features, used if `refine`.
        shift: (B,) float64, the probes' own squared norm as scaled in `screen`.
        scale: factor from exact squared distances to those of `screen`.
        slack: (B,) float64, bound on the rounding of a screening value.
        order: (n,) int64 gallery index of each column; spans: (B, 2) int64 columns of the matches.
        hidden: (B,) int64 column that is no part of this probe's gallery, or -1.
        refine: False to take `screen` itself as the exact squared distances.
        ranks, precision: (B, 4) int64 first, second, last rank and number of matches (0: none),
            (B,) float64, written here.
    """
    n = screen.shape[1]
    longest = 1
    for i in range(start, stop):
        longest = max(longest, spans[i, 1] - spans[i, 0])
    size = 512
    while size < 16 * longest and size < 65536:
        size *= 2
    histogram = np.empty(size, np.int32)
    near = np.empty(size, np.uint8)
    limits = np.empty(4, screen.dtype)
    codes = np.empty(n, np.int32)
    candidates = np.empty(n + 1, np.int32)
    codes_t = np.empty(longest, np.int32)
    no_later = np.empty(longest + 1, np.int64)
    ahead = np.empty(longest + 1, np.int64)

    for i in range(start, stop):
        row = screen[i]
        distances = np.empty(spans[i, 1] - spans[i, 0], np.float64)
        members = np.empty(spans[i, 1] - spans[i, 0], np.int64)
        count = 0
        for c in range(spans[i, 0], spans[i, 1]):
            if c != hidden[i]:
                members[count] = order[c]
                if refine:
                    distances[count] = squared_distance(probes[i], gallery[order[c]])
                else:
                    distances[count] = row[c]
                count += 1
        ranks[i, 3] = count
        if count == 0:
            ranks[i, :3] = 0
            precision[i] = np.nan
            continue
        by_distance = np.argsort(distances[:count], kind="mergesort")  # stable: index order
        e = distances[by_distance]
        members = members[by_distance]
        t = e * scale - shift[i]

        _set_buckets(t, count, 1.5 * slack[i], limits, near, codes_t)
        _buckets(row, norms, limits, codes)
        histogram[:] = 0
        found = _near_thresholds(codes, near, histogram, candidates)
        no_later[: count + 1] = 0
        ahead[: count + 1] = 0
        for f in range(found):
            c = candidates[f]
            if spans[i, 0] <= c < spans[i, 1] or c == hidden[i]:
                continue
            value = np.float64(norms[c]) + np.float64(row[c])
            k = _first_at_least(t, count, value - slack[i])
            place = k
            if k < count and t[k] <= value + slack[i]:
                if refine:
                    value = squared_distance(probes[i], gallery[order[c]])
                k = _first_at_least(e, count, value)
                place = k
                while place < count and e[place] == value and members[place] < order[c]:
                    place += 1
            no_later[k] += 1
            ahead[place] += 1
        # matches and the hidden window lie in buckets, too: take them out again
        for c in range(spans[i, 0], spans[i, 1]):
            histogram[codes[c]] -= 1
        if hidden[i] >= 0 and not spans[i, 0] <= hidden[i] < spans[i, 1]:
            histogram[codes[hidden[i]]] -= 1
        far = 0
        b = 0
        for k in range(count):
            while b < codes_t[k]:
                if not near[b]:
                    far += histogram[b]
                b += 1
            if k > 0:
                no_later[k] += no_later[k - 1]
                ahead[k] += ahead[k - 1]
            histogram_below = far
            codes_t[k] = histogram_below  # reused: the count of windows in buckets below
        for k in range(count):
            no_later[k] += codes_t[k]
            ahead[k] += codes_t[k]
        ranks[i, 0], ranks[i, 1], ranks[i, 2], precision[i] = _summary(e, count, ahead, no_later)
