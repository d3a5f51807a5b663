"""The training loop of all methods: epochs, the choice of the best one, checkpoints.

A method derives from `Training` and defines `new_network`, `encoder`, `steps` and, where it needs
them, `prepare` and `look`.
"""

import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import numpy as np
import torch

from simmc.data.experiment.experiment import Experiment, Split
from simmc.data.skeletons import Skeleton
from simmc.engine.pseudo_labels import PseudoLabels
from simmc.engine.selection import MARGIN, BodyAgreement, Selector
from simmc.errors import UserError
from simmc.models.optimizer import FlatAdam
from simmc.runs import checkpoints
from simmc.runs.directory import RunDirectory
from simmc.runs.records import EpochRecord, Figures
from simmc.runs.runtime import Clock, Runtime, Seeds
from simmc.scoring.match import Matched, MatchRule, match_encoded, retrieval_record
from simmc.settings.groups import Stopping, Windows

if TYPE_CHECKING:
    from simmc.engine.method import MethodSettings

S = TypeVar("S", bound="MethodSettings")
LAST = "epoch"  # as a rule of choice: the later an epoch, the better
BODY = "body_agreement"
REACH = "reach_score"
UNTRAINED_COUNTS = (BODY, REACH)  # rules of choice by which the untrained network may be the best


Encoded = Callable[[Split], torch.Tensor]  # windows of a split to (N, d) features


@dataclass(frozen=True)
class Shape:
    """What the shape of a network depends on beside its settings.

    Attributes:
        skeleton: names of the joints.
        width: values of a frame.
        classes: number of training identities.
    """

    skeleton: Skeleton
    width: int = 0
    classes: int = 0

    @classmethod
    def of(cls, data: Experiment) -> "Shape":
        """The shape of a network for these data."""
        classes = max(1, len(data.identities))  # who has to learn them refuses none and one
        return cls(data.skeleton, data.probe.windows[0, 0].size, classes)


@dataclass(frozen=True)
class Model(Generic[S]):
    """A network, and what it is scored with; None stands for raw coordinates."""

    network: Any
    settings: S
    data: Experiment
    runtime: Runtime

    def match(self, encoder: Callable[["Model[S]"], Encoded], rule: MatchRule) -> Matched:
        """Probe against gallery by the features that an encoder gives."""
        return match_encoded(encoder(self), self.data, self.runtime, rule)


