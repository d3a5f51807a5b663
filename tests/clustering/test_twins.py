"""Rows with equal weights share the entries of one node."""

import numpy as np
import pytest
import torch

from simmc.clustering import (
    ClusterSettings,
    dbscan,
    graph_from_neighbors,
    pseudo_labels,
    radius_graph,
)
from simmc.clustering import gpu as on_device
from simmc.clustering.jaccard import twins
from tests.clustering import make


def test_twins_are_rows_with_the_same_lists():
    lists = np.array([[0, 2, 1], [1, 0, 2], [0, 2, 1], [3, 4, 1], [3, 4, 0]], np.int32)
    first, node = twins(lists, 2)
    assert first.tolist() == [0, 1, 3] and node.tolist() == [0, 1, 0, 2, 2]
    first, node = twins(lists, 3)
    assert first.tolist() == [0, 1, 3, 4] and node.tolist() == [0, 1, 0, 2, 3]
    assert twins(lists, 1) is None
    assert twins(np.array([[0, 2], [1, 0], [2, 0]], np.int32), 2) is None


@pytest.mark.parametrize("min_samples", [1, 4, 30])
def test_collapsed_features_need_no_pair_of_all_rows(min_samples):
    n, others = 6_000, 40
    x = np.zeros((n + others, 8), np.float32)
    x[n:] = np.random.default_rng(0).standard_normal((others, 8))
    x = x[np.random.default_rng(1).permutation(len(x))]
    how = ClusterSettings(0.6, min_samples)
    found = pseudo_labels(x, how)
    assert len(found.graph.column) < 50 * others  # one node for all that are equal
    few = np.flatnonzero((x != 0).any(1))
    same = np.flatnonzero((x == 0).all(1))
    kept = np.sort(np.concatenate([same[:200], few]))  # the same picture with 200 of them
    small = pseudo_labels(x[kept], how).labels
    np.testing.assert_array_equal(found.labels[kept], small)
    assert len(set(found.labels[same])) == 1
    there, graph = on_device.pseudo_labels(torch.from_numpy(x), how)
    np.testing.assert_array_equal(there.numpy(), found.labels)
    assert len(graph.column) == len(found.graph.column)


def test_a_graph_with_shared_nodes_unfolds():
    x = np.repeat(np.random.default_rng(0).standard_normal((9, 3)), 5, axis=0).astype(np.float32)
    lists, v = make.weights_of(x, 20, 6)
    shared = graph_from_neighbors(x, lists, 0.6)
    assert len(shared.start) == 10 and len(shared) == 45
    whole, wanted = shared.whole(), radius_graph(v, 0.6)
    assert len(whole) == 45 and whole.node is None
    for part in ("start", "column", "distance"):
        np.testing.assert_array_equal(getattr(whole, part), getattr(wanted, part))
        assert getattr(whole, part).dtype == getattr(wanted, part).dtype
    for least in (1, 4, 6):
        np.testing.assert_array_equal(dbscan(shared, least), dbscan(wanted, least))
