"""`simmc report attention`: the attention of a trained AGE or SGELA."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from simmc.cli import trained
from simmc.engine.stored_run import weights_of
from simmc.engine.training import Shape, load_weights
from simmc.errors import UserError, numbered
from simmc.losses import locality_mask
from simmc.methods import sgela
from simmc.methods.sgela import TASK_TITLES, GaitSettings
from simmc.models.sgela import AXES, GaitNetwork
from simmc.reports import attention as picture
from simmc.reports import results, style
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import start
from simmc.scoring.match import tensor_of

ENCODE_BATCH = 1024  # windows decoded at once
POINTER = "latest_[as]g*"  # the files that name the newest runs of AGE and SGELA
METHODS = [sgela.AGE_METHOD, sgela.METHOD]
KINDS = {
    "locality": "Locality-aware attention (trained towards the mask by a loss)",
    "masked": "Masked attention (the mask then scales these scores)",
    "basic": "Basic attention (the mask is not used)",
}


def draw(words: Any) -> list[Path]:
    """Draw the attention matrices of a run."""
    run = RunDirectory(results.folder_of(words.run, pointer=POINTER))
    out = words.out or run.path / "attention.png"
    style.require_drawable(out)
    settings = trained.settings_of(run, METHODS, "has no such attention", words.data_root)
    if settings.gait.attention == "none":
        raise UserError(
            f"{run.path} was trained with --attention none: there is nothing to draw. Give a run "
            "with another attention."
        )
    runtime = start()
    data = trained.data_of(run, sgela.METHOD, settings)
    network = sgela.GaitTraining.new_network(settings, Shape(data.skeleton), torch.Generator())
    epoch = load_weights(network, weights_of(run), "settings")
    windows = chosen_windows(tensor_of(data.probe, runtime.device), words.window)
    length = settings.place.length
    found = mean_alignments(network.to(runtime.device), windows)
    mask = locality_mask(length, settings.gait.D or length).numpy()
    tasks = [
        picture.Task(name, TASK_TITLES[name], matrices, mask if name == "rev_rec" else None)
        for name, matrices in zip(settings.tasks, found, strict=True)
    ]
    heading = trained.heading(sgela.title(settings), settings, data)
    text = caption(settings, words.window, len(windows), epoch)
    return style.save_with_numbers(
        lambda file: picture.draw(tasks, heading, text, file), picture.as_csv(tasks), out
    )


@torch.no_grad()
def mean_alignments(network: GaitNetwork, windows: torch.Tensor) -> np.ndarray:
    """Mean alignment scores a_t(j) over windows, (T, 3, f, f) float64: task, axis, step, frame.

    Args:
        network: with attention.
        windows: (N, f, 3 J), one or more.
    """
    network.eval()
    length = windows.shape[1]
    total = torch.zeros(AXES * network.tasks, length, length, dtype=torch.float64)
    for part in windows.split(ENCODE_BATCH):
        total += network.decode(part).alignments.double().sum(dim=2).cpu()
    return (total / len(windows)).unflatten(0, (network.tasks, AXES)).numpy()


def chosen_windows(windows: torch.Tensor, window: int | None) -> torch.Tensor:
    """All windows, or the one with this number; UserError where there is none."""
    if window is None:
        return windows
    if not 0 <= window < len(windows):
        raise UserError(
            f"--window {window}: the probe's windows are numbered from 0 to {len(windows) - 1}."
        )
    return windows[window : window + 1]


def caption(settings: GaitSettings, window: int | None, count: int, epoch: int) -> str:
    """The caption of the picture."""
    over = f"probe window {window}"
    if window is None:
        over = numbered("mean over {} probe [window|windows]", count)
    if "rev_rec" not in settings.tasks:
        return f"Basic attention, {over}, weights of epoch {epoch}."
    return (
        f"{KINDS[settings.gait.attention]}, {over}, weights of epoch {epoch}.\n"
        "Reverse reconstruction decodes frame f - t + 1 at step t: the rising diagonal."
    )
