"""DBSCAN on a sparse radius graph: connected components of core points."""

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from simmc.clustering.jaccard import JaccardGraph

OUTLIER = -1


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
    n = len(graph.start) - 1
    labels = np.full(n, OUTLIER, np.int64)
    degree = np.diff(graph.start)
    core = _rows_within_eps(graph) >= min_samples
    if not core.any():
        return _of_rows(labels, graph)
    row = np.repeat(np.arange(n, dtype=np.int32), degree)
    between_cores = core[row] & core[graph.column]
    links = sparse.coo_array(
        (
            np.ones(int(between_cores.sum()), np.int8),
            (row[between_cores], graph.column[between_cores]),
        ),
        shape=(n, n),
    )
    component = connected_components(links, directed=False)[1]
    labels[core] = _number_by_first(component[core])
    to_border = core[graph.column] & ~core[row]
    nearest = np.full(n, n, np.int64)
    np.minimum.at(nearest, row[to_border], labels[graph.column[to_border]])
    border = ~core & (nearest < n)
    labels[border] = nearest[border]
    return _of_rows(labels, graph)


def _rows_within_eps(graph: JaccardGraph) -> np.ndarray:
    """Of each node: how many rows lie within eps, its own among them."""
    if graph.node is None:
        return np.diff(graph.start)
    rows_of = np.bincount(graph.node, minlength=len(graph.start) - 1)
    reached = np.concatenate([[0], np.cumsum(rows_of[graph.column])])
    return np.diff(reached[graph.start])


def _of_rows(labels: np.ndarray, graph: JaccardGraph) -> np.ndarray:
    """Labels of nodes to labels of rows. Nodes stand in the order of their first rows."""
    return labels if graph.node is None else labels[graph.node]


def _number_by_first(names: np.ndarray) -> np.ndarray:
    """Rename to 0, 1, 2, ... in the order of first appearance."""
    _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
