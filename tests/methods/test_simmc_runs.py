"""Whole trainings of SimMC: what decides them, what they must not see, and going on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from simmc.errors import UserError
from simmc.methods import simmc as method
from simmc.methods.matching import encode
from simmc.methods.training import load_weights
from simmc.runs import checkpoints
from tests.methods import make

# the label-free protocol and what it must not see


def chosen(data, folder, **changes):
    """What the label-free protocol makes of an experiment."""
    folder.mkdir()
    training = make.training(data, **{"epochs": 6, "patience": 2, "lr": 3e-3, **changes})
    make.run_all(training, folder)
    kept = checkpoints.load(folder / "label_free.pt")
    return training, kept


def others(data):
    """The experiment with other identities, other windows, and fewer of them, in the tests."""
    rng = np.random.default_rng(9)
    yield make.exchanged(data, "probe", identity=rng.permutation(data.probe.identity))
    yield make.exchanged(data, "gallery", identity=data.gallery.identity * 0)
    for role in ("probe", "gallery"):
        windows = getattr(data, role).windows
        yield make.exchanged(data, role, windows=rng.permutation(windows))
        yield make.exchanged(data, role, windows=100 * windows, identity=data.probe.identity)
    yield replace(data, probe=data.gallery, gallery=data.gallery)


@pytest.mark.parametrize("selection", ["probe", "label_free"])
def test_probe_and_gallery_decide_nothing_for_label_free(selection, tmp_path):
    data = make.experiment()
    training, kept = chosen(data, tmp_path / "plain", selection=selection)
    paper = [training.selectors["paper"].best_epoch]
    for number, other in enumerate(others(data)):
        changed, kept_changed = chosen(other, tmp_path / str(number), selection=selection)
        assert changed.selectors["label_free"] == training.selectors["label_free"]
        assert kept_changed["epoch"] == kept["epoch"]
        make.assert_equal_weights(kept_changed["network"], kept["network"])
        paper.append(changed.selectors["paper"].best_epoch)
    assert len(set(paper)) > 1  # the other protocol did see it


def test_identities_of_training_windows_decide_nothing():
    data = make.experiment()
    shuffled = np.random.default_rng(3).permutation(data.train.identity)
    other = make.exchanged(data, "train", identity=shuffled)
    first, second = (make.training(d, epochs=3, class_sampling="off") for d in (data, other))
    records, changed = (make.without_seconds(make.run_all(t)) for t in (first, second))
    make.assert_equal_weights(make.weights_of(first), make.weights_of(second))
    assert first.selectors == second.selectors
    for a, b in zip(records, changed, strict=True):
        differing = {k for k in a if a[k] != b.get(k)}
        assert differing <= {"mi", "ami", "mACT", "mRCL"}
    assert any(a["ami"] != b["ami"] for a, b in zip(records, changed, strict=True))


def test_label_free_alone_never_looks_at_probe_and_gallery(monkeypatch):
    def looked(*args, **kwargs):
        raise AssertionError("probe or gallery was looked at")

    monkeypatch.setattr(method, "match", looked)
    records = make.run_all(make.training(protocols=("label_free",)))
    assert not any("top1" in record for record in records)


def test_one_view_is_scored_against_the_epoch_before():
    training = make.training(q=1, mask_x=0, lambda_=0.0, epochs=2)
    records = make.run_all(training)
    assert records[0]["label_free_score"] is None
    assert all(0 <= r["label_free_score"] <= 1 for r in records[1:])
    assert records[0]["loss_mic"] == 0


@pytest.mark.parametrize(
    ("selection", "paper", "label_free", "done"),
    [
        ("probe", 2, 1, False),
        ("probe", 1, 2, False),
        ("probe", 2, 2, True),
        ("label_free", 1, 2, True),
        ("label_free", 2, 1, False),
    ],
)
def test_who_ends_a_run(selection, paper, label_free, done):
    training = make.training(selection=selection, patience=2)
    training.selectors["paper"].waited = paper
    training.selectors["label_free"].waited = label_free
    assert training.done is done


def test_a_protocol_that_is_alone_ends_its_run():
    for protocol in ("paper", "label_free"):
        for selection in ("probe", "label_free"):
            training = make.training(protocols=(protocol,), selection=selection, patience=2)
            assert not training.done
            training.selectors[protocol].waited = 2
            assert training.done


# going on, and going again


def test_the_same_seed_gives_the_same_run():
    first, second = make.training(seed=4), make.training(seed=4)
    assert make.without_seconds(make.run_all(first)) == make.without_seconds(make.run_all(second))
    make.assert_equal_weights(make.weights_of(first), make.weights_of(second))
    other = make.training(seed=5)
    make.run_all(other)
    assert (
        make.weights_of(other)["output.weight"] != make.weights_of(first)["output.weight"]
    ).any()


@pytest.mark.parametrize(
    "changes", [{}, {"q": 1, "mask_x": 0, "lambda_": 0}, {"mask_scope": "window", "eval_every": 2}]
)
def test_a_restored_training_goes_on_bit_for_bit(changes, tmp_path):
    whole = make.training(epochs=5, **changes)
    records = make.run_all(whole)
    first = make.training(epochs=5, **changes)
    for _ in range(3):
        first.run_epoch()
    path = tmp_path / "last.pt"
    checkpoints.save(path, first.state())
    second = make.training(epochs=5, **changes)
    second.restore(checkpoints.load(path), path)
    assert second.selectors == first.selectors
    assert make.without_seconds(make.run_all(second)) == make.without_seconds(records[3:])
    make.assert_equal_weights(make.weights_of(second), make.weights_of(whole))
    for moment in ("first", "second", "vector"):
        assert torch.equal(getattr(second.optimizer, moment), getattr(whole.optimizer, moment))
    assert second.seeds.state() == whole.seeds.state()


def test_a_guess_of_neighbours_decides_nothing():
    """A checkpoint does not hold it, so a continued run begins without."""
    with_guess, without = make.training(), make.training()
    views = encode(with_guess.network, with_guess.train_windows, with_guess.draw_masks())
    with_guess.cluster(views.unbind(1))
    assert with_guess.candidates
    assert torch.equal(with_guess.cluster(views.unbind(1)), without.cluster(views.unbind(1)))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"H": 8}, "size mismatch"),
        ({"D": 2}, "cannot be continued"),
        ({"data": make.experiment(train=24)}, "comes from other training windows"),
        ({"data": make.experiment(seed=5)}, "comes from other training windows"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_by_name(other, said, tmp_path):
    state = make.training().state()
    path = tmp_path / "last.pt"
    with pytest.raises(UserError, match=said) as error:
        make.training(**other).restore(state, path)
    assert str(path) in str(error.value)
    assert "--resume" in str(error.value)


def test_an_incomplete_checkpoint_is_refused_by_name(tmp_path):
    state = make.training().state()
    del state["selectors"]
    with pytest.raises(UserError, match=r"last\.pt cannot be continued"):
        make.training().restore(state, tmp_path / "last.pt")


@pytest.mark.parametrize(
    "change",
    [
        {"network": None},
        {"network": {"w": torch.zeros(1)}},
        {"optimizer": None},
        {"optimizer": {"first": torch.zeros(()), "second": torch.zeros(()), "steps": 1}},
        {"selectors": {"paper": 3, "label_free": 3}},
        {"seeds": {"data": "9" * 5000, "masks": "{}", "weights": ""}},
        {"epoch": float("inf")},
        {"epoch": 10**30},
        {"previous_labels": torch.zeros(2, 3)},
        {"previous_labels": [[0]]},
        {"data": torch.zeros(3)},
    ],
    ids=str,
)
def test_a_checkpoint_of_wrong_contents_is_refused_by_name(change, tmp_path):
    state = make.training().state() | change
    with pytest.raises(UserError, match=r"last\.pt|random state"):
        make.training().restore(state, tmp_path / "last.pt")


@pytest.mark.parametrize(
    "change", [{"network": None}, {"network": {3: 4}}, {"epoch": float("inf")}, {"epoch": "3"}]
)
def test_weights_of_wrong_contents_are_refused_by_name(change, tmp_path):
    training = make.training()
    path = tmp_path / "best.pt"
    checkpoints.save(path, {"epoch": 1, "network": training.network.state_dict()} | change)
    with pytest.raises(UserError, match=r"best\.pt"):
        load_weights(training.network, path, "--H")
