"""Exact positions of a probe's matches in the ranking of the whole gallery, without sorting it.

For one probe with P matches only P numbers matter: how many other windows are nearer than match
1, 2, ..., P. They are counted in one pass over a row of single-precision "screening" values:

1. The squared distances of the P matches are computed exactly (double precision, differences, a
   fixed order of summation) and sorted by (distance, gallery index): the thresholds.
2. Every other window falls into one of some thousand equal buckets; what is in a bucket that no
   threshold comes near is simply counted.
3. A window in a bucket near a threshold is compared with the thresholds. Where rounding of the
   screening value could have put it on the wrong side, its distance is computed exactly, too.

So the result is that of exact distances, and equal windows tie in any block of a product.
Letters: B probes of a block, n gallery, d features, P matches.
"""

# Arguments of compiled loops are left without types where any floating type may come.
# mypy: disable-error-code="no-untyped-def"

from collections.abc import Callable
from math import frexp, sqrt

import numpy as np
import torch

from simmc.compiled import compiled
from simmc.distances import LANES, squared_distance

_ROWS = 4096  # rows turned to double precision at a time
_BUCKETS = 512, 65536  # fewest and most; 32 to 64 a match in between


@compiled()
def _rounding(length_p, length_g, d):
    """Bound on the error of a screening value; no sum of d terms in any order does worse.

    Terms: the product, then centring, norms and their sum in single precision; centring in double
    precision; underflow.
    """
    both = length_p + length_g
    single = 2.0 * (d + 8) * length_p * length_g + 8.0 * both * both
    return 2.0**-24 * single + 2.0**-50 * both + 1e-30


@compiled()
def _matches(row, probe, gallery, order, span, hidden, refine, sums):
    """Ascending squared distances (P,) and gallery indices (P,) of a probe's matches."""
    distances = np.empty(span[1] - span[0], np.float64)
    members = np.empty(span[1] - span[0], np.int64)
    count = 0
    for c in range(span[0], span[1]):
        if c == hidden:
            continue
        members[count] = order[c]
        if refine:
            distances[count] = squared_distance(probe, gallery[order[c]], sums)
        else:
            distances[count] = row[c]
        count += 1
    ascending = np.argsort(distances[:count], kind="mergesort")  # stable: ties by gallery index
    return distances[ascending], members[ascending]


@compiled()
def _margin(last, length, longest, d):
    """How near to a threshold a screening value is uncertain, for any window.

    No uncertain window is longer than the probe and the distance `last` of the last match together
    (and a little). Half as much again covers rounding the threshold itself to single precision.
    """
    reach = 1.1 * (length + last) + 1e-12
    return 1.5 * _rounding(length, min(longest, reach), d)


@compiled()
def _bucket(value, low, scale, zero, top):
    """Bucket of a value; never decreasing in it. All of one floating type."""
    place = (value - low) * scale
    place = place if place > zero else zero
    place = place if place < top else top
    return np.int32(place)


@compiled()
def _set_buckets(t, margin, limits, near):
    """Lay the buckets over the thresholds t (P,) and mark those within the margin of one.

    The last bucket is for all that lies beyond; infinite thresholds are there.

    Args:
        t: (P,) ascending thresholds.
        margin: about each of them.
        limits: (4,) written: lowest value, scale, 0, last bucket.
        near: written: 1 for marked buckets, else 0.

    Returns:
        The buckets of the thresholds, (P,) int32.
    """
    finite = len(t)
    while finite > 0 and t[finite - 1] == np.inf:
        finite -= 1
    low, width = 0.0, 0.0
    if finite > 0:
        low = t[0] - margin
        width = t[finite - 1] + margin - low
    top = near.shape[0] - 1
    scale = (top - 4) / width if width > 1e-30 else 1.0
    limits[0], limits[1], limits[2], limits[3] = low - 2.0 / scale, scale, 0.0, top
    lowest, scale_, zero, last = limits[0], limits[1], limits[2], limits[3]  # as rounded
    codes = np.empty(len(t), np.int32)
    edges = np.empty(3, limits.dtype)
    near[:] = 0
    for k in range(len(t)):
        edges[0], edges[1], edges[2] = t[k] - margin, t[k], t[k] + margin
        codes[k] = _bucket(edges[1], lowest, scale_, zero, last)
        start = _bucket(edges[0], lowest, scale_, zero, last)
        near[start : _bucket(edges[2], lowest, scale_, zero, last) + 1] = 1
    return codes


@compiled()
def _sort_into_buckets(row, norms, limits, near, codes, histogram, candidates):
    """Count the windows of every bucket and list those in marked ones; returns how many."""
    low, scale, zero, last = limits[0], limits[1], limits[2], limits[3]
    for j in range(row.shape[0]):
        codes[j] = _bucket(norms[j] + row[j], low, scale, zero, last)
    histogram[:] = 0
    found = 0
    for j in range(row.shape[0]):
        histogram[codes[j]] += 1
        candidates[found] = j
        found += near[codes[j]]
    return found


