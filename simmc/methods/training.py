"""What trainings by clustering share: pseudo labels, batches, the choice of the best epochs.

A recipe derives from `ClusterTraining` and says what an epoch is.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from simmc.clustering import Clustering, ClusterSettings, Threads, pseudo_labels
from simmc.clustering.settings import Timer
from simmc.config import ClusteredSettings, TrainingSettings
from simmc.data.loaders import Experiment
from simmc.errors import UserError
from simmc.evaluation import diagnostics
from simmc.methods.epochs import EpochTraining
from simmc.methods.loop import first_line
from simmc.methods.selection import Selector, label_free_score
from simmc.runs import checkpoints
from simmc.runs.runtime import Runtime
from simmc.runs.seeds import Seeds

S = TypeVar("S", bound=TrainingSettings)


class ClusterTraining(EpochTraining[S]):
    """A training by pseudo labels in progress.

    Args:
        settings: of the method.
        data: what it learns from and is scored on.
        seeds: of every random draw.
        runtime: device and threads.
        protocols: those that this training serves.
        network: what is trained.

    Attributes:
        previous_labels: (q, N) int64 pseudo labels of the epoch before.
        candidates: of the last clustering of each kind of features; saves time, decides nothing.
        recall: lowest share of true neighbours in the last clustering; 1 where exact.
    """

    OTHER_REMEDY = " or a larger --t"

    def __init__(
        self,
        settings: S,
        data: Experiment,
        seeds: Seeds,
        runtime: Runtime,
        protocols: tuple[str, ...],
        network: torch.nn.Module,
    ) -> None:
        selectors = {name: Selector(settings.patience) for name in protocols}
        super().__init__(settings, data, seeds, runtime, selectors, network)
        self.previous_labels: np.ndarray | None = None
        self.candidates: dict[str, np.ndarray | None] = {}
        self.recall = 1.0

    @property
    def done(self) -> bool:
        """Whether no protocol that has a say waits for more epochs, or the cap is reached."""
        if super().done:
            return True
        waited_for = [
            selector
            for name, selector in self.selectors.items()
            if name == "label_free" or self.settings.selection == "probe"
        ]
        return all(selector.done for selector in waited_for or self.selectors.values())

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
        labels, recalls = [], []
        for kind, features in zip(kinds or [""] * len(sets), sets, strict=True):
            found = clustered(
                features,
                self.settings,
                self.runtime,
                self.clock,
                normalise=self.settings.jaccard_input == "normalised",
                guess=self.candidates.get(kind),
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
        kept &= truth >= 0
        if kept.any():
            record["mi"] = diagnostics.mutual_information(truth[kept], y[0][kept])
            record["ami"] = diagnostics.adjusted_mutual_information(truth[kept], y[0][kept])
        return record

    def offer(self, record: dict[str, Any]) -> list[str]:
        """Show the epoch to every protocol; the names of those that like it best so far."""
        return self.choose({"paper": record.get("top1"), "label_free": record["label_free_score"]})

    def state(self) -> dict[str, Any]:
        """Everything needed to go on bit for bit, as plain values."""
        labels = self.previous_labels
        return super().state() | {
            "previous_labels": None if labels is None else torch.from_numpy(labels)
        }

    def take_up(self, state: dict[str, Any]) -> None:
        """Go on from a state; the errors are those of `EpochTraining.take_up`."""
        labels = state["previous_labels"]
        super().take_up(state)
        shape = (len(labels), len(self.data.train.windows)) if labels is not None else ()
        if labels is not None and (labels.dtype != torch.int64 or labels.shape != shape):
            raise ValueError(f"pseudo labels: {labels.dtype} of shape {tuple(labels.shape)}")
        self.previous_labels = None if labels is None else labels.numpy()


def clustered(
    features: torch.Tensor,
    settings: ClusteredSettings,
    runtime: Runtime,
    timer: Timer,
    *,
    normalise: bool,
    guess: np.ndarray | None,
    reach: float | None = None,
) -> Clustering:
    """(N, H) features clustered as the settings say, where the runtime says.

    Args:
        features: (N, H) finite floats.
        settings: of the training.
        runtime: device and threads, or what works in their place.
        timer: context manager by stage.
        normalise: unit-length features first (Q1).
        guess: `candidates` of an earlier clustering; changes the time only.
        reach: Jaccard distance up to which pairs are told beside the labels; None: eps.
    """
    s = settings
    return pseudo_labels(
        features,
        ClusterSettings(
            s.eps,
            s.min_samples,
            s.k1,
            s.k2,
            normalise=normalise,
            neighbors=s.neighbors,
            recall=s.recall,
            reach=reach,
        ),
        guess=guess,
        timer=timer,
        executor=runtime.executor or Threads(runtime.threads),
    )


def load_weights(network: torch.nn.Module, path: Path, flags: str, part: str = "") -> int:
    """Fill a network with the weights that a file holds; the epoch they come from.

    Args:
        network: of the right shape.
        path: a checkpoint of the best weights.
        flags: what decides the shape, for the message to the user.
        part: where the file holds a larger network with entries that begin so, these are taken.
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
            f"{path} holds a network of another shape ({first_line(error)}). Use the {flags} that "
            "it was trained with, or train again."
        ) from error
