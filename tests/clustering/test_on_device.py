"""The engine for a device against the compiled one; SIMMC_TEST_DEVICE=cuda runs it on a GPU."""

import os
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

import simmc.clustering as compiled
from simmc.clustering import ClusterSettings
from simmc.clustering import gpu as on_device
from simmc.clustering.gpu import neighbors as neighbors_module
from simmc.clustering.gpu import tiles
from tests.reference.jaccard import nearest

DEVICE = torch.device(os.environ.get("SIMMC_TEST_DEVICE", "cpu"))


def to_device(array):
    return torch.from_numpy(np.array(array)).to(DEVICE)


def on_host(tensor):
    return tensor.cpu().numpy()


def equal(found, wanted):
    np.testing.assert_array_equal(on_host(found), wanted)


@contextmanager
def steps_of(size, group=4, tile_rows=8):
    """Steps of about `size` bytes, so that small inputs take many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "MOST", {"cpu": size, "cuda": size})
        patch.setattr(neighbors_module, "GROUP", group)
        patch.setattr(neighbors_module, "TILE_ROWS", tile_rows)
        yield


def generated(n, d, centres, seed, copies=0, scale=1.0, spread=0.3):
    """Clustered rows, some of them exact copies of others."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((centres, d))[rng.integers(centres, size=n)]
    x = (x + spread * rng.standard_normal((n, d))).astype(np.float32) * np.float32(scale)
    x[rng.integers(n, size=copies)] = x[rng.integers(n, size=copies)]
    return x


def sparse_rows(matrix):
    return on_device.SparseRows(
        to_device(matrix.indptr).long(), to_device(matrix.indices).long(), to_device(matrix.data)
    )


def graph_of(graph):
    return on_device.JaccardGraph(
        to_device(graph.start),
        to_device(graph.column).long(),
        to_device(graph.distance),
        graph.eps,
        None if graph.node is None else to_device(graph.node).long(),
    )


def same_graph(found, wanted):
    equal(found.start, wanted.start)
    equal(found.column, wanted.column)
    equal(found.distance, wanted.distance)  # to the last bit
    assert found.distance.dtype == torch.float32
    assert (found.node is None) == (wanted.node is None)
    if wanted.node is not None:
        equal(found.node, wanted.node)


CASES = {
    "n": st.integers(1, 150),
    "d": st.integers(1, 9),
    "centres": st.integers(1, 9),
    "seed": st.integers(0, 10_000),
    "copies": st.integers(0, 60),
    "scale": st.sampled_from([1e-12, 0.01, 1.0, 30.0]),  # 30: softmax nearly one-hot, underflow
    "size": st.sampled_from([1 << 10, 1 << 15, 1 << 20]),
}


