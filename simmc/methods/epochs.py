"""What trainings in epochs share, whatever they learn from: best epochs, checkpoints, state.

A recipe derives from `EpochTraining`, or from `simmc.methods.training.ClusterTraining`, and says
what an epoch is; or from `simmc.methods.fixed.FixedTraining`, and says what its steps are.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch

from simmc.config import EpochSettings
from simmc.data.loaders import Experiment
from simmc.data.recordings import Progress, silent
from simmc.errors import UserError
from simmc.methods.loop import fingerprint, first_line
from simmc.methods.selection import Selector
from simmc.models.optimizer import FlatAdam
from simmc.runs import checkpoints
from simmc.runs.clock import Clock
from simmc.runs.runtime import Runtime
from simmc.runs.seeds import Seeds

S = TypeVar("S", bound=EpochSettings)


class EpochTraining(ABC, Generic[S]):
    """A training in progress: everything that a checkpoint holds.

    Args:
        settings: of the method.
        data: what it learns from and is scored on.
        seeds: of every random draw.
        runtime: device and threads.
        selectors: the best epoch under each protocol that this training serves.
        network: what is trained.

    Attributes:
        epoch: the next one to run.
        best_weights: those of the epoch just run, if they are the best for some protocol.
        clock: seconds of the epoch by stage.
        progress: wraps the batches of an epoch; the command may show them.
        OTHER_REMEDY: what else than --lr may help a training that diverges.
        FIXED_LENGTH: whether nothing ends the training before its last epoch.
        LAST_COUNTS: protocols under which the last epoch counts, whatever its numbers: their
            weights need not be kept in between.
    """

    OTHER_REMEDY: ClassVar[str] = ""
    FIXED_LENGTH: ClassVar[bool] = False
    LAST_COUNTS: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        settings: S,
        data: Experiment,
        seeds: Seeds,
        runtime: Runtime,
        selectors: Mapping[str, Selector],
        network: torch.nn.Module,
    ) -> None:
        self.settings, self.network = settings, network
        self.data, self.seeds, self.runtime = data, seeds, runtime
        self.selectors, self.protocols = dict(selectors), tuple(selectors)
        self.epoch = 0
        self.best_weights: dict[str, torch.Tensor] | None = None
        self.clock = Clock()
        self.progress: Progress = silent
        self.saved_at = time.monotonic()  # of the last checkpoint
        self.optimizer = FlatAdam(network, settings.lr)

    @property
    def done(self) -> bool:
        """Whether the last epoch has been run."""
        return self.epoch > self.settings.epochs

    @abstractmethod
    def run_epoch(self) -> tuple[dict[str, Any], list[str]]:
        """One epoch.

        Returns:
            The epoch's record, and the protocols for which the weights before this epoch's
            updates are the best so far.
        """

    def require_finite(self, features: torch.Tensor) -> None:
        """UserError where the training has diverged."""
        if not torch.isfinite(features).all():
            raise UserError(
                f"the features of epoch {self.epoch} are not finite: the training has diverged. "
                f"Start a new run with a smaller --lr (it is {self.settings.lr:g})"
                f"{self.OTHER_REMEDY}."
            )

    def is_checkpoint_due(self) -> bool:
        """Whether the state before the next epoch is one to continue from.

        The state after the very last epoch is not: that epoch takes no steps, and a continued run
        with a higher --epochs has to take them.
        """
        cap, every = self.settings.epochs, self.settings.checkpoint_every
        waited = time.monotonic() - self.saved_at >= self.settings.checkpoint_seconds
        due = self.done or self.epoch == cap or (self.epoch % every == 0 and waited)
        return due and self.epoch <= cap

    def is_kept(self, protocol: str, checkpoint_due: bool) -> bool:
        """Whether weights that a protocol likes best so far are to be kept.

        Args:
            protocol: its name.
            checkpoint_due: whether a checkpoint follows. A run that is ended after it keeps the
                weights of the epoch before it, not of one some checkpoints ago.
        """
        return protocol not in self.LAST_COUNTS or self.done or checkpoint_due

    def is_evaluated(self) -> bool:
        """Whether probe and gallery are looked at in this epoch: not for the label-free numbers."""
        last = self.epoch == self.settings.epochs
        due = last or self.epoch % self.settings.eval_every == 0
        return due and self.protocols != ("label_free",)

    def choose(self, scores: Mapping[str, float | None]) -> list[str]:
        """Show the epoch to every protocol; the names of those that like it best so far.

        Args:
            scores: of every protocol, None where the epoch has no score under it.
        """
        return [name for name, s in self.selectors.items() if s.offer(self.epoch, scores[name])]

    def keep_weights(self, best: list[str]) -> None:
        """Copy the weights before this epoch's updates, if some protocol likes them best so far."""
        weights = self.network.state_dict()
        self.best_weights = {k: v.clone() for k, v in weights.items()} if best else None

    def state(self) -> dict[str, Any]:
        """Everything needed to go on bit for bit, as plain values."""
        return {
            "epoch": self.epoch,
            "data": fingerprint(self.data.train),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "seeds": self.seeds.state(),
            "selectors": {name: s.state() for name, s in self.selectors.items()},
        }

    def take_up(self, state: dict[str, Any]) -> None:
        """Go on from a state; one of `checkpoints.MISFIT` where it differs."""
        self.network.load_state_dict(checkpoints.weights_of(state)[0])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, selector in self.selectors.items():
            selector.restore(state["selectors"][name])
        self.epoch = checkpoints.epoch_of(state)
        self.seeds.restore(state["seeds"])

    def restore(self, state: dict[str, Any], path: Path) -> None:
        """Go on from the state that `path` held; UserError where it belongs to other settings."""
        present = fingerprint(self.data.train)
        if str(state.get("data", present)) != str(present):
            raise UserError(
                f"{path} comes from other training windows than those of --data_root now. Point "
                "--data_root to the data that the run was started with, or start a new run "
                "without --resume."
            )
        try:
            self.take_up(state)
        except checkpoints.MISFIT as error:
            raise UserError(
                f"{path} cannot be continued with these settings ({first_line(error)}). Use the "
                "settings that the run was started with, or start a new run without --resume."
            ) from error
