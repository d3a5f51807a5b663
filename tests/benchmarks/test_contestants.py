import numpy as np
import pytest
from simmc.benchmarks.contestants import CONTESTANTS, HOW
from simmc.benchmarks.inputs import clustered
from simmc.benchmarks.worker import recall

from simmc.clustering import k_nearest, pseudo_labels
from simmc.methods.simmc import SimMCSettings
from simmc.runs.runtime import Clock
from simmc.settings import resolve


@pytest.fixture(scope="module")
def rows():
    return clustered(1300, 0)  # more than a block of the product


def test_parameters_are_those_of_a_training_on_kgbd():
    settings = resolve(SimMCSettings, ["--dataset", "KGBD"]).settings
    for name in ("eps", "min_samples", "k1", "k2"):
        assert getattr(HOW, name) == getattr(settings, name)


def test_the_floor_finds_the_neighbours_up_to_rounding(rows):
    exact = k_nearest(rows, HOW.k1).indices
    found = CONTESTANTS["product_topk"].run(rows, exact[:0], Clock())
    assert (found == exact).mean() > 0.999


@pytest.mark.parametrize("name", ["whole", "whole_approximate"])
def test_the_whole_is_what_a_training_does(rows, name):
    clock = Clock()
    found = CONTESTANTS[name].run(rows, rows[:0], clock)
    np.testing.assert_array_equal(found, pseudo_labels(rows, HOW).labels)
    assert set(clock.take()) == {"neighbours", "jaccard", "dbscan"}


@pytest.mark.parametrize("name", CONTESTANTS)
def test_each_times_the_stages_that_it_names(name, rows):
    few = np.ascontiguousarray(rows[:60])
    clock = Clock()
    CONTESTANTS[name].run(few, k_nearest(few, HOW.k1).indices, clock)
    assert tuple(clock.take()) == CONTESTANTS[name].stages


def test_approximate_search_finds_nearly_all():
    rows = clustered(4500, 0)  # up to 4,096 it would be exact
    found = CONTESTANTS["approximate"].run(rows, rows[:0], Clock())
    assert 0.9 < recall(k_nearest(rows, HOW.k1).indices, found) < 1
