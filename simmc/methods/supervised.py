"""Supervised references: a network learns the identities of the training windows.

Two networks. "encoder": SimMC's encoder under cross-entropy, the ceiling that an unsupervised
method with the same encoder is measured against. "posegait": our reading of the PoseGait CNN
(Liao et al. 2020) on our D_PG features, under cross-entropy and centre loss. Both are scored as
SimMC is, by matching features before the classifier. docs/supervised.md says what is published
and what is ours. Shape letters: N windows, f frames, d features, C identities, B batch.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch.nn.functional import cross_entropy

from simmc.data.experiment import inputs
from simmc.data.experiment.experiment import Split
from simmc.data.skeletons import Skeleton
from simmc.engine.method import Method, shape_of
from simmc.engine.training import LAST, Encoded, Model, Shape, Training
from simmc.errors import UserError
from simmc.losses import center_loss, moved_centers
from simmc.methods.descriptors import lacking, pose_gait
from simmc.models.identities import EncoderClassifier
from simmc.models.posegait import PoseGaitNetwork
from simmc.models.simmc import count_parameters
from simmc.runs.records import EpochRecord
from simmc.runs.runtime import Runtime, few_threads
from simmc.scoring.match import tensor_of
from simmc.settings import groups
from simmc.settings.groups import COUNT
from simmc.settings.options import MAIN, Range, Settings, group_of, option

PROTOCOLS = ("paper", "fixed_epochs")
D_PG_WIDTH = 81
ENCODE_BATCH = 512  # windows encoded at once: the CNN's widest layer holds 31,104 values a window
Network = EncoderClassifier | PoseGaitNetwork
MODELS = ("encoder", "posegait")
SHORTEST = 4  # frames that PoseGait's two poolings need
TITLES = {
    "encoder": "SimMC encoder (supervised)",
    "posegait": "PoseGait (supervised, our reading)",
}


@dataclass(frozen=True, kw_only=True)
class SupervisedSettings(Settings):
    """Which network is trained on identities, and how."""

    COMMAND: ClassVar[str] = "supervised"
    SUMMARY: ClassVar[str] = (
        "SUPERVISED references: train a network on the identities of the training windows and "
        "score its features by matching probe against gallery windows, as SimMC is scored; or "
        "score a trained run (--mode Eval)."
    )

    place: groups.Place
    machine: groups.Machine
    common: groups.Common
    windows: groups.Windows
    joints: groups.Joints
    training: groups.Training = group_of(epochs=200)
    rematch: groups.Rematch
    model: str = option(
        "encoder",
        "encoder (SimMC's, with a linear classifier: the upper reference) or posegait (our "
        "reading of the PoseGait CNN).",
        choices=MODELS,
        group=MAIN,
    )
    H: int = option(256, "encoder: its width.", aliases=("hidden",), limits=COUNT)
    D: int = option(1, "encoder: hidden layers.", limits=COUNT)
    dropout: float = option(
        0.5, "posegait: share of units dropped before the last layers.", limits=Range(0, 0.99)
    )
    center_weight: float = option(0.003, "posegait: weight of the centre loss.", limits=Range(0))
    center_rate: float = option(
        0.5,
        "posegait: step of a centre towards the features of its batch.",
        limits=Range(0, 1),
    )

    @staticmethod
    def preset_names(values: Mapping[str, Any]) -> list[str]:
        """One preset a model."""
        return [values["model"]]

    def check(self) -> None:
        """Windows that PoseGait can pool."""
        if self.model == "posegait" and self.joints.input != "joints":
            raise UserError(
                f"--input {self.joints.input}: --model posegait computes its own values from "
                "--input joints."
            )
        if self.model == "posegait" and self.place.length < SHORTEST:
            raise UserError(
                f"--length {self.place.length} is too short for --model posegait, which halves the "
                f"frames twice; allowed: {SHORTEST} or more."
            )


class Supervised(Training[SupervisedSettings]):
    """A training in progress; the arguments are those of `Training`.

    `seeds.weights` draws the initial weights and then the dropped units, `seeds.masks` the order of
    the windows in each epoch.
    """

    CHOSEN_BY: ClassVar = {"paper": "top1", "fixed_epochs": LAST}
    network: Network

    @staticmethod
    def new_network(
        settings: SupervisedSettings, shape: Shape, generator: torch.Generator
    ) -> Network:
        """The network with a class for each training identity."""
        s, classes = settings, shape.classes
        if s.model == "posegait":
            return PoseGaitNetwork(
                D_PG_WIDTH, s.place.length, classes, s.dropout, generator=generator
            )
        return EncoderClassifier(shape.width, classes, s.H, s.D, generator=generator)

    @staticmethod
    def encoder(model: Model[SupervisedSettings]) -> Encoded:
        """Features before the classifier."""
        skeleton, s, runtime = model.data.skeleton, model.settings, model.runtime
        return lambda split: encode(model.network, inputs_of(split, skeleton, s, runtime))

    def prepare(self) -> None:
        """Inputs and identities in memory."""
        s, data = self.settings, self.data
        data.require_identities(f"--model {s.model}")
        self.inputs = inputs_of(data.train, data.skeleton, s, self.runtime)
        self.identity = torch.from_numpy(data.train.identity).to(self.runtime.device)

    def steps(self) -> EpochRecord:
        """One step a batch, over all windows in a new order."""
        n = len(self.identity)
        order = torch.from_numpy(self.seeds.masks.permutation(n)).to(self.inputs.device)
        sums = torch.zeros(3, device=self.inputs.device)  # both losses and correct predictions
        batches = order.split(self.settings.windows.batch_size)
        self.network.train()
        small = self.settings.model == "encoder"  # more threads have too little to do
        with few_threads(1) if small else nullcontext():
            for rows in self.bar(batches):
                sums += self.step(rows)
        self.require_finite(sums)
        identity, pull, right = sums.tolist()
        losses: EpochRecord = {"loss_identity": identity / len(batches)}
        if isinstance(self.network, PoseGaitNetwork):
            losses["loss_center"] = pull / len(batches)
        return {"steps": len(batches), **losses, "train_top1": right / n}

    def step(self, rows: torch.Tensor) -> torch.Tensor:
        """One step on training windows (B,); nothing in here may wait for a GPU.

        The loss is the cross-entropy of identities; with centres, plus the weighted centre loss.

        Returns:
            (3,): both losses (0 without centres) and the number of correct predictions.
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


