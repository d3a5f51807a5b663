from contextlib import contextmanager

import numpy as np
import pytest
import torch

from simmc.clustering import ClusterSettings, Threads, dbscan, jaccard_graph, pseudo_labels
from tests.clustering.test_approximate import generated

HOW = ClusterSettings(0.6, 3)


@pytest.fixture(scope="module")
def features():
    return generated(5000)


def test_the_stages_in_one_call(features):
    seen = []

    @contextmanager
    def timer(stage):
        seen.append(stage)
        yield

    found = pseudo_labels(features, HOW, timer=timer)
    graph = jaccard_graph(features, 0.6)
    np.testing.assert_array_equal(found.labels, dbscan(graph, 3))
    np.testing.assert_array_equal(found.graph.column, graph.column)
    np.testing.assert_array_equal(found.graph.distance, graph.distance)
    assert found.recall == 1.0
    assert seen == ["neighbours", "jaccard", "dbscan"]


def test_pairs_beyond_eps_are_told_and_decide_nothing(features):
    # duplicates, so that rows share nodes
    rows = np.concatenate([features[:1500], np.repeat(features[:2], 30, axis=0)])
    near = pseudo_labels(rows, HOW)
    far = pseudo_labels(rows, ClusterSettings(0.6, 3, reach=0.9))
    np.testing.assert_array_equal(far.labels, near.labels)
    wide = jaccard_graph(rows, 0.9)
    assert wide.node is not None and len(wide.column) > 1.5 * len(near.graph.column)
    for name in ("start", "column", "distance", "node"):
        np.testing.assert_array_equal(getattr(far.graph, name), getattr(wide, name))
        within = getattr(wide.within(0.6), name)
        np.testing.assert_array_equal(within, getattr(near.graph, name))


def test_the_reach_is_no_shorter_than_eps():
    with pytest.raises(ValueError, match=r"reach 0\.5 must not be below eps 0\.6"):
        ClusterSettings(0.6, 3, reach=0.5)


def test_a_tensor_gives_a_tensor(features):
    wanted = pseudo_labels(features, HOW).labels
    found = pseudo_labels(torch.from_numpy(features).requires_grad_(), HOW)
    assert isinstance(found.labels, torch.Tensor)
    np.testing.assert_array_equal(found.labels.numpy(), wanted)


def test_normalised_features_are_told_apart_by_direction_only(features):
    how = ClusterSettings(0.6, 3, normalise=True)
    longer = features * np.random.default_rng(0).choice([0.5, 1.0, 4.0], size=(len(features), 1))
    wanted = pseudo_labels(features, how).labels
    np.testing.assert_array_equal(pseudo_labels(longer.astype(np.float32), how).labels, wanted)
    assert (pseudo_labels(features, HOW).labels != wanted).any()


def test_approximate_neighbours_give_nearly_the_same_clusters(features):
    from sklearn.metrics import adjusted_rand_score

    how = ClusterSettings(0.6, 3, neighbors="approximate", recall=0.97)
    found = pseudo_labels(features, how, executor=Threads(2))
    exact = pseudo_labels(features, HOW)
    assert 0.97 <= found.recall < 1.0
    assert adjusted_rand_score(found.labels, exact.labels) > 0.9


def test_a_search_of_another_name_is_refused():
    with pytest.raises(ValueError, match="exact or approximate"):
        ClusterSettings(0.6, 3, neighbors="rough")


def test_a_device_that_is_not_there_is_refused(features):
    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises((RuntimeError, AssertionError), match=r"(?i)cuda|nvidia"):
        pseudo_labels(features[:10], HOW, device="cuda")
