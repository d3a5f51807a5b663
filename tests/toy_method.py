"""A method as docs/extending.md describes it: settings, recipe, scoring and one row in one file.

It learns to give a window back from the mean of its encoded frames.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from simmc.runs.seeds import Seeds
from torch import nn

from simmc.data.experiment.experiment import Experiment
from simmc.engine.load import load
from simmc.engine.method import Method, without_class_balance
from simmc.engine.training import LAST, Record, Training, batches, load_weights
from simmc.runs.runtime import Runtime
from simmc.scoring.match import (
    MatchRule,
    Outcome,
    match_encoded,
    retrieval_outcome,
    retrieval_record,
    tensor_of,
)
from simmc.settings import groups
from simmc.settings.groups import COUNT, TRAINING
from simmc.settings.options import Settings, group_of, option


@dataclass(frozen=True)
class ToySettings(Settings):
    """Everything that the toy method takes."""

    COMMAND: ClassVar[str] = "toy"
    SUMMARY: ClassVar[str] = "Train the toy method and score it, or score a trained run."
    HEADINGS = groups.HEADINGS

    place: groups.Place = group_of(groups.Place)
    machine: groups.Machine = group_of(groups.Machine)
    common: groups.Common = group_of(groups.Common)
    windows: groups.Windows = group_of(groups.Windows)
    joints: groups.Joints = group_of(groups.Joints)
    training: groups.Training = group_of(groups.Training, epochs=50)
    rematch: groups.Rematch = group_of(groups.Rematch)
    width: int = option(16, "Width of the encoder.", limits=COUNT, group=TRAINING)

    other_defaults = staticmethod(groups.length_of_dataset)


class Toy(Training[ToySettings]):
    """A training in progress."""

    CHOSEN_BY: ClassVar = {"paper": "top1", "label_free": LAST}

    def __init__(
        self,
        settings: ToySettings,
        data: Experiment,
        seeds: Seeds,
        runtime: Runtime,
        protocols: tuple[str, ...],
    ) -> None:
        self.train_windows = tensor_of(data.train, runtime.device)
        network = new_network(settings, self.train_windows.shape[2])
        super().__init__(settings, data, seeds, runtime, protocols, network)

    def evaluate(self) -> Record:
        rule = MatchRule(self.settings.windows.same_condition_map)
        return retrieval_record(retrieve(self.network, self.data, self.runtime, rule))

    def learn(self) -> Record:
        encode, decode = self.network
        losses = []
        rows_of_all = torch.from_numpy(self.seeds.masks.permutation(len(self.train_windows)))
        for _, rows in self.bar(batches(rows_of_all, self.settings.windows)):
            frames = self.train_windows[rows]
            loss = (decode(encode(frames).mean(1, keepdim=True)) - frames).square().mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        return {"steps": len(losses), "loss_mean": sum(losses) / max(len(losses), 1)}


def new_network(settings: ToySettings, values: int) -> nn.Module:
    return nn.Sequential(nn.Linear(values, settings.width), nn.Linear(settings.width, values))


@torch.no_grad()
def retrieve(network: Any, data: Experiment, runtime: Runtime, rule: MatchRule) -> Any:
    return match_encoded(
        lambda split: network[0](tensor_of(split, runtime.device)).mean(1), data, runtime, rule
    )


def score(
    path: Path | None, settings: ToySettings, data: Experiment, runtime: Runtime, rule: MatchRule
) -> Outcome:
    assert path is not None
    network = new_network(settings, data.probe.windows[0, 0].size)
    epoch = load_weights(network, path, "--width")
    return retrieval_outcome(retrieve(network.to(runtime.device), data, runtime, rule), epoch)


METHOD = Method(
    ToySettings,
    "a method for a test",
    title=lambda settings: "Toy",
    load=lambda s: load(s.place, s.windows, s.joints, s.common.seed),
    training=Toy,
    score=score,
    size=lambda settings: f"Toy of width {settings.width}",
    label_free=without_class_balance,
)
