import numpy as np
from hypothesis import given, settings

from simmc.clustering import k_nearest_among
from simmc.clustering.neighbors import TILE
from simmc.evaluation.reranking import farthest
from tests.clustering.make import features
from tests.reference.metrics import squared_distances


@settings(deadline=None, max_examples=100)
@given(features(scaled=False))
def test_farthest_agrees_with_loops(x):
    np.testing.assert_array_equal(
        farthest(x, threads=1), squared_distances(x, x).max(axis=1, initial=0)
    )


def test_farthest_of_many_rows_and_threads():
    x = np.random.default_rng(0).standard_normal((4000, 3)).astype(np.float32)
    found = farthest(x, threads=1)
    np.testing.assert_array_equal(found, farthest(x, threads=3))
    wide = x[:, None].astype(float)
    for some in (0, 1, 2095, 2096, 2097, 3999):
        expected = ((wide[some] - x) ** 2).sum(1).max()
        np.testing.assert_allclose(found[some], expected, rtol=1e-12)


def test_farthest_of_none():
    assert farthest(np.empty((0, 3))).shape == (0,)


@settings(deadline=None, max_examples=100)
@given(features(scaled=False), features(scaled=False))
def test_nearest_among_others_agrees_with_sorting(queries, rows):
    width = min(queries.shape[1], rows.shape[1])
    queries, rows = queries[:, :width], rows[:, :width]
    found = k_nearest_among(queries, rows, 5, threads=1)
    squares = squared_distances(queries, rows)
    expected = np.argsort(squares, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(found.indices, expected)
    np.testing.assert_array_equal(found.squared, np.take_along_axis(squares, expected, axis=1))


def test_nearest_among_others_of_many_rows_and_threads():
    rng = np.random.default_rng(0)
    queries, rows = rng.standard_normal((TILE + 9, 6)), rng.standard_normal((3 * TILE + 5, 6))
    rows[::7] = rows[0]  # many duplicates: candidates cannot be proven complete
    queries[::5] = rows[0]
    found = k_nearest_among(queries, rows, 4, threads=3)
    squares = ((queries[:, None] - rows) ** 2).sum(-1)
    expected = np.argsort(squares, axis=1, kind="stable")[:, :4]
    agree = (found.indices == expected).all(axis=1)
    assert agree[::5].all()
    assert agree.mean() > 0.99  # numpy rounds in another order
    np.testing.assert_allclose(
        found.squared, np.take_along_axis(squares, expected, axis=1), atol=1e-12
    )
