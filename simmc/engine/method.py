"""What the engine has to know of a method: one row, at the end of the method's file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import torch

from simmc.data.experiment import inputs
from simmc.data.experiment.experiment import Experiment, Split
from simmc.data.skeletons import Skeleton
from simmc.engine.load import load
from simmc.engine.training import Training
from simmc.runs.runtime import Runtime, Seeds
from simmc.scoring.match import MatchRule, Outcome
from simmc.settings.groups import Common, Joints, Machine, Place, Stopping, Windows
from simmc.settings.groups import Training as TrainingGroup
from simmc.settings.layers import Resolved

PAPER, LABEL_FREE, FIXED_EPOCHS = "paper", "label_free", "fixed_epochs"
EXPLAINED = {
    PAPER: "paper protocol: the epoch with the best probe top-1 (the test chooses it)",
    LABEL_FREE: "label-free protocol: the epoch chosen without identities, probe or gallery",
    FIXED_EPOCHS: "fixed-epochs protocol: the last of a number of epochs set beforehand (the test "
    "is not used)",
}
# of trainings whose last epoch is the one that counts
LAST_EPOCH = {
    PAPER: "paper protocol: the weights of the last epoch",
    LABEL_FREE: "label-free protocol: the weights of the last epoch, no identity was used",
}


class MethodSettings(Protocol):
    """What the settings of every trained method have."""

    COMMAND: ClassVar[str]

    @property
    def place(self) -> Place:
        """Dataset, probe, length of a window."""

    @property
    def machine(self) -> Machine:
        """Device and threads."""

    @property
    def common(self) -> Common:
        """Fidelity and seed."""

    @property
    def windows(self) -> Windows:
        """Which windows, and in which batches."""

    @property
    def training(self) -> TrainingGroup:
        """Epochs and the run folder."""

    def flat(self) -> dict[str, Any]:
        """Every setting by name."""

    def but(self, **changes: Any) -> Self:
        """The same settings with some values changed."""


S = TypeVar("S", bound=MethodSettings)


@dataclass(frozen=True)
class Embedder:
    """A trained network as a function of windows.

    Attributes:
        features: gives the (N, d) float32 features of a split's windows.
        epoch: epoch of the weights.
    """

    features: Callable[[Split], torch.Tensor]
    epoch: int


def load_joints_of(settings: Any) -> Experiment:
    """The data of a method whose settings have a group `joints`."""
    stopping: Stopping | None = getattr(settings, "stopping", None)
    by_body = stopping is not None and stopping.best_by == "body"
    which = (settings.place, settings.windows, settings.joints, settings.common.seed)
    return load(*which, body=by_body)


def check_input(settings: Any, skeleton: Skeleton) -> None:
    """UserError where a skeleton lacks joints or bones that --input needs."""
    joints: Joints | None = getattr(settings, "joints", None)
    if joints is not None:
        inputs.width(skeleton, joints.parts)


def without_class_balance(settings: S) -> S:
    """The same training without any use of identities, for methods that use them in loading."""
    if not settings.windows.balances_classes(settings.place.dataset):
        return settings
    return settings.but(class_sampling="off")


@dataclass(frozen=True)
class Method(Generic[S]):
    """A trained method; the functions that are left out have a sensible default.

    Attributes:
        settings: its settings class; `COMMAND` names the method everywhere.
        summary: its line in `simmc --help`.
        title: the name in tables.
        load: the data that settings describe.
        check_body: UserError where a skeleton lacks joints, bones or parts that settings need.
        training: its recipe: settings, data, seeds, runtime and protocols to a training.
        score: weights file, settings, data, runtime and match rule to the numbers of a protocol.
        size: one sentence on parameters and operations.
        protocols: under which its epochs are chosen.
        explained: what each protocol is, in words.
        label_free: the settings of the label-free training, which uses no identity: the same
            settings where the first training uses none, None where there is no such training.
            Default: the same without class balance.
        recipe: the method's part of the names of runs.
        unit: whether features are matched at unit length.
        baseline: whether the settings ask for an evaluation without any training.
        labels: what identity labels are used for, if they are: printed before and after a training
            and stored in results.json, where "supervised" is then true.
        prepared: settings of a new training, with the paths that were looked up filled in.
        remarks: sentences for the user before a training.
        embedder: weights file, settings, data and runtime to a trained network, for `simmc embed`
            and `simmc identify`; None: they do not support the method.
    """

    settings: type[S]
    summary: str
    title: Callable[[S], str]
    training: Callable[[S, Experiment, Seeds, Runtime, tuple[str, ...]], Training[S]]
    score: Callable[[Path | None, S, Experiment, Runtime, MatchRule], Outcome]
    size: Callable[[S], str]
    load: Callable[[S], Experiment] = lambda settings: load_joints_of(settings)
    protocols: Callable[[S], tuple[str, ...]] = lambda settings: (PAPER, LABEL_FREE)
    explained: Mapping[str, str] = field(default_factory=lambda: EXPLAINED)
    check_body: Callable[[S, Skeleton], None] = lambda settings, skeleton: check_input(
        settings, skeleton
    )
    label_free: Callable[[S], S | None] = without_class_balance
    recipe: Callable[[S], str] = lambda settings: settings.COMMAND
    unit: Callable[[S], bool] = lambda settings: False
    baseline: Callable[[S], bool] = lambda settings: False
    labels: str = ""
    prepared: Callable[[S], S] = lambda settings: settings
    remarks: Callable[[Resolved[Any], Experiment], list[str]] = lambda resolved, data: []
    embedder: Callable[[Path, S, Experiment, Runtime], Embedder] | None = None
