"""The recognition stage: a head learns identities on what a source model sees. Supervised.

SGELA's head judges frames one by one (average prediction) or a whole sequence (sequence-level
concatenation) of a frozen encoder; SM-SGE's judges prefixes of a frozen encoder, whose scores are
added up; MG-SCR trains all of its network that way. Direct fine-tuning ("+ DF" in SimMC's tables,
which say no more of it) trains all of the network and matches its features as SimMC's are matched.
Shape letters: N windows, v views of a window, e features of a view, C identities.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from simmc.config import RecognitionSettings
from simmc.config.recognition import MATCH
from simmc.data.loaders import Experiment
from simmc.errors import UserError
from simmc.evaluation.ranking import Retrieval
from simmc.methods.classification import (
    SEPARATE,
    classification_outcome,
    classification_record,
    classify,
    view,
)
from simmc.methods.fixed import FixedTraining
from simmc.methods.matching import retrieval_outcome, retrieval_record, tensor_of
from simmc.methods.pretext import retrieve
from simmc.methods.training import load_weights
from simmc.models.recognition import RecognitionNetwork
from simmc.models.source import SourceNetwork
from simmc.runs.runtime import Runtime
from simmc.runs.seeds import Seeds

CLASSIFIED = ("supervised", "fixed_epochs")  # protocols; the first is chosen by the test Rank-1
MATCHED = ("paper", "fixed_epochs")


class Recognition(FixedTraining[RecognitionSettings]):
    """A training in progress.

    Args:
        settings: of the stage.
        data: windows as the source model read them, with identities.
        seeds: `weights` draws the head, `masks` the order of the windows where it is random.
        runtime: device and threads.
        protocols: `CLASSIFIED` or `MATCHED`.
        source: the trained source network.
    """

    LAST_COUNTS = ("fixed_epochs",)
    network: RecognitionNetwork

    def __init__(
        self,
        settings: RecognitionSettings,
        data: Experiment,
        seeds: Seeds,
        runtime: Runtime,
        protocols: tuple[str, ...],
        source: SourceNetwork,
    ) -> None:
        require_known(data, settings)
        how = chosen_views(source, settings)
        self.windows = tensor_of(data.train, runtime.device)
        self.identity = torch.from_numpy(data.train.identity).to(runtime.device)
        source.to(runtime.device)
        frozen = settings.train == "head"
        # what a frozen network sees never changes
        self.seen = view(source, data.train, how, runtime) if frozen else None
        self.probe_seen = view(source, data.probe, how, runtime) if frozen else None
        network = new_network(settings, source, self.windows, len(data.identities), seeds.weights)
        super().__init__(settings, data, seeds, runtime, protocols, network, settings.patience)

    def evaluate(self) -> dict[str, float]:
        """Rank-n and nAUC of the probe, or its matching."""
        if self.settings.score == MATCH:
            return retrieval_record(matched(self.network, self.settings, self.data, self.runtime))
        seen = self.probe_seen
        judged, _ = classify(self.network, self.settings, self.data, self.runtime, seen)
        return classification_record(judged)

    def learn(self) -> dict[str, Any]:
        """Cross-entropy on identities, of each view or of the sum of a window's scores."""
        s, network = self.settings, self.network
        separate = network.how in SEPARATE
        sums = torch.zeros(2, device=self.windows.device)
        steps = 0
        for rows, part in self.progress(list(self.batches(separate))):
            views = self.seen[rows] if self.seen is not None else network.views(self.windows[rows])
            labels = self.identity[rows]
            if separate:
                scores = network.judge(views.flatten(0, 1)[part])
                labels = labels.repeat_interleave(views.shape[1])[part]
            else:
                scores = network.judge(views).sum(1)
            loss = cross_entropy(scores, labels)
            self.optimizer.zero_grad()
            loss.backward()
            # the slope of half the sum of squares of what is trained, and the vector holds no more
            self.optimizer.gradient.add_(self.optimizer.vector, alpha=s.decay)
            self.optimizer.step()
            sums += torch.stack([loss.detach(), (scores.argmax(1) == labels).float().mean()])
            steps += 1
        self.require_finite(sums)
        loss_mean, right = (sums / max(steps, 1)).tolist()
        return {"steps": steps, "loss_identity": loss_mean, "train_top1": right}

    def batches(self, separate: bool) -> Iterator[tuple[torch.Tensor, slice]]:
        """Windows of each step, and which of their views take part: batches count views."""
        s, n = self.settings, len(self.windows)
        order = torch.arange(n)
        if s.order == "shuffled":
            order = torch.from_numpy(self.seeds.masks.permutation(n))
        order = order.to(self.windows.device)
        each = self.views_of_a_window() if separate else 1
        total = n * each
        end = total if s.part_batches == "keep" else total // s.batch_size * s.batch_size
        for low in range(0, end, s.batch_size):
            high = min(low + s.batch_size, end)
            first, last = low // each, -(-high // each)
            yield order[first:last], slice(low - first * each, high - first * each)

    def views_of_a_window(self) -> int:
        """Views that a window has."""
        return self.windows.shape[1] if self.network.how == "ap" else 1


