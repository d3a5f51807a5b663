import numpy as np
import pytest
import torch
from simmc.benchmarks import inputs
from simmc.benchmarks.contestants import CONTESTANTS, HOW

from simmc.clustering import k_nearest
from simmc.runs.runtime import Clock, Runtime
from tests.methods import make


def labels_of(rows):
    return CONTESTANTS["ours"].run(rows, k_nearest(rows, HOW.k1).indices, Clock())


@pytest.mark.parametrize("name", inputs.GENERATED)
def test_same_seed_same_rows(name, monkeypatch):
    made = inputs.GENERATED[name](300, 0)
    assert (made.shape, made.dtype) == ((300, 256), np.float32)
    np.testing.assert_array_equal(made, inputs.GENERATED[name](300, 0))
    assert not (made == inputs.GENERATED[name](300, 1)).any(axis=1).all()
    assert np.isfinite(made).all()
    assert 0.03 < made.std() < 0.06  # as untrained features of KGBD


def test_clustered_rows_form_uneven_clusters():
    labels = labels_of(inputs.clustered(3000, 0))
    sizes = np.bincount(labels[labels >= 0])
    assert len(sizes) > 60
    assert sizes.max() > 4 * np.median(sizes)
    assert (labels < 0).mean() < 0.3


def test_structureless_rows_form_none():
    rows = inputs.structureless(3000, 0)
    spectrum = np.linalg.svd(rows, compute_uv=False).astype(np.float64) ** 2
    assert spectrum.sum() ** 2 / (spectrum**2).sum() == pytest.approx(20, abs=0.5)
    assert (labels_of(rows) < 0).mean() > 0.9


@pytest.mark.parametrize("scope", ["batch", "window"])
def test_untrained_features_are_those_of_epoch_0(scope):
    data, seen = make.experiment(), []
    training = make.training(data, mask_scope=scope)
    cluster = training.cluster
    training.cluster = lambda views: seen.append(views) or cluster(views)
    training.run_epoch()
    runtime = Runtime(torch.device("cpu"), 1)
    found = inputs.untrained_features(make.settings(mask_scope=scope), data, runtime)
    np.testing.assert_array_equal(found, seen[0][0].numpy())
