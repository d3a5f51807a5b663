"""AGE and SGELA (CAGEs): gait encoding with locality awareness, one file for both.

AGE (Rao et al., IJCAI 2020): an encoder and a decoder with attention for each coordinate learn to
give a window back in reverse order (L_S), with attention drawn to the frame that is decoded (L_A).
SGELA (TPAMI 2021) adds the contrast of windows that follow each other (L_C), and may learn other
pretext tasks, each with models of its own. The weights of the last epoch give the features.

One epoch: for each batch, inputs and targets of every task -> decode -> L = L_S + lambda_A L_A +
lambda_C L_C + weight decay (Eq. 16) -> gradients clipped to [-5, 5] -> Adam.
Shape letters: N windows, f frames, B batch, J joints, m models (3 a task).
"""

import math
from typing import Any

import numpy as np
import torch

from simmc.config import AgeSettings, GaitSettings, SgelaSettings
from simmc.config.sgela import PLUS
from simmc.data.loaders import Experiment
from simmc.data.skeletons import Skeleton
from simmc.losses import locality_alignment, neighbor_contrast, reconstruction
from simmc.methods.pretext import PretextTraining
from simmc.methods.sources import Source
from simmc.models.gait_encoder import GaitShape
from simmc.models.gait_network import (
    AXES,
    GaitNetwork,
    coordinates,
    step_flops,
    stored_parameters,
)
from simmc.runs.runtime import Runtime
from simmc.runs.seeds import Seeds

CLIP = 5.0
SHARE = 2 / 3  # of BIWI's windows, from the first on, on which the public program trains


class GaitTraining(PretextTraining[GaitSettings]):
    """A training of AGE or SGELA in progress.

    Args:
        settings: of the method.
        data: its training windows in stored order.
        seeds: `weights` draws the initial weights, `masks` AGE's order and the frames' order of
            the sorting task.
        runtime: device and threads.
        protocols: that it serves.

    Attributes:
        batches: rows of the windows that each step learns from, the same in every epoch.
    """

    network: GaitNetwork

    def __init__(
        self,
        settings: GaitSettings,
        data: Experiment,
        seeds: Seeds,
        runtime: Runtime,
        protocols: tuple[str, ...],
    ) -> None:
        network = new_network(settings, data.skeleton, seeds.weights)
        super().__init__(settings, data, seeds, runtime, protocols, network)
        device = self.windows.device
        rows = batch_rows(settings, data, seeds.masks)
        self.batches = [torch.from_numpy(own).to(device) for own in rows]
        n, length = self.windows.shape[:2]
        self.following = torch.arange(1, n + 1, device=device).clamp(max=n - 1)
        order = seeds.masks.permuted(np.tile(np.arange(length), (n, 1)), axis=1)
        self.shuffled = torch.from_numpy(order).to(device)
        self.tasks = learned_tasks(settings)
        reversed_ = torch.tensor([task == "rev_rec" for task in settings.tasks])
        self.taught = reversed_.repeat_interleave(AXES)[:, None, None].to(device)

    def learn(self) -> dict[str, Any]:
        """One step a batch."""
        s, models = self.settings, self.network.models
        sums = torch.zeros(3, device=self.windows.device)
        for rows in self.progress(self.batches):  # nothing in here may wait for a GPU
            inputs, targets = self.examples(rows)
            mask = self.network.mask(inputs)
            found = models(inputs, mask, self.taught, targets)
            recovered = reconstruction(found.outputs, targets)
            total, located, contrast = recovered, sums.new_zeros(()), sums.new_zeros(())
            if s.attention == "locality" and s.tasks[0] == "rev_rec":
                located = locality_alignment(found.alignments[:AXES], mask[0])
                total = total + s.lambda_A * located
            if isinstance(s, SgelaSettings) and s.contrast:
                contrast = neighbor_contrast(
                    models.head(found.contexts),
                    s.tau,
                    s.interval,
                    same_window=s.lcl_same_window,
                )
                total = total + s.contrast * contrast
            self.optimizer.zero_grad()
            total.backward()
            # half the squared weights, all of them, then element by element as TensorFlow clips
            self.optimizer.gradient.add_(self.optimizer.vector, alpha=s.l2).clamp_(-CLIP, CLIP)
            self.optimizer.step()
            sums += torch.stack([recovered.detach(), located.detach(), contrast.detach()])
        self.require_finite(sums)
        names = ("reconstruction", "locality", "contrast")
        means = (sums / max(1, len(self.batches))).tolist()
        losses = {f"loss_{name}": value for name, value in zip(names, means, strict=True)}
        return {"steps": len(self.batches), **losses}

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


