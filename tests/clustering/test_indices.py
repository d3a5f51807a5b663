"""Compiled loops do not check indices: whoever calls them does, before memory is touched."""

import numpy as np
import pytest
import torch
from scipy import sparse

from simmc.clustering import (
    CannotLink,
    ClusterSettings,
    JaccardGraph,
    dbscan,
    dbscan_cannot_link,
    expand_weights,
    graph_from_neighbors,
    jaccard_graph,
    k_nearest,
    neighbor_weights,
    pseudo_labels,
    radius_graph,
)
from simmc.evaluation.ranking import evaluate
from simmc.evaluation.reranking import Reranking, by_distance

N = 60
FEATURES = np.random.default_rng(0).standard_normal((N, 4)).astype(np.float32)
LISTS = k_nearest(FEATURES, 8).indices
FAR = (N, 10**6, 2**31 - 1, -2, -(2**31))  # no rows


def spoilt(values, value):
    wrong = values.copy()
    wrong[3, 2] = value
    return wrong


@pytest.mark.parametrize("value", (*FAR, -1))
def test_neighbour_lists(value):
    wrong = spoilt(LISTS, value)
    for call in (
        lambda: graph_from_neighbors(FEATURES, wrong, 0.6),
        lambda: neighbor_weights(FEATURES, wrong),
        lambda: expand_weights(neighbor_weights(FEATURES, LISTS), wrong, 3),
    ):
        with pytest.raises(ValueError, match="neighbors"):
            call()


def test_lists_of_other_rows():
    for rows in (FEATURES[:-1], np.concatenate([FEATURES, FEATURES])):
        for call in (graph_from_neighbors, neighbor_weights):
            with pytest.raises(ValueError, match="neighbors must have shape"):
                call(rows, LISTS, *([0.6] if call is graph_from_neighbors else []))


@pytest.mark.parametrize("column", [-1, N, 2**31 - 1])
def test_sparse_weights(column):
    weights = neighbor_weights(FEATURES, LISTS)
    columns = weights.indices.copy()
    columns[5] = column
    wrong = sparse.csr_array((weights.data, columns, weights.indptr), shape=(N, N))
    largest = np.ones(N)
    for call in (
        lambda: radius_graph(wrong, 0.6),
        lambda: expand_weights(wrong, LISTS, 3),
        lambda: by_distance(wrong, FEATURES, largest, threads=1),
    ):
        with pytest.raises(ValueError, match=r"indices|index values"):
            call()
    with pytest.raises(ValueError, match="rows"):
        expand_weights(weights[: N // 2], LISTS, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"column": -1},
        {"column": N},
        {"start": -5},
        {"start": 10**9},
        {"node": np.full(9, N, np.int32)},
        {"node": np.full(9, -1, np.int32)},
        {"node": np.zeros(9)},
    ],
    ids=str,
)
def test_a_graph(change):
    graph = jaccard_graph(FEATURES, 0.6)
    parts = {"start": graph.start.copy(), "column": graph.column.copy(), "node": graph.node}
    for name, value in change.items():
        if isinstance(value, int):
            parts[name][4] = value
        else:
            parts[name] = value
    with pytest.raises(ValueError, match="graph"):
        dbscan(JaccardGraph(distance=graph.distance, eps=0.6, **parts), 2)


def test_tracks_and_pairs_of_them():
    graph, cannot_link = jaccard_graph(FEATURES, 0.6), CannotLink.of(np.array([[0, 1]]), 3)
    for track in (np.full(N, 3), np.full(N, -1), np.zeros(N - 1, int)):
        with pytest.raises(ValueError, match="track"):
            dbscan_cannot_link(graph, 2, track, cannot_link)
    for pairs in ([[0, 3]], [[-1, 2]]):
        with pytest.raises(ValueError, match="pairs"):
            CannotLink.of(np.array(pairs), 3)
    with pytest.raises(ValueError, match="cannot_link"):
        CannotLink(cannot_link.start, cannot_link.other + 2)
    labels, one = np.zeros(N, int), np.array([0])
    for wrong in (np.array([-1]), np.array([0.5]), np.array([0, 0])):
        with pytest.raises(ValueError, match=r"clusters|one"):
            cannot_link.between(labels, np.zeros(N, int), one, wrong)
    with pytest.raises(ValueError, match="track"):
        cannot_link.between(labels, np.full(N, 7), one, one)


def test_reranking_of_one_list_and_its_blocks():
    with pytest.raises(ValueError, match="one list"):
        Reranking(FEATURES, FEATURES[:10], same=True)
    distances = Reranking(FEATURES[:20], FEATURES, k1=5, k2=2, threads=1)
    for block in ((0, 21), (-1, 3), (5, 4)):
        with pytest.raises(ValueError, match="probes"):
            distances(*block)


# any number type


def test_tensors_of_every_number_type():
    how = ClusterSettings(0.6, 2, k1=5, k2=2)
    narrow = torch.from_numpy(FEATURES).to(torch.bfloat16)  # float32 holds each of these exactly
    wanted = pseudo_labels(narrow.float(), how).labels
    assert torch.equal(pseudo_labels(narrow, how).labels, wanted)
    assert torch.equal(pseudo_labels(narrow.clone().requires_grad_(), how).labels, wanted)
    whole = (torch.from_numpy(FEATURES) * 8).round().clamp(-15, 15)  # float8 holds these
    wanted = pseudo_labels(whole, how).labels
    for kind in (torch.int8, torch.int64, torch.float16, torch.float8_e4m3fn, torch.float64):
        assert torch.equal(pseudo_labels(whole.to(kind), how).labels, wanted), kind
    with pytest.raises(ValueError, match="complex"):
        pseudo_labels(whole.to(torch.complex64), how)
    with pytest.raises(ValueError, match="complex"):
        pseudo_labels(whole.numpy().astype(complex), how)


def test_rankings_of_tensors_of_every_number_type():
    ids = np.arange(N) % 7
    narrow = torch.from_numpy(FEATURES).to(torch.bfloat16).requires_grad_()
    plain = narrow.detach().float().numpy()
    found, wanted = (evaluate(x[:20], ids[:20], x, ids) for x in (narrow, plain))
    np.testing.assert_array_equal(found.average_precision, wanted.average_precision)
    with pytest.raises(ValueError, match="complex"):
        evaluate(plain.astype(complex), ids, plain, ids)
