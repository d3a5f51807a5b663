import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN

from simmc.clustering import (
    dbscan,
    expand_weights,
    jaccard_graph,
    k_nearest,
    neighbor_weights,
)
from tests.reference import jaccard as literal


def clustered(n, d, centres, seed, spread=0.3, copies=0, scale=1.0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((max(centres, 1), d))[rng.integers(max(centres, 1), size=n)]
    x = (x + spread * rng.standard_normal((n, d))).astype(np.float32) * np.float32(scale)
    if copies:
        x[rng.integers(n, size=copies)] = x[rng.integers(n, size=copies)]
    return x


def dense(graph, n):
    graph = graph.whole()
    full = np.ones((n, n), np.float32)
    row = np.repeat(np.arange(n), np.diff(graph.start))
    full[row, graph.column] = graph.distance
    return full


CASES = {
    "n": st.integers(1, 120),
    "d": st.integers(2, 12),
    "centres": st.integers(1, 9),
    "seed": st.integers(0, 10_000),
    "copies": st.integers(0, 40),
    "scale": st.sampled_from([0.01, 1.0, 30.0]),  # 30: softmax nearly one-hot, underflow to 0
    "k1": st.sampled_from([4, 20]),
    "k2": st.sampled_from([1, 6]),
}


@settings(max_examples=60, deadline=None)
@given(**CASES)
def test_weights_equal_the_dense_routine(n, d, centres, seed, copies, scale, k1, k2):
    x = clustered(n, d, centres, seed, copies=copies, scale=scale)
    k2 = min(k2, k1)
    lists = k_nearest(x, k1).indices
    sparse_v = expand_weights(neighbor_weights(x, lists), lists, k2).toarray()
    dense_v = literal.weights(x, literal.nearest(x, k1), k1, k2)
    np.testing.assert_allclose(sparse_v, dense_v, rtol=2e-5, atol=1e-7)


def test_features_to_labels_equal_the_dense_reference():
    x = clustered(900, 16, 30, seed=1, spread=0.5)
    full = literal.jaccard(x)
    for eps, min_samples in ((0.6, 4), (0.75, 2), (0.8, 2)):
        wanted = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit_predict(full)
        np.testing.assert_array_equal(dbscan(jaccard_graph(x, eps), min_samples), wanted)


def test_duplicates_keep_distance_zero_as_entries():
    x = np.repeat(clustered(6, 5, 6, 0, spread=5.0), 20, axis=0)
    graph = jaccard_graph(x, 0.5)
    full = dense(graph, len(x))
    same = np.repeat(np.repeat(np.eye(6, dtype=bool), 20, 0), 20, 1)
    assert (full[same] == 0).all()
    assert len(graph.whole().column) == same.sum()
    assert len(graph.column) == 6 and len(graph) == 120  # they share their entries
    np.testing.assert_array_equal(dbscan(graph, 4), np.repeat(np.arange(6), 20))


@pytest.mark.parametrize("eps", [0.0, 1.0, -1.0])
def test_eps_outside_its_range_is_refused(eps):
    with pytest.raises(ValueError, match="between 0 and 1"):
        jaccard_graph(np.zeros((4, 2), np.float32), eps)
