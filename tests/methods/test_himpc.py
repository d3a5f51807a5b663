"""Hi-MPC's recipe: which windows, labels, prototypes and losses meet, and in what order."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from simmc.clustering import cluster_means
from simmc.data.body_levels import BODY_LEVELS, body_levels
from simmc.data.experiment.experiment import Experiment, Split
from simmc.data.experiment.inputs import described
from simmc.data.skeletons import KINECT_V1
from simmc.engine.training import Model, train, weights_path
from simmc.errors import UserError
from simmc.losses import hard_skeleton_contrast, meta_prototype_contrast
from simmc.methods import himpc as method
from simmc.methods.himpc import HiMPCSettings
from simmc.models.optimizer import FlatAdam
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import generators
from simmc.scoring.match import MatchRule
from tests.methods import make
from tests.methods.make import CPU

RULE = MatchRule()
SMALL = {"dataset": "KGBD", "H": 8, "M": 2, "batch_size": 16, "epochs": 3, "k1": 10, "k2": 4}


def split(each, seed):
    """Generated windows (N, 6, 20, 3) of eight persons."""
    persons = np.random.default_rng(0).normal(size=(8, 1, 20, 3))
    rng = np.random.default_rng(seed)
    identity = rng.permutation(np.repeat(np.arange(8), each))
    windows = persons[identity] + 0.1 * rng.normal(size=(len(identity), 6, 20, 3))
    return Split(windows.astype(np.float32), identity, None)


def experiment():
    people = list(range(8))
    return Experiment(
        split(25, 1), split(4, 2), split(4, 3), people, people, False, KINECT_V1, [], None
    )


def settings(**changes):
    return HiMPCSettings.of(**SMALL | changes)


def training(data=None, protocols=("paper", "label_free"), **changes):
    chosen = settings(**changes)
    return method.HiMPC(chosen, data or experiment(), generators(0), CPU, protocols)


def some_labels(levels=3, n=200, seed=0):
    """(levels, N) labels of 7 clusters, with outliers of each level's own."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 7, (levels, n))
    return torch.from_numpy(np.where(rng.random(labels.shape) < 0.15, -1, labels))


