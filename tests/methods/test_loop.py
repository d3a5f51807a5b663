"""The files that the loop keeps, epoch by epoch."""

from __future__ import annotations

from itertools import count

import torch

from simmc.engine import epochs, loop
from simmc.methods.supervised import PROTOCOLS, Supervised, SupervisedSettings
from simmc.runs import checkpoints
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import Runtime, generators
from tests.methods import make


class Ticking:
    """A clock on which one second passes whenever somebody looks."""

    def __init__(self) -> None:
        self.seconds = count()

    def monotonic(self) -> float:
        return float(next(self.seconds))


def test_a_checkpoint_never_comes_without_the_newest_weights(tmp_path, monkeypatch):
    clock = Ticking()
    monkeypatch.setattr(epochs, "time", clock)
    monkeypatch.setattr(loop, "time", clock)
    settings = SupervisedSettings.of(
        dataset="KGBD", H=8, batch_size=16, epochs=12, checkpoint_seconds=4.0
    )
    cpu = Runtime(torch.device("cpu"), 1)
    training = Supervised(settings, make.experiment(), generators(0), cpu, PROTOCOLS)
    run = RunDirectory(tmp_path)
    found = []

    def look(record):
        """Where the run would go on, and the epoch of the weights under a fixed number."""
        weights = loop.weights_path(run, "fixed_epochs")
        files = (run.last, weights)
        found.append(tuple(checkpoints.load(f)["epoch"] if f.is_file() else None for f in files))

    loop.train(training, run, look)
    next_epochs = {goes_on for goes_on, _ in found} - {None}
    assert 2 < len(next_epochs) < 9  # neither in every epoch nor never
    for epoch, (goes_on, kept) in enumerate(found[:-1]):
        assert goes_on is None or kept == goes_on - 1, epoch
    assert found[-1] == (12, 12)  # the last epoch takes no steps: the state before it stays