def require_known(data: Experiment, settings: RecognitionSettings) -> None:
    """UserError where the head could not name the probe's persons."""
    data.require_labels(f"--score {settings.score}")
    if len(data.identities) < 2:
        raise UserError(
            f"--dataset {settings.dataset}: its training windows name fewer than two identities, "
            "so there is nothing to tell apart."
        )
    if settings.score != MATCH and data.test_identities != data.identities:
        raise UserError(
            f"--probe {settings.probe}: its persons are not those of the training windows of "
            f"{settings.dataset}, so no head can name them. Use --score match."
        )


def chosen_views(source: SourceNetwork, settings: RecognitionSettings) -> str:
    """The views that are judged; UserError where the source has no such."""
    if settings.views and settings.views not in source.VIEWS:
        raise UserError(
            f"--views {settings.views}: {settings.source} has {', '.join(source.VIEWS)}."
        )
    return settings.views or source.VIEWS[0]


def new_network(
    settings: RecognitionSettings,
    source: SourceNetwork,
    windows: torch.Tensor,
    classes: int,
    generator: torch.Generator,
) -> RecognitionNetwork:
    """An untrained head on a source network, which is frozen where the head alone learns.

    Args:
        settings: of the stage.
        source: the trained source network.
        windows: (N, f, 3 J), one or more: how wide a view is, depends on their shape.
        classes: C, identities.
        generator: source of the head's weights.
    """
    how = chosen_views(source, settings)
    with torch.no_grad():
        width = source.views(windows[:1], how).shape[2]
    frozen = settings.train == "head"
    return RecognitionNetwork(
        source, how, width, settings.hidden, classes, generator=generator, frozen=frozen
    )


def matched(
    network: RecognitionNetwork,
    settings: RecognitionSettings,
    data: Experiment,
    runtime: Runtime,
    *,
    negative_squared: str = "clamp",
) -> Retrieval:
    """Probe against gallery by the pooled features of the fine-tuned source network."""
    kind = settings.kind or network.source.KINDS[0]
    return retrieve(
        network.source, kind, settings, data, runtime, negative_squared=negative_squared
    )


def score(
    path: Path,
    settings: RecognitionSettings,
    data: Experiment,
    runtime: Runtime,
    ranks: int,
    source: SourceNetwork,
    *,
    negative_squared: str = "clamp",
) -> dict[str, Any]:
    """Figures, epoch and CMC curve of the weights in a file."""
    windows = tensor_of(data.probe, torch.device("cpu"))
    network = new_network(settings, source.cpu(), windows, len(data.identities), torch.Generator())
    epoch = load_weights(network, path, "--source, --encoder_run, --views and --hidden")
    network.to(runtime.device)
    if settings.score == MATCH:
        found = matched(network, settings, data, runtime, negative_squared=negative_squared)
        return retrieval_outcome(found, epoch, ranks)
    judged, pairs = classify(network, settings, data, runtime)
    return classification_outcome(judged, pairs, data.identities, epoch, ranks)
