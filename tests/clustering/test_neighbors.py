import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simmc.clustering import Threads, k_nearest, k_nearest_others
from simmc.clustering import neighbors as module
from tests.reference.jaccard import nearest


def features(n, d, seed=0, scale=1.0, shift=0.0, dtype=np.float32):
    return (np.random.default_rng(seed).standard_normal((n, d)) * scale + shift).astype(dtype)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 60),
    d=st.integers(1, 9),
    k=st.integers(1, 25),
    seed=st.integers(0, 10_000),
    copies=st.integers(0, 30),
    scale=st.sampled_from([1e-12, 1e-3, 1.0, 1e6]),
    shift=st.sampled_from([0.0, 100.0]),
    wide=st.booleans(),
)
def test_equal_the_literal_lists(n, d, k, seed, copies, scale, shift, wide):
    x = features(n, d, seed, scale, shift * scale, np.float64 if wide else np.float32)
    rng = np.random.default_rng(seed)
    x[rng.integers(n, size=copies)] = x[rng.integers(n, size=copies)]  # exact duplicates
    found = k_nearest(x, k)
    assert found.indices.shape == found.squared.shape == (n, min(k, n))
    np.testing.assert_array_equal(found.indices, nearest(x, k))


def test_more_rows_than_a_tile_and_any_number_of_threads():
    x = features(3 * module.TILE + 77, 16)
    one, two = (k_nearest(x, 20, executor=Threads(t)) for t in (1, 3))
    np.testing.assert_array_equal(one.indices, two.indices)
    np.testing.assert_array_equal(one.squared, two.squared)
    rows = np.random.default_rng(1).integers(len(x), size=50)
    for i in rows:
        distance = ((x.astype(np.float64) - x[i]) ** 2).sum(1)
        np.testing.assert_array_equal(
            one.indices[i], np.lexsort((np.arange(len(x)), distance))[:20]
        )


def test_tile_size_does_not_matter(monkeypatch):
    x = features(700, 8)
    wanted = k_nearest(x, 20).indices
    for tile in (64, 100, 1024):
        monkeypatch.setattr(module, "TILE", tile)
        np.testing.assert_array_equal(k_nearest(x, 20).indices, wanted)


def test_rows_that_single_precision_cannot_order_are_done_again():
    # a huge common spread hides the differences between near rows from float32 products
    x = features(400, 4, dtype=np.float64)
    x[:, 0] += np.repeat([0.0, 1e6], 200)
    np.testing.assert_array_equal(k_nearest(x, 20).indices, nearest(x, 20))


def test_all_rows_equal():
    found = k_nearest(np.ones((100, 3), np.float32), 5)
    np.testing.assert_array_equal(found.indices, np.tile(np.arange(5), (100, 1)))
    assert (found.squared == 0).all()


@pytest.mark.parametrize("n", [0, 1, 2])
def test_hardly_any_rows(n):
    found = k_nearest(np.zeros((n, 4), np.float32), 20)
    assert found.indices.shape == (n, n)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="row 3 holds NaN"):
        k_nearest(np.where(np.arange(10)[:, None] == 3, np.nan, 1.0), 2)
    with pytest.raises(ValueError, match="two-dimensional"):
        k_nearest(np.zeros(5), 2)
    with pytest.raises(ValueError, match="at least 1"):
        k_nearest(np.zeros((5, 2)), 0)


@pytest.mark.parametrize("copies", [0, 5, 40])
@pytest.mark.parametrize("k", [1, 3, 100])
def test_the_nearest_others_leave_only_the_row_itself_out(copies, k):
    rng = np.random.default_rng(copies)
    rows = rng.normal(size=(30, 3)).astype(np.float32)
    rows = rng.permutation(np.concatenate([rows, np.repeat(rows[:1], copies, axis=0)]))
    found = k_nearest_others(rows, k)
    assert found.indices.shape == found.squared.shape == (len(rows), min(k, len(rows) - 1))
    for i, row in enumerate(rows.astype(np.float64)):
        squared = ((rows.astype(np.float64) - row) ** 2).sum(1)
        order = [j for j in np.lexsort((np.arange(len(rows)), squared.round(9))) if j != i]
        assert found.indices[i].tolist() == order[:k]
        np.testing.assert_allclose(found.squared[i], squared[order[:k]], atol=1e-12)
