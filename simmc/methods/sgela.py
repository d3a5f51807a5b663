"""AGE and SGELA (CAGEs): gait encoding with locality awareness, one file for both.

AGE (Rao et al., IJCAI 2020): an encoder and a decoder with attention for each coordinate learn to
reconstruct a window in reverse order (L_S), with attention near the decoded frame (L_A).
SGELA (TPAMI 2021) adds the contrast of consecutive windows (L_C) and other pretext tasks, each with
models of its own. The features are those of the last epoch.

One epoch: for each batch, inputs and targets of every task -> decode -> L = L_S + lambda_A L_A +
lambda_C L_C + weight decay (Eq. 16) -> gradients clipped to [-5, 5] -> Adam.
Shape letters: N windows, f frames, B batch, J joints, m models (3 a task).
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from simmc.data.experiment.experiment import Experiment
from simmc.data.skeletons import Skeleton
from simmc.engine.method import a_step, counted, shape_of, without_class_balance
from simmc.engine.training import Shape, Training, mean_losses
from simmc.errors import UserError
from simmc.losses import locality_alignment, neighbor_contrast, reconstruction
from simmc.methods.pretext import (
    CHOSEN_BY,
    COMMON_TRAINING,
    Source,
    check_kind,
    encoder,
    preset_names,
)
from simmc.models.sgela import AXES, GaitNetwork, coordinates, step_flops, stored_parameters
from simmc.models.sgela_encoder import GaitShape
from simmc.models.simmc import count_parameters
from simmc.runs.records import EpochRecord
from simmc.scoring.match import tensor_of
from simmc.settings import groups
from simmc.settings.groups import COUNT, POSITIVE
from simmc.settings.options import MAIN, Range, Settings, group_of, option, switch

CLIP = 5.0
SHARE = 2 / 3  # of BIWI's windows, from the first on, on which the public program trains
TASKS = ("rev_rec", "pred", "sort")
TASK_TITLES = {"rev_rec": "Rev. Rec.", "pred": "Pred.", "sort": "Sort."}
PLUS = "plus"
KINDS = ("mean", "sc", "last")


@dataclass(frozen=True)
class Gait(Settings):
    """Settings of the models of AGE and SGELA."""

    H: int = option(256, "Units of each LSTM layer (paper: K).", aliases=("K",), limits=COUNT)
    attention: str = option(
        "locality",
        "Attention of reverse reconstruction: locality (LAS), masked (MBAS), basic (BAS) or none. "
        "Prediction and sorting have basic attention, or none.",
        choices=("locality", "masked", "basic", "none"),
    )
    D: float | None = option(
        None,
        "Reach of the locality mask (Eq. 5), or 'auto': --length.",
        kind=float,
        limits=POSITIVE,
        words={"auto": None},
    )
    lambda_A: float = option(1.0, "Weight of the locality loss L_A (Eq. 16).", limits=Range(0))
    l2: float = option(0.02, "Weight of half the sum of all squared weights.", limits=Range(0))
    decoder_input: str = switch("decoder_input")
    attention_form: str = switch("attention_form")
    encoder_windows: str = switch("encoder_windows")


@dataclass(frozen=True, kw_only=True)
class AgeSettings(Settings):
    """Everything that AGE takes."""

    COMMAND: ClassVar[str] = "age"
    SUMMARY: ClassVar[str] = (
        "Train AGE, reverse reconstruction with locality-aware attention, on unlabelled skeleton "
        "windows and score its features by matching, or score a trained run (--mode Eval)."
    )

    place: groups.Place
    machine: groups.Machine
    common: groups.Common
    windows: groups.Windows = group_of(batch_size=128)
    joints: groups.Joints
    training: groups.Training = group_of(**COMMON_TRAINING, lr=5e-4, epochs=400)
    pretext: groups.Pretext
    labels: groups.LabelFree
    rematch: groups.Rematch
    gait: Gait

    preset_names = staticmethod(preset_names)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The pretext tasks; each has models of its own."""
        return TASKS[:1]

    def check(self) -> None:
        """Coordinates of joints; a pooled feature that exists."""
        self.joints.require_coordinates(self.COMMAND)
        check_kind(self, KINDS)


