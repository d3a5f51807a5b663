"""k-reciprocal re-ranking of probes and gallery together (Zhong et al. 2017), sparse and exact.

Probe and gallery windows look for their neighbours among one another; two windows that have
neighbours in common are then nearer. Labels are not used, but every test window influences
the rank of every other: the method is transductive. docs/matching.md has the formulas. Letters:
N windows of probe and gallery, Np probes, Ng gallery, d features.
"""

# Arguments of compiled loops are left without types where any floating type may come.
# mypy: disable-error-code="no-untyped-def"

from typing import Any

import numpy as np
import torch
from scipy import sparse

from simmc.clustering import Threads, expand_weights, k_nearest, neighbor_weights
from simmc.clustering.jaccard_loops import invert, overlaps
from simmc.clustering.neighbors import as_rows, screen_of, slack
from simmc.compiled import compiled, over_rows
from simmc.distances import LANES, squared_distance
from simmc.evaluation.ranking import Retrieval, evaluate_distances

_NEARER_THAN_NOTHING = np.nextafter(np.float32(1), np.float32(0))
_BUFFER = 32 * 2**20  # bytes of the block of products in `farthest`
_ROWS = 32  # probes that a thread takes at a time


class Reranking:
    """Distances (1 - share) Jaccard + share |p - g|^2 / largest |p - x|^2 over all windows x.

    Args:
        probe: (Np, d) finite features.
        gallery: (Ng, d) finite features.
        same: probe and gallery are one list, whose windows then count once.
        k1: nearest neighbours, the window itself not counted, behind the Jaccard distance.
        k2: windows, itself included, over which weights are averaged.
        share: of the original distance (lambda), 0 to 1.
        threads: None: as many as torch uses.
    """

    def __init__(
        self,
        probe: np.ndarray,
        gallery: np.ndarray,
        *,
        same: bool = False,
        k1: int = 20,
        k2: int = 6,
        share: float = 0.3,
        threads: int | None = None,
    ) -> None:
        if same and len(probe) != len(gallery):
            raise ValueError(f"one list has {len(probe)} probes and {len(gallery)} gallery windows")
        executor = Threads(threads)
        self.threads, self.share = executor.count, share
        rows = np.ascontiguousarray(gallery) if same else np.concatenate([probe, gallery])
        self.n_probes, self.n_gallery = len(probe), len(gallery)
        self.probe, self.gallery = rows[: len(probe)], rows[len(rows) - len(gallery) :]
        neighbors = k_nearest(rows, max(k1 + 1, k2), executor=executor).indices
        self.largest = farthest(rows, threads=executor.count)
        half = int(np.around(k1 / 2)) + 1
        weights = neighbor_weights(rows, neighbors[:, : k1 + 1], half=half, executor=executor)
        weights = by_distance(weights, rows, self.largest, threads=executor.count)
        weights = expand_weights(weights, neighbors, k2, executor=executor)
        self._rows, self._columns = self._sides(weights)

    def _sides(self, weights: sparse.csr_array) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Weights of the probes by row, and of the gallery by column, for `overlaps`.

        `overlaps` pairs a row with those that come after it. So the gallery's rows come after
        the probes', also where both are the same windows.
        """
        probes = weights[: self.n_probes]
        gallery = weights[weights.shape[0] - self.n_gallery :]
        start = np.concatenate(
            [probes.indptr, np.full(self.n_gallery, probes.indptr[-1], probes.indptr.dtype)]
        )
        columns = (
            np.empty(weights.shape[1] + 1, gallery.indptr.dtype),
            np.empty_like(gallery.indices),
            np.empty_like(gallery.data),
        )
        invert(gallery.indptr, gallery.indices, gallery.data, *columns)
        first, places, values = columns
        return (start, probes.indices, probes.data), (first, places + self.n_probes, values)

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """(stop - start, Ng) float64 distances of some probes to the whole gallery."""
        if not 0 <= start <= stop <= self.n_probes:
            raise ValueError(f"probes {start} .. {stop - 1} of {self.n_probes}")
        out = np.ones((stop - start, self.n_gallery))

        def fill(begin: int, end: int) -> None:
            a, b = start + begin, start + end
            found = overlaps(*self._rows, *self._columns, _NEARER_THAN_NOTHING, a, b)
            mix(
                *found, self.n_probes, self.probe[a:b], self.gallery, self.largest[a:b],
                self.share, out[begin:end],
            )  # fmt: skip

        over_rows(fill, stop - start, self.threads, _ROWS)
        return out


def rerank(
    probe: np.ndarray,
    probe_ids: np.ndarray,
    gallery: np.ndarray,
    gallery_ids: np.ndarray,
    *,
    k1: int = 20,
    k2: int = 6,
    share: float = 0.3,
    self_index: np.ndarray | None = None,
    same_condition: str | None = None,
    threads: int | None = None,
) -> Retrieval:
    """Rank the gallery by re-ranked distances.

    Args:
        probe: (Np, d) finite features.
        probe_ids: (Np,) identities.
        gallery: (Ng, d) finite features.
        gallery_ids: (Ng,) identities.
        k1: as for `Reranking`, like the next two.
        k2: at least 1.
        share: from 0 to 1.
        self_index: as for `evaluate`; with a same-condition rule probe and gallery are one list.
        same_condition: None, "remove_self" or "skip_first".
        threads: None: as many as torch uses.
    """
    distances = Reranking(
        probe,
        gallery,
        same=same_condition is not None,
        k1=k1,
        k2=k2,
        share=share,
        threads=threads,
    )
    return evaluate_distances(
        distances,
        probe_ids,
        gallery_ids,
        self_index=self_index,
        same_condition=same_condition,
        threads=threads,
    )


def by_distance(
    weights: sparse.csr_array, rows: np.ndarray, largest: np.ndarray, *, threads: int
) -> sparse.csr_array:
    """Soft neighbourhoods as in the paper's program: the same members, new weights.

    V_ij is the softmax over the neighbourhood of i of -|x_i - x_j|^2 / largest_i. The clustering's
    weights leave the scale of the features as it is, and take them to be of unit length.

    Args:
        weights: (N, N) sparse float32.
        rows: (N, d) features.
        largest: (N,) float64, the largest squared distance of each row.
        threads: for the rows.
    """
    if weights.shape != (len(rows), len(rows)) or np.shape(largest) != (len(rows),):
        raise ValueError(
            f"weights {weights.shape} and {len(largest)} distances of {len(rows)} rows"
        )
    weights.check_format(full_check=True)
    values = np.empty_like(weights.data)

    def weigh(begin: int, end: int) -> None:
        soften(weights.indptr, weights.indices, rows, largest, values, begin, end)

    over_rows(weigh, len(rows), threads)
    return sparse.csr_array((values, weights.indices, weights.indptr), shape=weights.shape)


@compiled()
def soften(start, columns, rows, largest, values, begin, end):
    """Write the weights of the rows begin .. end - 1."""
    sums = np.empty(LANES)
    for i in range(begin, end):
        here = np.empty(start[i + 1] - start[i])
        total = 0.0
        for p in range(len(here)):
            squared = squared_distance(rows[i], rows[columns[start[i] + p]], sums)
            here[p] = np.exp(-squared / largest[i]) if squared > 0.0 else 1.0
            total += here[p]
        for p in range(len(here)):
            values[start[i] + p] = here[p] / total


@compiled()
def mix(counts, places, jaccard, n_probes, probe, gallery, largest, share, out):
    """Write the distances of a block of probes.

    Args:
        counts: (b,) how many of the gallery overlap each probe.
        places: which they are, n_probes on; one probe after another.
        jaccard: their Jaccard distances.
        n_probes: what to take off the places.
        probe: (b, d) features.
        gallery: (Ng, d) features.
        largest: (b,) the largest squared distance of each probe.
        share: of the original distance.
        out: (b, Ng) float64, ones; written.
    """
    sums = np.empty(LANES)
    p = 0
    for i in range(len(counts)):
        for _ in range(counts[i]):
            out[i, places[p] - n_probes] = jaccard[p]
            p += 1
        for j in range(len(gallery)):
            squared = squared_distance(probe[i], gallery[j], sums)
            original = squared / largest[i] if squared > 0.0 else 0.0
            out[i, j] = (1.0 - share) * out[i, j] + share * original


def farthest(features: np.ndarray, *, threads: int | None = None) -> np.ndarray:
    """(N,) float64 squared Euclidean distances of the rows to the farthest row of all.

    Exact, in memory linear in N: as in `simmc.clustering.neighbors`, single-precision products only
    propose, and every row that rounding leaves uncertain is compared by the definition.

    Args:
        features: (N, d) finite floats.
        threads: None: as many as torch uses.
    """
    threads = threads or torch.get_num_threads()
    # equal rows once: many that are equally far would all have to be compared
    rows, place = np.unique(as_rows(features), axis=0, return_inverse=True)
    if not len(rows):
        return np.zeros(0)
    screen = screen_of(rows)
    every, largest = torch.from_numpy(screen.rows), np.zeros(len(rows))
    block = max(1, _BUFFER // (4 * len(rows)))
    for a in range(0, len(rows), block):
        here = slice(a, min(a + block, len(rows)))
        values = screen.half - torch.mm(every[here], every.T).numpy()
        # either of two values may be off by the slack
        floor = values.max(axis=1) - 2.0 * slack(screen, np.arange(here.start, here.stop))

        def look(begin: int, end: int, values=values, floor=floor, first=a) -> None:
            _largest(rows, values, floor, first, largest, begin, end)

        over_rows(look, here.stop - a, threads, 32)
    return largest[place.reshape(-1)]


@compiled()
def _largest(rows, values, floor, first, largest, begin, end):
    """Write the largest exact distance of a block's rows begin .. end - 1 to those not below."""
    sums = np.empty(LANES)
    for i in range(begin, end):
        for j in range(len(rows)):
            if values[i, j] >= floor[i]:
                found = squared_distance(rows[first + i], rows[j], sums)
                largest[first + i] = max(largest[first + i], found)