@settings(max_examples=50, deadline=None)
@given(**CASES, k=st.integers(1, 40), wide=st.booleans(), shift=st.sampled_from([0.0, 1e3]))
def test_lists_equal_the_compiled_engine(n, d, centres, seed, copies, scale, size, k, wide, shift):
    x = generated(n, d, centres, seed, copies, scale)
    x = x.astype(np.float64 if wide else np.float32) + x.dtype.type(shift * scale)
    wanted = compiled.k_nearest(x, k)
    with steps_of(size):
        found = on_device.k_nearest(to_device(x), k)
    equal(found.indices, wanted.indices)
    np.testing.assert_allclose(on_host(found.squared), wanted.squared, rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(
    **CASES,
    k1=st.sampled_from([1, 4, 20]),
    k2=st.sampled_from([1, 3, 6]),
    eps=st.sampled_from([0.3, 0.6, 0.8, 0.99]),
    min_samples=st.integers(1, 5),
)
def test_every_step_equals_the_compiled_engine(
    n, d, centres, seed, copies, scale, size, k1, k2, eps, min_samples
):
    x = generated(n, d, centres, seed, copies, scale)
    lists = compiled.k_nearest(x, k1).indices
    weights = compiled.neighbor_weights(x, lists)
    expanded = compiled.expand_weights(weights, lists, k2)
    graph = compiled.radius_graph(expanded, eps)
    lists = to_device(lists).long()
    with steps_of(size):
        found = on_device.neighbor_weights(to_device(x), lists)
        equal(found.start, weights.indptr)
        equal(found.column, weights.indices)
        np.testing.assert_array_max_ulp(on_host(found.value), weights.data, 1)  # exp may differ
        found = on_device.expand_weights(sparse_rows(weights), lists, k2)
        equal(found.start, expanded.indptr)
        equal(found.column, expanded.indices)
        equal(found.value, expanded.data)
        same_graph(on_device.radius_graph(sparse_rows(expanded), eps), graph)
    found = on_device.dbscan(graph_of(graph), min_samples)
    equal(found, compiled.dbscan(graph, min_samples))


@pytest.mark.parametrize("normalise", [False, True])
def test_features_to_labels_equal_the_compiled_engine(normalise):
    x = generated(3000, 16, 150, 1, copies=100, spread=0.5)
    chosen = ClusterSettings(eps=0.6, min_samples=4, normalise=normalise)
    stages = []

    @contextmanager
    def timer(stage):
        stages.append(stage)
        yield

    labels, graph = on_device.pseudo_labels(to_device(x), chosen, timer=timer)
    wanted = compiled.jaccard_graph(x, 0.6, normalise=normalise)
    equal(graph.start, wanted.start)
    equal(graph.column, wanted.column)
    np.testing.assert_allclose(on_host(graph.distance), wanted.distance, rtol=1e-5, atol=1e-6)
    equal(labels, compiled.pseudo_labels(x, chosen).labels)
    assert labels.dtype == torch.int64 and labels.device.type == DEVICE.type
    assert stages == ["neighbours", "jaccard", "dbscan"]
    assert int(labels.max()) > 10 and 0 < int((labels < 0).sum()) < 2000  # something to get wrong


def test_the_size_of_steps_does_not_matter():
    x = to_device(generated(400, 8, 20, 2, copies=100))
    chosen = ClusterSettings(eps=0.7, min_samples=3)
    wanted, wanted_graph = on_device.pseudo_labels(x, chosen)
    lists = on_device.k_nearest(x, 20)
    for size, group, tile_rows in ((1 << 13, 8, 16), (1 << 16, 64, 4), (1 << 18, 128, 4096)):
        with steps_of(size, group, tile_rows):
            found = on_device.k_nearest(x, 20)
            labels, graph = on_device.pseudo_labels(x, chosen)
        assert torch.equal(found.indices, lists.indices)
        assert torch.equal(found.squared, lists.squared)
        assert torch.equal(labels, wanted)
        for part in ("start", "column", "distance"):
            assert torch.equal(getattr(graph, part), getattr(wanted_graph, part))


def test_rows_that_single_precision_cannot_order_are_done_again():
    x = np.random.default_rng(0).standard_normal((400, 4))
    x[:, 0] += np.repeat([0.0, 1e6], 200)
    equal(on_device.k_nearest(to_device(x), 20).indices, nearest(x, 20))
    with steps_of(1 << 14):
        equal(on_device.k_nearest(to_device(x), 20).indices, nearest(x, 20))


class Largest(TorchDispatchMode):
    """Remembers the bytes of the largest new tensor, and the most pairs found at once."""

    most = pairs = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.most = max(self.most, tensor.untyped_storage().nbytes())
                if func is torch.ops.aten.nonzero.default and tensor.shape[1] == 2:
                    self.pairs = max(self.pairs, len(tensor))
        return result


def test_many_duplicates_stay_within_memory():
    n = 1000
    x = generated(n, 8, 40, 3)
    x[np.random.default_rng(4).permutation(n)[:600]] = 0.25  # none of these is proven
    with steps_of(1 << 17, 64, 64), Largest() as largest:
        found = on_device.k_nearest(to_device(x), 20)
    equal(found.indices, compiled.k_nearest(x, 20).indices)
    assert largest.most <= n * 32 * 8  # the candidates; all distances would take 8 MB
    assert 0 < largest.pairs <= (1 << 17) / 160  # of the rows that are asked again


def test_the_graph_stays_within_memory():
    n, step = 800, 1 << 18
    x = to_device(generated(n, 8, 40, 5))
    lists = on_device.k_nearest(x, 20).indices
    with steps_of(step), Largest() as largest:
        weights = on_device.expand_weights(on_device.neighbor_weights(x, lists), lists, 6)
        graph = on_device.radius_graph(weights, 0.3)
    matrix = 8 * max(len(weights.column), len(graph.column))
    assert largest.most <= max(matrix, step) + 8 < 4 * n * n / 8


def test_all_rows_equal():
    x = np.ones((150, 3), np.float32)
    found = on_device.k_nearest(to_device(x), 5)
    equal(found.indices, np.tile(np.arange(5), (150, 1)))
    assert (found.squared == 0).all()
    chosen = ClusterSettings(eps=0.5, min_samples=2)
    labels, _ = on_device.pseudo_labels(to_device(x), chosen)
    equal(labels, compiled.pseudo_labels(x, chosen).labels)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_hardly_any_rows(n):
    x = torch.zeros(n, 4, device=DEVICE)
    assert on_device.k_nearest(x, 20).indices.shape == (n, n)
    labels, graph = on_device.pseudo_labels(x, ClusterSettings(eps=0.5, min_samples=1))
    assert len(graph) == n
    equal(labels, [0] * n)


def test_type_and_layout_do_not_matter():
    x = generated(200, 6, 8, 5).astype(np.float16)
    wanted = compiled.k_nearest(x, 5).indices
    tensor = to_device(x)
    for same in (
        tensor,
        tensor.float(),
        tensor.double(),
        tensor.T.contiguous().T,
        tensor.repeat_interleave(2, 0)[::2],
        tensor.clone().requires_grad_(),
    ):
        found = on_device.k_nearest(same, 5)
        equal(found.indices, wanted)
        assert not found.squared.requires_grad
    equal(
        on_device.k_nearest(torch.arange(12, device=DEVICE).reshape(6, 2), 2).indices,
        compiled.k_nearest(np.arange(12).reshape(6, 2), 2).indices,
    )


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e150])
def test_distances_out_of_range(scale):
    x = np.random.default_rng(6).uniform(-1, 1, (60, 3)) * scale
    with np.errstate(over="ignore"):
        equal(on_device.k_nearest(to_device(x), 8).indices, nearest(x, 8))


