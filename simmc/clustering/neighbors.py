"""Exact k-nearest neighbours of every row among all rows, in memory linear in N.

Definition. The distance of rows x and y is the float64 sum of (x_i - y_i)^2 over the dimensions,
in the order of `simmc.distances`; ties go to the smaller index. Nothing else decides: not the tile
size, the number of threads or the matrix library, because these only propose candidates. The
candidates are the nearest rows by float32 matrix products; their distances are then computed by
the definition, and a row whose candidates cannot be proven complete (by the bound on the
products' rounding) is compared with all rows.
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from threading import local

import numpy as np
import torch

from simmc.compiled import Executor, Threads, multiply_by_threads, over_rows
from simmc.distances import keep_along_columns, keep_along_rows, merge, rank

TILE = 512  # a tile of products is 1 MiB and stays in a core's cache
SPARE = 12  # candidates kept beyond k, so that rounding seldom leaves a row unproven
LARGEST = 1e150  # beyond it squares would leave the range of float64
MOST_EXPONENT = 1000  # of the factor, for features that are hardly above zero
_CHUNK = 4096  # rows turned to double precision at a time


@dataclass(frozen=True)
class Neighbors:
    """The k nearest rows of each row, the row itself included, nearest first.

    Attributes:
        indices: (N, k) int32.
        squared: (N, k) float64, squared Euclidean distances, in the features' unit squared.
        recall: share of the true neighbours among these; 1 where the search was exact.
    """

    indices: np.ndarray
    squared: np.ndarray
    recall: float = 1.0


@dataclass(frozen=True)
class Screen:
    """Features as single-precision products see them.

    Centred on the mean, which changes no distance but saves digits in |x|^2 - 2xy + |y|^2, and
    scaled by a power of two, which is exact and keeps the squares in range.

    Attributes:
        rows: (N, d) float32.
        norms: (N,) float64, squared.
        half: (N,) float32, half of them.
        scale: the factor.
    """

    rows: np.ndarray
    norms: np.ndarray
    half: np.ndarray
    scale: float


def k_nearest(features: np.ndarray, k: int, *, executor: Executor | None = None) -> Neighbors:
    """Find the k nearest rows of every row (k is cut to N).

    Args:
        features: (N, d) finite floats.
        k: neighbours a row, itself included (with distance 0; a duplicate of smaller index
            comes before it).
        executor: where blocks of rows are worked on; None: as many threads as torch uses.

    Returns:
        Neighbors with indices and squared distances of shape (N, min(k, N)).

    Raises:
        ValueError: not a finite two-dimensional array, or k < 1.
    """
    rows = as_rows(features)
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    n = len(rows)
    k = min(k, n)
    if n == 0:
        return Neighbors(np.empty((0, 0), np.int32), np.empty((0, 0)))
    m = min(k + SPARE, n)
    executor = executor or Threads()
    screen = screen_of(rows)
    if not isinstance(executor, Threads):
        parts = executor.map(search_rows, (rows, screen, k, m), n)
        indices, squared = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Neighbors(indices, squared)
    if m < n:
        candidates, floor = _candidates(screen, m, executor.count)
    else:  # few rows: all are candidates
        candidates, floor = np.tile(np.arange(n, dtype=np.int32), (n, 1)), screen.half
    indices, squared = np.empty((n, k), np.int32), np.empty((n, k))

    def settle(a: int, b: int) -> None:
        here = np.arange(a, b)
        complete = lower_bound(screen, floor[a:b], here)
        settled(rows, here, candidates[a:b], complete, indices[a:b], squared[a:b])

    over_rows(settle, n, executor.count)
    return Neighbors(indices, squared)


def k_nearest_among(
    queries: np.ndarray, rows: np.ndarray, k: int, *, threads: int | None = None
) -> Neighbors:
    """Find the k nearest of some rows for each of other rows (k is cut to N).

    Args:
        queries: (Q, d) finite floats.
        rows: (N, d) finite floats, one at least.
        k: rows a query, one at least.
        threads: None: as many as torch uses.

    Returns:
        Neighbors of the queries, numbers of rows: arrays of shape (Q, min(k, N)).
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    n, count = len(rows), len(queries)
    both = as_rows(np.concatenate([rows, queries]))
    screen, k = screen_of(both), min(k, n)
    m = min(k + SPARE, n)
    indices, squared = np.empty((count, k), np.int32), np.empty((count, k))

    def look(begin: int) -> None:
        here = slice(begin, min(begin + TILE, count))
        query = np.arange(n + here.start, n + here.stop)
        indices[here], squared[here] = search(both, screen, k, m, query, among=n)

    multiply_by_threads(look, range(0, count, TILE), threads or torch.get_num_threads())
    return Neighbors(indices, squared)


