"""Which frames of a window hard skeleton mining weighs most, at trained weights (Hi-MPC, Eq. 6-8).

Importance needs what training has in the epoch of the weights: pseudo labels and prototypes of all
training windows, from their instances. A window that is an outlier at a level has no pseudo label
there, hence no importance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from simmc.clustering import cluster_means
from simmc.data.experiment.load import Experiment
from simmc.losses import frame_importance
from simmc.methods.himpc import FOCUS, HiMPC, encode, load_network
from simmc.models.himpc import HierarchicalNetwork
from simmc.runs.runtime import Runtime
from simmc.runs.seeds import generators
from simmc.settings import HiMPCSettings


@dataclass(frozen=True, eq=False)
class Clustered:
    """A trained network and its clustering of the training windows.

    Attributes:
        network: encoders and heads.
        windows: level -> (N, f, K) float32, the training windows.
        labels: level -> (N,) int64 pseudo labels, -1 = outlier.
        epoch: the one that the weights come from; these are the pseudo labels of that epoch.
    """

    network: HierarchicalNetwork
    windows: Mapping[str, torch.Tensor]
    labels: Mapping[str, torch.Tensor]
    epoch: int

    @property
    def everywhere(self) -> np.ndarray:
        """(N,) bool: the windows that are clustered at all levels."""
        return np.logical_and.reduce([y.cpu().numpy() >= 0 for y in self.labels.values()])


def cluster_trained(
    path: Path, settings: HiMPCSettings, data: Experiment, runtime: Runtime
) -> Clustered:
    """Cluster each level of the training windows at the weights in a file, as training does.

    Raises:
        UserError: weights of another shape.
    """
    network, epoch = load_network(path, settings, data, runtime)
    training = HiMPC(settings, data, generators(settings.seed), runtime, ("paper",))
    instances = encode(network, training.train_windows)
    labels = training.cluster(list(instances.values()), kinds=list(instances))
    return Clustered(
        network, training.train_windows, dict(zip(instances, labels, strict=True)), epoch
    )


@torch.no_grad()
def window_importance(
    found: Clustered, settings: HiMPCSettings, chosen: np.ndarray
) -> dict[str, np.ndarray]:
    """Importance delta of the frames of some windows, mean over the heads (H10), at each level.

    Args:
        found: network and pseudo labels.
        settings: temperature, mining and mining_scale of the training.
        chosen: (n,) int64, which of the training windows.

    Returns:
        Level -> (n, f) float32. A row sums to 1; it is NaN where the window is an outlier.

    Raises:
        ValueError: the training did not mine.
    """
    if settings.mining == "none":
        raise ValueError("without mining frames have no importance")
    instances = encode(found.network, found.windows)
    result = {}
    for level, labels in found.labels.items():
        rows = torch.from_numpy(chosen).to(labels.device)
        inside = labels[rows] >= 0
        rows = rows[inside]
        delta = torch.full((len(chosen), found.windows[level].shape[1]), torch.nan)
        if len(rows):
            delta[inside.cpu()] = frame_importance(
                found.network[level](found.windows[level][rows]),
                labels[rows],
                cluster_means(instances[level], labels),
                found.network[level].heads,
                settings.temperature,
                focus=FOCUS[settings.mining],
                weights_over_temperature=settings.mining_scale == "tau",
            ).cpu()
        result[level] = delta.numpy()
    return result


def one_of_each(
    identity: np.ndarray, allowed: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws windows, each of another person as long as there are persons.

    Args:
        identity: (N,) int64 persons; they only decide what is looked at.
        allowed: (N,) bool, the windows to draw from.
        count: how many are wanted; fewer are drawn where fewer are allowed.
        rng: source of the draw.

    Returns:
        (n,) int64 places, n <= count, ordered by person.
    """
    drawn = rng.permutation(np.flatnonzero(allowed))
    first = np.sort(np.unique(identity[drawn], return_index=True)[1])
    chosen = np.concatenate([drawn[first], np.delete(drawn, first)])[:count]
    return chosen[np.lexsort((chosen, identity[chosen]))]
