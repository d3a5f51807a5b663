"""A small experiment in memory: persons of five joints who walk on the spot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simmc.data.experiment.experiment import Experiment, Split
from simmc.data.skeletons import Skeleton
from simmc.engine.training import Training, train
from simmc.methods.simmc import SimMC, SimMCSettings
from simmc.models.optimizer import FlatAdam
from simmc.runs import checkpoints
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import Runtime, generators

CPU = Runtime(torch.device("cpu"), 1)
LENGTH, JOINTS = 6, 5
NAMES = ("hip", "left_hand", "right_hand", "left_foot", "right_foot")
SKELETON = Skeleton("five", NAMES, "hip", (), (), ())
# what makes a training small; everything else as a user would have it
SMALL = {"dataset": "KGBD", "H": 16, "batch_size": 16, "epochs": 3, "k1": 10, "k2": 4}


def split(persons: int, each: int, seed: int, noise: float) -> Split:
    """`each` windows of every person, in a random order."""
    people = np.random.default_rng(0)
    bones = people.normal(size=(persons, 1, JOINTS, 3))
    swing = 0.3 * people.normal(size=(persons, 1, JOINTS, 3))
    rng = np.random.default_rng(seed)
    identity = rng.permutation(np.repeat(np.arange(persons), each))
    phase = rng.uniform(0, 2 * np.pi, (len(identity), 1)) + 0.4 * np.arange(LENGTH)
    windows = bones[identity] + swing[identity] * np.sin(phase)[..., None, None]
    windows += noise * rng.normal(size=windows.shape)
    return Split(windows.astype(np.float32), identity.astype(np.int64), None)


def experiment(persons: int = 8, train: int = 25, test: int = 4, seed: int = 1) -> Experiment:
    """Training, probe and gallery windows of the same persons."""
    people = list(range(persons))
    return Experiment(
        train=split(persons, train, seed, 0.05),
        probe=split(persons, test, seed + 1, 1.5),
        gallery=split(persons, test, seed + 2, 1.5),
        identities=people,
        test_identities=people,
        same_windows=False,
        skeleton=SKELETON,
        recordings=[],
        checksum=None,
    )


def settings(**changes: Any) -> SimMCSettings:
    """Settings of a small training."""
    return SimMCSettings.of(**SMALL | changes)


def training(
    data: Experiment | None = None,
    protocols: tuple[str, ...] = ("paper", "label_free"),
    device: str = "cpu",
    **changes: Any,
) -> SimMC:
    """A training about to begin."""
    chosen = settings(**changes)
    runtime = Runtime(torch.device(device), 1)
    return SimMC(chosen, data or experiment(), generators(chosen.common.seed), runtime, protocols)


def in_double(made: SimMC) -> SimMC:
    """The same training in float64, so that a literal version agrees to many digits."""
    made.network.double()
    made.optimizer = FlatAdam(made.network, made.settings.training.lr)
    made.train_windows = made.train_windows.double()
    return made


def exchanged(data: Experiment, role: str, **changes: np.ndarray) -> Experiment:
    """The experiment with something else in one of its splits."""
    return replace(data, **{role: replace(getattr(data, role), **changes)})


def weights_of(training: Training[Any]) -> dict[str, torch.Tensor]:
    """A copy of the network's weights."""
    return {name: w.detach().clone() for name, w in training.network.state_dict().items()}


def assert_equal_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    """Equal to the last bit."""
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def run_all(training: Training[Any], folder: Path | None = None) -> list[dict[str, Any]]:
    """Trains to the end, with the files of a run where a folder is given; the records."""
    records: list[dict[str, Any]] = []
    if folder:
        train(training, RunDirectory(folder), records.append)
    while not training.done:
        records.append(training.run_epoch()[0])
    return records


def assert_continues(begun: Callable[[], Training[Any]], folder: Path, at: int = 2) -> None:
    """A training that is continued from its checkpoint before epoch `at` is the whole one."""
    whole, first, second = begun(), begun(), begun()
    records = run_all(whole)
    for _ in range(at):
        first.run_epoch()
    path = folder / "last.pt"
    checkpoints.save(path, first.state())
    second.restore(checkpoints.load(path), path)
    assert second.selectors == first.selectors
    assert without_seconds(run_all(second)) == without_seconds(records[at:])
    assert second.selectors == whole.selectors
    assert_equal_weights(weights_of(second), weights_of(whole))
    states = (made.optimizer.state_dict() for made in (second, whole))
    torch.testing.assert_close(*states, rtol=0, atol=0)
    assert second.seeds.state() == whole.seeds.state()


def without_seconds(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records less what differs from one time to the next."""
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]