def literal_epoch(made, labels, loss_of, kept):
    """One epoch of steps in plain words; the weights after it and each batch's losses."""
    net = copy.deepcopy(made.network)
    windows = {
        level: torch.from_numpy(w.reshape(len(w), 6, -1))
        for level, w in body_levels(made.data.train.windows, KINECT_V1).items()
    }
    adam = FlatAdam(net, made.settings.training.lr)
    with torch.no_grad():
        features = [net[level](windows[level]).mean(1) for level in net.levels]
    prototypes = [cluster_means(v, y) for v, y in zip(features, labels, strict=True)]
    losses = []
    for start in range(0, len(kept) // 16 * 16, 16):
        terms = []
        for i, level in enumerate(net.levels):
            rows = [row for row in kept[start : start + 16] if labels[i, row] >= 0]
            z = net[level](windows[level][rows])
            terms.append(loss_of(level, z, labels[i, rows], prototypes[i], net[level].heads))
        adam.zero_grad()
        (sum(terms) / len(terms)).backward()
        adam.step()
        losses.append([term.item() for term in terms])
    return net, np.mean(losses, axis=0)


def check_contrast(made, labels, loss_of, kept):
    instances = method.encode(made.network, made.train_windows)
    net, losses = literal_epoch(made, labels, loss_of, kept)
    record = made.contrast(instances, labels)
    found = [record[f"loss_{level}"] for level in BODY_LEVELS]
    np.testing.assert_allclose(found, losses, rtol=1e-4)
    for name, weights in net.state_dict().items():
        moved = (made.network.state_dict()[name] - weights).abs().max()
        assert moved < 2e-5, name
    assert record["steps"] == len(kept) // 16


def mined(sums):
    def loss(level, z, y, p, heads):
        reduction = "sum" if level == "joint" and sums else "mean"
        return hard_skeleton_contrast(z, y, p, heads, 8**0.5, reduction=reduction)

    return loss


@pytest.mark.parametrize("reduction", ["joint_sum", "mean"])
def test_an_epoch_of_steps(reduction):
    made, labels = training(level_reduction=reduction), some_labels()
    kept = torch.nonzero((labels >= 0).all(0)).flatten().tolist()
    check_contrast(made, labels, mined(reduction == "joint_sum"), kept)


def test_outliers_of_one_level_only_are_kept_at_the_others():
    made, labels = training(outlier_rule="own_level", level_reduction="mean"), some_labels()
    kept = torch.nonzero((labels >= 0).any(0)).flatten().tolist()
    assert len(kept) > int((labels >= 0).all(0).sum())
    check_contrast(made, labels, mined(False), kept)


def test_a_batch_without_windows_of_a_level_leaves_that_level_alone():
    made, labels = training(outlier_rule="own_level"), some_labels()
    labels[2] = -1
    before = copy.deepcopy(made.network.state_dict())
    record = made.contrast(method.encode(made.network, made.train_windows), labels)
    after = made.network.state_dict()
    for name in after:
        same = torch.equal(before[name], after[name])
        assert same == name.startswith("levels.limb"), name
    assert record["loss_limb"] == 0.0


def test_without_mining_the_sequence_is_contrasted():
    made = training(mining="none", unmined_loss="sequence", level_reduction="mean")
    labels = some_labels()
    kept = torch.nonzero((labels >= 0).all(0)).flatten().tolist()

    def loss(_level, z, y, p, heads):
        return meta_prototype_contrast(z.mean(1), y, p, heads, 8**0.5)

    check_contrast(made, labels, loss, kept)


@pytest.mark.parametrize(
    ("changes", "arguments"),
    [
        ({"mining": "none", "unmined_loss": "frames"}, {"focus": 0}),
        ({"mining": "easy"}, {"focus": -1}),
        ({"mining_scale": "none"}, {"weights_over_temperature": False}),
        ({"mining_gradient": "stopped"}, {"stop_weights": True}),
    ],
)
def test_switches_reach_the_loss(changes, arguments):
    made, labels = training(level_reduction="mean", **changes), some_labels()
    kept = torch.nonzero((labels >= 0).all(0)).flatten().tolist()

    def loss(_level, z, y, p, heads):
        return hard_skeleton_contrast(z, y, p, heads, 8**0.5, **arguments)

    check_contrast(made, labels, loss, kept)


def test_levels_are_clustered_and_scored():
    made = training(level_scores="epoch")
    record = made.run_epoch()[0]
    assert all(record[f"clusters_{i}"] > 1 for i in (1, 2, 3))
    assert set(record["levels"]) == set(BODY_LEVELS)
    assert method.HiMPC.encoder(made.model)(made.data.probe).shape == (32, 3 * 8)
    levels = method.encode(made.network, method.level_tensors(made.data.probe, made.model))
    assert list(levels) == list(BODY_LEVELS)
    assert {tuple(v.shape) for v in levels.values()} == {(32, 8)}


@pytest.mark.parametrize("levels", ["joint", "limb,joint"])
def test_chosen_levels_only(levels):
    made = training(levels=levels)
    assert list(made.network.levels) == [name for name in BODY_LEVELS if name in levels]
    records = make.run_all(made)
    assert all("top1" in record for record in records)
    assert ("loss_component" in records[0]) is False


def test_no_heads_is_direct_contrast():
    made = training(levels="joint", M=0, mining="none", unmined_loss="sequence")
    records = make.run_all(made)
    assert records[0]["loss_joint"] > 0


def test_scoring_the_weights_that_were_kept(tmp_path):
    made, run = training(), RunDirectory(tmp_path)
    train(made, run, lambda record: None)
    path = weights_path(run, "paper")
    found = method.METHOD.score(path, made.settings, made.data, CPU, RULE).to_dict()
    best = next(r for r in run.read_metrics() if r["epoch"] == found["epoch"])
    assert found["top1"] == best["top1"]
    assert set(found["levels"]) == set(BODY_LEVELS)
    other = made.settings.but(M=3)
    with pytest.raises(UserError, match="--M"):
        method.METHOD.score(path, other, made.data, CPU, RULE)


def test_an_unknown_level_is_refused():
    with pytest.raises(UserError, match="--levels joint,leg: there is no level 'leg'"):
        settings(levels="joint,leg")


def test_the_temperature_follows_the_width():
    assert settings(H=64).temperature == 8.0
    assert settings(H=64, t=0.5).temperature == 0.5


def test_measurements_stand_beside_the_points_of_every_level():
    plain = experiment()
    data = described(plain, ("joints", "bones"), 0.3)
    chosen = settings(input="joints+bones")
    levels = method.level_tensors(data.train, Model(None, chosen, data, CPU))
    ends = {"joint": 20, "component": 10, "limb": 5}
    coordinates = data.train.windows[..., :60].reshape(200, 6, 20, 3)
    points = body_levels(coordinates, KINECT_V1)
    for level, n in ends.items():
        found = levels[level].numpy()
        np.testing.assert_array_equal(
            found[..., : 3 * n], points[level].reshape(200, 6, 3 * n), strict=True
        )
        np.testing.assert_array_equal(found[..., 3 * n :], data.train.windows[..., 60:])
    assert "top1" in training(data, input="joints+bones", eps=None).run_epoch()[0]
    with pytest.raises(UserError, match="--input bones"):
        settings(input="bones+turned")


def test_one_radius_for_all_levels_and_the_untrained_epoch_counts():
    data = experiment()
    body = np.random.default_rng(5).normal(size=(8, 4))[data.train.identity]
    made = training(replace(data, body=body), eps=None, min_samples=None, best_by="body")
    records = make.run_all(made)
    assert len({(record["eps"], record["min_samples"]) for record in records}) == 1
    values = [record["body_agreement"] for record in records]
    assert made.selectors["label_free"].best_epoch == int(np.argmax(values))
