"""Held against what the public SimMC program computes on real KGBD (files beside the archive)."""

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from simmc.clustering import (
    dbscan,
    expand_weights,
    jaccard_graph,
    k_nearest,
    neighbor_weights,
    radius_graph,
)
from simmc.data.experiment.experiment import Experiment, Split
from simmc.data.skeletons import KGBD_FILE
from simmc.methods.simmc import SimMC, SimMCSettings
from simmc.runs.runtime import Runtime, generators
from simmc.scoring.match import encode
from simmc.settings import resolve
from tests.conftest import shared_file

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def clustering():
    with np.load(shared_file("parity_jaccard.npz"), allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def epoch():
    with np.load(shared_file("parity_simmc_epoch.npz"), allow_pickle=False) as file:
        return dict(file)


def test_jaccard_rows(clustering):
    x = clustering["features"]
    lists = k_nearest(x, 20).indices
    weights = expand_weights(neighbor_weights(x, lists), lists, 6)
    graph = radius_graph(weights, float(np.nextafter(np.float32(1), np.float32(0))))
    rows = np.ones((64, len(x)), np.float32)
    for i in range(64):
        here = slice(graph.start[i], graph.start[i + 1])
        rows[i, graph.column[here]] = graph.distance[here]
    difference = np.abs(rows - clustering["jaccard_rows"])
    # float32 sums in another order; a tie in the neighbour order may move single entries more
    assert (difference > 1e-5).sum() <= 16
    assert difference.max() < 1e-3
    below_one = len(graph.column)
    assert abs(below_one - int(clustering["jaccard_nonone_count"])) <= 10
    total = len(x) ** 2 - below_one + graph.distance.sum(dtype=np.float64)
    assert abs(total - float(clustering["jaccard_sum"])) < 2


@pytest.mark.parametrize(("eps", "min_samples"), [(0.6, 4), (0.6, 2), (0.8, 2), (0.75, 2)])
def test_dbscan_labels(clustering, eps, min_samples):
    labels = dbscan(jaccard_graph(clustering["features"], eps), min_samples)
    np.testing.assert_array_equal(labels, clustering[f"labels_eps{eps}_min{min_samples}"])


@pytest.fixture
def training(epoch):
    """The recipe, `released`, about to begin the epoch that the public program ran."""
    settings = resolve(SimMCSettings, ["--dataset", "KGBD", "--probe", "probe"]).settings
    windows = epoch["windows"].reshape(len(epoch["windows"]), 6, 20, 3)
    train = Split(windows, epoch["identity"].astype(np.int64), None)
    data = Experiment(train, train, train, [], [], False, KGBD_FILE, [], None)
    runtime = Runtime(torch.device("cpu"), torch.get_num_threads())
    training = SimMC(settings, data, generators(0), runtime, ("paper",))
    with torch.no_grad():
        for layer, name in layers(training.network):
            layer.weight.copy_(torch.from_numpy(epoch[f"W{name}_before"].T))
            layer.bias.copy_(torch.from_numpy(epoch[f"b{name}_before"].ravel()))
    return training


def layers(network):
    return [(network.hidden[0], "1"), (network.output, "2"), (network.predictor, "p")]


def frame_weights(epoch):
    """The public program's masks, one pair a batch, as weights (N, 2, f)."""
    keep = torch.from_numpy(epoch["masks"]).float()
    return (keep / keep.sum(-1, keepdim=True)).repeat_interleave(256, 0)


def test_pseudo_labels_of_the_masked_views(training, epoch):
    views = encode(training.network, training.train_windows, frame_weights(epoch))
    labels = training.pseudo.of(views.unbind(1))
    for i, labelling in enumerate(labels.numpy()):
        wanted = epoch[f"labels_{i + 1}"]
        # The features agree to rounding only, so near-ties may order otherwise: compare the
        # partitions, since one cluster more or less renumbers all that follow.
        both = (labelling >= 0) & (wanted >= 0)
        assert adjusted_rand_score(labelling[both], wanted[both]) > 0.97
        assert ((labelling >= 0) != (wanted >= 0)).mean() < 0.005
        assert abs(int(labelling.max()) - int(wanted.max())) <= 3


def test_weights_after_one_epoch_of_training(training, epoch):
    masks = frame_weights(epoch)
    views = encode(training.network, training.train_windows, masks)
    labels = torch.from_numpy(np.stack([epoch["labels_1"], epoch["labels_2"]])).long()
    record = training.contrast(views, masks, labels)
    assert record["steps"] == 34
    np.testing.assert_allclose(record["loss_mpc"], epoch["mean_mpc"], rtol=1e-6)
    np.testing.assert_allclose(record["loss_mic"], epoch["mean_mic"], rtol=1e-5)
    for layer, name in layers(training.network):
        for got, key in ((layer.weight.T, f"W{name}"), (layer.bias, f"b{name}")):
            after, before = epoch[f"{key}_after"], epoch[f"{key}_before"]
            assert np.abs(after - before).max() > 1e-2  # it has moved a thousand times as far
            assert np.abs(got.detach().numpy() - after.reshape(got.shape)).max() < 1e-5


@pytest.mark.parametrize(
    ("switch", "value"), [("mpc_reduction", "mean"), ("mask_replay", "window")]
)
def test_a_corrected_switch_misses_the_public_weights(training, epoch, switch, value):
    training.settings = training.settings.but(**{switch: value})
    masks = frame_weights(epoch)
    views = encode(training.network, training.train_windows, masks)
    labels = torch.from_numpy(np.stack([epoch["labels_1"], epoch["labels_2"]])).long()
    training.contrast(views, masks, labels)
    got = training.network.output.weight.T.detach().numpy()
    assert np.abs(got - epoch["W2_after"]).max() > 1e-3