def new_network(
    settings: GaitSettings, skeleton: Skeleton, generator: torch.Generator
) -> GaitNetwork:
    """Untrained models for every task and coordinate."""
    return GaitNetwork(
        len(settings.tasks),
        shape_of(settings, skeleton),
        reach=settings.D,
        masked=int(settings.tasks[0] == "rev_rec"),
        generator=generator,
    )


def shape_of(settings: GaitSettings, skeleton: Skeleton) -> GaitShape:
    """What each model is."""
    return GaitShape(
        skeleton.n_joints,
        settings.H,
        settings.attention,
        projected=settings.attention_form == "projected",
        fed=settings.decoder_input == "skeletons",
        contrast_length=settings.length if settings.contrast else 0,
    )


def learned_tasks(settings: GaitSettings) -> tuple[str, ...]:
    """The task whose data each set of models sees.

    The public program's mode for all three keeps loading reversed data (S10).
    """
    if not isinstance(settings, SgelaSettings) or settings.task != PLUS:
        return settings.tasks
    return ("rev_rec",) * 3 if settings.plus_data == "reversed" else settings.tasks


def batch_rows(
    settings: GaitSettings, data: Experiment, generator: np.random.Generator
) -> list[np.ndarray]:
    """Rows of the training windows in each batch.

    AGE: one random order, drawn once. SGELA: the stored order, so that windows of a batch follow
    each other; its batches may have to end with a person or a recording (S5). Of other batches the
    last, incomplete one is left out, as released.
    """
    n = len(data.train)
    if settings.dataset == "BIWI" and settings.encoder_windows == "two_thirds":
        n = math.ceil(SHARE * n)
    rows = np.arange(n)
    if not isinstance(settings, SgelaSettings):
        rows = generator.permutation(n)
    elif settings.contrast and settings.lcl_batches != "stored":
        train = data.train
        if settings.lcl_batches == "person":
            data.require_labels("--lcl_batches person", "use --lcl_batches recording")
        group = train.identity if settings.lcl_batches == "person" else train.recording
        if group is not None:
            runs = [np.flatnonzero(group[:n] == one) for one in np.unique(group[:n])]
            return [part for run in runs for part in split(run, settings.batch_size)]
    whole = split(rows, settings.batch_size)
    return whole[:-1] if len(whole) > 1 and len(whole[-1]) < settings.batch_size else whole


def split(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """Parts of that size, the last one of what is left."""
    return [rows[low : low + size] for low in range(0, len(rows), size)]


def size_of(settings: GaitSettings, skeleton: Skeleton, dataset: str = "") -> tuple[int, int, int]:
    """Values a frame of the features, parameters as the papers count, operations of a step.

    They count no head, so the dataset has no part in it.
    """
    shape, tasks = shape_of(settings, skeleton), len(settings.tasks)
    return (
        AXES * tasks * settings.H,
        stored_parameters(shape, settings.length, tasks),
        step_flops(shape, settings.length, settings.batch_size, tasks),
    )


AGE = Source("AGE", AgeSettings, new_network, size_of)
SGELA = Source("SGELA", SgelaSettings, new_network, size_of)
