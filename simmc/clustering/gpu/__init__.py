"""The clustering of `simmc.clustering` in tensor operations: all of it stays on one device.

labels, graph = pseudo_labels(features, ClusterSettings(eps=0.6, min_samples=4))

Definitions, tie rule and order of summation are those of the compiled engine, which is the better
choice without a GPU. The same code runs on either device.
"""

from simmc.clustering.gpu.jaccard import (
    JaccardGraph,
    SparseRows,
    expand_weights,
    graph_from_neighbors,
    neighbor_weights,
    radius_graph,
    unit_rows,
)
from simmc.clustering.gpu.neighbors import Neighbors, k_nearest
from simmc.clustering.gpu.pseudo_labels import dbscan, pseudo_labels

__all__ = [
    "JaccardGraph",
    "Neighbors",
    "SparseRows",
    "dbscan",
    "expand_weights",
    "graph_from_neighbors",
    "k_nearest",
    "neighbor_weights",
    "pseudo_labels",
    "radius_graph",
    "unit_rows",
]
