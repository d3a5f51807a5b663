"""DBSCAN on a sparse radius graph: connected components of core points."""

import numpy as np

from simmc.clustering.jaccard import JaccardGraph
from simmc.compiled import compiled

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
