"""Density clustering of features by k-reciprocal Jaccard distance; usable on its own.

graph = jaccard_graph(features, eps=0.6)     # (N, d) floats -> sparse graph
labels = dbscan(graph, min_samples=4)        # (N,) int64, -1 = outlier
prototypes = cluster_means(features, labels) # (C, d)
"""

from simmc.clustering.cannot_link import CannotLink, dbscan_cannot_link
from simmc.clustering.jaccard import (
    JaccardGraph,
    expand_weights,
    graph_from_neighbors,
    jaccard_graph,
    neighbor_weights,
    radius_graph,
    unit_rows,
)
from simmc.clustering.neighbors import (
    Neighbors,
    k_nearest,
    k_nearest_among,
    k_nearest_others,
)
from simmc.clustering.pseudo_labels import (
    OUTLIER,
    Clustering,
    ClusterSettings,
    as_arrays,
    cluster_means,
    dbscan,
    pseudo_labels,
)
from simmc.clustering.tracklets import (
    Reach,
    Targets,
    descriptions,
    draw_parts,
    part_means,
    shared_targets,
)
from simmc.compiled import Executor, Threads

__all__ = [
    "OUTLIER",
    "CannotLink",
    "ClusterSettings",
    "Clustering",
    "Executor",
    "JaccardGraph",
    "Neighbors",
    "Reach",
    "Targets",
    "Threads",
    "as_arrays",
    "cluster_means",
    "dbscan",
    "dbscan_cannot_link",
    "descriptions",
    "draw_parts",
    "expand_weights",
    "graph_from_neighbors",
    "jaccard_graph",
    "k_nearest",
    "k_nearest_among",
    "k_nearest_others",
    "neighbor_weights",
    "part_means",
    "pseudo_labels",
    "radius_graph",
    "shared_targets",
    "unit_rows",
]
