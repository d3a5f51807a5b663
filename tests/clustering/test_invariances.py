"""The same rows in other words give the same graph: layout, type, order, scale, who works."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simmc.clustering import (
    ClusterSettings,
    Threads,
    dbscan,
    jaccard_graph,
    pseudo_labels,
    unit_rows,
)
from simmc.clustering import gpu as on_device
from tests.clustering import make
from tests.clustering.make import EPS, K1, K2, MIN_SAMPLES


@pytest.fixture(scope="module", autouse=True)
def compiled():
    make.compile_loops()
    jaccard_graph(make.locked(np.eye(3, dtype=np.float32)), 0.5)  # a type of its own for numba


def assert_same_graph(a, b):
    np.testing.assert_array_equal(a.start, b.start)
    np.testing.assert_array_equal(a.column, b.column)
    np.testing.assert_array_equal(a.distance, b.distance)
    assert (a.node is None) == (b.node is None)
    if a.node is not None:
        np.testing.assert_array_equal(a.node, b.node)


def layouts(x):
    """Arrays equal to the C-contiguous x (N, d) that lie otherwise in memory."""
    n, d = x.shape
    yield np.asfortranarray(x)
    yield np.ascontiguousarray(x.T).T
    yield np.repeat(np.repeat(x, 2, 0), 3, 1)[::2, ::3]
    yield np.ascontiguousarray(x[::-1])[::-1]
    yield np.ascontiguousarray(x[:, ::-1])[:, ::-1]
    yield np.pad(x, ((2, 1), (1, 3)))[2 : 2 + n, 1 : 1 + d]
    yield make.locked(x)


@settings(max_examples=10, deadline=None)
@given(x=make.features(types=[np.float32], scaled=False), k1=K1, k2=K2, eps=EPS)
def test_layout_does_not_matter_and_input_is_left_alone(x, k1, k2, eps):
    wanted = jaccard_graph(x, eps, k1=k1, k2=k2)
    for same in layouts(x):
        before = same.copy()
        assert_same_graph(jaccard_graph(same, eps, k1=k1, k2=k2), wanted)
        np.testing.assert_array_equal(same, before)


@settings(max_examples=30, deadline=None)
@given(x=make.features(types=[np.float16], scaled=False), k1=K1, k2=K2, eps=EPS)
def test_type_does_not_matter(x, k1, k2, eps):
    wanted = jaccard_graph(x, eps, k1=k1, k2=k2)
    for dtype in (np.float32, np.float64, ">f2", ">f4"):
        assert_same_graph(jaccard_graph(x.astype(dtype), eps, k1=k1, k2=k2), wanted)
    assert_same_graph(jaccard_graph(x.tolist(), eps, k1=k1, k2=k2), wanted)
    whole = np.round(x)
    wanted = jaccard_graph(whole, eps, k1=k1, k2=k2)
    for dtype in (np.int8, np.int16, np.int64, ">i4"):
        assert_same_graph(jaccard_graph(whole.astype(dtype), eps, k1=k1, k2=k2), wanted)


@settings(max_examples=40, deadline=None)
@given(
    x=make.features(most=200, types=[np.float32, np.float64], scaled=False),
    exponents=st.sampled_from([(-40, -40), (30, 30), (-20, 20)]),
    seed=st.integers(0, 2**32 - 1),
    k1=K1,
    k2=K2,
    eps=EPS,
)
def test_normalising_ignores_powers_of_two(x, exponents, seed, k1, k2, eps):
    wanted = jaccard_graph(x, eps, k1=k1, k2=k2, normalise=True)
    assert_same_graph(jaccard_graph(unit_rows(x), eps, k1=k1, k2=k2), wanted)
    each = np.random.default_rng(seed).integers(exponents[0], exponents[1] + 1, (len(x), 1))
    stretched = np.ldexp(x, each).astype(x.dtype)
    assert_same_graph(jaccard_graph(stretched, eps, k1=k1, k2=k2, normalise=True), wanted)


@settings(max_examples=40, deadline=None)
@given(x=make.features(types=[np.float32, np.float64], scaled=False), exponent=st.integers(-40, 40))
def test_unit_rows_have_length_one_and_zero_rows_stay(x, exponent):
    unit = unit_rows(np.ldexp(x, exponent).astype(x.dtype))
    assert unit.dtype == x.dtype
    zero = (x == 0).all(1)
    rounding = 8 * np.finfo(x.dtype).eps
    lengths = np.linalg.norm(unit.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, ~zero, rtol=rounding)
    true = np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    np.testing.assert_allclose(unit * true, x, rtol=rounding)


@settings(max_examples=40, deadline=None)
@given(x=make.features(most=100), rows=st.integers(1, 40), k1=K1, k2=K2, eps=EPS)
def test_blocks_of_rows_do_not_matter(x, rows, k1, k2, eps):
    wanted = jaccard_graph(x, eps, k1=k1, k2=k2, executor=Threads(1))
    blocks = jaccard_graph(x, eps, k1=k1, k2=k2, executor=make.OddBlocks(rows))
    assert_same_graph(blocks, wanted)


@settings(max_examples=60, deadline=None)
@given(x=make.features(most=100), k1=K1, k2=K2, eps=EPS, min_samples=MIN_SAMPLES)
def test_tensor_operations_give_the_same_graph_and_labels(x, k1, k2, eps, min_samples):
    wanted = jaccard_graph(x, eps, k1=k1, k2=k2)
    how = ClusterSettings(eps, min_samples, k1, k2)
    labels, graph = on_device.pseudo_labels(torch.from_numpy(x), how)
    assert_same_graph(graph, wanted)
    np.testing.assert_array_equal(labels.numpy(), dbscan(wanted, min_samples))


@pytest.mark.parametrize("family", [make.blobs, make.grid, make.copies])
def test_who_works_on_which_rows_does_not_matter(family):
    # more rows than two tiles of products and five blocks
    x = make.exact(family(np.random.default_rng(3), 1300, 6, 5)).astype(np.float32)
    wanted = jaccard_graph(x, 0.7, executor=Threads(1))
    for executor in (Threads(3), make.OddBlocks(201), make.OddBlocks(5000)):
        assert_same_graph(jaccard_graph(x, 0.7, executor=executor), wanted)
    labels = pseudo_labels(x, ClusterSettings(0.7, 3), executor=Threads(3)).labels
    np.testing.assert_array_equal(labels, dbscan(wanted, 3))
