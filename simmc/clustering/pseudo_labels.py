"""Features to pseudo labels: the clustering stage of one epoch, and its DBSCAN."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from simmc.clustering.jaccard import JaccardGraph, graph_from_neighbors, unit_rows
from simmc.clustering.neighbors import Neighbors, as_rows, k_nearest
from simmc.compiled import Executor, Threads, compiled
from simmc.distances import host_array

if TYPE_CHECKING:
    from simmc.clustering import gpu

OUTLIER = -1
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
        recall: share of the true neighbours that the search found; 1 where it was exact.
    """

    labels: Any
    graph: "JaccardGraph | gpu.JaccardGraph"
    recall: float


def pseudo_labels(
    features: np.ndarray | torch.Tensor,
    settings: ClusterSettings,
    *,
    device: str | torch.device | None = None,
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
        timer: context manager by stage: neighbours, jaccard, dbscan.
        executor: where blocks of rows are worked on, on the CPU; None: as many threads as torch
            uses.

    Raises:
        ValueError: features not finite or not two-dimensional, or settings out of range.
    """
    if isinstance(features, torch.Tensor):
        here = torch.device(device or features.device)
        if here.type == "cpu":
            found = _on_cpu(host_array(features), settings, timer, executor)
            return replace(found, labels=torch.from_numpy(found.labels))
        from simmc.clustering import gpu

        labels, graph = gpu.pseudo_labels(features.to(here), settings, timer=timer)
        return Clustering(labels, graph, 1.0)
    if torch.device(device or "cpu").type == "cpu":
        return _on_cpu(features, settings, timer, executor)
    from simmc.clustering import gpu

    moved = torch.from_numpy(as_rows(features)).to(device)
    labels, graph = gpu.pseudo_labels(moved, settings, timer=timer)
    return Clustering(labels.cpu().numpy(), as_arrays(graph), 1.0)


def _on_cpu(
    features: np.ndarray,
    settings: ClusterSettings,
    timer: Timer,
    executor: Executor | None,
) -> Clustering:
    """The three stages by the compiled engine."""
    rows = as_rows(features)
    if settings.normalise:
        rows = unit_rows(rows)
    executor = executor or Threads()
    with timer("neighbours"):
        nearest = _search(rows, settings, executor)
    with timer("jaccard"):
        graph = graph_from_neighbors(
            rows, nearest.indices, settings.cut, k2=settings.k2, executor=executor
        )
    with timer("dbscan"):
        near = graph if settings.reach is None else graph.within(settings.eps)
        labels = dbscan(near, settings.min_samples)
    return Clustering(labels, graph, nearest.recall)


def _search(rows: np.ndarray, settings: ClusterSettings, executor: Executor) -> Neighbors:
    """The neighbour lists, exact or approximate as the settings say."""
    if settings.neighbors == "exact":
        return k_nearest(rows, settings.k1, executor=executor)
    from simmc.clustering.approximate import approximate_neighbors

    # an approximate search is work for the threads of one machine
    threads = executor if isinstance(executor, Threads) else Threads()
    return approximate_neighbors(rows, settings.k1, recall=settings.recall, executor=threads)


def dbscan(graph: JaccardGraph, min_samples: int) -> np.ndarray:
    """Labels of scikit-learn's DBSCAN(eps, min_samples, metric="precomputed"), from the graph.

    A row is a core point where its entries (itself included) number min_samples or more. Clusters
    are the connected components of the core points, numbered by their first core point; a border
    point joins the smallest-numbered cluster that it touches.

    Args:
        graph: all pairs within eps, each row listing itself.
        min_samples: at least 1.

    Returns:
        (N,) int64 labels, -1 = outlier.
    """
    if min_samples < 1:
        raise ValueError(f"min_samples must be at least 1, not {min_samples}")
    core = _rows_within_eps(graph) >= min_samples
    labels = _label(graph.start, graph.column, core)
    return labels if graph.node is None else labels[graph.node]  # nodes go by their first rows


def _rows_within_eps(graph: JaccardGraph) -> np.ndarray:
    """Of each node: how many rows lie within eps, its own among them."""
    if graph.node is None:
        return np.diff(graph.start)
    rows_of = np.bincount(graph.node, minlength=len(graph.start) - 1)
    reached = np.concatenate([[0], np.cumsum(rows_of[graph.column])])
    return np.diff(reached[graph.start])


@compiled()
def _label(start, column, core):  # type: ignore[no-untyped-def]
    """Labels of the nodes: a tree a component, each with its smallest core node as the root."""
    n = len(core)
    parent = np.arange(n)
    for i in range(n):
        if not core[i]:
            continue
        for p in range(start[i], start[i + 1]):
            j = column[p]
            if j >= i:
                break  # columns ascend; the link is seen from the other side
            if core[j]:
                a, b = root_of(parent, i), root_of(parent, j)
                parent[max(a, b)] = min(a, b)
    labels = np.full(n, OUTLIER)
    clusters = 0
    for i in range(n):
        if core[i]:
            root = root_of(parent, i)
            if root == i:
                labels[i] = clusters
                clusters += 1
            else:
                labels[i] = labels[root]
    for i in range(n):
        if not core[i]:
            for p in range(start[i], start[i + 1]):
                j = column[p]
                if core[j] and (labels[i] == OUTLIER or labels[j] < labels[i]):
                    labels[i] = labels[j]
    return labels


@compiled()
def root_of(parent, i):  # type: ignore[no-untyped-def]
    """The root of the tree that node i is in; shortens the way to it."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]  # halves the way for the next
        i = parent[i]
    return i


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
