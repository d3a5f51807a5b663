"""The dense routine that ours is measured against computes what it should."""

import numpy as np
import pytest
from simmc.benchmarks import dense
from simmc.benchmarks.contestants import CONTESTANTS, HOW
from simmc.benchmarks.inputs import clustered
from sklearn.cluster import DBSCAN

from simmc.clustering import k_nearest
from simmc.runs.runtime import Clock
from tests.reference import jaccard as literal


def features(n, d=12, centres=9, seed=0, copies=0, scale=1.0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((centres, d))[rng.integers(centres, size=n)]
    x = (scale * (x + 0.4 * rng.standard_normal((n, d)))).astype(np.float32)
    if copies:
        x[rng.integers(n, size=copies)] = x[rng.integers(n, size=copies)]
    return x


CASES = [
    {"n": 200},
    {"n": 150, "copies": 90},
    {"n": 90, "scale": 30.0},  # softmax nearly one-hot
    {"n": 130, "centres": 1, "d": 3},
    {"n": 70, "centres": 70},
    {"n": 12, "centres": 2},  # fewer rows than k1
    {"n": 1, "centres": 1},
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(("k1", "k2"), [(20, 6), (5, 1), (20, 1)])
def test_distances_equal_the_literal_reference(case, k1, k2):
    x = features(**case)
    lists = literal.nearest(x, k1)
    wanted = literal.distances(literal.weights(x, lists, k1, k2))
    np.testing.assert_array_equal(dense.dense_jaccard(x, lists.astype(np.int32), k2), wanted)


def test_more_duplicates_than_neighbours():
    x = np.repeat(features(3, centres=3), 30, axis=0)
    lists = literal.nearest(x, 20)
    wanted = literal.distances(literal.weights(x, lists, 20, 1))
    found = dense.dense_jaccard(x, lists, 1)
    np.testing.assert_array_equal(found, wanted)
    assert (np.diag(found) == 1).sum() == 30  # the last ten of each are in nobody's list


@pytest.mark.parametrize("x", [features(700, centres=25, copies=60), clustered(900, 3)])
def test_labels_equal_ours_on_the_same_lists(x):
    lists = k_nearest(x, HOW.k1).indices
    clock = Clock()
    ours, theirs = (CONTESTANTS[name].run(x, lists, clock) for name in ("ours", "dense"))
    np.testing.assert_array_equal(ours, theirs)
    assert ours.max() > 5  # there is something to tell apart
    wanted = DBSCAN(eps=0.6, min_samples=4, metric="precomputed").fit_predict(
        literal.jaccard(x, 20, 6)
    )
    np.testing.assert_array_equal(theirs, wanted)
    assert set(clock.take()) == {"jaccard", "dbscan"}


def test_inverted_lists_over_several_blocks():
    weights = np.random.default_rng(0).random((150, 150)).astype(np.float32)
    weights[weights < 0.9] = 0
    found = dense.inverted(weights)
    for k in range(150):
        np.testing.assert_array_equal(found[k], np.nonzero(weights[:, k])[0])