def title(settings: SupervisedSettings) -> str:
    """The model's name in tables."""
    return TITLES[settings.model]


def model_size(settings: SupervisedSettings) -> str:
    """Parameters of the network; the classifier grows with the identities."""
    shapes = [replace(shape_of(settings), classes=classes) for classes in (1, 2)]
    one, two = (
        count_parameters(Supervised.new_network(settings, shape, torch.Generator()))
        for shape in shapes
    )
    each = two - one
    return (
        f"{title(settings)} on {settings.place.dataset}: {one - each:,} parameters "
        f"({(one - each) / 1e6:.2f}M), and {each:,} more for each training identity"
    )


def check_body(settings: SupervisedSettings, skeleton: Skeleton) -> None:
    """Joints and bones that the network needs."""
    inputs.width(skeleton, settings.joints.parts)
    if settings.model == "posegait" and (lack := lacking("D_PG", skeleton)):
        raise UserError(f"--model posegait: {lack}")


METHOD = Method(
    SupervisedSettings,
    "train with identity labels, as the upper reference and for PoseGait",
    title=title,
    training=Supervised,
    size=model_size,
    check_body=check_body,
    protocols=lambda settings: PROTOCOLS,
    recipe=lambda settings: f"supervised_{settings.model}",
    shape_flags="--dataset, --length, --model, --H and --D",
    labels="this network was trained on the identity labels of the training windows.",
)
