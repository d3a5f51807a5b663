"""Features to pseudo labels: the clustering stage of one epoch."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np

from simmc.clustering.density import dbscan
from simmc.clustering.executors import Executor, Threads
from simmc.clustering.jaccard import expand_weights, neighbor_weights, radius_graph, unit_rows
from simmc.clustering.neighbors import as_rows, k_nearest

Timer = Callable[[str], AbstractContextManager]


@dataclass(frozen=True)
class ClusterSettings:
    """What decides the clusters; defaults are those of the public programs.

    Attributes:
        eps: largest Jaccard distance of two neighbours, in (0, 1).
        min_samples: neighbours, itself included, that make a window a core point.
        k1: length of the neighbour lists.
        k2: length of the lists of the local query expansion.
        normalise: unit-length features first (quirk Q1).
    """

    eps: float
    min_samples: int
    k1: int = 20
    k2: int = 6
    normalise: bool = False


@dataclass(frozen=True)
class Clustering:
    """Pseudo labels, and what makes the next search over the same windows quicker.

    Attributes:
        labels: (N,) int64, 0 .. C-1, -1 = outlier.
        candidates: (N, m) int32, `guess` for features that have moved little.
    """

    labels: np.ndarray
    candidates: np.ndarray


def pseudo_labels(
    features: np.ndarray,
    settings: ClusterSettings,
    *,
    guess: np.ndarray | None = None,
    timer: Timer = lambda stage: nullcontext(),
    executor: Executor | None = None,
) -> Clustering:
    """Cluster (N, H) features: k-NN, k-reciprocal Jaccard distance, DBSCAN (SimMC section 3.1).

    Args:
        features: (N, H) finite floats.
        settings: what decides the clusters.
        guess: `candidates` of an earlier clustering of the same windows; changes the time only.
        timer: context manager by stage: neighbours, jaccard, dbscan.
        executor: where blocks of rows are worked on; None: as many threads as torch uses.
    """
    executor = executor or Threads()
    rows = as_rows(features)
    if settings.normalise:
        rows = unit_rows(rows)
    with timer("neighbours"):
        nearest = k_nearest(rows, settings.k1, guess=guess, executor=executor)
    lists = nearest.indices
    with timer("jaccard"):
        weights = neighbor_weights(rows, lists, executor=executor)
        weights = expand_weights(weights, lists, settings.k2, executor=executor)
        graph = radius_graph(weights, settings.eps, executor=executor)
    with timer("dbscan"):
        labels = dbscan(graph, settings.min_samples)
    return Clustering(labels, nearest.candidates)
