"""Features to pseudo labels without leaving the device, and its DBSCAN."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from simmc.clustering.gpu.jaccard import JaccardGraph, graph_from_neighbors, unit_rows
from simmc.clustering.gpu.neighbors import as_rows, k_nearest
from simmc.clustering.pseudo_labels import OUTLIER, ClusterSettings, Timer


@torch.no_grad()
def pseudo_labels(
    features: torch.Tensor,
    settings: ClusterSettings,
    *,
    timer: Timer = lambda stage: nullcontext(),
) -> tuple[torch.Tensor, JaccardGraph]:
    """Cluster (N, H) features as `simmc.clustering.pseudo_labels` does.

    Args:
        features: (N, H) finite floats on any device.
        settings: what decides the clusters.
        timer: context manager by stage: neighbours, jaccard, dbscan.

    Returns:
        labels (N,) int64, 0 .. C-1, -1 = outlier, and the graph of all pairs within eps, or
        within `reach`.
    """
    rows = as_rows(features)
    if settings.normalise:
        rows = unit_rows(rows)

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        with timer(name):
            yield
            if rows.is_cuda:  # else the next stage would wait for this one's work
                torch.cuda.synchronize(rows.device)

    with stage("neighbours"):
        lists = k_nearest(rows, settings.k1).indices
    with stage("jaccard"):
        graph = graph_from_neighbors(rows, lists, settings.cut, k2=settings.k2)
    with stage("dbscan"):
        near = graph if settings.reach is None else graph.within(settings.eps)
        labels = dbscan(near, settings.min_samples)
    return labels, graph


@torch.no_grad()
def dbscan(graph: JaccardGraph, min_samples: int) -> torch.Tensor:
    """The labels of `simmc.clustering.dbscan`, with the graph's tensors.

    Only minima of integers meet in one place, so the order of work has no influence. Read on
    the host: the number of links, and once a round whether a parent has changed.

    (N,) int64 labels, -1 = outlier; a ValueError where `min_samples` is below 1.
    """
    if min_samples < 1:
        raise ValueError(f"min_samples must be at least 1, not {min_samples}")
    n, device = len(graph.start) - 1, graph.start.device
    every = torch.arange(n, device=device)
    degree = graph.start.diff()
    core = _rows_within_eps(graph) >= min_samples
    row = torch.repeat_interleave(every, degree, output_size=len(graph.column))
    links = (core[row] & core[graph.column]).nonzero()[:, 0]
    first = _first_of_component(n, row[links], graph.column[links])
    number = (core & (first == every)).cumsum(0) - 1  # by first core point
    labels = torch.where(core, number[first], OUTLIER)
    links = (~core[row] & core[graph.column]).nonzero()[:, 0]
    nearest = torch.full_like(labels, n)
    nearest.scatter_reduce_(0, row[links], labels[graph.column[links]], "amin")
    labels = torch.where(nearest < n, nearest, labels)
    return labels if graph.node is None else labels[graph.node]


def _rows_within_eps(graph: JaccardGraph) -> torch.Tensor:
    """Of each node: how many rows lie within eps, its own among them."""
    if graph.node is None:
        return graph.start.diff()
    rows_of = torch.zeros_like(graph.start[1:]).scatter_add_(
        0, graph.node, torch.ones_like(graph.node)
    )
    reached = rows_of[graph.column].cumsum(0)
    return torch.cat([reached.new_zeros(1), reached])[graph.start].diff()


def _first_of_component(n: int, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    """The smallest member (n,) of each node's connected component; every link in both directions.

    Each node points at a smaller or equal member. A round hangs each node, and its parent, below
    the smallest grandparent among its neighbours, then halves the way to the root. Where nothing
    changes, neighbours agree, and a component's smallest member can only point at itself.
    """
    parent = torch.arange(n, device=row.device)
    while True:
        grand = parent[parent]
        lowest = grand.scatter_reduce(0, row, grand[column], "amin")
        hung = torch.minimum(parent, lowest).scatter_reduce(0, parent, lowest, "amin")
        hung = hung[hung]
        if torch.equal(hung, parent):
            return parent
        parent = hung
