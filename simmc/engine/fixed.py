"""Trainings that run all of their epochs: evaluate now and then, keep the weights, learn.

A recipe derives from `FixedTraining` and says how it evaluates and what the steps of an epoch are.
"""

from abc import abstractmethod
from typing import Any, TypeVar

import torch

from simmc.data.experiment.load import Experiment
from simmc.engine.epochs import EpochTraining
from simmc.engine.selection import Selector
from simmc.runs.runtime import Runtime
from simmc.runs.seeds import Seeds
from simmc.settings import EpochSettings

S = TypeVar("S", bound=EpochSettings)


class FixedTraining(EpochTraining[S]):
    """A training of a fixed number of epochs in progress.

    No score decides when it ends: scores have seen the probe, and protocols that take the last
    epoch must not depend on it.

    Args:
        settings: of the method.
        data: what it learns from and is scored on.
        seeds: of every random draw.
        runtime: device and threads.
        protocols: those of `LAST_COUNTS` take the last epoch, others that with the best top-1.
        network: what is trained.
        patience: epochs without a better top-1 after which no later one counts as best; None: all
            may.
    """

    FIXED_LENGTH = True

    def __init__(
        self,
        settings: S,
        data: Experiment,
        seeds: Seeds,
        runtime: Runtime,
        protocols: tuple[str, ...],
        network: torch.nn.Module,
        patience: int | None = None,
    ) -> None:
        endless = settings.epochs + 1
        selectors = {
            name: Selector(endless if patience is None or name in self.LAST_COUNTS else patience)
            for name in protocols
        }
        super().__init__(settings, data, seeds, runtime, selectors, network.to(runtime.device))

    def run_epoch(self) -> tuple[dict[str, Any], list[str]]:
        """One epoch: evaluate if it is due, then the steps."""
        record: dict[str, Any] = {"epoch": self.epoch}
        if self.is_evaluated():
            with self.clock("evaluation"):
                record |= self.evaluate()
        newest = float(self.epoch)  # as a score: no later epoch is worse
        best = self.choose(
            {
                name: newest if name in self.LAST_COUNTS else record.get("top1")
                for name in self.protocols
            }
        )
        self.keep_weights(best)
        if self.epoch < self.settings.epochs:
            record |= self.prepare()
            with self.clock("steps"):
                record |= self.learn()
        record["seconds"] = self.clock.take()
        self.epoch += 1
        return record, best

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Figures of the probe with the present weights, `top1` among them."""

    def prepare(self) -> dict[str, Any]:
        """What the steps of an epoch need to know beforehand, and the record of it."""
        return {}

    @abstractmethod
    def learn(self) -> dict[str, Any]:
        """The steps of an epoch: `steps`, their number, and the mean of each `loss_<name>`."""
