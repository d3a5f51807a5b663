"""Exact k-nearest neighbours of every row among all rows, in memory linear in N.

Definition. The distance of rows x and y is the float64 sum of (x_i - y_i)^2 over the dimensions;
ties go to the smaller index. Nothing else decides: not the tile size, the number of threads or
the matrix library, because these only propose candidates. The candidates are the nearest rows
by float32 matrix products; their distances are then computed by the definition, and a row whose
candidates cannot be proven complete (by the bound on the products' rounding) is compared with
all rows.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations_with_replacement
from threading import local

import numpy as np
import torch

from simmc.clustering.neighbor_loops import (
    keep_along_columns,
    keep_along_rows,
    limits,
    merge,
    rank,
)
from simmc.compiled import over_rows

TILE = 512  # a tile of products is 1 MiB and stays in a core's cache
SPARE = 12  # candidates kept beyond k, so that rounding seldom leaves a row unproven


@dataclass(frozen=True)
class Neighbors:
    """The k nearest rows of each row, the row itself included, nearest first.

    Attributes:
        indices: (N, k) int32.
        squared: (N, k) float64, squared Euclidean distances, in the features' unit squared.
        candidates: (N, m) int32, rows that were compared exactly, -1 for none: a good `guess` for
            the same rows with slightly different features.
    """

    indices: np.ndarray
    squared: np.ndarray
    candidates: np.ndarray


def k_nearest(
    features: np.ndarray,
    k: int,
    *,
    guess: np.ndarray | None = None,
    threads: int | None = None,
) -> Neighbors:
    """Find the k nearest rows of every row (k is cut to N).

    Args:
        features: (N, d) finite floats.
        k: neighbours a row, itself included (with distance 0; a duplicate of smaller index
            comes before it).
        guess: `candidates` of an earlier search over the same rows. It saves time where rows have
            moved little, and has no influence on the result.
        threads: worker threads; None means as many as torch uses.

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
        empty = np.empty((0, 0), np.int32)
        return Neighbors(empty, np.empty((0, 0)), empty)
    m = min(k + SPARE, n)
    threads = threads or torch.get_num_threads()
    centred, scale = _centred(rows)
    candidates, floor = _candidates(centred, m, threads, guess)
    indices = np.empty((n, k), np.int32)
    squared = np.empty((n, k))
    everyone = np.arange(n)
    over_rows(lambda a, b: rank(rows, everyone[a:b], candidates[a:b], indices, squared), n, threads)
    if m < n:
        proven = squared[:, -1] < _lower_bound(centred, floor, scale)
        unproven = np.flatnonzero(~proven)
        all_rows = np.arange(n, dtype=np.int32)[None]  # one list for whoever asks
        over_rows(
            lambda a, b: rank(rows, unproven[a:b], all_rows, indices, squared),
            len(unproven),
            threads,
            block=16,
        )
    return Neighbors(indices, squared, candidates)


def as_rows(features: np.ndarray) -> np.ndarray:
    """Check (N, d) features and return them as C-contiguous float32 or float64."""
    array = np.asarray(features)
    if array.ndim != 2:
        raise ValueError(f"features must be two-dimensional (N, d), not of shape {array.shape}")
    dtype = np.float64 if array.dtype == np.float64 else np.float32
    array = np.ascontiguousarray(array, dtype)
    if not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise ValueError(f"features must be finite: row {bad} holds NaN or infinity")
    return array


def _centred(rows: np.ndarray) -> tuple[torch.Tensor, float]:
    """Rows minus their mean as float32, scaled so that products stay in range, and that scale.

    Distances do not change by a shift, and small norms lose fewer digits in |x|^2 - 2xy + |y|^2.
    """
    centred = rows - rows.mean(axis=0, dtype=np.float64)
    largest = float(np.abs(centred).max(initial=0.0))
    scale = 1.0 if largest == 0.0 else 2.0 ** -np.floor(np.log2(largest))
    return torch.from_numpy((centred * scale).astype(np.float32)), scale


def _candidates(
    rows: torch.Tensor, m: int, threads: int, guess: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The m rows with the smallest |y|^2 / 2 - x.y of each row x, by float32 products.

    Each pair of tiles is multiplied once and read twice, along rows and along columns. Every
    worker keeps candidates of its own, joined at the end, so no two write to one place.

    Returns:
        candidates (N, m) int32 and floor (N,) float32: no row left out is below its floor.
    """
    n = len(rows)
    half = (rows.double() ** 2).sum(1).mul_(0.5).float().numpy()
    tiles = [slice(a, min(a + TILE, n)) for a in range(0, n, TILE)]
    pairs = list(combinations_with_replacement(tiles, 2))
    workers = max(1, min(threads, len(pairs)))
    limit = np.full(n, np.inf, np.float32)
    if guess is not None and guess.shape == (n, m):
        over_rows(lambda a, b: limits(rows.numpy(), half, guess, limit, a, b), n, threads)
    own = local()
    stores: list[tuple[np.ndarray, np.ndarray]] = []

    def scan(pair: tuple[slice, slice]) -> None:
        if not hasattr(own, "store"):
            own.store = (np.repeat(limit[:, None], m, 1), np.full((n, m), -1, np.int32))
            stores.append(own.store)
            own.tile = torch.empty(TILE * TILE)
        a, b = pair
        shape = a.stop - a.start, b.stop - b.start
        tile = own.tile[: shape[0] * shape[1]].view(shape)
        products = torch.mm(rows[a], rows[b].T, out=tile).numpy()
        keep_along_rows(products, half[b], a.start, b.start, *own.store)
        if a.start != b.start:
            keep_along_columns(products, half[a], a.start, b.start, *own.store)

    before = torch.get_num_threads()
    torch.set_num_threads(1)  # parallel over tiles, not inside one
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(scan, pairs))
    finally:
        torch.set_num_threads(before)
    values, indices = stores[0]
    for more_values, more_indices in stores[1:]:
        merge(values, indices, more_values, more_indices)
    return indices, values[:, -1]


def _lower_bound(centred: torch.Tensor, floor: np.ndarray, scale: float) -> np.ndarray:
    """The least squared distance (N,) that a row left out can have, whatever the rounding.

    A dot product of d terms, summed in any order, is off by at most about d eps |x||y|; the
    halved norms and the centring add a few eps.
    """
    norms = (centred.double() ** 2).sum(1).numpy()
    largest = np.sqrt(norms.max(initial=0.0))
    eps = float(np.finfo(np.float32).eps)
    slack = (centred.shape[1] + 8) * eps * (np.sqrt(norms) + largest) * largest
    return (norms + 2.0 * floor.astype(np.float64) - 2.0 * slack) / scale**2
