"""The features by which a trained run matches windows, of any windows described as its own were."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from simmc.data.experiment.load import Experiment, Split
from simmc.methods import himpc, simmc, trackmc
from simmc.runs.runtime import Runtime
from simmc.scoring.match import encode, tensor_of
from simmc.settings import EpochSettings, HiMPCSettings, SimMCSettings, TrackMCSettings


@dataclass(frozen=True)
class Embedder:
    """A trained network as a function of windows.

    Attributes:
        features: gives the (N, d) float32 features of a split's windows.
        epoch: from which the weights come.
    """

    features: Callable[[Split], torch.Tensor]
    epoch: int


def embedder(path: Path, settings: EpochSettings, data: Experiment, runtime: Runtime) -> Embedder:
    """The network that a checkpoint holds.

    Args:
        path: the checkpoint.
        settings: of the training.
        data: whose splits will be encoded; tells the shape of a window.
        runtime: device and threads.

    Raises:
        UserError: weights of another shape.
    """
    return _EMBEDDERS[settings.COMMAND](path, settings, data, runtime)


def _trackmc(path: Path, settings: TrackMCSettings, data: Experiment, runtime: Runtime) -> Embedder:
    network, epoch = trackmc.load_network(path, settings, data, runtime)
    how = partial(trackmc.features_of, network=network, settings=settings, runtime=runtime)
    return Embedder(how, epoch)


def _simmc(path: Path, settings: SimMCSettings, data: Experiment, runtime: Runtime) -> Embedder:
    network, epoch = simmc.load_network(path, settings, data, runtime)
    return Embedder(lambda split: encode(network, tensor_of(split, runtime.device))[:, 0], epoch)


def _himpc(path: Path, settings: HiMPCSettings, data: Experiment, runtime: Runtime) -> Embedder:
    network, epoch = himpc.load_network(path, settings, data, runtime)

    @torch.no_grad()
    def features(split: Split) -> torch.Tensor:
        levels = himpc.level_tensors(split, data, settings, runtime)
        return network.represent(himpc.encode(network, levels))

    return Embedder(features, epoch)


_EMBEDDERS: dict[str, Callable[[Path, Any, Experiment, Runtime], Embedder]] = {
    TrackMCSettings.COMMAND: _trackmc,
    SimMCSettings.COMMAND: _simmc,
    HiMPCSettings.COMMAND: _himpc,
}
