"""What the source models (AGE, SGELA, MG-SCR, SM-SGE) have in common beside their recipes.

They learn a pretext task for a fixed number of epochs. The public programs use the weights of the
last epoch, so no label and no probe has an influence on the choice, and both protocols score the
same weights.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simmc.data.experiment import inputs
from simmc.data.experiment.experiment import Experiment, Split
from simmc.data.features import FRAMES
from simmc.data.skeletons import Skeleton
from simmc.data.specs import DATASETS
from simmc.engine.method import LAST_EPOCH, Method, load
from simmc.engine.training import LAST, Encoded, Model, Shape, Training, load_weights
from simmc.errors import UserError
from simmc.models.source import SourceNetwork
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import Runtime
from simmc.scoring.match import (
    MatchRule,
    Outcome,
    match_encoded,
    retrieval_outcome,
    retrieval_record,
    tensor_of,
)
from simmc.settings.groups import dataset_and_probe
from simmc.settings.layers import Resolved, resolve

CHOSEN_BY = {"paper": LAST, "label_free": LAST}
ENCODE_BATCH = 1024  # windows encoded at once: bounds the memory of the layers in between
# what the group `Training` is in these methods
COMMON_TRAINING = {"eval_every": 10, "checkpoint_seconds": 60.0}


@dataclass(frozen=True)
class Source:
    """A model whose features are matched, fine-tuned or classified.

    Attributes:
        name: as the papers and `--source` spell it.
        settings: its settings class.
        kinds: the pooled features of the network, the one that tables show first.
        new_network: an untrained network.
        size_of: settings, skeleton and name of a dataset to values a frame, parameters, and
            operations of a training step, the latter two as the papers count.
        shuffles: whether the training windows are brought into a random order once.
        needs: UserError where a skeleton lacks bones or parts.
    """

    name: str
    settings: type[Any]
    kinds: tuple[str, ...]
    new_network: Callable[[Any, Shape, torch.Generator], SourceNetwork]
    size_of: Callable[[Any, Skeleton, str], tuple[int, int, int]]
    shuffles: Callable[[Any], bool] = lambda settings: False
    needs: Callable[[Skeleton], None] = lambda skeleton: None

    @property
    def command(self) -> str:
        """The command that trains it."""
        return str(self.settings.COMMAND)

    def size(self, skeleton: Skeleton, dataset: str) -> tuple[int, int, int]:
        """`size_of` with the presets of a dataset; the usual settings for an unknown one."""
        spec = DATASETS.get(dataset)
        known = ["--dataset", dataset, "--probe", spec.probes[0]] if spec else []
        return self.size_of(resolve(self.settings, known).settings, skeleton, dataset)

    def check_body(self, settings: Any, skeleton: Skeleton) -> None:
        """UserError where a skeleton lacks joints, bones or parts."""
        inputs.width(skeleton, settings.joints.parts)
        self.needs(skeleton)

    def load(self, settings: Any) -> Experiment:
        """The data that settings describe."""
        gallery = settings.pretext.with_gallery
        return load(settings, shuffle=self.shuffles(settings), with_gallery=gallery)

    def outcome(self, model: Model[Any], rule: MatchRule) -> Outcome:
        """The numbers by the pooled feature that tables show, and the figures of every other."""
        data, runtime = model.data, model.runtime
        found = {
            kind: match_encoded(pooled(model.network, kind, runtime), data, runtime, rule)
            for kind in self.kinds
        }
        kinds = {kind: retrieval_record(one) for kind, one in found.items()}
        return retrieval_outcome(found[model.settings.pretext.kind], more={"kinds": kinds})

    def method(
        self,
        summary: str,
        training: type[Training[Any]],
        size: Callable[[Any], str],
        title: Callable[[Any], str] | None = None,
        **more: Any,
    ) -> Method[Any]:
        """The row of the registry."""
        return Method(
            self.settings,
            summary,
            title=title or (lambda settings: self.name),
            load=self.load,
            training=training,
            size=size,
            explained=LAST_EPOCH,
            check_body=self.check_body,
            remarks=budget,
            outcome=self.outcome,
            **more,
        )


def check_kind(settings: Any, kinds: tuple[str, ...]) -> None:
    """A pooled feature that the method has; the first one where none is named."""
    pretext = settings.pretext
    found = {kind.casefold(): kind for kind in kinds}.get(pretext.kind.casefold())
    if pretext.kind and found is None:
        raise UserError(f"--kind {pretext.kind!r} is not possible; allowed: {', '.join(kinds)}.")
    object.__setattr__(pretext, "kind", found or kinds[0])


def preset_names(values: Mapping[str, Any]) -> list[str]:
    """`<DATASET>`: the probe plays no part."""
    return [dataset_and_probe(values)[0]]


@torch.no_grad()
def encode(network: SourceNetwork, windows: torch.Tensor, kind: str) -> torch.Tensor:
    """(N, e) pooled features of (N, f, 3 J) windows."""
    network.eval()
    return torch.cat([network.pooled(part, kind) for part in windows.split(ENCODE_BATCH)])


def pooled(network: SourceNetwork, kind: str, runtime: Runtime) -> Encoded:
    """One kind of the pooled features."""
    return lambda split: encode(network, tensor_of(split, runtime.device), kind)


def encoder(model: Model[Any]) -> Encoded:
    """The pooled features that tables show."""
    return pooled(model.network, model.settings.pretext.kind, model.runtime)


def load_trained(
    source: Source, settings: Any, skeleton: Skeleton, path: Path
) -> tuple[SourceNetwork, int]:
    """The network whose weights a file holds, on the CPU, and the epoch they come from.

    The file is of a pretext training, or of a recognition stage that trained the network further.
    """
    network = source.new_network(settings, Shape(skeleton), torch.Generator())
    epoch = load_weights(network, path, "settings of the source model", part="source.")
    return network.eval(), epoch


@torch.no_grad()
def features(
    network: SourceNetwork, split: Split, kind: str, runtime: Runtime
) -> Iterator[np.ndarray]:
    """Features of a split's windows, block by block: (n, f, d) frames, or (n, 1, e) pooled."""
    for part in tensor_of(split, runtime.device).split(ENCODE_BATCH):
        block = network.frames(part) if kind == FRAMES else network.pooled(part, kind)[:, None]
        yield block.cpu().numpy()


def pretext_settings(source: Source, run: RunDirectory, data_root: str, flag: str) -> Any:
    """The settings of a run's pretext training; UserError where it trained something else.

    `data_root` is where the data are now; `flag` names the run in the message.
    """
    stored = run.read_config()
    if stored.get("command") != source.command:
        raise UserError(
            f"{run.path} is a run of simmc {stored.get('command')}, not of {source.name}. Name a "
            f"run of simmc {source.command} with {flag}, or train one."
        )
    return resolve(source.settings, ["--data_root", data_root], stored=stored).settings


def published_settings(kind: type[Any], settings: Any) -> Any:
    """The presets of a source model for the data of some settings."""
    place = settings.place
    where = ["--dataset", place.dataset, "--probe", place.probe]
    where += ["--length", str(place.length), "--data_root", place.data_root]
    return resolve(kind, where).settings


def budget(resolved: Resolved[Any], data: Experiment) -> list[str]:
    """What the small budget leaves out."""
    settings = resolved.settings
    if settings.pretext.budget == "full":
        return []
    epochs = settings.training.epochs
    full = published_settings(type(settings), settings).training.epochs
    if epochs >= full:
        return []
    return [
        f"--budget cpu: {epochs} epochs in place of the {full} that were published; the "
        "numbers below are those of a shorter training."
    ]
