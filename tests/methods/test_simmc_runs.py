"""Whole trainings of SimMC: what decides them, what they must not see, and continuing them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from simmc.methods import simmc as method
from simmc.runs import checkpoints
from simmc.scoring.match import encode
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


# repeating and continuing


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
def test_a_continued_training_is_the_whole_training(changes, tmp_path):
    make.assert_continues(lambda: make.training(epochs=5, **changes), tmp_path, at=3)


def test_a_guess_of_neighbours_decides_nothing():
    """A checkpoint does not hold it, so a continued run begins without."""
    with_guess, without = make.training(), make.training()
    views = encode(with_guess.network, with_guess.train_windows, with_guess.draw_masks())
    with_guess.pseudo.of(views.unbind(1))
    assert with_guess.pseudo.candidates
    assert torch.equal(with_guess.pseudo.of(views.unbind(1)), without.pseudo.of(views.unbind(1)))
