"""Features at the limits of their types: nothing is silently lost, on either engine."""

import numpy as np
import pytest
import torch

from simmc.clustering import ClusterSettings, jaccard_graph, k_nearest, pseudo_labels, unit_rows
from simmc.clustering import gpu as on_device
from tests.reference import jaccard as literal


def nearest(x, k):
    """Lists of both engines; they must agree."""
    found = k_nearest(x, k)
    there = on_device.k_nearest(torch.from_numpy(np.ascontiguousarray(x)), k)
    np.testing.assert_array_equal(found.indices, there.indices.numpy())
    np.testing.assert_array_equal(found.squared, there.squared.numpy())
    return found


def normal(n, d=4, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


@pytest.mark.parametrize("exponent", [-100, -75, 64, 100])
def test_unit_rows_in_the_whole_range_of_float32(exponent):
    x = normal(50).astype(np.float32)
    far = np.ldexp(x, exponent).astype(np.float32)
    np.testing.assert_array_equal(unit_rows(far), unit_rows(x))
    there = on_device.unit_rows(torch.from_numpy(far)).numpy()
    np.testing.assert_array_equal(there, unit_rows(x))


@pytest.mark.parametrize("exponent", [-1000, -600, 540, 1000])
def test_unit_rows_in_the_whole_range_of_float64(exponent):
    x = normal(50)
    np.testing.assert_array_equal(unit_rows(np.ldexp(x, exponent)), unit_rows(x))


def test_ties_that_float64_cannot_represent():
    values = np.arange(-3, 4) * 0.1
    x = values[[[0, 0], [0, 2], [3, 1]]]
    np.testing.assert_array_equal(nearest(x, 3).indices, literal.nearest(x, 3))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("d", [2, 3, 9, 40])
def test_both_engines_agree_on_inexact_ties(seed, d):
    x = np.random.default_rng(seed).integers(-3, 4, (80, d)) * 0.1
    nearest(x, 6)
    nearest(x.astype(np.float32), 6)
    how = ClusterSettings(0.5, 3, k1=6, k2=3)
    there, _ = on_device.pseudo_labels(torch.from_numpy(x), how)
    np.testing.assert_array_equal(pseudo_labels(x, how).labels, there.numpy())


@pytest.mark.parametrize("n", [10, 50])
def test_denormal_features(n):
    x = normal(n) * 1e-309
    np.testing.assert_array_equal(k_nearest(x, 5).indices, literal.nearest(x, 5))


@pytest.mark.parametrize("scale", [1e155, 1e200, 1e307])
def test_features_whose_squares_would_overflow_are_refused(scale):
    x = normal(50)
    x[7] *= scale
    with pytest.raises(ValueError, match="too large to square: row 7"):
        jaccard_graph(x, 0.6)
    with pytest.raises(ValueError, match="too large to square: row 7"):
        on_device.k_nearest(torch.from_numpy(x), 5)


def test_wide_input_is_not_narrowed():
    x = 1 + 1e-12 * np.arange(6.0)[:, None]
    np.testing.assert_array_equal(k_nearest(x.astype(">f8"), 3).squared, k_nearest(x, 3).squared)
    i = 2**30 + np.arange(6)[:, None]
    np.testing.assert_array_equal(nearest(i, 3).squared, k_nearest(i.astype(float), 3).squared)


def test_an_eps_that_rounds_to_one_is_refused():
    for graph_of in (jaccard_graph, lambda x, eps: on_device.radius_graph(*weights(x), eps)):
        with pytest.raises(ValueError, match="eps"):
            graph_of(normal(30), 1 - 1e-9)


def weights(x):
    rows = torch.from_numpy(x)
    return (on_device.neighbor_weights(rows, on_device.k_nearest(rows, 4).indices),)


@pytest.mark.parametrize("name", ["k1", "k2", "min_samples"])
@pytest.mark.parametrize("value", [0, -3])
def test_counts_below_one_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        ClusterSettings(**{"eps": 0.6, "min_samples": 2, name: value})
