import numpy as np
import pytest

from simmc.clustering import Threads, k_nearest
from simmc.clustering import approximate as module
from simmc.clustering.approximate import approximate_neighbors, both_ways


def generated(n, d=16, seed=0):
    """Clusters of uneven size, each along a few directions of its own."""
    rng = np.random.default_rng(seed)
    parts = []
    while sum(map(len, parts)) < n:
        size = int(10 * (1 + rng.pareto(1.2)))
        spread = rng.standard_normal((3, d)) * 0.2
        parts.append(rng.standard_normal(d) + rng.standard_normal((size, 3)) @ spread)
    return np.concatenate(parts)[rng.permutation(n)].astype(np.float32)


@pytest.fixture(scope="module")
def pair():
    x = generated(9000)
    return x, k_nearest(x, 20), approximate_neighbors(x, 20, executor=Threads(2))


def test_the_reported_recall_is_that_of_all_rows(pair):
    _, exact, found = pair
    recall = np.mean(found.squared <= exact.squared[:, -1:])
    assert found.recall >= 0.97
    assert recall == pytest.approx(found.recall, abs=0.01)  # 500 rows stand for 9,000


def test_distances_are_exact_and_in_order(pair):
    x, _, found = pair
    wide = x.astype(np.float64)
    for i in range(0, len(x), 97):
        np.testing.assert_allclose(
            found.squared[i], ((wide[found.indices[i]] - wide[i]) ** 2).sum(1), rtol=1e-12
        )
    assert (np.diff(found.squared, axis=1) >= 0).all()
    assert (found.indices[:, 0] == np.arange(len(x))).all()
    assert all(len(set(row)) == 20 for row in found.indices[::50])


def test_one_seed_one_outcome_whatever_the_threads(pair):
    x, _, found = pair
    again = approximate_neighbors(x, 20, executor=Threads(1))
    np.testing.assert_array_equal(found.indices, again.indices)
    assert found.recall == again.recall
    other = approximate_neighbors(x, 20, seed=1)
    assert (other.indices != found.indices).any()


def test_small_sets_are_searched_exactly():
    x = generated(700)
    found = approximate_neighbors(x, 7)
    np.testing.assert_array_equal(found.indices, k_nearest(x, 7).indices)
    assert found.recall == 1.0


def test_a_recall_that_cannot_be_had_is_reported_as_it_is():
    x = np.random.default_rng(0).standard_normal((6000, 60)).astype(np.float32)
    found = approximate_neighbors(x, 20, recall=1.0)
    recall = np.mean(found.squared <= k_nearest(x, 20).squared[:, -1:])
    assert found.recall < 1.0
    assert recall == pytest.approx(found.recall, abs=0.02)


def test_many_equal_rows():
    x = generated(6000)
    x[1000:3000] = x[0]
    found = approximate_neighbors(x, 20)
    exact = k_nearest(x, 20)
    assert (found.squared[1000:3000] == 0).all()
    assert np.mean(found.squared <= exact.squared[:, -1:]) > 0.95
    found = approximate_neighbors(np.ones((5000, 4), np.float32), 20)
    assert (found.squared == 0).all()


def test_every_row_is_in_one_leaf_of_a_tree():
    x = generated(5000)
    leaves = module._leaves(x, np.random.default_rng(0))
    assert sorted(np.concatenate(leaves)) == list(range(len(x)))
    assert max(map(len, leaves)) <= module.LEAF


def test_links_both_ways():
    candidates = np.array([[1, 2], [2, 0], [0, -1], [0, 1]], np.int32)
    fresh = np.array([[1, 0], [0, 0], [1, 0], [0, 1]], bool)
    near, new = np.empty((4, 4), np.int32), np.empty((4, 4), bool)
    both_ways(candidates, fresh, 2, near, new)
    # row 0 is the first choice of rows 2 and 3 and the second of row 1, for whom no room is left
    np.testing.assert_array_equal(near, [[1, 2, 2, 3], [2, 0, 0, 3], [0, -1, 1, 0], [0, 1, -1, -1]])
    assert new[0].tolist() == [True, False, True, False]
    assert new[1].tolist() == [False, False, True, True]


@pytest.mark.parametrize("recall", [0.0, -1.0, 1.5, float("nan")])
def test_a_recall_outside_its_range_is_refused(recall):
    with pytest.raises(ValueError, match="recall"):
        approximate_neighbors(np.ones((10, 2)), 3, recall=recall)


def test_not_finite_is_refused():
    x = generated(5000)
    x[4321, 3] = np.nan
    with pytest.raises(ValueError, match="4321"):
        approximate_neighbors(x, 20)
