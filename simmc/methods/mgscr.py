"""MG-SCR (Rao et al., IJCAI 2021): its pretext task, sparse sequential prediction (SSP).

The supervised stage that follows it is `simmc recognition --source MG-SCR`.

One epoch: for each batch, node features of three levels -> relations and fusion at the joints ->
for k = 1 to f - 1, k frames out of the first f - 1 -> LSTM -> each output predicts the skeleton one
frame later (L_k) -> mean of the L_k -> Adam. Shape letters: N windows, f frames, B batch, M places
of the subsequences.
"""

from typing import Any

import torch

from simmc.data.experiment.load import Experiment
from simmc.data.skeletons import Skeleton
from simmc.errors import UserError
from simmc.losses import sparse_prediction
from simmc.methods.graphs import GraphTraining
from simmc.methods.sources import Source
from simmc.models.graph_layers import CHANNELS
from simmc.models.graph_size import IDENTITIES, UNUSED, mgscr_flops, mgscr_head
from simmc.models.mgscr import MGSCRNetwork
from simmc.models.simmc import count_parameters
from simmc.models.subsequences import (
    Subsequences,
    encode,
    misplaced_subsequences,
    subsequences,
)
from simmc.runs.runtime import Runtime
from simmc.runs.seeds import Seeds
from simmc.settings import MGSCRSettings


class MGSCRTraining(GraphTraining[MGSCRSettings]):
    """A training in progress.

    Args:
        settings: of the method.
        data: its training windows in the order of the batches.
        seeds: `weights` draws the initial weights, `masks` the frames of the subsequences.
        runtime: device and threads.
        protocols: that it serves.
    """

    network: MGSCRNetwork

    def __init__(
        self,
        settings: MGSCRSettings,
        data: Experiment,
        seeds: Seeds,
        runtime: Runtime,
        protocols: tuple[str, ...],
    ) -> None:
        if settings.length < 2:
            raise UserError("--length 1 leaves no frame to predict; give 2 or more.")
        network = new_network(settings, data.skeleton, seeds.weights)
        frames = settings.length - 1  # the last one is only predicted
        super().__init__(settings, data, seeds, runtime, protocols, network, frames)

    def learn(self) -> dict[str, Any]:
        """One step a batch."""
        total = torch.zeros((), device=self.windows.device)
        batches = self.windows.split(self.settings.batch_size)
        for windows in self.progress(batches):  # nothing in here may wait for a GPU
            loss = self.loss(windows, self.next_positions())
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        self.require_finite(total)
        return {"steps": len(batches), "loss_prediction": total.item() / len(batches)}

    def loss(self, windows: torch.Tensor, positions: list[list[int]]) -> torch.Tensor:
        """The loss of (B, f, 3 J) windows."""
        tree = self.tree(positions, len(windows)).to(windows.device)
        encoded = encode(self.network.encoder, self.network.by_frame(windows), tree)
        (predicted,) = self.network.predictor(encoded)
        later = tree.gather(windows.transpose(0, 1)[1:])
        return sparse_prediction(predicted, later, tree.shares(of_length=False))

    def tree(self, positions: list[list[int]], batch: int) -> Subsequences:
        """The subsequences, as the switch `gathering` has them (row G1)."""
        if self.settings.gathering == "published":
            return misplaced_subsequences(positions, batch)
        return subsequences(positions)


def new_network(
    settings: MGSCRSettings, skeleton: Skeleton, generator: torch.Generator
) -> MGSCRNetwork:
    """An untrained network."""
    return MGSCRNetwork(
        skeleton,
        settings.H,
        settings.lambda_,
        last_frame=settings.last_frame == "encode",
        batch=settings.batch_size if settings.gathering == "published" else None,
        generator=generator,
    )


def size_of(settings: MGSCRSettings, skeleton: Skeleton, dataset: str) -> tuple[int, int, int]:
    """Values a frame, and parameters and operations of a step as the papers count."""
    network = new_network(settings, skeleton, torch.Generator())
    classes = IDENTITIES.get(dataset, 0)
    shape = (settings.H, settings.batch_size, settings.length, classes)
    return (
        CHANNELS * skeleton.n_joints,
        count_parameters(network) + UNUSED + mgscr_head(settings.H, classes),
        mgscr_flops(skeleton.n_joints, *shape),
    )


MGSCR = Source("MG-SCR", MGSCRSettings, new_network, size_of)
