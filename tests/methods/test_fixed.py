"""Trainings of a fixed number of epochs, on scripted scores."""

from __future__ import annotations

import pytest
import torch
from simmc.engine.fixed import FixedTraining

from simmc.methods.supervised import SupervisedSettings
from simmc.runs.runtime import Runtime, generators
from tests.methods import make

SCORES = [0.9, 0.3, 0.2, 0.5, 0.4]  # of the epochs 0 to 4
CPU = Runtime(torch.device("cpu"), 1)


class Scripted(FixedTraining[SupervisedSettings]):
    """Adds 1 to its only weight in every epoch, and notes what it is asked."""

    LAST_COUNTS = ("fixed_epochs", "label_free")

    def __init__(self, protocols, patience=None, **changes):
        settings = SupervisedSettings.of(**{"dataset": "KGBD", "epochs": 4} | changes)
        network = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(network.weight)
        self.asked = []
        super().__init__(
            settings, make.experiment(), generators(0), CPU, protocols, network, patience
        )

    def evaluate(self):
        self.asked.append(("evaluate", self.epoch))
        return {"top1": SCORES[self.epoch]}

    def learn(self):
        self.asked.append(("learn", self.epoch))
        with torch.no_grad():
            self.network.weight += 1
        return {"steps": 1}


def run_all(made):
    """What every epoch found best, and the weight that was kept for it."""
    found = []
    while not made.done:
        record, best = made.run_epoch()
        kept = made.best_weights["weight"].item() if best else None
        found.append((record.get("top1"), best, kept))
    return found


def test_what_an_epoch_is():
    made = Scripted(("paper", "fixed_epochs"))
    found = run_all(made)
    # the untrained epoch 0 counts for nobody; kept weights are those before the epoch's steps
    assert found == [
        (0.9, [], None),
        (0.3, ["paper", "fixed_epochs"], 1.0),
        (0.2, ["fixed_epochs"], 2.0),
        (0.5, ["paper", "fixed_epochs"], 3.0),
        (0.4, ["fixed_epochs"], 4.0),
    ]
    order = [(what, epoch) for epoch in range(5) for what in ("evaluate", "learn")]
    assert made.asked == order[:-1]  # the last epoch takes no steps
    assert {name: s.best_epoch for name, s in made.selectors.items()} == {
        "paper": 3,
        "fixed_epochs": 4,
    }


@pytest.mark.parametrize(("patience", "chosen"), [(2, 1), (3, 3), (None, 3)])
def test_patience_ends_the_choice_but_not_the_training(patience, chosen):
    made = Scripted(("paper", "fixed_epochs"), patience)
    assert len(run_all(made)) == 5
    assert made.selectors["paper"].best_epoch == chosen
    assert made.selectors["fixed_epochs"].best_epoch == 4


def test_evaluations_now_and_then_and_at_the_end():
    made = Scripted(("paper", "fixed_epochs"), eval_every=3)
    assert [top1 for top1, _, _ in run_all(made)] == [0.9, None, None, 0.5, 0.4]


def test_label_free_numbers_need_no_probe_before_the_end():
    made = Scripted(("label_free",))
    found = run_all(made)
    assert [best for _, best, _ in found] == [[]] + [["label_free"]] * 4
    assert made.asked == [("learn", epoch) for epoch in range(4)]
