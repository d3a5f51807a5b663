"""What is measured: our stages, the dense routine, and the least that exact k-NN must cost."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from simmc import clustering
from simmc.benchmarks.dense import dense_jaccard
from simmc.clustering import ClusterSettings
from simmc.runs.clock import Clock

# of SimMC on KGBD, the largest of its data sets
HOW = ClusterSettings(eps=0.6, min_samples=4, k1=20, k2=6)
BLOCK = 1024  # rows multiplied with all others at a time

# rows (N, d), neighbour lists (N, k1) and a clock to what was found: lists, labels or nothing
Run = Callable[[np.ndarray, np.ndarray, Clock], Any]


@dataclass(frozen=True)
class Contestant:
    """One way through some of the stages `neighbours`, `jaccard`, `dbscan`.

    Attributes:
        label: its name in tables and pictures.
        stages: which of them it times, in their order.
        run: does it, with as many threads as torch is set to.
        quadratic: whether its memory grows with N x N.
        exact_search: whether it compares every row with every other, whatever the lists.
        timed: whether its time is a measurement of its own; its memory always is. The times of the
            others are those of their parts.
    """

    label: str
    stages: tuple[str, ...]
    run: Run
    quadratic: bool = False
    exact_search: bool = False
    timed: bool = True


def exact(rows: np.ndarray, lists: np.ndarray, clock: Clock) -> np.ndarray:
    """Our exact k-NN search."""
    with clock("neighbours"):
        return clustering.k_nearest(rows, HOW.k1).indices


def approximate(rows: np.ndarray, lists: np.ndarray, clock: Clock) -> np.ndarray:
    """Our approximate k-NN search."""
    with clock("neighbours"):
        return clustering.approximate_neighbors(rows, HOW.k1).indices


def product(rows: np.ndarray, lists: np.ndarray, clock: Clock) -> None:
    """A bare single-precision product of all rows with all rows, block by block."""
    x = torch.from_numpy(rows)
    with clock("neighbours"):
        products = torch.empty(min(BLOCK, len(x)), len(x))
        for part in x.split(BLOCK):
            torch.mm(part, x.T, out=products[: len(part)])


def product_topk(rows: np.ndarray, lists: np.ndarray, clock: Clock) -> np.ndarray:
    """The same product turned into distances, and torch.topk on each row: no ties, no proof."""
    x = torch.from_numpy(rows)
    with clock("neighbours"):
        half = (x * x).sum(1) / 2
        found = torch.empty(len(x), min(HOW.k1, len(x)), dtype=torch.int64)
        scores = torch.empty(min(BLOCK, len(x)), len(x))
        for part, out in zip(x.split(BLOCK), found.split(BLOCK), strict=True):
            here = torch.addmm(half, part, x.T, alpha=-1, out=scores[: len(part)])
            out[:] = here.topk(found.shape[1], largest=False).indices
    return found.numpy()


def ours(rows: np.ndarray, lists: np.ndarray, clock: Clock) -> np.ndarray:
    """Our labels from given neighbour lists."""
    with clock("jaccard"):
        graph = clustering.graph_from_neighbors(rows, lists, HOW.eps, k2=HOW.k2)
    with clock("dbscan"):
        return clustering.dbscan(graph, HOW.min_samples)


def dense_alone(rows: np.ndarray, lists: np.ndarray, clock: Clock) -> np.ndarray:
    """The dense Jaccard distance from given neighbour lists."""
    with clock("jaccard"):
        return dense_jaccard(rows, lists, HOW.k2)


def dense(rows: np.ndarray, lists: np.ndarray, clock: Clock) -> np.ndarray:
    """The dense Jaccard distance, and scikit-learn's DBSCAN on it."""
    from sklearn.cluster import DBSCAN

    distances = dense_alone(rows, lists, clock)
    with clock("dbscan"):
        search = DBSCAN(
            eps=HOW.eps,
            min_samples=HOW.min_samples,
            metric="precomputed",
            n_jobs=torch.get_num_threads(),
        )
        labels: np.ndarray = search.fit_predict(distances)
    return labels


def whole(rows: np.ndarray, lists: np.ndarray, clock: Clock) -> np.ndarray:
    """Features to labels as a training calls it."""
    labels: np.ndarray = clustering.pseudo_labels(rows, HOW, timer=clock).labels
    return labels


def whole_approximate(rows: np.ndarray, lists: np.ndarray, clock: Clock) -> np.ndarray:
    """Features to labels with approximate neighbours."""
    how = replace(HOW, neighbors="approximate")
    labels: np.ndarray = clustering.pseudo_labels(rows, how, timer=clock).labels
    return labels


_SEARCH, _CLUSTER = ("neighbours",), ("jaccard", "dbscan")
_ALL = (*_SEARCH, *_CLUSTER)
CONTESTANTS: dict[str, Contestant] = {
    "exact": Contestant("exact k-NN", _SEARCH, exact, exact_search=True),
    "approximate": Contestant("approximate k-NN", _SEARCH, approximate),
    "product": Contestant("matrix product alone", _SEARCH, product, exact_search=True),
    "product_topk": Contestant("matrix product + topk", _SEARCH, product_topk, exact_search=True),
    "ours": Contestant("ours: sparse Jaccard + DBSCAN", _CLUSTER, ours),
    "dense": Contestant("dense Jaccard + scikit-learn DBSCAN", _CLUSTER, dense, quadratic=True),
    "dense_alone": Contestant(
        "dense Jaccard", ("jaccard",), dense_alone, quadratic=True, timed=False
    ),
    "whole": Contestant("ours with exact k-NN", _ALL, whole, exact_search=True, timed=False),
    "whole_approximate": Contestant(
        "ours with approximate k-NN", _ALL, whole_approximate, timed=False
    ),
}
