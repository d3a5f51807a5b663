"""The supervised recipe: which labels, losses and windows meet, and what has no say."""

import copy

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from simmc.data.experiment.experiment import Experiment, Split
from simmc.data.skeletons import KINECT_V1
from simmc.engine.training import train, weights_path
from simmc.errors import UserError
from simmc.methods import supervised as method
from simmc.methods.descriptors import pose_gait
from simmc.methods.supervised import SupervisedSettings
from simmc.models.optimizer import FlatAdam
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import generators
from simmc.scoring.match import MatchRule, match_features
from tests.methods import make
from tests.methods.make import CPU
from tests.reference import center

RULE = MatchRule()
PERSONS = 5
SMALL = {"dataset": "KGBD", "H": 16, "batch_size": 16, "epochs": 3, "length": 4}
MODELS = ("encoder", "posegait")


def split(each, seed):
    """Generated windows (N, 4, 20, 3) of five persons."""
    persons = np.random.default_rng(0).normal(size=(PERSONS, 1, 20, 3))
    rng = np.random.default_rng(seed)
    identity = rng.permutation(np.repeat(np.arange(PERSONS), each))
    windows = persons[identity] + 0.3 * rng.normal(size=(len(identity), 4, 20, 3))
    return Split(windows.astype(np.float32), identity, None)


def experiment():
    people = list(range(PERSONS))
    return Experiment(
        split(8, 1), split(3, 2), split(3, 3), people, people, False, KINECT_V1, [], None
    )


def training(data=None, protocols=method.PROTOCOLS, **changes):
    chosen = SupervisedSettings.of(**SMALL | changes)
    return method.Supervised(chosen, data or experiment(), generators(0), CPU, protocols)


def literal_epoch(made):
    """One epoch of steps in plain words: the network after it and the mean losses."""
    net, s = copy.deepcopy(made.network), made.settings
    adam = FlatAdam(net, s.training.lr)
    rng = np.random.Generator(np.random.PCG64())
    rng.bit_generator.state = made.seeds.masks.bit_generator.state
    order = rng.permutation(len(made.identity))
    losses, right = [], 0
    net.train()
    for start in range(0, len(order), s.windows.batch_size):
        rows = order[start : start + s.windows.batch_size]
        labels = torch.from_numpy(made.data.train.identity[rows])
        features = net.features(made.inputs[rows])
        scores = net.classifier(features)
        picked = scores.log_softmax(1)[range(len(rows)), labels]
        terms = [-picked.mean()]
        if s.model == "posegait":
            terms.append(center.center_loss(features, labels, net.centers))
        adam.zero_grad()
        (terms[0] + s.center_weight * sum(terms[1:])).backward()
        adam.step()
        if s.model == "posegait":
            moved = center.moved_centers(
                features.detach(), labels, net.centers.clone(), s.center_rate
            )
            net.centers.copy_(moved)
        losses.append([term.item() for term in terms])
        right += sum(int(row.argmax()) == y for row, y in zip(scores, labels, strict=True))
    return net, np.mean(losses, axis=0), right / len(order)


@pytest.mark.parametrize("model", MODELS)
def test_an_epoch_of_steps(model):
    made = training(model=model, dropout=0.0, center_weight=0.1, center_rate=0.7)
    net, losses, right = literal_epoch(made)
    record = made.learn()
    found = [record[key] for key in ("loss_identity", "loss_center") if key in record]
    np.testing.assert_allclose(found, losses, rtol=1e-4)
    assert record["train_top1"] == pytest.approx(right)
    assert record["steps"] == 3  # 40 windows in batches of 16; the last, of 8, counts
    for name, weights in net.state_dict().items():
        torch.testing.assert_close(
            made.network.state_dict()[name], weights, rtol=1e-3, atol=2e-5, msg=name
        )


def test_every_epoch_has_an_order_of_its_own(monkeypatch):
    made, seen = training(), []

    def noted(scores, labels):
        seen.append(labels)
        return cross_entropy(scores, labels)

    monkeypatch.setattr(method, "cross_entropy", noted)
    make.run_all(made)
    epochs = [torch.cat(seen[i : i + 3]) for i in range(0, 9, 3)]
    assert len(seen) == 9
    for labels in epochs:
        assert torch.equal(labels.sort().values, made.identity.sort().values)
    assert not torch.equal(epochs[0], epochs[1])


