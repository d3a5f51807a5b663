"""MG-SCR (Rao et al., IJCAI 2021): its pretext task, sparse sequential prediction (SSP).

The supervised stage that follows it is `simmc recognition --source MG-SCR`.

One epoch: for each batch, node features of three levels -> relations and fusion at the joints ->
for k = 1 to f - 1, k frames out of the first f - 1 -> LSTM -> each output predicts the skeleton one
frame later (L_k) -> mean of the L_k -> Adam. Shape letters: N windows, f frames, B batch, M places
of the subsequences.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from simmc.data.graph_levels import containing
from simmc.data.skeletons import Skeleton
from simmc.engine.training import Shape, Training
from simmc.errors import UserError
from simmc.losses import sparse_prediction
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
from simmc.models.graph_size import IDENTITIES, UNUSED, mgscr_flops, mgscr_head
from simmc.models.kernels.lanes import CHANNELS
from simmc.models.mgscr import MGSCRNetwork
from simmc.models.simmc import count_parameters
from simmc.models.subsequences import Subsequences, encode, misplaced_subsequences, subsequences
from simmc.runs.records import EpochRecord
from simmc.scoring.match import tensor_of
from simmc.settings import groups
from simmc.settings.groups import COUNT
from simmc.settings.options import Range, Settings, group_of, option, switch


@dataclass(frozen=True, kw_only=True)
class MGSCRSettings(Settings):
    """Everything that MG-SCR takes."""

    COMMAND: ClassVar[str] = "mgscr"
    SUMMARY: ClassVar[str] = (
        "Train MG-SCR's pretext task, sparse sequential prediction on multi-level skeleton graphs, "
        "on unlabelled skeleton windows and score its features by matching, or score a trained run "
        "(--mode Eval). Its supervised stage: simmc recognition --source MG-SCR."
    )

    place: groups.Place
    machine: groups.Machine
    common: groups.Common
    windows: groups.Windows
    joints: groups.Joints
    training: groups.Training = group_of(**COMMON_TRAINING, lr=5e-3, epochs=150)
    pretext: groups.Pretext
    labels: groups.LabelFree
    rematch: groups.Rematch
    H: int = option(128, "Units of each LSTM layer.", limits=COUNT)
    lambda_: float = option(0.3, "Weight of the coarse levels in the fusion.", limits=Range(0))
    gathering: str = switch("gathering")
    last_frame: str = switch("last_frame")
    sampled_frames: str = switch("sampled_frames")

    preset_names = staticmethod(preset_names)

    def check(self) -> None:
        """Coordinates of joints; a pooled feature that exists."""
        self.joints.require_coordinates(self.COMMAND)
        check_kind(self, KINDS)


class MGSCRTraining(Training[MGSCRSettings]):
    """A training in progress; the arguments are those of `Training`.

    `seeds.weights` draws the initial weights, `seeds.masks` the frames of the subsequences.
    """

    CHOSEN_BY = CHOSEN_BY
    encoder = staticmethod(encoder)
    network: MGSCRNetwork

    @staticmethod
    def new_network(
        settings: MGSCRSettings, shape: Shape, generator: torch.Generator
    ) -> MGSCRNetwork:
        """The network."""
        s = settings
        return MGSCRNetwork(
            shape.skeleton,
            s.H,
            s.lambda_,
            last_frame=s.last_frame == "encode",
            batch=s.windows.batch_size if s.gathering == "published" else None,
            generator=generator,
        )

    def prepare(self) -> None:
        """Windows in memory, and frames of subsequences."""
        s, frames = self.settings, self.settings.place.length - 1  # the last one is only predicted
        if frames < 1:
            raise UserError("--length 1 leaves no frame to predict; give 2 or more.")
        self.windows = tensor_of(self.data.train, self.runtime.device)
        self.positions = Positions(self.seeds.masks, frames, once=s.sampled_frames == "once")

    def steps(self) -> EpochRecord:
        """One step a batch."""
        total = torch.zeros((), device=self.windows.device)
        batches = self.windows.split(self.settings.windows.batch_size)
        for windows in self.bar(batches):  # nothing in here may wait for a GPU
            loss = self.loss(windows, self.positions.next())
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


def size_of(settings: MGSCRSettings, skeleton: Skeleton, dataset: str) -> tuple[int, int, int]:
    """Values a frame, and parameters and operations of a step as the papers count."""
    network = MGSCRTraining.new_network(settings, Shape(skeleton), torch.Generator())
    classes = IDENTITIES.get(dataset, 0)
    shape = (settings.H, settings.windows.batch_size, settings.place.length, classes)
    return (
        CHANNELS * skeleton.n_joints,
        count_parameters(network) + UNUSED + mgscr_head(settings.H, classes),
        mgscr_flops(skeleton.n_joints, *shape),
    )


def model_size(settings: MGSCRSettings) -> str:
    """Parameters and operations of a training step."""
    return graph_size_text("MG-SCR", settings, size_of, MGSCRTraining.new_network)


def needs(skeleton: Skeleton) -> None:
    """UserError where a joint is in no part or in several."""
    require_graphs(skeleton)
    containing(skeleton, "component")
    containing(skeleton, "limb")


SOURCE = Source(
    "MG-SCR",
    MGSCRSettings,
    KINDS,
    MGSCRTraining.new_network,
    size_of,
    shuffles=shuffles_graphs,
    needs=needs,
)
METHOD = SOURCE.method(
    "train MG-SCR's pretext task, or score a trained run",
    MGSCRTraining,
    model_size,
    # the pretext task alone: the papers' rows of MG-SCR are also trained on identities
    title=lambda settings: "MG-SCR (SSP)",
)
