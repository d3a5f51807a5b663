"""The order of work changes nothing, and rows with equal weights share their entries."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simmc.clustering import (
    ClusterSettings,
    dbscan,
    expand_weights,
    graph_from_neighbors,
    k_nearest,
    neighbor_weights,
    pseudo_labels,
    radius_graph,
)
from simmc.clustering import gpu as on_device
from simmc.clustering.jaccard import near_order, twins
from tests.clustering import make


@pytest.fixture(scope="module", autouse=True)
def compiled():
    make.compile_loops()


@settings(max_examples=60, deadline=None)
@given(x=make.features(most=150), k1=make.K1, k2=make.K2, eps=make.EPS, seed=st.integers(0, 99))
def test_any_order_of_work_gives_the_same_bits(x, k1, k2, eps, seed):
    x = x.astype(np.promote_types(x.dtype, np.float32))
    lists = k_nearest(x, k1).indices
    order = np.random.default_rng(seed).permutation(len(x)).astype(np.int32)
    plain, mixed = (neighbor_weights(x, lists, order=o) for o in (None, order))
    plain, mixed = (
        expand_weights(v, lists, k2, order=o) for v, o in ((plain, None), (mixed, order))
    )
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(mixed, part), getattr(plain[order], part))
    wanted, found = (radius_graph(v, eps, order=o) for v, o in ((plain, None), (mixed, order)))
    whole = graph_from_neighbors(x, lists, eps, k2=k2).whole()
    for graph in (found, whole):
        for part in ("start", "column", "distance"):
            np.testing.assert_array_equal(getattr(graph, part), getattr(wanted, part))


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 80), k=st.integers(1, 9), seed=st.integers(0, 99))
def test_every_row_has_its_place_in_the_order(n, k, seed):
    lists = np.random.default_rng(seed).integers(max(n, 1), size=(n, k)).astype(np.int32)
    np.testing.assert_array_equal(np.sort(near_order(lists)), np.arange(n))


def test_the_order_follows_the_neighbours():
    lists = np.array([[0, 3, 5], [1, 4, 1], [2, 0, 1], [3, 2, 0], [4, 1, 1], [5, 0, 3]], np.int32)
    assert near_order(lists).tolist() == [0, 3, 2, 1, 4, 5]


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
