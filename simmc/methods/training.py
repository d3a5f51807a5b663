"""What trainings by clustering share: epochs and best epochs, pseudo labels, batches, state.

A recipe derives from `ClusterTraining` and says what an epoch is.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from simmc.clustering import ClusterSettings, Threads, pseudo_labels
from simmc.config import TrainingSettings
from simmc.data.loaders import Experiment
from simmc.errors import UserError
from simmc.evaluation import diagnostics
from simmc.methods.loop import fingerprint, first_line
from simmc.methods.selection import Selector, label_free_score
from simmc.models.optimizer import FlatAdam
from simmc.runs import checkpoints
from simmc.runs.clock import Clock
from simmc.runs.runtime import Runtime
from simmc.runs.seeds import Seeds

S = TypeVar("S", bound=TrainingSettings)


class ClusterTraining(ABC, Generic[S]):
    """A training in progress: everything that a checkpoint holds.

    Args:
        settings: of the method.
        data: what it learns from and is scored on.
        seeds: of every random draw.
        runtime: device and threads.
        protocols: those that this training serves.
        network: what is trained.

    Attributes:
        epoch: the next one to run.
        previous_labels: (q, N) int64 pseudo labels of the epoch before.
        best_weights: those of the epoch just run, if they are the best for some protocol.
        candidates: of the last clustering of each kind of features; saves time, decides nothing.
        recall: lowest share of true neighbours in the last clustering; 1 where exact.
        clock: seconds of the epoch by stage.
        selectors: the best epoch under each protocol.
    """

    def __init__(
        self,
        settings: S,
        data: Experiment,
        seeds: Seeds,
        runtime: Runtime,
        protocols: tuple[str, ...],
        network: torch.nn.Module,
    ) -> None:
        self.settings, self.network = settings, network
        self.data, self.seeds, self.runtime, self.protocols = data, seeds, runtime, protocols
        self.epoch = 0
        self.previous_labels: np.ndarray | None = None
        self.best_weights: dict[str, torch.Tensor] | None = None
        self.candidates: dict[str, np.ndarray | None] = {}
        self.recall = 1.0
        self.clock = Clock()
        self.optimizer = FlatAdam(network, settings.lr)
        self.selectors = {name: Selector(settings.patience) for name in protocols}

    @property
    def done(self) -> bool:
        """Whether no protocol that has a say waits for more epochs, or the cap is reached."""
        if self.epoch > self.settings.epochs:
            return True
        waited_for = [
            selector
            for name, selector in self.selectors.items()
            if name == "label_free" or self.settings.selection == "probe"
        ]
        return all(selector.done for selector in waited_for or self.selectors.values())

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
                f"Start a new run with a smaller --lr (it is {self.settings.lr:g}) or a larger --t."
            )

    def cluster(
        self, sets: Sequence[torch.Tensor], kinds: Sequence[str] | None = None
    ) -> torch.Tensor:
        """(q, N) pseudo labels: each of the q sets of features is clustered on its own.

        Args:
            sets: q tensors (N, H).
            kinds: a name for each; None: all of one kind. Sets of one kind are nearly the same
                features, from one to the next and from epoch to epoch: a search saves the next
                one time.
        """
        s = self.settings
        how = ClusterSettings(
            s.eps,
            s.min_samples,
            s.k1,
            s.k2,
            normalise=s.jaccard_input == "normalised",
            neighbors=s.neighbors,
            recall=s.recall,
        )
        labels, recalls = [], []
        for kind, features in zip(kinds or [""] * len(sets), sets, strict=True):
            found = pseudo_labels(
                features,
                how,
                guess=self.candidates.get(kind),
                timer=self.clock,
                executor=self.runtime.executor or Threads(self.runtime.threads),
            )
            self.candidates[kind] = found.candidates
            labels.append(found.labels)
            recalls.append(found.recall)
        self.recall = min(recalls)
        return torch.stack(labels)

    def batches(self, kept: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Places 0, 1, 2, ... and the windows that stand there, batch by batch, in stored order."""
        size = self.settings.batch_size
        end = len(kept) if self.settings.part_batches == "keep" else len(kept) // size * size
        places = torch.arange(end, device=kept.device)
        return zip(places.split(size), kept[:end].split(size), strict=True) if end else iter(())

    def is_checkpoint_due(self) -> bool:
        """Whether the state before the next epoch is one to continue from.

        The state after the very last epoch is not: that epoch takes no steps, and a continued run
        with a higher --epochs has to take them.
        """
        cap, every = self.settings.epochs, self.settings.checkpoint_every
        due = self.done or self.epoch == cap or self.epoch % every == 0
        return due and self.epoch <= cap

    def is_evaluated(self) -> bool:
        """Whether probe and gallery are looked at in this epoch (never for label-free alone)."""
        last = self.epoch == self.settings.epochs
        return "paper" in self.protocols and (last or self.epoch % self.settings.eval_every == 0)

    def cluster_record(self, labels: torch.Tensor) -> dict[str, Any]:
        """Numbers of the clustering; those from `identity` are diagnostics, nothing uses them."""
        y = labels.cpu().numpy()
        kept = (y >= 0).all(0)
        truth = self.data.train.identity
        record: dict[str, Any] = {
            "outliers": int((~kept).sum()),
            "kept": int(kept.sum()),
            "label_free_score": label_free_score(y, self.previous_labels),
        }
        if self.settings.neighbors == "approximate":
            record["recall"] = self.recall
        self.previous_labels = y
        for i, labelling in enumerate(y, start=1):
            record[f"clusters_{i}"] = int(labelling.max(initial=-1)) + 1
            record[f"outliers_{i}"] = int((labelling < 0).sum())
        if kept.any():
            record["mi"] = diagnostics.mutual_information(truth[kept], y[0][kept])
            record["ami"] = diagnostics.adjusted_mutual_information(truth[kept], y[0][kept])
        return record

    def offer(self, record: dict[str, Any]) -> list[str]:
        """Show the epoch to every protocol; the names of those that like it best so far."""
        scores = {"paper": record.get("top1"), "label_free": record["label_free_score"]}
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
            "previous_labels": None
            if self.previous_labels is None
            else torch.from_numpy(self.previous_labels),
        }

    def restore(self, state: dict[str, Any], path: Path) -> None:
        """Go on from the state that `path` held; UserError where it belongs to other settings."""
        present = fingerprint(self.data.train)
        if state.get("data", present) != present:
            raise UserError(
                f"{path} comes from other training windows than those of --data_root now. Point "
                "--data_root to the data that the run was started with, or start a new run "
                "without --resume."
            )
        try:
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            for name, selector in self.selectors.items():
                selector.restore(state["selectors"][name])
            self.epoch = int(state["epoch"])
            labels = state["previous_labels"]
            self.previous_labels = None if labels is None else labels.numpy()
            self.seeds.restore(state["seeds"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(
                f"{path} cannot be continued with these settings ({first_line(error)}). Use the "
                "settings that the run was started with, or start a new run without --resume."
            ) from error


def load_weights(network: torch.nn.Module, path: Path, flags: str) -> int:
    """Fill a network with the weights that a file holds; the epoch they come from.

    Args:
        network: of the right shape.
        path: a checkpoint of the best weights.
        flags: what decides the shape, for the message to the user.
    """
    state = checkpoints.load(path)
    try:
        network.load_state_dict(state["network"])
        return int(state["epoch"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} holds a network of another shape ({first_line(error)}). Use the {flags} that "
            "it was trained with, or train again."
        ) from error
