"""Every contestant computes what it should; what is measured is what a training does."""

import numpy as np
import pytest

from benchmarks import contestants, inputs
from benchmarks.contestants import CONTESTANTS, HOW
from benchmarks.dense import dense_jaccard
from benchmarks.job import recall
from simmc.clustering import k_nearest, pseudo_labels
from simmc.methods.simmc import SimMCSettings
from simmc.runs.runtime import Clock
from simmc.settings import resolve
from tests.reference import jaccard as literal

RUNNABLE = [name for name in CONTESTANTS if name not in contestants.lacking()]


def features(n, d=12, centres=9, seed=0, copies=0, scale=1.0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((centres, d))[rng.integers(centres, size=n)]
    x = (scale * (x + 0.4 * rng.standard_normal((n, d)))).astype(np.float32)
    if copies:
        x[rng.integers(n, size=copies)] = x[rng.integers(n, size=copies)]
    return x


def run(name, rows, lists=None):
    lists = k_nearest(rows, HOW.k1).indices if lists is None else lists
    return CONTESTANTS[name].run(rows, lists, Clock())


def test_parameters_are_those_of_a_training_on_kgbd():
    settings = resolve(SimMCSettings, ["--dataset", "KGBD"]).settings.clustering
    for name in ("eps", "min_samples", "k1", "k2"):
        assert getattr(HOW, name) == getattr(settings, name)


@pytest.mark.parametrize("name", RUNNABLE)
def test_each_times_the_stages_that_it_names(name):
    rows, clock = inputs.clustered(60, 0), Clock()
    CONTESTANTS[name].run(rows, k_nearest(rows, HOW.k1).indices, clock)
    assert list(clock.take()) == list(CONTESTANTS[name].steps)


CASES = [
    {"n": 200},
    {"n": 150, "copies": 90},
    {"n": 90, "scale": 30.0},  # softmax nearly one-hot
    {"n": 70, "centres": 70},
    {"n": 12, "centres": 2},  # fewer rows than k1
    {"n": 1, "centres": 1},
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(("k1", "k2"), [(20, 6), (20, 1)])
def test_the_dense_routine_equals_the_literal_reference(case, k1, k2):
    x = features(**case)
    lists = literal.nearest(x, k1)
    wanted = literal.distances(literal.weights(x, lists, k1, k2))
    np.testing.assert_array_equal(dense_jaccard(x, lists.astype(np.int32), k2), wanted)


@pytest.mark.parametrize("x", [features(700, centres=25, copies=60), inputs.clustered(900, 3)])
def test_labels_of_the_dense_routine_are_ours(x):
    ours = run("ours", x)
    np.testing.assert_array_equal(ours, run("dense", x))
    np.testing.assert_array_equal(ours, run("whole", x))
    np.testing.assert_array_equal(ours, pseudo_labels(x, HOW).labels)
    assert ours.max() > 5  # there is more than one cluster


@pytest.mark.parametrize(
    "rows",
    [
        inputs.clustered(1300, 0),
        features(400, copies=350),  # more copies of a row than candidates: rows without a proof
        np.repeat(features(5), 60, axis=0),
        np.random.default_rng(0).integers(0, 3, (500, 4)).astype(np.float32),  # ties everywhere
        features(300, scale=1e-3) + np.float32(1000),  # float32 cannot rank these
        features(9),
    ],
    ids=["clusters", "copies", "repeated", "grid", "far from zero", "few"],
)
def test_faiss_gives_our_lists(rows):
    pytest.importorskip("faiss")
    found = contestants.faiss_neighbors(rows, HOW.k1)
    np.testing.assert_array_equal(found, k_nearest(rows, HOW.k1).indices)


def test_searches_without_proof_find_nearly_all():
    rows = inputs.clustered(4500, 0)  # up to 4,096 the approximate search is exact
    exact = k_nearest(rows, HOW.k1).indices
    assert (run("product_topk", rows, exact) == exact).mean() > 0.999
    assert 0.9 < recall(exact, run("approximate", rows, exact)) < 1


def test_generated_features():
    for name, make in inputs.GENERATED.items():
        made = make(300, 0)
        assert (made.shape, made.dtype) == ((300, 256), np.float32), name
        np.testing.assert_array_equal(made, make(300, 0))
        assert not (made == make(300, 1)).any(axis=1).all()
        assert 0.03 < made.std() < 0.06  # as untrained features of KGBD
    labels = run("ours", inputs.clustered(3000, 0))
    sizes = np.bincount(labels[labels >= 0])
    assert len(sizes) > 60 and sizes.max() > 4 * np.median(sizes) and (labels < 0).mean() < 0.3
    assert (run("ours", inputs.structureless(3000, 0)) < 0).mean() > 0.9