@dataclass(frozen=True, kw_only=True)
class SgelaSettings(Settings):
    """Everything that SGELA takes."""

    COMMAND: ClassVar[str] = "sgela"
    SUMMARY: ClassVar[str] = (
        "Train SGELA, AGE with the contrast of neighbouring windows and other pretext tasks, on "
        "unlabelled skeleton windows and score its features (CAGEs) by matching, or score a "
        "trained run (--mode Eval)."
    )

    place: groups.Place
    machine: groups.Machine
    common: groups.Common
    windows: groups.Windows = group_of(batch_size=128)
    joints: groups.Joints
    training: groups.Training = group_of(**COMMON_TRAINING, lr=5e-4, epochs=400)
    pretext: groups.Pretext
    labels: groups.LabelFree
    rematch: groups.Rematch
    gait: Gait
    task: str = option(
        "rev_rec",
        "Pretext task: rev_rec, pred, sort, several joined by + whose features are joined, or plus "
        "(all three).",
        group=MAIN,
    )
    tau: float = option(
        0.1, "Temperature of the contrast (Eq. 14).", aliases=("t",), limits=POSITIVE
    )
    interval: int = option(
        1, "Distance between the windows of a positive pair (Table 6).", limits=COUNT
    )
    lambda_C: float = option(1.0, "Weight of the contrast L_C (Eq. 16); 0: none.", limits=Range(0))
    lcl_batches: str = switch("lcl_batches")
    lcl_same_window: str = switch("lcl_same_window")
    plus_data: str = switch("plus_data")

    preset_names = staticmethod(preset_names)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The pretext tasks, reverse reconstruction first; each has models of its own."""
        return TASKS if self.task == PLUS else tuple(self.task.split("+"))

    def check(self) -> None:
        """Tasks that exist, each once, in the usual order; pairs that exist."""
        self.joints.require_coordinates(self.COMMAND)
        check_kind(self, KINDS)
        named = [word.strip().casefold() for word in self.task.split("+")]
        if named != [PLUS] and not (set(named) <= set(TASKS) and len(set(named)) == len(named)):
            raise UserError(
                f"--task {self.task!r} is not possible; allowed: {', '.join(TASKS)}, two or three "
                f"of them joined by +, or {PLUS}."
            )
        ordered = [PLUS] if named == [PLUS] else [task for task in TASKS if task in named]
        object.__setattr__(self, "task", "+".join(ordered))
        batch = self.windows.batch_size
        if self.lambda_C and self.interval >= batch:
            raise UserError(
                f"--interval {self.interval} leaves no pair in a batch of --batch_size "
                f"{batch} windows; allowed: 1 to {batch - 1}."
            )


GaitSettings = AgeSettings | SgelaSettings


class GaitTraining(Training[Any]):
    """A training in progress; the arguments are those of `Training`.

    `seeds.weights` draws the initial weights, `seeds.masks` AGE's order and the order of frames in
    the sorting task. `batches` are the rows of the windows of each step, the same in every epoch.
    """

    CHOSEN_BY = CHOSEN_BY
    encoder = staticmethod(encoder)
    network: GaitNetwork

    @staticmethod
    def new_network(
        settings: GaitSettings, shape: Shape, generator: torch.Generator
    ) -> GaitNetwork:
        """Models for every task and coordinate."""
        return GaitNetwork(
            len(settings.tasks),
            gait_shape(settings, shape.skeleton),
            reach=settings.gait.D,
            masked=int(settings.tasks[0] == "rev_rec"),
            generator=generator,
        )

    def prepare(self) -> None:
        """Windows in memory, and their batches."""
        s, device, draw = self.settings, self.runtime.device, self.seeds.masks
        self.windows = tensor_of(self.data.train, device)
        self.batches = [torch.from_numpy(r).to(device) for r in batch_rows(s, self.data, draw)]
        n, length = self.windows.shape[:2]
        self.following = torch.arange(1, n + 1, device=device).clamp(max=n - 1)
        order = draw.permuted(np.tile(np.arange(length), (n, 1)), axis=1)
        self.shuffled = torch.from_numpy(order).to(device)
        self.tasks = learned_tasks(s)
        is_reversed = torch.tensor([task == "rev_rec" for task in s.tasks])
        self.reversed = is_reversed.repeat_interleave(AXES)[:, None, None].to(device)

    def steps(self) -> EpochRecord:
        """One step a batch."""
        s, gait, models = self.settings, self.settings.gait, self.network.models
        sums = torch.zeros(3, device=self.windows.device)
        for rows in self.bar(self.batches):  # nothing in here may wait for a GPU
            inputs, targets = self.examples(rows)
            mask = self.network.mask(inputs)
            found = models(inputs, mask, self.reversed, targets)
            recovered = reconstruction(found.outputs, targets)
            total, located, contrast = recovered, sums.new_zeros(()), sums.new_zeros(())
            if gait.attention == "locality" and s.tasks[0] == "rev_rec":
                located = locality_alignment(found.alignments[:AXES], mask[0])
                total = total + gait.lambda_A * located
            if isinstance(s, SgelaSettings) and s.lambda_C:
                contrast = neighbor_contrast(
                    models.head(found.contexts),
                    s.tau,
                    s.interval,
                    same_window=s.lcl_same_window,
                )
                total = total + s.lambda_C * contrast
            self.optimizer.zero_grad()
            total.backward()
            # half the squared weights, all of them, then element by element as TensorFlow clips
            self.optimizer.gradient.add_(self.optimizer.vector, alpha=gait.l2).clamp_(-CLIP, CLIP)
            self.optimizer.step()
            sums += torch.stack([recovered.detach(), located.detach(), contrast.detach()])
        self.require_finite(sums)
        return mean_losses(sums, ("reconstruction", "locality", "contrast"), len(self.batches))

    def examples(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of some windows, (m, f, B, J) each (paper section 3.1)."""
        given = coordinates(self.windows[rows])
        inputs, targets = [], []
        for task in self.tasks:
            inputs.append(given)
            if task == "rev_rec":
                targets.append(given.flip(1))
            elif task == "pred":
                targets.append(coordinates(self.windows[self.following[rows]]))
            else:
                inputs[-1] = coordinates(self.windows[rows[:, None], self.shuffled[rows]])
                targets.append(given)
        return torch.cat(inputs), torch.cat(targets)


