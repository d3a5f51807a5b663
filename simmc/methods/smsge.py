"""SM-SGE (Rao and Miao, ACM Multimedia 2021): multi-scale skeleton reconstruction (MSR).

One epoch: for each batch, node features of four levels -> each level hears itself and all coarser
ones -> for k = 1 to f, k of the f frames -> an LSTM for each level -> each output gives back the
skeleton of its frame at its own level and all coarser ones (L1, means) -> mean over k -> one Adam
for each level's LSTM. Shape letters: N windows, f frames, B batch, n nodes of a level.
"""

from typing import Any

import torch

from simmc.data.experiment.load import Experiment
from simmc.data.graph_levels import GRAPH_LEVELS
from simmc.data.skeletons import Skeleton
from simmc.losses import scale_reconstruction
from simmc.methods.graphs import GraphTraining
from simmc.methods.sources import Source
from simmc.models.graph_layers import CHANNELS
from simmc.models.graph_size import IDENTITIES, UNUSED, smsge_flops, smsge_head
from simmc.models.shared_adam import SharedAdam
from simmc.models.simmc import count_parameters
from simmc.models.skeleton_graphs import Levels, by_frame
from simmc.models.smsge import SMSGENetwork, coarser
from simmc.models.subsequences import encode, subsequences
from simmc.runs.runtime import Runtime
from simmc.runs.seeds import Seeds
from simmc.settings import SMSGESettings

NAMES = ("hyper", "joint", "part", "body")  # of the losses, in the order of GRAPH_LEVELS


class SMSGETraining(GraphTraining[SMSGESettings]):
    """A training in progress.

    Args:
        settings: of the method.
        data: its training windows in the order of the batches.
        seeds: `weights` draws the initial weights, `masks` the frames of the subsequences.
        runtime: device and threads.
        protocols: that it serves.
    """

    network: SMSGENetwork
    optimizer: SharedAdam

    def __init__(
        self,
        settings: SMSGESettings,
        data: Experiment,
        seeds: Seeds,
        runtime: Runtime,
        protocols: tuple[str, ...],
    ) -> None:
        network = new_network(settings, data.skeleton, seeds.weights)
        super().__init__(settings, data, seeds, runtime, protocols, network, settings.length)
        self.optimizer = SharedAdam(
            self.network, self.network.shared_parameters(), len(GRAPH_LEVELS), settings.lr
        )

    def learn(self) -> dict[str, Any]:
        """One step of all four Adams a batch."""
        total = torch.zeros(len(GRAPH_LEVELS), device=self.windows.device)
        batches = self.windows.split(self.settings.batch_size)
        for windows in self.progress(batches):  # nothing in here may wait for a GPU
            total += self.step(windows, self.next_positions())
        self.require_finite(total)
        means = (total / len(batches)).tolist()
        losses = {f"loss_{name}": value for name, value in zip(NAMES, means, strict=True)}
        return {"steps": len(batches), **losses}

    def step(self, windows: torch.Tensor, positions: list[list[int]]) -> torch.Tensor:
        """One step from (B, f, 3 J) windows: (4,) losses of the levels.

        Each loss has a gradient of its own for the graphs' weights, at the same weights; that of
        an LSTM and its heads comes from one loss alone.
        """
        network, optimizer = self.network, self.optimizer
        optimizer.zero_grad()
        places = network.graphs.positions(windows)
        told = network.collaborating(network.graphs(places))
        heard = {level: nodes.detach().requires_grad_() for level, nodes in told.items()}
        losses = self.losses(heard, places, positions)
        losses.sum().backward()
        shared = network.shared_parameters()
        for row, level in zip(optimizer.slopes, GRAPH_LEVELS, strict=True):
            slopes = torch.autograd.grad(
                told[level], shared, heard[level].grad, retain_graph=True, allow_unused=True
            )
            parts = row.split([weight.numel() for weight in shared])
            for part, slope in zip(parts, slopes, strict=True):
                if slope is not None:
                    part.copy_(slope.flatten())
        optimizer.step()
        return losses.detach()

    def losses(self, features: Levels, places: Levels, positions: list[list[int]]) -> torch.Tensor:
        """(4,) losses of the levels from (n, 8, F) features and (n, 3, F) positions of nodes."""
        length = self.settings.length
        device = next(iter(features.values())).device
        tree = subsequences(positions).to(device)
        shares = tree.shares(of_length=True)
        targets = {level: tree.gather(by_frame(nodes, length)) for level, nodes in places.items()}
        found = []
        for level in GRAPH_LEVELS:
            inputs = by_frame(features[level], length)
            encoded = encode(self.network.encoders[level], inputs, tree)  # type: ignore[arg-type]
            recovered = self.network.heads[level](encoded)
            parts = zip(recovered, coarser(level), strict=True)
            errors = [scale_reconstruction(part, targets[name], shares) for part, name in parts]
            found.append(torch.stack(errors).sum())
        return torch.stack(found)


def new_network(
    settings: SMSGESettings, skeleton: Skeleton, generator: torch.Generator
) -> SMSGENetwork:
    """An untrained network."""
    return SMSGENetwork(
        skeleton,
        settings.H,
        empty_frame=settings.extra_prefix == "zeros",
        generator=generator,
    )


def size_of(settings: SMSGESettings, skeleton: Skeleton, dataset: str) -> tuple[int, int, int]:
    """Values a frame, and parameters and operations of a step as the papers count."""
    network = new_network(settings, skeleton, torch.Generator())
    classes = IDENTITIES.get(dataset, 0)
    shape = (settings.H, settings.batch_size, settings.length, classes)
    return (
        CHANNELS * sum(network.graphs.sizes.values()),
        count_parameters(network) + UNUSED + smsge_head(settings.H, classes),
        smsge_flops(skeleton.n_joints, *shape),
    )


SMSGE = Source("SM-SGE", SMSGESettings, new_network, size_of)