def test_lengths_have_the_bits_of_numpy():
    for d in (1, 5, 8, 30, 128, 129, 256, 300):
        x = generated(200, d, 5, d) * np.float32(1e-3)
        x[3], x[5] = 0, 1e30  # no length, and one that overflows
        with np.errstate(over="ignore"):
            equal(on_device.unit_rows(to_device(x)), compiled.unit_rows(x))


def test_reduced_precision_is_turned_off_and_on_again():
    x = to_device(generated(400, 16, 10, 7))
    wanted = on_device.k_nearest(x, 20).indices
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast(DEVICE.type, torch.bfloat16):
            found = on_device.k_nearest(x, 20).indices
            with tiles.full_precision(DEVICE):
                products = torch.backends.cuda.matmul
                assert getattr(products, "fp32_precision", "ieee") == "ieee"
                assert not torch.is_autocast_enabled(DEVICE.type)
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(found, wanted)


def links(n, pairs):
    """A graph of all rows and some pairs, at distance 0."""
    full = np.eye(n, dtype=bool)
    full[pairs[:, 0], pairs[:, 1]] = full[pairs[:, 1], pairs[:, 0]] = True
    row, column = full.nonzero()
    start = np.searchsorted(row, np.arange(n + 1))
    return compiled.JaccardGraph(start, column, np.zeros(len(row), np.float32), 0.5)


@settings(max_examples=50, deadline=None)
@given(
    n=st.integers(1, 80), share=st.floats(0, 3), seed=st.integers(0, 999), least=st.integers(1, 6)
)
def test_labels_of_any_graph(n, share, seed, least):
    rng = np.random.default_rng(seed)
    graph = links(n, rng.integers(n, size=(int(share * n), 2)))
    equal(on_device.dbscan(graph_of(graph), least), compiled.dbscan(graph, least))


def test_labels_of_long_chains():
    order = np.random.default_rng(8).permutation(1500)
    graph = links(1500, np.stack([order[:-1], order[1:]], 1)[np.arange(1499) % 500 != 499])
    for least in (2, 3):
        equal(on_device.dbscan(graph_of(graph), least), compiled.dbscan(graph, least))


def test_bad_input_is_named():
    x = torch.ones(10, 2, device=DEVICE)
    for wrong in (torch.nan, torch.inf):
        bad = x.clone()
        bad[3, 1] = wrong
        with pytest.raises(ValueError, match="row 3 holds NaN"):
            on_device.pseudo_labels(bad, ClusterSettings(0.5, 2))
    with pytest.raises(ValueError, match="two-dimensional"):
        on_device.k_nearest(x[0], 2)
    with pytest.raises(ValueError, match="at least 1"):
        on_device.k_nearest(x, 0)
    _, graph = on_device.pseudo_labels(x, ClusterSettings(0.5, 2))
    with pytest.raises(ValueError, match="at least 1"):
        on_device.dbscan(graph, 0)
    lists = on_device.k_nearest(x, 4).indices
    for eps in (0.0, 1.0, -1.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            on_device.radius_graph(on_device.neighbor_weights(x, lists), eps)
