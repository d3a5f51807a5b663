"""What the pretext trainings of the source models share: a fixed number of epochs, and scoring.

A recipe derives from `PretextTraining` and says what the steps of an epoch are. The public
programs use the weights of the last epoch, so no label and no probe has a say in the choice, and
both protocols score the same weights.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from simmc.data.experiment.load import Experiment
from simmc.data.skeletons import Skeleton
from simmc.engine.fixed import FixedTraining
from simmc.engine.pseudo_labels import load_weights
from simmc.evaluation.ranking import Retrieval
from simmc.models.source import SourceNetwork
from simmc.runs.runtime import Runtime
from simmc.runs.seeds import Seeds
from simmc.scoring.match import match_encoded, retrieval_outcome, retrieval_record, tensor_of
from simmc.settings import EpochSettings
from simmc.settings.sources import SourceSettings

P = TypeVar("P", bound=SourceSettings)
NewNetwork = Callable[[P, Skeleton, torch.Generator], SourceNetwork]
ENCODE_BATCH = 1024  # windows encoded at once: bounds the memory of the layers in between


class PretextTraining(FixedTraining[P]):
    """A training in progress; its arguments are those of `FixedTraining`.

    Attributes:
        windows: (N, f, 3 J) float32 training windows.
    """

    LAST_COUNTS = ("paper", "label_free")
    network: SourceNetwork

    def __init__(
        self,
        settings: P,
        data: Experiment,
        seeds: Seeds,
        runtime: Runtime,
        protocols: tuple[str, ...],
        network: SourceNetwork,
    ) -> None:
        super().__init__(settings, data, seeds, runtime, protocols, network)
        self.windows = tensor_of(data.train, runtime.device)

    def evaluate(self) -> dict[str, float]:
        """Figures of matching by the kind of features that tables show."""
        kind = self.settings.kind
        return retrieval_record(
            retrieve(self.network, kind, self.settings, self.data, self.runtime)
        )


@torch.no_grad()
def encode(network: SourceNetwork, windows: torch.Tensor, kind: str) -> torch.Tensor:
    """(N, e) pooled features of (N, f, 3 J) windows."""
    network.eval()
    return torch.cat([network.pooled(part, kind) for part in windows.split(ENCODE_BATCH)])


def retrieve(
    network: SourceNetwork,
    kind: str,
    settings: EpochSettings,
    data: Experiment,
    runtime: Runtime,
    *,
    negative_squared: str = "clamp",
) -> Retrieval:
    """Probe against gallery by the Euclidean distance of one kind of pooled features."""
    return match_encoded(
        lambda split: encode(network, tensor_of(split, runtime.device), kind),
        data,
        runtime,
        same_condition=settings.same_condition_map,
        negative_squared=negative_squared,
    )


def scorer(new_network: NewNetwork[P]) -> Callable[..., dict[str, Any]]:
    """The `score` of a source model's command (`simmc.engine.run.Method`)."""

    def score(
        path: Path,
        settings: P,
        data: Experiment,
        runtime: Runtime,
        ranks: int,
        *,
        negative_squared: str = "clamp",
    ) -> dict[str, Any]:
        """Figures, epoch and CMC curve of the weights in a file, and the figures of every kind."""
        network = new_network(settings, data.skeleton, torch.Generator())
        epoch = load_weights(network, path, "settings")
        network.to(runtime.device)
        found = {
            kind: retrieve(
                network, kind, settings, data, runtime, negative_squared=negative_squared
            )
            for kind in settings.KINDS
        }
        outcome = retrieval_outcome(found[settings.kind], epoch, ranks)
        return outcome | {"kinds": {kind: retrieval_record(one) for kind, one in found.items()}}

    return score
