"""Features to pseudo labels without leaving the device."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from simmc.clustering.gpu.density import dbscan
from simmc.clustering.gpu.jaccard import (
    JaccardGraph,
    graph_from_neighbors,
    unit_rows,
)
from simmc.clustering.gpu.neighbors import as_rows, k_nearest
from simmc.clustering.pseudo_labels import ClusterSettings, Timer


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
