"""The clustering from features to labels, against the dense reference and against itself."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN

from simmc.clustering import (
    ClusterSettings,
    dbscan,
    jaccard_graph,
    k_nearest,
    pseudo_labels,
    radius_graph,
    unit_rows,
)
from tests.clustering import make
from tests.clustering.make import EPS, K1, K2, MIN_SAMPLES
from tests.reference import jaccard as literal


@pytest.fixture(scope="module", autouse=True)
def compiled():
    make.compile_loops()


def scikit_learn(distances, eps, min_samples):
    return DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit_predict(distances)


# --- against the dense reference ------------------------------------------------------------


@settings(max_examples=120, deadline=None)
@given(x=make.features(), k1=K1, k2=K2, target=EPS, min_samples=MIN_SAMPLES)
def test_labels_equal_the_dense_reference(x, k1, k2, target, min_samples):
    lists = literal.nearest(x, k1)
    np.testing.assert_array_equal(k_nearest(x, k1).indices, lists)
    full = literal.jaccard(x, k1, k2)
    eps = make.eps_between(full, target)
    graph = jaccard_graph(x, eps, k1=k1, k2=k2)
    within = full <= eps
    np.testing.assert_array_equal(make.pattern(graph), within)
    np.testing.assert_allclose(graph.whole().distance, full[within], rtol=0, atol=1e-6)
    wanted = scikit_learn(full, eps, min_samples)
    np.testing.assert_array_equal(dbscan(graph, min_samples), wanted)
    how = ClusterSettings(eps, min_samples, k1, k2)
    np.testing.assert_array_equal(pseudo_labels(x, how).labels, wanted)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 80),
    d=st.integers(1, 12),
    groups=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([0.01, 0.3, 1.0, 10.0]),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    normalise=st.booleans(),
    k1=K1,
    k2=K2,
    target=EPS,
    min_samples=MIN_SAMPLES,
)
def test_labels_of_unrounded_features_equal_the_dense_reference(
    n, d, groups, seed, scale, dtype, normalise, k1, k2, target, min_samples
):
    x = (scale * make.generic(n, d, groups, seed)).astype(dtype)
    seen = unit_rows(x.astype(np.float64 if dtype == np.float64 else np.float32))
    full = literal.jaccard(seen if normalise else x, k1, k2)
    eps = make.eps_between(full, target)
    how = ClusterSettings(eps, min_samples, k1, k2, normalise)
    wanted = scikit_learn(full, eps, min_samples)
    np.testing.assert_array_equal(pseudo_labels(x, how).labels, wanted)
    graph = jaccard_graph(x, eps, k1=k1, k2=k2, normalise=normalise)
    np.testing.assert_array_equal(make.pattern(graph), full <= eps)


@settings(max_examples=40, deadline=None)
@given(x=make.features(), k1=K1, k2=K2, which=st.floats(0, 1), min_samples=MIN_SAMPLES)
def test_a_pair_exactly_at_eps_is_within(x, k1, k2, which, min_samples):
    _, v = make.weights_of(x, k1, k2)
    full = literal.distances(v.toarray())
    possible = np.unique(full[(full > 0) & (full < 1)])
    assume(len(possible))
    eps = float(possible[round(which * (len(possible) - 1))])
    graph = radius_graph(v, eps)
    np.testing.assert_array_equal(make.pattern(graph), full <= np.float32(eps))
    np.testing.assert_array_equal(graph.distance, full[full <= np.float32(eps)])  # to the last bit
    np.testing.assert_array_equal(dbscan(graph, min_samples), scikit_learn(full, eps, min_samples))


@settings(max_examples=100, deadline=None)
@given(
    n=st.integers(1, 50),
    seed=st.integers(0, 2**32 - 1),
    density=st.sampled_from([0.0, 0.02, 0.05, 0.1, 0.3]),
    own=st.sampled_from([0.0, 0.5, 1.0]),
    min_samples=st.integers(1, 6),
)
def test_dbscan_equals_scikit_learn_on_any_symmetric_graph(n, seed, density, own, min_samples):
    rng = np.random.default_rng(seed)
    far = np.triu(rng.random((n, n)) >= density, 1)
    full = (far + far.T).astype(np.float32)
    np.fill_diagonal(full, rng.random(n) >= own)  # some rows may not list themselves
    graph = make.graph_of(full, 0.5)
    np.testing.assert_array_equal(dbscan(graph, min_samples), scikit_learn(full, 0.5, min_samples))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (2, 3), (20, 6)])
@pytest.mark.parametrize("n", [0, 1, 2])
def test_hardly_any_rows(n, k1, k2, dtype):
    for x in (np.zeros((n, 3), dtype), np.ones((n, 3), dtype), np.empty((n, 0), dtype)):
        labels = pseudo_labels(x, ClusterSettings(0.5, 1, k1, k2)).labels
        assert labels.dtype == np.int64 and labels.shape == (n,)
        if n:
            wanted = scikit_learn(literal.jaccard(x, k1, k2), 0.5, 1)
            np.testing.assert_array_equal(labels, wanted)


@pytest.mark.parametrize("copies", [1, 2, 7, 19, 20, 21, 60])
@pytest.mark.parametrize("k2", [1, 2, 6])
def test_duplicates_fewer_and_more_than_a_list_holds(copies, k2):
    x = np.repeat(make.exact(make.generic(3, 4, 3, seed=5)), copies, axis=0).astype(np.float32)
    full = literal.jaccard(x, 20, k2)
    for order in (np.arange(len(x)), np.random.default_rng(0).permutation(len(x))):
        shuffled = literal.jaccard(x[order], 20, k2)
        eps = make.eps_between(np.concatenate([full, shuffled]), 0.6)
        for min_samples in (1, 2, 4):
            labels = dbscan(jaccard_graph(x[order], eps, k2=k2), min_samples)
            np.testing.assert_array_equal(labels, scikit_learn(shuffled, eps, min_samples))


def test_all_noise_and_one_cluster():
    far = make.exact(make.apart(np.random.default_rng(0), 40, 9, 1)).astype(np.float32)
    assert (pseudo_labels(far, ClusterSettings(0.001, 2)).labels == -1).all()
    one = np.ones((40, 3), np.float32)
    assert (pseudo_labels(one, ClusterSettings(0.5, 6)).labels == 0).all()
    assert (pseudo_labels(one, ClusterSettings(0.5, 41)).labels == -1).all()
    with pytest.raises(ValueError, match="at least 1"):
        dbscan(jaccard_graph(far, 0.5), 0)


# --- what holds for every graph -------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(x=make.features(most=400), k1=K1, k2=K2, eps=EPS)
def test_graph_and_weights_keep_their_promises(x, k1, k2, eps):
    lists, v = make.weights_of(x, k1, k2)
    n = len(x)
    # A row is not in its own list where k1 rows at distance 0 come before it. Without the query
    # expansion it then has no weights.
    empty = ~(lists == np.arange(n)[:, None]).any(1) if k2 == 1 else np.zeros(n, bool)
    np.testing.assert_allclose(v.sum(1), ~empty, rtol=0, atol=1e-5)
    assert v.dtype == np.float32 and (v.data >= 0).all()
    most = lists.shape[1] * (1 + int(np.around(lists.shape[1] / 2)) + 1) * min(k2, k1)
    assert np.diff(v.indptr).max() <= most

    graph = radius_graph(v, eps)
    assert (graph.start.dtype, graph.column.dtype, graph.distance.dtype) == (
        np.int64, np.int32, np.float32,
    )  # fmt: skip
    assert graph.start[0] == 0 and graph.start[-1] == len(graph.column) == len(graph.distance)
    row = make.row_of_entry(graph)
    ascending = np.diff(graph.column) > 0
    assert ascending[np.diff(row) == 0].all()
    assert ((graph.distance >= 0) & (graph.distance <= np.float32(eps))).all()
    listed = dict(zip(zip(row.tolist(), graph.column.tolist(), strict=True), graph.distance,
                      strict=True))  # fmt: skip
    assert all(listed.get((j, i)) == d for (i, j), d in listed.items())
    assert [(i, i) in listed for i in range(n)] == (~empty).tolist()


# --- what is refused ------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    x=make.features(),
    bad=st.sampled_from([np.nan, np.inf, -np.inf]),
    where=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
    fortran=st.booleans(),
)
def test_a_row_that_is_not_finite_is_named(x, bad, where, fortran):
    row, column = int(where[0] * len(x)), int(where[1] * x.shape[1])
    x[row, column] = bad
    x[row:, -1] = bad  # the first bad row is the one to name
    x = np.asfortranarray(x) if fortran else x
    for refused in (
        lambda: k_nearest(x, 3),
        lambda: jaccard_graph(x, 0.5),
        lambda: jaccard_graph(x, 0.5, normalise=True),
        lambda: pseudo_labels(x, ClusterSettings(0.5, 2)),
    ):
        with pytest.raises(ValueError, match=rf"row {row} holds NaN or infinity"):
            refused()