class Training(ABC, Generic[S]):
    """A training in progress: everything that a checkpoint holds.

    Args:
        settings: settings of the method.
        data: training, probe and gallery windows.
        seeds: generators of all random draws.
        runtime: device and threads.
        protocols: the protocols that need this training.

    Attributes:
        stopping: rule for ending before the last epoch; None: never.
        pseudo: clusterings of the epochs, where the method has such.
        epoch: the next one to run.
        selectors: the best epoch under each protocol.
        best_weights: those of the epoch just run, if they are the best for some protocol.
        clock: seconds of the epoch by stage.
        body: agreement with bone lengths, where it chooses the label-free epoch.
        ended: why the method ended the training with the epoch just run; empty: it did not.
        bar: wraps the batches of an epoch; the command may show them.
        CHOSEN_BY: protocol -> the number of the record by which its epoch is chosen, or `LAST`.
        OTHER_REMEDY: what else than --lr may help a training that diverges.
    """

    CHOSEN_BY: ClassVar[Mapping[str, str]] = {}
    OTHER_REMEDY: ClassVar[str] = ""

    def __init__(
        self,
        settings: S,
        data: Experiment,
        seeds: Seeds,
        runtime: Runtime,
        protocols: tuple[str, ...],
    ) -> None:
        self.settings, self.protocols = settings, protocols
        self.data, self.seeds, self.runtime = data, seeds, runtime
        self.clock = Clock()
        self.pseudo: PseudoLabels | None = None
        self.network: Any = self.new_network(settings, Shape.of(data), seeds.weights)
        self.network.to(runtime.device)
        self.prepare()
        self.stopping = settings.find(Stopping)
        self.body = None
        if self.stopping and self.stopping.best_by == "body" and data.body is not None:
            self.body = BodyAgreement(data.body, data.train.recording)
        endless = settings.training.epochs + 1
        self.selectors = {
            name: Selector(
                endless if self.patience is None or self.is_last(name) else self.patience,
                first=0 if self.chosen_by(name) in UNTRAINED_COUNTS else 1,
                margin=MARGIN if self.chosen_by(name) == BODY else 0.0,
            )
            for name in protocols
        }
        self.epoch = 0
        self.ended = ""
        self.best_weights: dict[str, torch.Tensor] | None = None
        self.bar: Callable[[Iterable[Any]], Iterable[Any]] = lambda items: items
        self.saved_at = time.monotonic()  # of the last checkpoint
        self.optimizer = self.new_optimizer()

    @staticmethod
    @abstractmethod
    def new_network(settings: S, shape: Shape, generator: torch.Generator) -> torch.nn.Module:
        """An untrained network, on the CPU."""

    @staticmethod
    @abstractmethod
    def encoder(model: Model[S]) -> Encoded:
        """The features by which windows are matched."""

    def prepare(self) -> None:
        """Sets what the epochs work on, such as windows in memory, as further attributes."""

    @property
    def patience(self) -> int | None:
        """Epochs without a better one after which no later epoch is the best; None: no limit."""
        return self.stopping.patience if self.stopping else None

    def new_optimizer(self) -> FlatAdam:
        """The optimizer of the network."""
        return FlatAdam(self.network, self.settings.training.lr)

    def run_epoch(self) -> tuple[EpochRecord, list[str]]:
        """One epoch.

        Returns:
            The epoch's record, and the protocols for which the weights before this epoch's
            updates are the best so far.
        """
        record: EpochRecord = {"epoch": self.epoch}
        record |= self.look()
        if self.is_evaluated():
            with self.clock("evaluation"):
                record = {**record, **self.evaluate()}
        best = self.choose(record)
        weights = self.network.state_dict()
        self.best_weights = {k: v.clone() for k, v in weights.items()} if best else None
        if self.ended:
            record["ended"] = self.ended
        elif self.epoch < self.settings.training.epochs:
            record |= self.learn()
        record["seconds"] = self.clock.take()
        self.epoch += 1
        return record, best

    def look(self) -> EpochRecord:
        """Computed before an epoch is evaluated, such as its pseudo labels."""
        return {}

    def evaluate(self) -> Figures:
        """Figures of the probe with the present weights, `top1` among them."""
        return retrieval_record(self.model.match(self.encoder, rule_of(self.settings)))

    @property
    def model(self) -> Model[S]:
        """The present network."""
        return Model(self.network, self.settings, self.data, self.runtime)

    def learn(self) -> EpochRecord:
        """Train for one epoch; not called after the last one, which is only evaluated."""
        with self.clock("steps"):
            return self.steps()

    @abstractmethod
    def steps(self) -> EpochRecord:
        """The gradient steps of an epoch: their number and the mean of each `loss_<name>`."""

    @property
    def done(self) -> bool:
        """Whether the last epoch has been run, or the patience has ended."""
        if self.ended or self.epoch > self.settings.training.epochs:
            return True
        if self.stopping is None:
            return False
        counting = [
            selector
            for name, selector in self.selectors.items()
            if name == "label_free" or self.stopping.selection == "probe"
        ]
        return all(selector.done for selector in counting or self.selectors.values())

    def chosen_by(self, protocol: str) -> str:
        """The number of the record by which the epoch of a protocol is chosen, or `LAST`."""
        by_body = protocol == "label_free" and self.body is not None
        return BODY if by_body else self.CHOSEN_BY[protocol]

    def is_last(self, protocol: str) -> bool:
        """Whether a protocol always uses the last epoch."""
        return self.chosen_by(protocol) == LAST

    def is_evaluated(self) -> bool:
        """Whether this epoch is evaluated on probe and gallery; never in a label-free run."""
        last = bool(self.ended) or self.epoch == self.settings.training.epochs
        due = last or self.epoch % self.settings.training.eval_every == 0
        return due and self.protocols != ("label_free",)

    def choose(self, record: EpochRecord) -> list[str]:
        """Update the best epochs; the protocols for which this epoch is the best."""
        numbers: Mapping[str, Any] = record
        return [
            name
            for name, selector in self.selectors.items()
            if selector.update(self.epoch, numbers.get(self.chosen_by(name)))
        ]

    def require_finite(self, numbers: torch.Tensor) -> None:
        """UserError where the training has diverged."""
        if not torch.isfinite(numbers).all():
            raise UserError(
                f"the features of epoch {self.epoch} are not finite: the training has diverged. "
                f"Start a new run with a smaller --lr (it is {self.settings.training.lr:g})"
                f"{self.OTHER_REMEDY}."
            )

    def is_checkpoint_due(self) -> bool:
        """Whether to write a checkpoint before the next epoch.

        None is written after the very last epoch, which takes no steps: a continued run with a
        higher --epochs has to take them.
        """
        s = self.settings.training
        waited = time.monotonic() - self.saved_at >= s.checkpoint_seconds
        due = (
            self.done or self.epoch == s.epochs or (self.epoch % s.checkpoint_every == 0 and waited)
        )
        return due and self.epoch <= s.epochs

    def is_kept(self, protocol: str, checkpoint_due: bool) -> bool:
        """Whether to write the weights of an epoch that is the best so far.

        Where the last epoch counts, they are only written with a checkpoint.
        """
        return not self.is_last(protocol) or self.done or checkpoint_due

    @cached_property
    def fingerprint(self) -> str:
        """A checksum of the training windows (N, f, J, 3) and their order."""
        windows = self.data.train.windows
        shape = "x".join(map(str, windows.shape))
        return f"{shape}:{zlib.crc32(np.ascontiguousarray(windows).data):08x}"

    def state(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit, as plain values."""
        return {
            "epoch": self.epoch,
            "data": self.fingerprint,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "seeds": self.seeds.state(),
            "selectors": {name: s.state() for name, s in self.selectors.items()},
            "ended": self.ended,
            **(self.pseudo.state() if self.pseudo else {}),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a state; one of `checkpoints.MISFIT` if it differs."""
        self.network.load_state_dict(checkpoints.weights_of(state)[0])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, selector in self.selectors.items():
            selector.restore(state["selectors"][name])
        self.epoch = checkpoints.epoch_of(state)
        self.ended = str(state.get("ended", ""))
        self.seeds.restore(state["seeds"])
        if self.pseudo:
            self.pseudo.load_state(state, len(self.data.train))

    def restore(self, state: dict[str, Any], path: Path) -> None:
        """Continue from the state that `path` held; UserError if it belongs to other settings."""
        if str(state.get("data", self.fingerprint)) != self.fingerprint:
            raise UserError(
                f"{path} comes from other training windows than those of --data_root now. Point "
                "--data_root to the data that the run was started with, or start a new run "
                "without --resume."
            )
        try:
            self.load_state(state)
        except checkpoints.MISFIT as error:
            raise UserError(
                f"{path} cannot be continued with these settings ({first_line(error)}). Use the "
                "settings that the run was started with, or start a new run without --resume."
            ) from error


def train(
    training: Training[Any], run: RunDirectory, report: Callable[[EpochRecord], None]
) -> None:
    """Run epochs to the end, and write weights, metrics and checkpoints.

    In this order a kill at any moment loses nothing: the weights of a best epoch, its line of
    metrics, then the checkpoint from which the run continues.
    """
    while not training.done:
        record, best = training.run_epoch()
        due = training.is_checkpoint_due()  # called once: it depends on the time
        for protocol in best:
            if training.is_kept(protocol, due):
                state = {"epoch": record["epoch"], "network": training.best_weights}
                checkpoints.save(weights_path(run, protocol), state)
        run.append_metrics(record)
        if due:
            checkpoints.save(run.last, training.state())
            training.saved_at = time.monotonic()
        report(record)


def mean_losses(sums: torch.Tensor, names: Iterable[str], steps: int) -> EpochRecord:
    """The record of some steps from the sums of their losses (k,)."""
    means = (sums / max(steps, 1)).tolist()
    losses = {f"loss_{name}": mean for name, mean in zip(names, means, strict=True)}
    return cast(EpochRecord, {"steps": steps, **losses})


def batches(kept: torch.Tensor, windows: Windows) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Places 0, 1, 2, ... and the rows `kept` at these places, batch by batch, in stored order."""
    size = windows.batch_size
    end = len(kept) if windows.part_batches == "keep" else len(kept) // size * size
    places = torch.arange(end, device=kept.device)
    return zip(places.split(size), kept[:end].split(size), strict=True) if end else iter(())


def rule_of(settings: "MethodSettings") -> MatchRule:
    """How features are matched in a training."""
    return MatchRule(settings.windows.same_condition_map)


def weights_path(run: RunDirectory, protocol: str) -> Path:
    """The file of the weights that a protocol chose."""
    return run.best if protocol == "paper" else run.path / f"{protocol}.pt"


def load_weights(network: torch.nn.Module, path: Path, flags: str, part: str = "") -> int:
    """Load the weights of a file into a network; the epoch of the weights.

    Args:
        network: a network of the same shape.
        path: a checkpoint of the best weights.
        flags: the flags that decide the shape, for the message to the user.
        part: prefix of the entries to load, where the file holds a larger network.
    """
    state = checkpoints.load(path)
    try:
        weights, epoch = checkpoints.weights_of(state)
        if part and any(name.startswith(part) for name in weights):
            weights = {
                name.removeprefix(part): value
                for name, value in weights.items()
                if name.startswith(part)
            }
        network.load_state_dict(weights)
        return epoch
    except checkpoints.MISFIT as error:
        raise UserError(
            f"{path} has a network of another shape ({first_line(error)}). Use the {flags} that "
            "it was trained with, or train again."
        ) from error


def first_line(error: Exception) -> str:
    """An error's message cut to what fits into a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
