import numpy as np
import pytest

from simmc.evaluation.tracklets import of_walks, pooled, walks_of

#      recording 7 is cut in two by 3, as joined sets may be
RECORDING = np.array([7, 7, 3, 3, 3, 7, 7, 7, 0])


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (1, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (2, [0, 0, 1, 1, 2, 3, 3, 4, 5]),
        (3, [0, 0, 1, 1, 1, 0, 2, 2, 3]),
        (9, [0, 0, 1, 1, 1, 0, 0, 0, 2]),
        (None, [0, 0, 1, 1, 1, 0, 0, 0, 2]),
    ],
)
def test_walks_of_recordings_made_by_hand(size, expected):
    walk = walks_of(RECORDING, size)
    assert walk.dtype == np.int64
    np.testing.assert_array_equal(walk, expected)


def test_means_and_who_they_are_of():
    walk = walks_of(RECORDING, 2)
    features = np.arange(18, dtype=np.float32).reshape(9, 2)
    found = pooled(features, walk, unit=False)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[1, 2], [5, 6], [8, 9], [11, 12], [14, 15], [16, 17]])
    np.testing.assert_array_equal(of_walks(RECORDING, walk), [7, 3, 3, 7, 7, 0])


def test_unit_means():
    features = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]])
    found = pooled(features, np.array([0, 0, 1, 1]), unit=True)
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5], [0, 0]])


def test_walks_of_one_window_are_the_windows():
    features = np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)
    np.testing.assert_array_equal(pooled(features, walks_of(RECORDING, 1), unit=False), features)