@compiled()
def _summary(e, codes, near, histogram, ahead, no_later):
    """(first, second, last) rank of a match and the average precision.

    Args:
        e: (P,) ascending squared distances of the matches.
        codes: (P,) their buckets.
        near: 1 for marked buckets.
        histogram: windows in every bucket.
        ahead: (P + 1,) how many of the windows in marked buckets come between match k - 1 and
            match k under (distance, index). Overwritten.
        no_later: (P + 1,) likewise by distance alone, those at match k's own included.
    """
    count = len(e)
    far, b = 0, 0
    before, no_farther = 0, 0
    precision, group = 0.0, 0
    for k in range(count):
        while b < codes[k]:
            if not near[b]:
                far += histogram[b]
            b += 1
        before += ahead[k]
        no_farther += no_later[k]
        ahead[k] = before + far
        if k + 1 == count or e[k + 1] != e[k]:  # the end of a group of equal distances
            precision += (k + 1 - group) * (k + 1) / (k + 1 + no_farther + far)
            group = k + 1
    second = ahead[1] + 2 if count > 1 else 0
    return ahead[0] + 1, second, ahead[count - 1] + count, precision / count


@compiled()
def rank_rows(
    start, stop, screen, shift, norms, longest, scale, refine, probes, gallery, order, spans,
    hidden, ranks, precision,
):  # fmt: skip
    """Ranks and average precision of the probes start..stop-1 of a block.

    Args:
        start: first row of the block to rank.
        stop: the row after the last one.
        screen: (B, n) float, columns in the order of `order`; with `norms` added, the squared
            distance as scaled, less the probe's own squared norm. Overwritten.
        shift: (B,) float64, that squared norm of the probe.
        norms: (n,) float, of the type of `screen`.
        longest: root of the largest of the norms.
        scale: factor from exact squared distances to scaled ones.
        refine: False to take the values of `screen` themselves as the exact squared distances.
        probes: (B, d) features, float32 or float64.
        gallery: (n, d) features of the same type.
        order: (n,) int64 gallery index of each column, rising within an identity.
        spans: (B, 2) int64, the columns of a probe's matches.
        hidden: (B,) int64 column that is no part of this probe's gallery, or -1.
        ranks: (B, 4) int64, written: first, second and last rank, number of matches (0: none).
        precision: (B,) float64, written: average precision.
    """
    n, d = gallery.shape
    size = _BUCKETS[0]
    while size < 32 * np.max(spans[:, 1] - spans[:, 0]) and size < _BUCKETS[1]:
        size *= 2
    histogram = np.empty(size, np.int32)
    near = np.empty(size, np.uint8)
    limits = np.empty(4, screen.dtype)
    codes = np.empty(n, np.int32)
    candidates = np.empty(n + 1, np.int32)
    sums = np.empty(LANES)
    for i in range(start, stop):
        row, span = screen[i], spans[i]
        e, members = _matches(row, probes[i], gallery, order, span, hidden[i], refine, sums)
        ranks[i, 3] = len(e)
        if len(e) == 0:
            ranks[i, :3], precision[i] = 0, np.nan
            continue
        # matches are done, and the hidden window is not in the gallery: beyond all, see below
        row[span[0] : span[1]] = np.inf
        if hidden[i] >= 0:
            row[hidden[i]] = np.inf
        t = e * scale - shift[i]
        length = np.sqrt(shift[i])
        margin = _margin(np.sqrt(e[-1] * scale), length, longest, d) if refine else 0.0
        codes_t = _set_buckets(t, margin, limits, near)
        found = _sort_into_buckets(row, norms, limits, near, codes, histogram, candidates)
        ahead = np.zeros(len(e) + 1, np.int64)
        no_later = np.zeros(len(e) + 1, np.int64)
        for c in candidates[:found]:
            if span[0] <= c < span[1] or c == hidden[i]:
                continue
            value = np.float64(norms[c]) + np.float64(row[c])
            slack = _rounding(length, 1.0001 * np.sqrt(norms[c]), d) if refine else 0.0
            k = np.searchsorted(t, value - slack)  # of the matches: those that are nearer
            before = k
            if k < len(e) and t[k] <= value + slack:  # uncertain, or equal
                if refine:
                    value = squared_distance(probes[i], gallery[order[c]], sums)
                k = np.searchsorted(e, value)
                before = k
                while before < len(e) and e[before] == value and members[before] < order[c]:
                    before += 1
            no_later[k] += 1
            ahead[before] += 1
        ranks[i, 0], ranks[i, 1], ranks[i, 2], precision[i] = _summary(
            e, codes_t, near, histogram, ahead, no_later
        )


