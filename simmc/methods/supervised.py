"""Supervised references: a network learns the identities of the training windows.

Two networks. "encoder": SimMC's encoder under cross-entropy, the ceiling that an unsupervised
method with the same encoder is measured against. "posegait": our reading of the PoseGait CNN
(Liao et al. 2020) on our D_PG features, under cross-entropy and centre loss. Both are scored as
SimMC is, by matching features before the classifier. docs/supervised.md says what is published
and what is ours. Shape letters: N windows, f frames, d features, C identities, B batch.
"""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from simmc.config import SupervisedSettings
from simmc.data.loaders import Experiment, Split
from simmc.data.skeletons import Skeleton
from simmc.errors import UserError
from simmc.evaluation.ranking import Retrieval
from simmc.losses import center_loss, moved_centers
from simmc.methods.descriptors import pose_gait
from simmc.methods.fixed import FixedTraining
from simmc.methods.matching import (
    match_encoded,
    retrieval_outcome,
    retrieval_record,
    tensor_of,
)
from simmc.methods.training import load_weights
from simmc.models.identities import EncoderClassifier
from simmc.models.posegait import PoseGaitNetwork
from simmc.runs.runtime import Runtime, few_threads
from simmc.runs.seeds import Seeds

PROTOCOLS = ("paper", "fixed_epochs")
D_PG_WIDTH = 81
ENCODE_BATCH = 512  # windows encoded at once: the CNN's widest layer holds 31,104 values a window
Network = EncoderClassifier | PoseGaitNetwork


class Supervised(FixedTraining[SupervisedSettings]):
    """A training in progress.

    Args:
        settings: of the method.
        data: what it learns from, identities included, and is scored on.
        seeds: `weights` draws the initial weights and then the dropped units, `masks` the order
            of the windows in each epoch.
        runtime: device and threads.
        protocols: "paper" (best probe top-1) and "fixed_epochs" (the last epoch); no other.
    """

    LAST_COUNTS = ("fixed_epochs",)
    network: Network

    def __init__(
        self,
        settings: SupervisedSettings,
        data: Experiment,
        seeds: Seeds,
        runtime: Runtime,
        protocols: tuple[str, ...],
    ) -> None:
        data.require_labels(f"--model {settings.model}")
        classes = len(data.identities)
        if classes < 2:
            raise UserError(
                f"--dataset {settings.dataset}: its training windows name fewer than two "
                "identities, so there is nothing to tell apart. A supervised training needs the "
                "persons' labels; SimMC.py and Hi-MPC.py need none."
            )
        self.inputs = inputs_of(data.train, data.skeleton, settings, runtime)
        self.identity = torch.from_numpy(data.train.identity).to(runtime.device)
        network = new_network(settings, self.inputs.shape[2], classes, seeds.weights)
        super().__init__(settings, data, seeds, runtime, protocols, network)

    def evaluate(self) -> dict[str, float]:
        """Figures of matching by the features before the classifier."""
        return retrieval_record(retrieve(self.network, self.settings, self.data, self.runtime))

    def learn(self) -> dict[str, Any]:
        """One step a batch, over all windows in a new order."""
        n = len(self.identity)
        order = torch.from_numpy(self.seeds.masks.permutation(n)).to(self.inputs.device)
        sums = torch.zeros(3, device=self.inputs.device)  # both losses and right decisions
        batches = order.split(self.settings.batch_size)
        self.network.train()
        small = self.settings.model == "encoder"  # more threads have too little to do
        with few_threads(1) if small else nullcontext():
            for rows in self.progress(batches):
                sums += self.step(rows)
        self.require_finite(sums)
        identity, pull, right = sums.tolist()
        losses = {"loss_identity": identity / len(batches)}
        if isinstance(self.network, PoseGaitNetwork):
            losses["loss_center"] = pull / len(batches)
        return {"steps": len(batches), **losses, "train_top1": right / n}

    def step(self, rows: torch.Tensor) -> torch.Tensor:
        """One step on cross-entropy of identities; with centres, plus the weighted centre loss.

        Nothing in here may wait for a GPU.

        Args:
            rows: (B,) int64, which of the training windows.

        Returns:
            (3,): both losses (0 without centres) and the number of right decisions.
        """
        s, network = self.settings, self.network
        labels = self.identity[rows]
        features = network.features(self.inputs[rows])
        scores = network.classify(features)
        loss = total = cross_entropy(scores, labels)
        pull = torch.zeros_like(loss)
        if isinstance(network, PoseGaitNetwork):
            pull = center_loss(features, labels, network.centers)
            total = loss + s.center_weight * pull
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        if isinstance(network, PoseGaitNetwork):
            network.centers.copy_(moved_centers(features, labels, network.centers, s.center_rate))
        right = (scores.argmax(1) == labels).sum()
        return torch.stack([loss.detach(), pull.detach(), right])


def new_network(
    settings: SupervisedSettings, width: int, classes: int, generator: torch.Generator
) -> Network:
    """An untrained network for inputs of `width` values a frame."""
    if settings.model == "posegait":
        return PoseGaitNetwork(
            width, settings.length, classes, settings.dropout, generator=generator
        )
    return EncoderClassifier(width, classes, settings.H, settings.D, generator=generator)


def inputs_of(
    split: Split, skeleton: Skeleton, settings: SupervisedSettings, runtime: Runtime
) -> torch.Tensor:
    """(N, f, K) float32: coordinates of the joints, or D_PG of each frame (K = 81)."""
    windows = tensor_of(split, runtime.device)
    if settings.model == "encoder":
        return windows
    with few_threads(1):  # small operations; arithmetic in float64, as for the descriptor itself
        return torch.cat(
            [
                pose_gait(part.unflatten(2, (skeleton.n_joints, 3)).double(), skeleton).float()
                for part in windows.split(ENCODE_BATCH)
            ]
        )


@torch.no_grad()
def encode(network: Network, inputs: torch.Tensor) -> torch.Tensor:
    """(N, d) features before the classifier, nothing dropped."""
    network.eval()
    return torch.cat([network.features(part) for part in inputs.split(ENCODE_BATCH)])


def retrieve(
    network: Network,
    settings: SupervisedSettings,
    data: Experiment,
    runtime: Runtime,
    *,
    negative_squared: str = "clamp",
) -> Retrieval:
    """Probe against gallery by the Euclidean distance of features."""
    return match_encoded(
        lambda split: encode(network, inputs_of(split, data.skeleton, settings, runtime)),
        data,
        runtime,
        same_condition=settings.same_condition_map,
        negative_squared=negative_squared,
    )


def score(
    path: Path,
    settings: SupervisedSettings,
    data: Experiment,
    runtime: Runtime,
    ranks: int,
    *,
    negative_squared: str = "clamp",
) -> dict[str, Any]:
    """Figures, epoch and CMC curve of the weights in a file."""
    width = D_PG_WIDTH if settings.model == "posegait" else data.probe.windows[0, 0].size
    network = new_network(settings, width, len(data.identities), torch.Generator())
    epoch = load_weights(network, path, "--dataset, --length, --model, --H and --D")
    network.to(runtime.device)
    found = retrieve(network, settings, data, runtime, negative_squared=negative_squared)
    return retrieval_outcome(found, epoch, ranks)
