"""Exact k-nearest neighbours on a device, in memory linear in N.

The definition is that of `simmc.clustering.neighbors`: float64 sums of squared differences, ties
to the smaller index. Single-precision products of tiles propose candidates, whose distances are
then computed by the definition. A bound on the products' rounding proves that no row was missed;
rows without that proof are searched again among all rows that the bound cannot rule out.

Only these numbers are read on the host: whether the features are finite, how many rows are
unproven, and for those how many pairs a tile leaves.
"""

from dataclasses import dataclass

import torch

from simmc.clustering.gpu.tiles import blocks, full_precision, room
from simmc.distances import sum_of_squares

LARGEST = 1e150  # beyond it squares would leave the range of float64
MOST_EXPONENT = 1000  # of the factor, for features that are hardly above zero
SPARE = 12  # candidates kept beyond k, so that rounding seldom leaves a row unproven
GROUP = 64  # columns of a tile of which only the smallest value is compared at first
TILE_ROWS = 4096  # rows of a tile, at least; more only where a tile holds all columns


@dataclass(frozen=True)
class Neighbors:
    """The k nearest rows of each row, the row itself included, nearest first.

    Attributes:
        indices: (N, k) int64.
        squared: (N, k) float64, squared Euclidean distances, in the features' unit squared.
    """

    indices: torch.Tensor
    squared: torch.Tensor


@dataclass(frozen=True)
class Screen:
    """Features as single-precision products see them: centred, scaled by a power of two.

    P is N rounded up to whole groups; a row that only fills up is infinitely far from all.

    Attributes:
        rows: (P, d) float32.
        half: (P,) float32, half of the squared norms.
        norms: (N,) float64, squared norms.
        scale: () float64, the factor.
    """

    rows: torch.Tensor
    half: torch.Tensor
    norms: torch.Tensor
    scale: torch.Tensor


@torch.no_grad()
def k_nearest(features: torch.Tensor, k: int) -> Neighbors:
    """Find the k nearest rows of every row (k is cut to N).

    Args:
        features: (N, d) finite floats.
        k: neighbours a row, itself included (with distance 0; a duplicate of smaller index
            comes before it).

    Returns:
        Neighbors with indices and squared distances of shape (N, min(k, N)).

    Raises:
        ValueError: not a finite two-dimensional tensor, or k < 1.
    """
    rows = as_rows(features)
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    n = len(rows)
    k = min(k, n)
    every = torch.arange(n, device=rows.device)
    if k + SPARE >= n:
        return Neighbors(*_rank(rows, every.expand(n, n), k))
    screen = screen_of(rows)
    with full_precision(rows.device):
        candidates, floor = _candidates(screen, k + SPARE)
        indices, squared = _rank(rows, candidates, k)
        limit = _limits(screen, squared[:, -1])
        unproven = (~(floor > limit)).nonzero()[:, 0]
        for a in range(0, len(unproven), TILE_ROWS):
            which = unproven[a : a + TILE_ROWS]
            indices[which], squared[which] = _search_again(rows, screen, which, limit[which], k)
    return Neighbors(indices, squared)


def as_rows(features: torch.Tensor) -> torch.Tensor:
    """Check (N, d) features and return them as contiguous float32 or float64."""
    if features.ndim != 2:
        shape = tuple(features.shape)
        raise ValueError(f"features must be two-dimensional (N, d), not of shape {shape}")
    if features.is_complex():
        raise ValueError("features must be real numbers, not complex ones")
    narrow = features.is_floating_point() and features.dtype != torch.float64
    rows = features.detach().to(torch.float32 if narrow else torch.float64).contiguous()
    finite = rows.isfinite().all(1)
    if not finite.all():
        bad = int((~finite).nonzero()[0])
        raise ValueError(f"features must be finite: row {bad} holds NaN or infinity")
    if rows.dtype == torch.float64 and bool((rows.abs() > LARGEST).any()):
        bad = int((rows.abs() > LARGEST).any(1).nonzero()[0])
        raise ValueError(f"features are too large to square: row {bad} exceeds {LARGEST:g}")
    return rows


