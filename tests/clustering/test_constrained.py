"""Clusters under cannot-link constraints, against a literal version; without any, DBSCAN."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simmc.clustering import (
    CannotLink,
    ClusterSettings,
    as_arrays,
    dbscan,
    dbscan_cannot_link,
    pseudo_labels,
)
from simmc.clustering import gpu as on_device
from tests.clustering.make import graph_of


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """Inside a test of Hypothesis, which traces, compiling takes longer."""
    dbscan_cannot_link(graph_of(np.zeros((1, 1)), 0.5), 1, np.zeros(1, int), CannotLink.of([], 1))


def literal(distance, eps, min_samples, tracklet, pairs):
    """Link by link, with sets of rows in place of trees."""
    n = len(distance)
    near = distance <= np.float32(eps)
    core = near.sum(1) >= min_samples
    barred = {frozenset(pair) for pair in pairs}

    def one_person(rows):
        tracklets = {int(tracklet[i]) for i in rows}
        return not any(frozenset((a, b)) in barred for a in tracklets for b in tracklets if a < b)

    groups = [{i} if core[i] else set() for i in range(n)]
    links = [(distance[i, j], i, j) for i in range(n) for j in range(i + 1, n) if near[i, j]]
    for _, i, j in sorted(links):
        if core[i] and core[j] and groups[i] is not groups[j] and one_person(groups[i] | groups[j]):
            joined = groups[i] | groups[j]
            for k in joined:
                groups[k] = joined
    clusters = []
    for i in range(n):
        if core[i] and not any(groups[i] is c for c in clusters):
            clusters.append(groups[i])
    of_core = {i: k for k, c in enumerate(clusters) for i in sorted(c)}
    clusters = [set(c) for c in clusters]
    for i in range(n):
        if not core[i]:
            for k in sorted({of_core[j] for j in range(n) if near[i, j] and core[j]}):
                if one_person(clusters[k] | {i}):
                    clusters[k].add(i)
                    break
    labels = np.full(n, -1)
    for k, rows in enumerate(clusters):
        labels[sorted(rows)] = k
    return labels


@st.composite
def cases(draw):
    """Distances with many ties, tracklets, pairs of tracklets, and settings."""
    n = draw(st.integers(1, 28))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps = draw(st.sampled_from([3, 10, 1000]))
    distance = np.triu(rng.integers(1, steps + 1, (n, n)) / steps, 1)
    if draw(st.booleans()):  # groups, rather than chance alone
        group = rng.integers(0, max(n // 6, 1), n)
        distance = np.where(group[:, None] == group, distance / 2, distance)
    distance = (distance + distance.T).astype(np.float32)
    tracklets, share = draw(st.integers(1, 8)), draw(st.sampled_from([0.0, 0.2, 0.7, 1.0]))
    tracklet = rng.integers(0, tracklets, n)
    pairs = [
        (a, b) for a in range(tracklets) for b in range(a + 1, tracklets) if rng.random() < share
    ]
    eps = draw(st.sampled_from([0.2, 0.4, 0.7]))
    return (
        distance,
        eps,
        draw(st.integers(1, 6)),
        tracklet,
        np.array(pairs).reshape(-1, 2),
        tracklets,
    )


@given(case=cases())
def test_labels_are_the_literal_ones(case):
    distance, eps, min_samples, tracklet, pairs, tracklets = case
    graph = graph_of(distance, eps)
    labels = dbscan_cannot_link(graph, min_samples, tracklet, CannotLink.of(pairs, tracklets))
    np.testing.assert_array_equal(labels, literal(distance, eps, min_samples, tracklet, pairs))
    for a, b in pairs:
        assert not set(labels[tracklet == a]) & set(labels[tracklet == b]) - {-1}
    plain = dbscan_cannot_link(graph, min_samples, tracklet, CannotLink.of(pairs[:0], tracklets))
    np.testing.assert_array_equal(plain, dbscan(graph, min_samples))


def test_the_nearest_links_come_first():
    """A chain of four tracklets of which the ends were seen at once breaks at its widest gap."""
    distance = np.full((4, 4), 0.9)
    for i, gap in enumerate((0.1, 0.3, 0.2)):
        distance[i, i + 1] = distance[i + 1, i] = gap
    np.fill_diagonal(distance, 0)
    graph, tracklet = graph_of(distance, 0.5), np.arange(4)
    assert dbscan(graph, 2).tolist() == [0, 0, 0, 0]
    assert dbscan_cannot_link(graph, 2, tracklet, CannotLink.of([(0, 3)], 4)).tolist() == [
        0,
        0,
        1,
        1,
    ]
    assert dbscan_cannot_link(graph, 2, tracklet, CannotLink.of([(0, 1)], 4)).tolist() == [
        0,
        1,
        1,
        1,
    ]


def test_border_points_join_a_cluster_that_may_be_theirs():
    distance = np.full((8, 8), 0.9)
    for first in (0, 3):  # two groups of three core points
        distance[first : first + 3, first : first + 3] = 0.1
    for border in (6, 7):  # both touch a point of each
        for core in (0, 3):
            distance[border, core] = distance[core, border] = 0.4
    np.fill_diagonal(distance, 0)
    graph, tracklet = graph_of(distance, 0.5), np.array([0, 0, 0, 1, 1, 1, 2, 3])

    def borders(*pairs):
        labels = dbscan_cannot_link(graph, 4, tracklet, CannotLink.of(pairs, 4))
        return labels[6:].tolist()

    assert dbscan(graph, 4).tolist() == [0, 0, 0, 1, 1, 1, 0, 0]
    assert borders() == [0, 0]
    assert borders((0, 2)) == [1, 0]
    assert borders((2, 3)) == [0, 1]  # the second finds the first there
    assert borders((0, 2), (1, 2)) == [-1, 0]
    assert borders((0, 3), (1, 2), (2, 3)) == [0, 1]


@pytest.mark.parametrize("min_samples", [2, 4])
def test_copies_of_a_row_in_tracks_that_are_apart(min_samples):
    """Rows that share a node of the graph: two tracklets, each of them many times the same row."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([np.ones((40, 4)), rng.normal(size=(60, 4))])
    tracklet = np.concatenate([np.arange(40) % 2, rng.integers(2, 6, 60)])
    found = pseudo_labels(rows, ClusterSettings(0.5, min_samples, normalise=True, reach=0.9))
    assert found.graph.node is not None
    near = found.graph.within(0.5)
    cannot_link = CannotLink.of([(0, 1)], 6)
    labels = dbscan_cannot_link(near, min_samples, tracklet, cannot_link)
    assert len(set(labels[:40:2])) == len(set(labels[1:40:2])) == 1 and labels[0] != labels[1]
    whole = near.whole()
    distance = np.ones((100, 100), np.float32)
    distance[np.repeat(np.arange(100), np.diff(whole.start)), whole.column] = whole.distance
    wanted = literal(distance, 0.5, min_samples, tracklet, [(0, 1)])
    np.testing.assert_array_equal(labels, wanted)
    settings = ClusterSettings(0.5, min_samples, normalise=True, reach=0.9)
    graph = as_arrays(on_device.pseudo_labels(torch.from_numpy(rows), settings)[1])
    assert graph.node is not None
    np.testing.assert_array_equal(
        dbscan_cannot_link(graph.within(0.5), min_samples, tracklet, cannot_link), labels
    )


def test_clusters_that_hold_tracks_to_keep_apart():
    rng = np.random.default_rng(1)
    tracklet, labels = rng.integers(0, 12, 80), rng.integers(-1, 10, 80)
    pairs = rng.integers(0, 12, (9, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    cannot_link = CannotLink.of(np.concatenate([pairs, pairs[:2, ::-1]]), 12)
    assert len(cannot_link) == len({frozenset(pair) for pair in pairs.tolist()})
    one, other = np.indices((10, 10)).reshape(2, -1)
    found = cannot_link.between(labels, tracklet, one, other)
    held = [set(tracklet[labels == c]) for c in range(10)]
    for a, b, barred in zip(one, other, found, strict=True):
        wanted = any(
            (x in held[a] and y in held[b]) or (y in held[a] and x in held[b]) for x, y in pairs
        )
        assert barred == wanted
    assert found.any() and not found.all()


def test_what_cannot_be():
    with pytest.raises(ValueError, match="with itself"):
        CannotLink.of([(1, 1)], 2)
    with pytest.raises(ValueError, match="min_samples"):
        dbscan_cannot_link(
            graph_of(np.zeros((1, 1)), 0.5), 0, np.zeros(1, int), CannotLink.of([], 1)
        )
