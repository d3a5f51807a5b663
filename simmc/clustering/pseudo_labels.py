"""Features to pseudo labels: the clustering stage of one epoch."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from simmc.clustering.density import dbscan
from simmc.clustering.jaccard import JaccardGraph, graph_from_neighbors, unit_rows
from simmc.clustering.neighbors import Neighbors, as_rows, k_nearest
from simmc.compiled import Executor, Threads
from simmc.distances import host_array

if TYPE_CHECKING:
    from simmc.clustering import gpu

Timer = Callable[
    [str], AbstractContextManager[Any]
]  # a context manager for each stage, by its name


@dataclass(frozen=True)
class ClusterSettings:
    """What decides the clusters; defaults are those of the public programs.

    Attributes:
        eps: largest Jaccard distance of two neighbours, in (0, 1).
        min_samples: neighbours, itself included, that make a window a core point.
        k1: length of the neighbour lists.
        k2: length of the lists of the local query expansion.
        normalise: unit-length features first (quirk Q1).
        neighbors: "exact", or "approximate" for very many windows (on a GPU always exact).
        recall: of approximate neighbours, the share of true ones to be found.
        reach: Jaccard distance up to which pairs are in the graph, in [eps, 1); None: eps. Pairs
            beyond eps have no influence on the clusters.
    """

    eps: float
    min_samples: int
    k1: int = 20
    k2: int = 6
    normalise: bool = False
    neighbors: str = "exact"
    recall: float = 0.97
    reach: float | None = None

    def __post_init__(self) -> None:
        if self.neighbors not in ("exact", "approximate"):
            raise ValueError(f"neighbors must be exact or approximate, not {self.neighbors!r}")
        for name in ("min_samples", "k1", "k2"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.reach is not None and self.reach < self.eps:
            raise ValueError(f"reach {self.reach} must not be below eps {self.eps}")

    @property
    def cut(self) -> float:
        """Largest distance of a pair in the graph."""
        return self.eps if self.reach is None else self.reach


@dataclass(frozen=True)
class Clustering:
    """Pseudo labels, and the graph and neighbours behind them.

    Attributes:
        labels: (N,) int64, 0 .. C-1, -1 = outlier; an array of an array, else a tensor on the
            device that was worked on.
        graph: all pairs of rows with Jaccard distance <= eps (`reach`, where the settings have
            one), in arrays, or in tensors where a GPU has clustered a tensor.
        candidates: (N, m) int32, `guess` for features that have moved little; None from a GPU.
        recall: share of the true neighbours that the search found; 1 where it was exact.
    """

    labels: Any
    graph: "JaccardGraph | gpu.JaccardGraph"
    candidates: np.ndarray | None
    recall: float


def pseudo_labels(
    features: np.ndarray | torch.Tensor,
    settings: ClusterSettings,
    *,
    device: str | torch.device | None = None,
    guess: np.ndarray | None = None,
    timer: Timer = lambda stage: nullcontext(),
    executor: Executor | None = None,
) -> Clustering:
    """Cluster (N, H) features: k-NN, k-reciprocal Jaccard distance, DBSCAN (SimMC section 3.1).

    The labels are the same by every executor, and on every device but for pairs at the very edge
    of eps, where the rounding of the exponential function may decide.

    Args:
        features: (N, H) finite floats.
        settings: what decides the clusters.
        device: "cpu", "cuda" or another of torch's; None: where the features are.
        guess: `candidates` of an earlier clustering of the same windows; changes the time only.
        timer: context manager by stage: neighbours, jaccard, dbscan.
        executor: where blocks of rows are worked on, on the CPU; None: as many threads as torch
            uses.

    Raises:
        ValueError: features not finite or not two-dimensional, or settings out of range.
    """
    if isinstance(features, torch.Tensor):
        here = torch.device(device or features.device)
        if here.type == "cpu":
            found = _on_cpu(host_array(features), settings, guess, timer, executor)
            return replace(found, labels=torch.from_numpy(found.labels))
        from simmc.clustering import gpu

        labels, graph = gpu.pseudo_labels(features.to(here), settings, timer=timer)
        return Clustering(labels, graph, None, 1.0)
    if torch.device(device or "cpu").type == "cpu":
        return _on_cpu(features, settings, guess, timer, executor)
    from simmc.clustering import gpu

    moved = torch.from_numpy(as_rows(features)).to(device)
    labels, graph = gpu.pseudo_labels(moved, settings, timer=timer)
    return Clustering(labels.cpu().numpy(), as_arrays(graph), None, 1.0)


def _on_cpu(
    features: np.ndarray,
    settings: ClusterSettings,
    guess: np.ndarray | None,
    timer: Timer,
    executor: Executor | None,
) -> Clustering:
    """The three stages by the compiled engine."""
    rows = as_rows(features)
    if settings.normalise:
        rows = unit_rows(rows)
    executor = executor or Threads()
    with timer("neighbours"):
        nearest = _search(rows, settings, guess, executor)
    with timer("jaccard"):
        graph = graph_from_neighbors(
            rows, nearest.indices, settings.cut, k2=settings.k2, executor=executor
        )
    with timer("dbscan"):
        near = graph if settings.reach is None else graph.within(settings.eps)
        labels = dbscan(near, settings.min_samples)
    return Clustering(labels, graph, nearest.candidates, nearest.recall)


def _search(
    rows: np.ndarray, settings: ClusterSettings, guess: np.ndarray | None, executor: Executor
) -> Neighbors:
    """The neighbour lists, exact or approximate as the settings say."""
    if settings.neighbors == "exact":
        return k_nearest(rows, settings.k1, guess=guess, executor=executor)
    from simmc.clustering.approximate import approximate_neighbors

    # an approximate search is work for the threads of one machine
    threads = executor if isinstance(executor, Threads) else Threads()
    return approximate_neighbors(rows, settings.k1, recall=settings.recall, executor=threads)


def as_arrays(graph: "JaccardGraph | gpu.JaccardGraph") -> JaccardGraph:
    """The graph in the arrays of the compiled engine, wherever it lies."""
    if isinstance(graph, JaccardGraph):
        return graph
    return JaccardGraph(
        graph.start.cpu().numpy(),
        graph.column.cpu().numpy().astype(np.int32),
        graph.distance.cpu().numpy(),
        graph.eps,
        None if graph.node is None else graph.node.cpu().numpy().astype(np.int32),
    )


def cluster_means(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean feature of every cluster (SimMC Eq. 4).

    Args:
        features: (N, H) float.
        labels: (N,) int64, 0 .. C-1, or -1 for outliers, which belong to no mean.

    Returns:
        (C, H) float, unnormalised; (0, H) where every label is -1.
    """
    inside = labels >= 0
    n_clusters = int(labels.max()) + 1 if len(labels) and bool(inside.any()) else 0
    members = labels[inside]
    sums = torch.zeros(n_clusters, features.shape[1], dtype=torch.float64, device=features.device)
    sums.index_add_(0, members, features[inside].double())
    counts = torch.bincount(members, minlength=n_clusters).clamp(min=1)
    return (sums / counts[:, None]).to(features.dtype)