class Screen:
    """Single-precision products of features centred on the gallery's mean.

    Centring avoids the cancellation in |p|^2 + |g|^2 - 2 pg; scaling by a power of two, which is
    exact, keeps squares of very small or large features in range.
    """

    refine = True
    itemsize = 4

    def __init__(self, probe: np.ndarray, gallery: np.ndarray, order: np.ndarray, rows: int):
        self.probe = probe
        self.mean = gallery.mean(axis=0, dtype=np.float64)
        largest = max(np.abs([x.min(), x.max()]).max() for x in (probe, gallery))
        # every centred row is then at most 1 long
        self.factor = 2.0 ** -frexp(2 * largest * sqrt(gallery.shape[1]) or 1.0)[1]
        self.scale = self.factor**2
        self.right = np.empty(gallery.shape, np.float32)
        squares = np.empty(len(gallery))
        for a in range(0, len(gallery), _ROWS):
            self.right[a : a + _ROWS], squares[a : a + _ROWS] = self._centred(
                gallery[order[a : a + _ROWS]]
            )
        self.norms = squares.astype(np.float32)
        self.longest = sqrt(squares.max())
        self.buffer = np.empty((min(rows, len(probe)), len(gallery)), np.float32)

    def _centred(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows (b, d) float32 centred and scaled, and their squared norms (b,) float64."""
        centred = ((rows - self.mean) * self.factor).astype(np.float32)
        return centred, np.einsum("ij,ij->i", centred, centred, dtype=np.float64)

    def block(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Screening values (b, n) of the probes start..stop-1, their squared norms (b,)."""
        left, squares = self._centred(self.probe[start:stop])
        left *= -2
        return _product(left, self.right, self.buffer), squares


class ReleasedSquares:
    """|p|^2 + |g|^2 - 2 pg in double precision, as released; negative ones: infinity (Q13)."""

    refine = False
    itemsize = 8
    scale = 1.0
    longest = 0.0

    def __init__(self, probe: np.ndarray, gallery: np.ndarray, order: np.ndarray, rows: int):
        self.probe = probe.astype(np.float64)
        self.right = gallery[order].astype(np.float64)
        self.norms = np.zeros(len(gallery))
        self.squares = np.square(self.right).sum(axis=1)
        self.buffer = np.empty((min(rows, len(probe)), len(gallery)))

    def block(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Squared distances (b, n) of the probes start..stop-1, and zeros."""
        rows = self.probe[start:stop]
        screen = _product(rows, self.right, self.buffer)
        screen *= -2
        screen += np.square(rows).sum(axis=1)[:, None] + self.squares
        screen[screen < 0] = np.inf
        return screen, np.zeros(stop - start)


class GivenDistances:
    """Distances that a function computes for blocks of probes."""

    refine = False
    itemsize = 8
    scale = 1.0
    longest = 0.0

    def __init__(self, distances: Callable[[int, int], np.ndarray], order: np.ndarray):
        self.distances = distances
        self.order = order
        self.norms = np.zeros(len(order))

    def block(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances (b, n) of the probes start..stop-1, and zeros."""
        found = np.asarray(self.distances(start, stop), np.float64)
        if found.shape != (stop - start, len(self.order)):
            raise ValueError(f"distances of shape {found.shape} for {stop - start} probes")
        if np.isnan(found).any():
            raise ValueError(f"a distance of the probes {start} to {stop - 1} is NaN")
        return found[:, self.order], np.zeros(stop - start)


def _product(left: np.ndarray, right: np.ndarray, buffer: np.ndarray) -> np.ndarray:
    """Left (b, d) times the transpose of right (n, d), in the first b rows of the buffer."""
    out = buffer[: len(left)]
    if torch.get_float32_matmul_precision() == "highest":
        torch.mm(torch.from_numpy(left), torch.from_numpy(right).T, out=torch.from_numpy(out))
    else:  # torch might round to bfloat16, against the bound the counting relies on
        np.matmul(left, right.T, out=out)
    return out


def is_junk(ids: np.ndarray) -> np.ndarray:
    """(N,) bool: identities below 0 (no person): never a match, never scored as a probe."""
    return ids < 0 if ids.dtype.kind in "if" else np.zeros(len(ids), bool)


def has_match(probe_ids: np.ndarray, gallery_ids: np.ndarray, *, same: bool = False) -> np.ndarray:
    """(Np,) bool: probes with a match in the gallery.

    Args:
        probe_ids: (Np,) identities.
        gallery_ids: (Ng,) identities.
        same: both are one list, in which no window matches itself.
    """
    present, counts = np.unique(gallery_ids, return_counts=True)
    return np.isin(probe_ids, present[counts > same]) & ~is_junk(probe_ids)


def match_spans(probe_ids: np.ndarray, gallery_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the matches of every probe: they lie together once the gallery is in order of identity.

    Args:
        probe_ids: (Np,) identities of any sortable type; numbers below 0 match nothing.
        gallery_ids: (Ng,) identities.

    Returns:
        order (Ng,) int64, the gallery by identity and then by index, and spans (Np, 2) int64:
        the matches of probe i are order[spans[i, 0] : spans[i, 1]].
    """
    order = np.argsort(gallery_ids, kind="stable")
    ordered = gallery_ids[order]
    sides = [np.searchsorted(ordered, probe_ids, side) for side in ("left", "right")]
    spans = np.stack(sides, axis=1)
    spans[is_junk(probe_ids)] = 0
    return order, spans
