"""The source models by name, and trained ones as their runs keep them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simmc.data.experiment.load import Split
from simmc.data.features import FRAMES
from simmc.data.skeletons import Skeleton
from simmc.data.specs import DATASETS
from simmc.engine.pretext import ENCODE_BATCH
from simmc.engine.pseudo_labels import load_weights
from simmc.errors import UserError
from simmc.models.source import SourceNetwork
from simmc.runs.runtime import Runtime
from simmc.scoring.match import tensor_of
from simmc.settings import SourceSettings, resolve


@dataclass(frozen=True)
class Source:
    """A model whose features are matched, fine-tuned or classified.

    Attributes:
        name: as the papers and `--source` spell it.
        settings: its settings class.
        new_network: an untrained network for settings and a skeleton.
        size_of: settings, skeleton and name of a dataset to values a frame, parameters, and
            operations of a training step, the latter two as the papers count.
    """

    name: str
    settings: type[SourceSettings]
    new_network: Callable[[Any, Skeleton, torch.Generator], SourceNetwork]
    size_of: Callable[[Any, Skeleton, str], tuple[int, int, int]]

    def size(self, skeleton: Skeleton, dataset: str) -> tuple[int, int, int]:
        """`size_of` with the presets of a dataset; the usual settings for an unknown one."""
        spec = DATASETS.get(dataset)
        known = ["--dataset", dataset, "--probe", spec.probes[0]] if spec else []
        return self.size_of(resolve(self.settings, known).settings, skeleton, dataset)


# name -> the recipe's module and the name it has there
_PLACES = {
    "AGE": ("simmc.methods.sgela", "AGE"),
    "SGELA": ("simmc.methods.sgela", "SGELA"),
    "MG-SCR": ("simmc.methods.mgscr", "MGSCR"),
    "SM-SGE": ("simmc.methods.smsge", "SMSGE"),
}


def find_source(name: str) -> Source:
    """The source model of that name."""
    if name not in _PLACES:
        raise UserError(f"--source {name}: choose one of {', '.join(_PLACES)}.")
    module, attribute = _PLACES[name]
    found: Source = getattr(import_module(module), attribute)
    return found


def load_trained(
    source: Source, settings: SourceSettings, skeleton: Skeleton, path: Path, runtime: Runtime
) -> tuple[SourceNetwork, int]:
    """The network whose weights a file holds, and the epoch they come from.

    Args:
        source: which model.
        settings: of its pretext training.
        skeleton: the names of its joint axis.
        path: weights of a pretext training, or of a recognition stage that trained it further.
        runtime: device.
    """
    network = source.new_network(settings, skeleton, torch.Generator())
    epoch = load_weights(network, path, "settings of the source model", part="source.")
    network.eval()
    return network.to(runtime.device), epoch


@torch.no_grad()
def features(
    network: SourceNetwork, split: Split, kind: str, runtime: Runtime
) -> Iterator[np.ndarray]:
    """Features of a split's windows, block by block: (n, f, d) frames, or (n, 1, e) pooled."""
    for part in tensor_of(split, runtime.device).split(ENCODE_BATCH):
        block = network.frames(part) if kind == FRAMES else network.pooled(part, kind)[:, None]
        yield block.cpu().numpy()