def k_nearest_others(rows: np.ndarray, k: int, *, threads: int | None = None) -> Neighbors:
    """Find the k nearest of all other rows for every row (k is cut to N - 1).

    Args:
        rows: (N, d) finite floats.
        k: rows a row, itself not included.
        threads: None: as many as torch uses.

    Returns:
        Neighbors with indices and squared distances of shape (N, min(k, N - 1)).
    """
    found = k_nearest(rows, min(k + 1, len(rows)), executor=Threads(threads))
    kept = found.indices != np.arange(len(rows))[:, None]
    kept[kept.all(axis=1), -1] = False  # more than k duplicates come before the row itself
    shape = (len(rows), kept.shape[1] - 1)
    indices, squared = found.indices[kept], found.squared[kept]
    return Neighbors(indices.reshape(shape), squared.reshape(shape))


def search_rows(
    rows: np.ndarray, screen: Screen, k: int, m: int, begin: int, end: int
) -> tuple[np.ndarray, np.ndarray]:
    """The exact search for the rows begin..end-1, a block; see `search`."""
    return search(rows, screen, k, m, np.arange(begin, end))


def search(
    rows: np.ndarray,
    screen: Screen,
    k: int,
    m: int,
    which: np.ndarray,
    *,
    among: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The exact search for some rows (n,) among all, or among the first so many.

    Returns:
        Indices and squared distances (n, k).
    """
    n, among = len(which), len(rows) if among is None else among
    values = np.full((n, m), np.inf, np.float32)
    candidates = np.full((n, m), -1, np.int32)
    every = torch.from_numpy(screen.rows)
    tile = torch.empty(TILE * TILE)
    for a in range(0, n, TILE):
        query = every[torch.from_numpy(which[a : a + TILE])]
        for b in range(0, among, TILE):
            there = slice(b, min(b + TILE, among))
            products = _product(query, every[there], tile)
            keep_along_rows(products, screen.half[there], a, b, values, candidates)
    indices, squared = np.empty((n, k), np.int32), np.empty((n, k))
    complete = lower_bound(screen, values[:, -1], which)
    settled(rows, which, candidates, complete, indices, squared, among=among)
    return indices, squared


def settled(
    rows: np.ndarray,
    which: np.ndarray,
    candidates: np.ndarray,
    complete: np.ndarray,
    indices: np.ndarray,
    squared: np.ndarray,
    *,
    among: int | None = None,
) -> None:
    """Write the exact lists of some rows; search all rows where the candidates may not suffice.

    Args:
        rows: (N, d) features.
        which: (n,) numbers of these rows.
        candidates: (n, m) int32 proposed neighbours.
        complete: (n,) the least squared distance that a row which is no candidate can have.
        indices: (n, k) int32, written.
        squared: (n, k) float64, written.
        among: how many of the rows, from the first on, may be neighbours; None: all.
    """
    among = len(rows) if among is None else among
    rank(rows, which, candidates, indices, squared)
    if candidates.shape[1] == among:
        return
    unproven = np.flatnonzero(~(squared[:, -1] < complete))  # also where the bound is NaN
    if not len(unproven):
        return
    # Mostly rows with many duplicates; those that are equal have one list.
    distinct, same = np.unique(
        rows[which[unproven]], axis=0, return_index=True, return_inverse=True
    )[1:]
    k = indices.shape[1]
    every = np.arange(among, dtype=np.int32)[None]
    for position, first in enumerate(unproven[distinct]):
        one_indices, one_squared = np.empty((1, k), np.int32), np.empty((1, k))
        rank(rows, which[first : first + 1], every, one_indices, one_squared)
        equal = unproven[same.reshape(-1) == position]
        indices[equal], squared[equal] = one_indices, one_squared


def as_rows(features: np.ndarray) -> np.ndarray:
    """Check (N, d) features and return them as C-contiguous float32 or float64.

    float16 becomes float32, and all that float32 might not hold becomes float64.
    """
    array = np.asarray(features)
    if array.dtype.kind == "c":
        raise ValueError("features must be real numbers, not complex ones")
    if array.ndim != 2:
        raise ValueError(f"features must be two-dimensional (N, d), not of shape {array.shape}")
    narrow = array.dtype in (np.float16, np.float32)
    array = np.ascontiguousarray(array, np.float32 if narrow else np.float64)
    if not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise ValueError(f"features must be finite: row {bad} holds NaN or infinity")
    if not narrow and np.abs(array).max(initial=0.0) > LARGEST:
        bad = int(np.flatnonzero((np.abs(array) > LARGEST).any(axis=1))[0])
        raise ValueError(f"features are too large to square: row {bad} exceeds {LARGEST:g}")
    return array


def screen_of(rows: np.ndarray) -> Screen:
    """Prepare (N, d) features for single-precision products."""
    mean = rows.mean(axis=0, dtype=np.float64)
    low, high = rows.min(axis=0, initial=np.inf), rows.max(axis=0, initial=-np.inf)
    largest = float(np.maximum(high - mean, mean - low).max(initial=0.0))
    scale = 2.0 ** min(-np.floor(np.log2(largest)), MOST_EXPONENT) if largest > 0.0 else 1.0
    centred = np.empty(rows.shape, np.float32)
    for a in range(0, len(rows), _CHUNK):
        centred[a : a + _CHUNK] = (rows[a : a + _CHUNK] - mean) * scale
    norms = np.einsum("ij,ij->i", centred, centred, dtype=np.float64)
    return Screen(centred, norms, (0.5 * norms).astype(np.float32), scale)


def _candidates(screen: Screen, m: int, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """The m rows with the smallest |y|^2 / 2 - x.y of each row x, by float32 products.

    Each pair of tiles is multiplied once and read twice, along rows and along columns. Every
    worker keeps candidates of its own, joined at the end, so no two write to one place.

    Returns:
        candidates (N, m) int32 and floor (N,) float32: no row left out is below its floor.
    """
    rows, half = torch.from_numpy(screen.rows), screen.half
    n = len(rows)
    tiles = [slice(a, min(a + TILE, n)) for a in range(0, n, TILE)]
    pairs = list(combinations_with_replacement(tiles, 2))
    workers = max(1, min(threads, len(pairs)))
    own = local()
    stores: list[tuple[np.ndarray, np.ndarray]] = []

    def scan(pair: tuple[slice, slice]) -> None:
        if not hasattr(own, "store"):
            own.store = np.full((n, m), np.inf, np.float32), np.full((n, m), -1, np.int32)
            stores.append(own.store)
            own.tile = torch.empty(TILE * TILE)
        a, b = pair
        products = _product(rows[a], rows[b], own.tile)
        keep_along_rows(products, half[b], a.start, b.start, *own.store)
        if a.start != b.start:
            keep_along_columns(products, half[a], a.start, b.start, *own.store)

    multiply_by_threads(scan, pairs, workers)
    values, indices = stores[0]
    for more_values, more_indices in stores[1:]:
        merge(values, indices, more_values, more_indices)
    return indices, values[:, -1]


def _product(left: torch.Tensor, right: torch.Tensor, room: torch.Tensor) -> np.ndarray:
    """Products (a, b) of left (a, d) and right (b, d), written to the head of `room`."""
    tile = room[: len(left) * len(right)].view(len(left), len(right))
    return torch.mm(left, right.T, out=tile).numpy()


def lower_bound(screen: Screen, floor: np.ndarray, which: np.ndarray) -> np.ndarray:
    """The least squared distance that a row left out can have, whatever the rounding.

    Args:
        screen: the features as multiplied.
        floor: (n,) float32: no row left out is below it.
        which: (n,) the rows it belongs to.

    Returns:
        (n,) float64 in the features' unit squared.
    """
    distances = screen.norms[which] + 2.0 * floor.astype(np.float64)
    return (distances - 2.0 * slack(screen, which)) / screen.scale / screen.scale


def slack(screen: Screen, which: np.ndarray) -> np.ndarray:
    """(n,) float64: by how much |y|^2 / 2 - x.y can be off for some rows x, whatever the y.

    A dot product of d terms, summed in any order, is off by at most about d eps |x||y|; the
    halved norms and the centring add a few eps.
    """
    lengths = np.sqrt(screen.norms[which])
    largest = np.sqrt(screen.norms.max(initial=0.0))
    eps = float(np.finfo(np.float32).eps)
    return (screen.rows.shape[1] + 8) * eps * (lengths + largest) * largest
