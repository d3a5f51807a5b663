"""Parts of tracklets and the clusters that a tracklet shares, against dictionaries and loops."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simmc.clustering import (
    CannotLink,
    ClusterSettings,
    JaccardGraph,
    Reach,
    descriptions,
    draw_parts,
    part_means,
    pseudo_labels,
    shared_targets,
)
from simmc.clustering import gpu as on_device
from simmc.clustering.tracklets import Targets, ambiguous_clusters


def graph_of(distance):
    """The graph of a symmetric matrix of distances, cut at 0.5."""
    start = np.concatenate([[0], np.cumsum((distance <= 0.5).sum(1))])
    near = np.nonzero(distance <= 0.5)
    return JaccardGraph(start, near[1].astype(np.int32), distance[near].astype(np.float32), 0.5)


def dealt(sizes, count, seed=0, size=1):
    """Tracks of these sizes in a random order of windows, and their parts."""
    rng = np.random.default_rng(seed)
    tracklet = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return tracklet, draw_parts(tracklet, count, rng, size=size)


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=12),
    count=st.integers(1, 10),
    size=st.integers(1, 9),
    seed=st.integers(0, 100),
)
def test_every_track_is_dealt_out_evenly(sizes, count, size, seed):
    tracklet, part = dealt(sizes, count, seed, size)
    assert sorted(set(part)) == list(range(part.max() + 1))  # no gaps
    last = -1
    for t, windows in enumerate(sizes):
        own = Counter(part[tracklet == t].tolist())
        assert len(own) == max(min(windows // size, count), 1)
        assert min(own.values()) >= min(size, windows)
        assert max(own.values()) - min(own.values()) <= 1
        assert sorted(own) == list(range(last + 1, last + 1 + len(own)))  # one after the other
        last += len(own)


def test_the_deal_is_random_and_the_generators():
    sizes = [40, 40]
    tracklet, part = dealt(sizes, 4, seed=1)
    again = dealt(sizes, 4, seed=1)[1]
    other = draw_parts(tracklet, 4, np.random.default_rng(9))
    assert np.array_equal(part, again)
    assert not np.array_equal(part, other)
    # not by place in the tracklet: neighbours in time meet in one part about once in four times
    own = part[tracklet == 0]
    assert 0.05 < (own[1:] == own[:-1]).mean() < 0.5


def test_part_means_are_unit_means_of_unit_features():
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(size=(9, 4)))
    part = torch.tensor([0, 0, 1, 2, 2, 2, 1, 3, 0])
    found = part_means(features, part)
    for p in range(4):
        rows = [f / np.linalg.norm(f) for f in features[part == p].numpy()]
        mean = np.mean(rows, axis=0)
        np.testing.assert_allclose(found[p], mean / np.linalg.norm(mean))


def literal_targets(means, labels, tracklet, singletons):
    """A dictionary cluster -> share for each tracklet, and a prototype for each cluster."""
    labels, tracklet = labels.tolist(), tracklet.tolist()
    n_clusters = max([*labels, -1]) + 1
    for t in sorted(set(tracklet)):
        own = [i for i, of in enumerate(tracklet) if of == t]
        if singletons and all(labels[i] == -1 for i in own):
            for i in own:
                labels[i] = n_clusters
            n_clusters += 1
    shares = []
    for t in sorted(set(tracklet)):
        counts = Counter(c for c, of in zip(labels, tracklet, strict=True) if of == t and c >= 0)
        shares.append({c: k / counts.total() for c, k in counts.items()})
    prototypes = []
    for c in range(n_clusters):
        mean = np.mean([means[i] for i, of in enumerate(labels) if of == c], axis=0)
        prototypes.append(mean / np.linalg.norm(mean))
    return shares, np.array(prototypes)


@pytest.mark.parametrize("singletons", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_targets_equal_the_dictionaries(singletons, seed):
    rng = np.random.default_rng(seed)
    tracklet = np.repeat(np.arange(10), rng.integers(1, 7, 10))
    labels = rng.integers(-1, 5, len(tracklet))
    labels[np.isin(tracklet, [2, 7])] = -1  # tracklets of outliers
    _, labels[labels >= 0] = np.unique(labels[labels >= 0], return_inverse=True)  # no empty cluster
    means = rng.normal(size=(len(tracklet), 3))
    found = shared_targets(*map(torch.from_numpy, (means, labels, tracklet)), singletons=singletons)
    shares, prototypes = literal_targets(means, labels, tracklet, singletons)
    np.testing.assert_allclose(found.prototypes, prototypes)
    assert found.known.tolist() == [bool(wanted) for wanted in shares]
    assert found.known.all() == singletons
    for t, wanted in enumerate(shares):
        own = found.share[t]
        assert (own[1:] <= own[:-1]).all()  # the largest first
        pairs = zip(found.cluster[t].tolist(), own.tolist(), strict=True)
        assert {c: s for c, s in pairs if s} == pytest.approx(wanted)


def literal_ambiguous(graph, labels, count):
    """Every pair of parts that is listed, one by one."""
    ambiguous = [set() for _ in range(count)]
    whole = graph.whole()
    for i in range(len(whole)):
        for j in whole.column[whole.start[i] : whole.start[i + 1]]:
            if -1 not in (labels[i], labels[j]) and labels[i] != labels[j]:
                ambiguous[labels[i]].add(int(labels[j]))
    return ambiguous


@pytest.mark.parametrize("copies", [0, 25])
@pytest.mark.parametrize("min_samples", [1, 3])
def test_ambiguous_are_the_clusters_with_a_pair_between_them(copies, min_samples):
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(12, 4))[rng.integers(0, 12, 150)] + 0.5 * rng.normal(size=(150, 4))
    rows = np.concatenate([rows, np.repeat(rows[:1], copies, axis=0)]).astype(np.float32)
    found = pseudo_labels(rows, ClusterSettings(0.4, min_samples, reach=0.9))
    labels, count = torch.from_numpy(found.labels), found.labels.max() + 1
    wanted = literal_ambiguous(found.graph, found.labels, count)
    ambiguous = ambiguous_clusters(found.graph, labels, count)
    assert any(wanted) and ambiguous.shape == (count, max(map(len, wanted)))
    for c, row in enumerate(ambiguous.tolist()):
        assert set(row) - {c} == wanted[c]
    graph = on_device.pseudo_labels(torch.from_numpy(rows), ClusterSettings(0.4, 2, reach=0.9))[1]
    assert (graph.node is not None) == (copies > 0)
    assert torch.equal(ambiguous_clusters(graph, labels, count), ambiguous)


@pytest.mark.parametrize("singletons", [True, False])
def test_clusters_of_people_seen_at_once_are_no_ambiguous_clusters(singletons):
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(12, 4))[rng.integers(0, 12, 150)] + 0.5 * rng.normal(size=(150, 4))
    found = pseudo_labels(rows, ClusterSettings(0.4, 3, reach=0.9))
    tracklet, labels = np.repeat(np.arange(30), 5), torch.from_numpy(found.labels)
    pairs = [(t, t + 1) for t in range(0, 30, 2)]
    given = torch.from_numpy(rows), labels, torch.from_numpy(tracklet)
    plain = shared_targets(*given, singletons=singletons, near=found.graph)
    kept = shared_targets(
        *given, singletons=singletons, near=found.graph, cannot_link=CannotLink.of(pairs, 30)
    )
    assert torch.equal(plain.cluster, kept.cluster) and torch.equal(plain.share, kept.share)
    held = [set() for _ in plain.prototypes]
    for t, (clusters, shares) in enumerate(zip(plain.cluster, plain.share, strict=True)):
        for c, share in zip(clusters.tolist(), shares.tolist(), strict=True):
            if share:
                held[c].add(t)

    def at_once(a, b):
        return any((x in a and y in b) or (y in a and x in b) for x, y in pairs)

    refused = 0
    for c, (before, after) in enumerate(
        zip(plain.ambiguous.tolist(), kept.ambiguous.tolist(), strict=True)
    ):
        free = {d for d in before if d != c and not at_once(held[c], held[d])}
        assert set(after) - {c} == free
        refused += len(set(before) - {c}) - len(free)
    assert refused and (kept.ambiguous != torch.arange(len(held))[:, None]).any()


def test_no_pairs_no_ambiguous_clusters():
    labels = torch.tensor([0, 1, -1, 2])
    assert ambiguous_clusters(None, labels, 3).tolist() == [[0], [1], [2]]
    assert ambiguous_clusters(None, torch.tensor([-1]), 0).shape == (0, 1)


def test_what_ambiguous_say_of_tracks():
    pairs = {(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (0, 3), (3, 0)}  # parts 0 and 3 are linked
    near = graph_of(np.array([[0.0 if (i, j) in pairs else 1 for j in range(5)] for i in range(5)]))
    tracklet, labels = torch.tensor([0, 0, 1, 2, 3]), torch.tensor([0, 1, 1, 2, -1])
    found = shared_targets(torch.eye(5), labels, tracklet, singletons=True, near=near)
    assert found.ambiguous.tolist() == [[2], [1], [0], [3]]  # cluster 3: the lone tracklet's
    assert found.cluster.tolist() == [[0, 1], [1, 1], [2, 2], [3, 3]]
    assert found.share.tolist() == [[0.5, 0.5], [1, 0], [1, 0], [1, 0]]
    assert found.is_ambiguous.tolist() == [True, False, True, False]
    assert found.excluded_negatives(torch.tensor([0, 2])).tolist() == [[2, 1], [0, 0]]
    assert found.fewest() == 3  # clusters 0 and 2 may be one person


def test_clusters_that_are_first_of_no_tracklet_are_not_people():
    cluster, share = torch.tensor([[0, 1], [0, 2]]), torch.tensor([[0.7, 0.3], [0.6, 0.4]])
    found = Targets(cluster, share, torch.eye(3), torch.arange(3)[:, None])
    assert found.fewest() == 1


def test_nothing_clustered_and_nothing_lone():
    found = shared_targets(
        torch.eye(3), torch.full((3,), -1), torch.tensor([0, 0, 1]), singletons=False
    )
    assert not found.known.any()
    assert found.prototypes.shape == (0, 3)
    assert not found.is_ambiguous.any() and found.fewest() == 0


def test_descriptions_are_scaled_means_and_deviations_of_the_frames():
    rng = np.random.default_rng(0)
    windows = rng.normal(2, 3, (40, 6, 5))
    windows[..., 4] = 7  # a constant says nothing
    tracklet = np.repeat(np.arange(8), 5)
    expected = np.empty((8, 10))
    for t in range(8):
        frames = windows[tracklet == t].reshape(-1, 5)
        expected[t] = [*frames.mean(0), *frames.std(0)]
    constant = [4, 9]
    expected[:, constant] = 0
    varies = np.setdiff1d(np.arange(10), constant)
    expected[:, varies] -= expected[:, varies].mean(0)
    expected[:, varies] /= expected[:, varies].std(0)
    found = descriptions(torch.from_numpy(windows), torch.from_numpy(tracklet))
    np.testing.assert_allclose(found, expected, atol=1e-7)


def literal_reach(features, described, k):
    def unlike(rows):
        values = []
        for i in range(len(rows)):
            squared = ((rows - rows[i]) ** 2).sum(1)
            squared[i] = np.inf
            near = np.argsort(squared, kind="stable")[:k]
            values.append(((described[near] - described[i]) ** 2).mean())
        return np.median(values)

    return unlike(features) / unlike(described)


@pytest.mark.parametrize(("count", "k"), [(3, 1), (12, 3), (60, 10)])
def test_reach_is_that_of_its_definition(count, k):
    rng = np.random.default_rng(count)
    features, described = rng.normal(size=(count, 4)), rng.normal(size=(count, 7))
    assert reach(features, described) == pytest.approx(literal_reach(features, described, k))
    assert reach(described, described) == pytest.approx(1)
    assert reach(features[:2], described[:2]) == 0


def reach(features, described):
    return Reach(described)(torch.from_numpy(features))


def test_reach_grows_where_features_ignore_what_a_person_does():
    """Persons who do several things: features of the person reach farther than of the action."""
    rng = np.random.default_rng(0)
    person, action = np.repeat(np.arange(6), 20), np.tile(np.arange(20), 6)
    body, motion = rng.normal(size=(6, 3)), rng.normal(size=(20, 9))
    described = np.concatenate([body[person], motion[action]], 1)
    described += 0.1 * rng.normal(size=described.shape)
    who = body[person] + 0.01 * rng.normal(size=(120, 3))
    what = motion[action] + 0.01 * rng.normal(size=(120, 9))
    assert reach(who, described) > 2 * reach(what, described)
