"""The recognition stage against literal loops, on a source network of one matrix."""

from dataclasses import replace
from itertools import chain
from unittest import mock

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from simmc.errors import UserError
from simmc.methods import recognition
from simmc.methods.recognition import CLASSIFIED, MATCHED, Recognition, RecognitionSettings
from simmc.models.optimizer import FlatAdam
from simmc.runs.runtime import generators
from tests.methods import make
from tests.methods.dummy_source import DummySource

WIDTH, BATCH = 5, 16


def settings(**changes) -> RecognitionSettings:
    small = {"dataset": "KGBD", "batch_size": BATCH, "epochs": 3, "hidden": 8, "lr": 0.01}
    return RecognitionSettings.of(**small | changes)


def source(seed: int = 0) -> DummySource:
    return DummySource(3 * make.JOINTS, WIDTH, torch.Generator().manual_seed(seed))


def training(data=None, protocols=CLASSIFIED, **changes) -> Recognition:
    data = make.experiment() if data is None else data
    with mock.patch.object(recognition, "new_source", lambda settings: source()):
        return Recognition(settings(**changes), data, generators(0), make.CPU, protocols)


def losses_by_hand(made: Recognition, how: str) -> list[torch.Tensor]:
    """The loss of every batch of an untrained head, view by view."""
    data, network = made.data.train, made.network
    windows = torch.from_numpy(data.windows.reshape(len(data), make.LENGTH, -1))
    found = []
    items = []
    for window, person in zip(windows, data.identity.tolist(), strict=True):
        views = network.source.views(window[None], how)[0]
        if how == "prefix":
            items.append((sum(head_by_hand(network, view) for view in views), person))
        else:
            items += [(head_by_hand(network, view), person) for view in views]
    for low in range(0, len(items) // BATCH * BATCH, BATCH):
        part = items[low : low + BATCH]
        found.append(-sum(torch.log(torch.exp(s)[y] / torch.exp(s).sum()) for s, y in part) / BATCH)
    return found


def head_by_hand(network, view):
    h = torch.clamp(network.first.weight @ view + network.first.bias, min=0)
    return network.second.weight @ h + network.second.bias


@pytest.mark.parametrize("how", ["ap", "sc", "prefix"])
def test_the_loss_of_an_epoch(how):
    made = training(views=how, lr=1e-9)  # the head does not move
    with torch.no_grad():
        made.network.first.weight *= 0.1  # so that no exponential overflows by hand
        expected = losses_by_hand(made, how)
    found = made.learn()
    assert found["steps"] == len(expected)
    assert found["loss_identity"] == pytest.approx(float(np.mean(expected)), rel=1e-4)


@pytest.mark.parametrize("how", ["ap", "prefix"])
def test_a_step_moves_by_the_gradient_of_that_loss(how):
    made, other = training(views=how), training(views=how)
    for one in (made, other):
        with torch.no_grad():
            one.network.first.weight *= 0.1
    made.batches = lambda batches=made.batches: iter(list(batches())[:1])
    made.learn()
    loss = losses_by_hand(other, how)[0]
    trained = [p for p in other.network.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, trained)
    optimizer = FlatAdam(other.network, other.settings.training.lr)
    for p, g in zip(trained, gradients, strict=True):
        p.grad.copy_(g)
    optimizer.step()
    for name, value in made.network.state_dict().items():
        assert torch.allclose(value, other.network.state_dict()[name], atol=1e-5), name


def test_a_frozen_source_stays_and_a_trained_one_moves():
    before = source().matrix.detach()
    frozen, moved = training(train="head"), training(train="all")
    for made in (frozen, moved):
        made.run_epoch()
    assert torch.equal(frozen.network.source.matrix, before)
    assert not torch.allclose(moved.network.source.matrix, before)


def test_frozen_and_trained_learn_the_same_of_the_head_in_the_first_step():
    found = []
    for train in ("head", "all"):
        made = training(train=train, views="ap")
        made.batches = lambda batches=made.batches: iter(list(batches())[:1])
        made.learn()
        found.append(made.network.first.weight.detach().clone())
    assert torch.allclose(*found, atol=1e-6)


@pytest.mark.parametrize("train", ["head", "all"])
def test_decay_is_half_the_sum_of_squares_of_what_is_trained(train):
    made, other = (training(train=train, views="prefix", decay=0.5) for _ in range(2))
    made.batches = lambda batches=made.batches: iter(list(batches())[:1])
    made.learn()
    network = other.network
    rows, _ = next(other.batches())
    loss = cross_entropy(
        network.judge(network.views(other.windows[rows])).sum(1), other.identity[rows]
    )
    trained = [p for p in network.parameters() if p.requires_grad]
    assert len(trained) == {"head": 4, "all": 5}[train]  # two layers; the source's matrix
    total = loss + 0.5 / 2 * sum((p * p).sum() for p in trained)
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(total, trained)])
    torch.testing.assert_close(made.optimizer.gradient, expected, rtol=1e-6, atol=1e-6)


def test_it_learns_to_name_persons():
    data = replace(make.experiment(), probe=make.split(8, 4, 9, 0.1))
    made = training(data, epochs=60, order="shuffled", views="sc", hidden=32)
    first = made.evaluate()
    while not made.done:
        record, _ = made.run_epoch()
    assert record["top1"] > first["top1"] + 0.2
    assert 0 <= record["nauc_cmc"] <= 1 and record["nauc_roc"] > first["nauc_roc"]
    assert made.selectors["fixed_epochs"].best_epoch == 60


def test_stored_and_shuffled_order():
    stored, shuffled = training(views="prefix"), training(views="prefix", order="shuffled")
    orders = [[rows.tolist() for rows, _ in made.batches()] for made in (stored, shuffled)]
    flat = [list(chain.from_iterable(order)) for order in orders]
    assert flat[0] == list(range(len(flat[0])))
    assert sorted(flat[1]) != flat[1]
    again = [rows.tolist() for rows, _ in shuffled.batches()]
    assert again != orders[1]


def test_batches_count_views():
    made = training(views="ap")
    parts = list(made.batches())
    total = sum(part.stop - part.start for _, part in parts)
    n = len(made.windows) * make.LENGTH
    assert total == n // BATCH * BATCH
    assert all(part.stop - part.start == BATCH for _, part in parts)
    kept = list(training(views="ap", part_batches="keep").batches())
    assert sum(part.stop - part.start for _, part in kept) == n
    seen = np.concatenate(
        [
            np.repeat(rows.numpy(), make.LENGTH)[part] * make.LENGTH
            + np.tile(np.arange(make.LENGTH), len(rows))[part]
            for rows, part in kept
        ]
    )
    assert (seen == np.arange(n)).all()


def test_direct_fine_tuning_is_scored_by_matching():
    made = training(protocols=MATCHED, score="match", train="all", views="sc")
    record, _ = made.run_epoch()
    assert {"top1", "mAP"} <= record.keys() and "nauc_roc" not in record


def test_strangers_cannot_be_named():
    data = make.experiment()
    strangers = replace(data, test_identities=[*data.identities, 99])
    with pytest.raises(UserError, match="--score match"):
        training(strangers)
    training(strangers, protocols=MATCHED, score="match", train="all")


def test_views_that_the_source_has_not():
    made = source()
    with pytest.raises(UserError, match="ap, sc, prefix"):
        recognition.chosen_views(made, settings(views="lstm"))