def screen_of(rows: torch.Tensor) -> Screen:
    """Prepare (N, d) features, N > 0, for single-precision products."""
    n, d = rows.shape
    mean = rows.mean(0, dtype=torch.float64)
    largest = torch.maximum(rows.amax(0) - mean, mean - rows.amin(0)).amax() if d else mean.sum()
    scale = torch.where(
        largest > 0, torch.exp2((-largest.log2().floor()).clamp(max=MOST_EXPONENT)), 1.0
    )
    padded = rows.new_zeros(-(-n // GROUP) * GROUP, d, dtype=torch.float32)
    norms = rows.new_empty(n, dtype=torch.float64)
    for a, b in blocks(n, 24 * d, rows.device):
        padded[a:b] = (rows[a:b] - mean) * scale
        norms[a:b] = padded[a:b].double().square().sum(1)
    half = padded.new_full((len(padded),), torch.inf)
    half[:n] = (0.5 * norms).float()
    return Screen(padded, half, norms, scale)


def _limits(screen: Screen, squared: torch.Tensor) -> torch.Tensor:
    """The largest value |y|^2 / 2 - x.y that products can give a row y within this distance of x.

    A dot product of d terms, summed in any order, is off by at most about d eps |x||y|; the
    halved norms and the centring add a few eps. Where numbers overflow the limit is NaN, and
    nothing is below or above that.

    Args:
        screen: the features as multiplied.
        squared: (N,) float64, a squared distance for every row, in the features' unit.

    Returns:
        (N,) float32.
    """
    lengths, eps = screen.norms.sqrt(), torch.finfo(torch.float32).eps
    largest = lengths.amax()
    slack = (screen.rows.shape[1] + 8) * eps * (lengths + largest) * largest
    limit = ((squared * screen.scale**2 - screen.norms) / 2 + slack).float()
    return limit.nextafter(torch.full_like(limit, torch.inf))


def _candidates(screen: Screen, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The m rows with the smallest |y|^2 / 2 - x.y of each row x, by float32 products.

    Returns:
        candidates (N, m) int64, ascending, and floor (N,) float32: no row left out is below it.
    """
    n, device = len(screen.norms), screen.rows.device
    width = room(device) // (8 * TILE_ROWS) // GROUP * GROUP
    width = min(max(width, GROUP), len(screen.rows))
    candidates = torch.empty(n, m, dtype=torch.int64, device=device)
    floor = screen.half.new_empty(n)
    for a, b in blocks(n, 4 * width + 16 * GROUP * m, device):
        values = screen.half.new_full((b - a, m), torch.inf)
        columns = torch.full_like(values, n, dtype=torch.int64)
        minus = -screen.rows[a:b]
        for c in range(0, len(screen.rows), width):
            there = slice(c, c + width)
            tile = torch.addmm(screen.half[there], minus, screen.rows[there].T)
            near, place = _smallest(tile, m)
            del tile
            values, kept = torch.cat([values, near], 1).topk(m, largest=False, sorted=False)
            columns = torch.cat([columns, place + c], 1).gather(1, kept)
        candidates[a:b] = columns.sort(1).values
        floor[a:b] = values.amax(1)
    return candidates, floor


def _smallest(tile: torch.Tensor, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The m smallest values of each row (all, if there are fewer), and their columns.

    They lie in the m groups of columns whose smallest values are smallest. Selecting these first
    reads the tile once, where a selection among all columns would read it many times.
    """
    n, width = tile.shape
    n_groups = width // GROUP
    grouped = tile.view(n, GROUP, n_groups)  # group g: columns g, g + n_groups, ...
    chosen = min(m, n_groups)
    groups = grouped.amin(1).topk(chosen, largest=False, sorted=False).indices
    members = grouped.gather(2, groups[:, None].expand(-1, GROUP, -1)).flatten(1)
    values, place = members.topk(min(m, GROUP * chosen), largest=False, sorted=False)
    return values, place // chosen * n_groups + groups.gather(1, place % chosen)


def _rank(
    rows: torch.Tensor, candidates: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k nearest of each row's candidates, by (distance, index).

    Args:
        rows: (N, d) features.
        candidates: (N, m) int64, ascending; N or more: none.
        k: at most m.

    Returns:
        indices (N, k) int64 and squared (N, k) float64.
    """
    n, m = candidates.shape
    indices = torch.empty(n, k, dtype=torch.int64, device=rows.device)
    squared = torch.empty(n, k, dtype=torch.float64, device=rows.device)
    for a, b in blocks(n, m * (20 * rows.shape[1] + 64), rows.device):
        listed = candidates[a:b]
        distance = _squared(rows, torch.arange(a, b, device=rows.device)[:, None], listed)
        distance.masked_fill_(listed >= n, torch.inf)
        distance, order = distance.sort(dim=1, stable=True)
        squared[a:b] = distance[:, :k]
        indices[a:b] = listed.gather(1, order[:, :k])
    return indices, squared


def _squared(rows: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Squared distances by the definition, float64, of two index tensors that broadcast."""
    difference = rows[other.clamp(max=len(rows) - 1)].double()
    difference -= rows[one].double()
    return sum_of_squares(difference)


def _search_again(
    rows: torch.Tensor, screen: Screen, which: torch.Tensor, limit: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k nearest of some rows among all whose product does not rule them out.

    Columns are compared in ascending order. A row that has k duplicates of itself is done, since
    later ones lose the tie: many equal rows do not mean many pairs.

    Args:
        rows: (N, d) features.
        screen: the same as multiplied.
        which: (n,) int64, the rows.
        limit: (n,) float32, see `_limits`; NaN rules no row out.
        k: length of the lists.

    Returns:
        indices (n, k) int64 and squared (n, k) float64.
    """
    device = rows.device
    asker = torch.arange(len(which), device=device)
    indices = torch.full((len(which), k), len(rows), dtype=torch.int64, device=device)
    squared = torch.full((len(which), k), torch.inf, dtype=torch.float64, device=device)
    minus = -screen.rows[which]
    pending = blocks(len(rows), 8 * len(which), device)[::-1]
    while pending:
        a, b = pending.pop()
        tile = torch.addmm(screen.half[a:b], minus, screen.rows[a:b].T)
        near = ~(tile > limit[:, None])
        del tile
        if b - a > 1 and 160 * int(near.sum()) > room(device):
            pending += [((a + b) // 2, b), (a, (a + b) // 2)]
            continue
        chosen, column = near.nonzero(as_tuple=True)
        distance = torch.empty(len(chosen), dtype=torch.float64, device=device)
        for p, q in blocks(len(chosen), 24 * rows.shape[1], device):
            distance[p:q] = _squared(rows, which[chosen[p:q]], column[p:q] + a)
        owner = torch.cat([asker.repeat_interleave(k), chosen])
        index = torch.cat([indices.flatten(), column + a])
        distance = torch.cat([squared.flatten(), distance])
        order = index.argsort(stable=True)
        order = order[distance[order].argsort(stable=True)]
        order = order[owner[order].argsort(stable=True)]
        begin = torch.searchsorted(owner[order], asker)
        kept = order[begin[:, None] + torch.arange(k, device=device)]
        indices, squared = index[kept], distance[kept]
        limit = limit.masked_fill(squared[:, -1] == 0, -torch.inf)
    return indices, squared
