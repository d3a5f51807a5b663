"""SM-SGE (Rao and Miao, ACM Multimedia 2021): multi-scale skeleton reconstruction (MSR).

One epoch: for each batch, node features of four levels -> each level collaborates with itself and
all coarser ones -> for k = 1 to f, k of the f frames -> an LSTM for each level -> each output
reconstructs the skeleton of its frame at its own level and all coarser ones (L1, means) -> mean
over k -> one Adam for each level's LSTM. Shape letters: N windows, f frames, B batch, n nodes of a
level.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from simmc.data.graph_levels import GRAPH_LEVELS
from simmc.data.skeletons import Skeleton
from simmc.engine.training import Shape, Training, mean_losses
from simmc.losses import scale_reconstruction
from simmc.methods.graph_training import (
    KINDS,
    Positions,
    graph_size_text,
    require_graphs,
    shuffles_graphs,
)
from simmc.methods.pretext import (
    CHOSEN_BY,
    COMMON_TRAINING,
    Source,
    check_kind,
    encoder,
    preset_names,
)
from simmc.models.graph_size import IDENTITIES, UNUSED, smsge_flops, smsge_head
from simmc.models.kernels.lanes import CHANNELS
from simmc.models.optimizer import SharedAdam
from simmc.models.simmc import count_parameters
from simmc.models.skeleton_graphs import Levels, by_frame
from simmc.models.smsge import SMSGENetwork, coarser
from simmc.models.subsequences import encode, subsequences
from simmc.runs.records import EpochRecord
from simmc.scoring.match import tensor_of
from simmc.settings import groups
from simmc.settings.groups import COUNT
from simmc.settings.options import Settings, group_of, option, switch

NAMES = ("hyper", "joint", "part", "body")  # of the losses, in the order of GRAPH_LEVELS


@dataclass(frozen=True, kw_only=True)
class SMSGESettings(Settings):
    """Everything that SM-SGE takes."""

    COMMAND: ClassVar[str] = "smsge"
    SUMMARY: ClassVar[str] = (
        "Train SM-SGE, multi-scale skeleton reconstruction on skeleton graphs of four levels, on "
        "unlabelled skeleton windows and score its features by matching, or score a trained run "
        "(--mode Eval)."
    )

    place: groups.Place
    machine: groups.Machine
    common: groups.Common
    windows: groups.Windows
    joints: groups.Joints
    training: groups.Training = group_of(**COMMON_TRAINING, lr=5e-3, epochs=120)
    pretext: groups.Pretext
    labels: groups.LabelFree
    rematch: groups.Rematch
    H: int = option(256, "Units of each LSTM layer.", limits=COUNT)
    extra_prefix: str = switch("extra_prefix")
    sampled_frames: str = switch("sampled_frames")

    preset_names = staticmethod(preset_names)

    def check(self) -> None:
        """Coordinates of joints; a pooled feature that exists."""
        self.joints.require_coordinates(self.COMMAND)
        check_kind(self, KINDS)


class SMSGETraining(Training[SMSGESettings]):
    """A training in progress; the arguments are those of `Training`.

    `seeds.weights` draws the initial weights, `seeds.masks` the frames of the subsequences.
    """

    CHOSEN_BY = CHOSEN_BY
    encoder = staticmethod(encoder)
    network: SMSGENetwork
    optimizer: SharedAdam

    @staticmethod
    def new_network(
        settings: SMSGESettings, shape: Shape, generator: torch.Generator
    ) -> SMSGENetwork:
        """The network."""
        empty = settings.extra_prefix == "zeros"
        return SMSGENetwork(shape.skeleton, settings.H, empty_frame=empty, generator=generator)

    def prepare(self) -> None:
        """Windows in memory, and frames of subsequences."""
        s = self.settings
        self.windows = tensor_of(self.data.train, self.runtime.device)
        once = s.sampled_frames == "once"
        self.positions = Positions(self.seeds.masks, s.place.length, once=once)

    def new_optimizer(self) -> SharedAdam:
        """One Adam for the loss of each level."""
        shared, rate = self.network.shared_parameters(), self.settings.training.lr
        return SharedAdam(self.network, shared, len(GRAPH_LEVELS), rate)

    def steps(self) -> EpochRecord:
        """One step of all four Adams a batch."""
        total = torch.zeros(len(GRAPH_LEVELS), device=self.windows.device)
        batches = self.windows.split(self.settings.windows.batch_size)
        for windows in self.bar(batches):  # nothing in here may wait for a GPU
            total += self.step(windows, self.positions.next())
        self.require_finite(total)
        return mean_losses(total, NAMES, len(batches))

    def step(self, windows: torch.Tensor, positions: list[list[int]]) -> torch.Tensor:
        """One step from (B, f, 3 J) windows: (4,) losses of the levels.

        Each loss has a gradient of its own for the graphs' weights, at the same weights; that of
        an LSTM and its heads comes from one loss alone.
        """
        network, optimizer = self.network, self.optimizer
        optimizer.zero_grad()
        places = network.graphs.positions(windows)
        fused = network.collaborating(network.graphs(places))
        leaves = {level: nodes.detach().requires_grad_() for level, nodes in fused.items()}
        losses = self.losses(leaves, places, positions)
        losses.sum().backward()
        shared = network.shared_parameters()
        for row, level in zip(optimizer.slopes, GRAPH_LEVELS, strict=True):
            slopes = torch.autograd.grad(
                fused[level], shared, leaves[level].grad, retain_graph=True, allow_unused=True
            )
            parts = row.split([weight.numel() for weight in shared])
            for part, slope in zip(parts, slopes, strict=True):
                if slope is not None:
                    part.copy_(slope.flatten())
        optimizer.step()
        return losses.detach()

    def losses(self, features: Levels, places: Levels, positions: list[list[int]]) -> torch.Tensor:
        """(4,) losses of the levels from (n, 8, F) features and (n, 3, F) positions of nodes."""
        length = self.settings.place.length
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


def size_of(settings: SMSGESettings, skeleton: Skeleton, dataset: str) -> tuple[int, int, int]:
    """Values a frame, and parameters and operations of a step as the papers count."""
    network = SMSGETraining.new_network(settings, Shape(skeleton), torch.Generator())
    classes = IDENTITIES.get(dataset, 0)
    shape = (settings.H, settings.windows.batch_size, settings.place.length, classes)
    return (
        CHANNELS * sum(network.graphs.sizes.values()),
        count_parameters(network) + UNUSED + smsge_head(settings.H, classes),
        smsge_flops(skeleton.n_joints, *shape),
    )


def model_size(settings: SMSGESettings) -> str:
    """Parameters and operations of a training step."""
    return graph_size_text("SM-SGE", settings, size_of, SMSGETraining.new_network)


SOURCE = Source(
    "SM-SGE",
    SMSGESettings,
    KINDS,
    SMSGETraining.new_network,
    size_of,
    shuffles=shuffles_graphs,
    needs=require_graphs,
)
METHOD = SOURCE.method(
    "train SM-SGE without labels, or score a trained run",
    SMSGETraining,
    model_size,
)