def gait_shape(settings: GaitSettings, skeleton: Skeleton) -> GaitShape:
    """The shape of each model."""
    gait = settings.gait
    contrasts = isinstance(settings, SgelaSettings) and settings.lambda_C > 0
    return GaitShape(
        skeleton.n_joints,
        gait.H,
        gait.attention,
        projected=gait.attention_form == "projected",
        fed=gait.decoder_input == "skeletons",
        contrast_length=settings.place.length if contrasts else 0,
    )


def learned_tasks(settings: GaitSettings) -> tuple[str, ...]:
    """The task that each set of models is trained on.

    The public program's mode for all three keeps loading reversed data (S10).
    """
    if not isinstance(settings, SgelaSettings) or settings.task != PLUS:
        return settings.tasks
    return ("rev_rec",) * 3 if settings.plus_data == "reversed" else settings.tasks


def batch_rows(
    settings: GaitSettings, data: Experiment, generator: np.random.Generator
) -> list[np.ndarray]:
    """Rows of the training windows in each batch.

    AGE: one random order, drawn once. SGELA: the stored order, in which windows of a batch are
    consecutive; its batches may end with a person or a recording (S5). Otherwise the last,
    incomplete batch is left out, as released.
    """
    n, size = len(data.train), settings.windows.batch_size
    if settings.place.dataset == "BIWI" and settings.gait.encoder_windows == "two_thirds":
        n = math.ceil(SHARE * n)
    rows = np.arange(n)
    if not isinstance(settings, SgelaSettings):
        rows = generator.permutation(n)
    elif settings.lambda_C and settings.lcl_batches != "stored":
        train = data.train
        if settings.lcl_batches == "person":
            data.require_labels("--lcl_batches person", "use --lcl_batches recording")
        group = train.identity if settings.lcl_batches == "person" else train.recording
        if group is not None:
            runs = [np.flatnonzero(group[:n] == one) for one in np.unique(group[:n])]
            return [part for run in runs for part in split(run, size)]
    whole = split(rows, size)
    return whole[:-1] if len(whole) > 1 and len(whole[-1]) < size else whole


def split(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """Parts of that size, the last one of what is left."""
    return [rows[low : low + size] for low in range(0, len(rows), size)]


def size_of(settings: GaitSettings, skeleton: Skeleton, dataset: str = "") -> tuple[int, int, int]:
    """Features of a frame, parameters as the papers count, operations of a step."""
    shape, tasks = gait_shape(settings, skeleton), len(settings.tasks)
    length = settings.place.length
    return (
        AXES * tasks * settings.gait.H,
        stored_parameters(shape, length, tasks),
        step_flops(shape, length, settings.windows.batch_size, tasks),
    )


def label_free(settings: SgelaSettings) -> SgelaSettings:
    """No class sampling, and batches that end with a recording, not with a person."""
    plain = without_class_balance(settings)
    if plain.lambda_C and plain.lcl_batches == "person":
        return plain.but(lcl_batches="recording")
    return plain


def title(settings: GaitSettings) -> str:
    """The name in tables: "SGELA" for reverse reconstruction; other tasks are added."""
    if not isinstance(settings, SgelaSettings):
        return "AGE"
    if settings.task == "rev_rec":
        return "SGELA"
    names = "Rev. Rec. Plus"
    if settings.task != PLUS:
        names = " + ".join(TASK_TITLES[task] for task in settings.tasks)
    return f"SGELA ({names})"


def model_size(settings: GaitSettings) -> str:
    """Parameters and operations of a training step."""
    shape = shape_of(settings)
    _, stored, flops = size_of(settings, shape.skeleton)
    network = GaitTraining.new_network(settings, shape, torch.Generator())
    step = a_step(settings, flops, "forward and backward, products alone")
    return (
        f"{counted(title(settings), settings, stored)} as the papers count, "
        f"{count_parameters(network):,} of which are used; {step}"
    )


AGE = Source("AGE", AgeSettings, KINDS, GaitTraining.new_network, size_of)
SGELA = Source("SGELA", SgelaSettings, KINDS, GaitTraining.new_network, size_of)
AGE_METHOD = AGE.method(
    "train AGE without labels, or score a trained run", GaitTraining, model_size
)
METHOD = SGELA.method(
    "train SGELA without labels, or score a trained run",
    GaitTraining,
    model_size,
    title=title,
    label_free=label_free,
    recipe=lambda s: "sgela" if s.task == TASKS[0] else f"sgela_{s.task}",
)