@pytest.mark.parametrize("model", MODELS)
def test_identities_are_learned(model):
    made = training(model=model, epochs=12, lr=3e-3)
    records = make.run_all(made)
    assert records[0]["train_top1"] < 0.5 < 0.9 < records[-2]["train_top1"]
    assert records[-1]["top1"] > 0.7


@pytest.mark.parametrize("model", MODELS)
def test_labels_of_the_training_windows_decide_and_the_test_does_not(model):
    data = experiment()
    weights = {}
    wrong = data.train.identity.copy()
    wrong[::2] = (wrong[::2] + 1) % PERSONS
    for name, changed in {
        "same": data,
        "labels": make.exchanged(data, "train", identity=wrong),
        "probe": make.exchanged(data, "probe", windows=data.probe.windows[::-1].copy()),
        "gallery": make.exchanged(data, "gallery", identity=data.gallery.identity[::-1].copy()),
    }.items():
        made = training(changed, model=model)
        make.run_all(made)
        assert made.epoch == made.settings.training.epochs + 1  # nothing ends a run earlier
        assert made.selectors["fixed_epochs"].best_epoch == made.settings.training.epochs
        weights[name] = made.optimizer.vector
    assert torch.equal(weights["probe"], weights["same"])
    assert torch.equal(weights["gallery"], weights["same"])
    assert not torch.equal(weights["labels"], weights["same"])


def test_inputs_of_posegait_are_the_descriptor_of_each_frame():
    made = training(model="posegait")
    windows = torch.from_numpy(made.data.train.windows).double()
    assert made.inputs.shape == (40, 4, 81) and made.inputs.dtype == torch.float32
    torch.testing.assert_close(made.inputs, pose_gait(windows, KINECT_V1).float())


@pytest.mark.parametrize("model", MODELS)
def test_windows_are_matched_by_features_before_the_classifier(model):
    made = training(model=model)
    make.run_all(made)
    pair = []
    for part in (made.data.probe, made.data.gallery):
        inputs = method.inputs_of(part, KINECT_V1, made.settings, CPU)
        made.network.eval()
        with torch.no_grad():
            pair.append(torch.cat([made.network.features(window[None]) for window in inputs]))
    found = made.model.match(method.Supervised.encoder, RULE)
    expected = match_features(*pair, made.data, CPU, RULE)
    assert (found.top(1), found.map) == pytest.approx((expected.top(1), expected.map))


@pytest.mark.parametrize("model", MODELS)
def test_scoring_the_weights_that_were_kept(model, tmp_path):
    made, run = training(model=model), RunDirectory(tmp_path)
    train(made, run, lambda record: None)
    records = {record["epoch"]: record for record in run.read_metrics()}
    best = max(records.values(), key=lambda r: (r["epoch"] > 0, r["top1"], -r["epoch"]))
    for protocol, epoch in (("paper", best["epoch"]), ("fixed_epochs", 3)):
        path = weights_path(run, protocol)
        found = method.METHOD.score(path, made.settings, made.data, CPU, RULE)
        assert found.epoch == epoch
        assert found.figures["top1"] == records[epoch]["top1"]
    other = SupervisedSettings.of(**SMALL | {"model": MODELS[model == "encoder"]})
    with pytest.raises(UserError, match="--model"):
        method.METHOD.score(weights_path(run, "paper"), other, made.data, CPU, RULE)


def test_persons_nobody_named_cannot_be_learned():
    data = experiment()
    nobody = Experiment(**vars(data) | {"identities": [0]})
    with pytest.raises(UserError, match="fewer than two identities"):
        training(nobody)


def test_joints_that_posegait_lacks():
    with pytest.raises(
        UserError, match=r"needs the joint shoulder_center or neck.*--model encoder"
    ):
        training(make.experiment(), model="posegait")


def test_windows_that_posegait_cannot_pool():
    with pytest.raises(UserError, match=r"--length 3 is too short for --model posegait"):
        SupervisedSettings.of(dataset="KGBD", model="posegait", length=3)
