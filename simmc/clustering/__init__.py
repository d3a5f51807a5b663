"""Density clustering of features by k-reciprocal Jaccard distance; usable on its own.

graph = jaccard_graph(features, eps=0.6)     # (N, d) floats -> sparse graph
labels = dbscan(graph, min_samples=4)        # (N,) int64, -1 = outlier
prototypes = cluster_means(features, labels) # (C, d)
"""

from simmc.clustering.approximate import approximate_neighbors
from simmc.clustering.constrained import Apart, dbscan_apart
from simmc.clustering.density import OUTLIER, dbscan
from simmc.clustering.executors import Executor, Threads
from simmc.clustering.farthest import farthest
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
from simmc.clustering.options import ClusterSettings
from simmc.clustering.prototypes import cluster_means
from simmc.clustering.pseudo_labels import Clustering, as_arrays, pseudo_labels
from simmc.clustering.tracklets import Targets, draw_parts, part_means, shared_targets

__all__ = [
    "OUTLIER",
    "Apart",
    "ClusterSettings",
    "Clustering",
    "Executor",
    "JaccardGraph",
    "Neighbors",
    "Targets",
    "Threads",
    "approximate_neighbors",
    "as_arrays",
    "cluster_means",
    "dbscan",
    "dbscan_apart",
    "draw_parts",
    "expand_weights",
    "farthest",
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
