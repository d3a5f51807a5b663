"""Picture of attention matrices, as Figure 4 of the SGELA paper.

A row for each pretext task: the matrices of the three coordinates, and the locality mask where the
task has one. Columns of a matrix are input frames, its rows are decoding steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simmc.files import csv_text
from simmc.reports.style import INK, save, scale_bar

AXES = ("x", "y", "z")
NUMBERED = 10  # frames up to which every cell shows its number
_SMALL = 7.5


@dataclass(frozen=True, eq=False)
class Task:
    """The matrices of one pretext task.

    Attributes:
        name: value of `--task`.
        title: its name in pictures.
        alignments: (3, f, f) float: axis, step, frame; each row of a matrix sums to 1.
        mask: (f, f) float, or None where the task has none.
    """

    name: str
    title: str
    alignments: np.ndarray
    mask: np.ndarray | None


def draw(tasks: Sequence[Task], heading: str, text: str, out: Path) -> Path:
    """Draw the matrices of one or more tasks, all with windows of one length, to a .png or .svg."""
    return save(lambda: _figure(tasks, heading, text), out)


def as_csv(tasks: Sequence[Task]) -> str:
    """The numbers of a picture: a line for each task, axis, step and frame, from 1."""
    rows: list[tuple[Any, ...]] = [("task", "axis", "step", "frame", "alignment", "mask")]
    for task in tasks:
        for axis, matrix in zip(AXES, task.alignments, strict=True):
            for (t, j), value in np.ndenumerate(matrix):
                mask = "" if task.mask is None else f"{task.mask[t, j]:.6g}"
                rows.append((task.name, axis, t + 1, j + 1, f"{value:.6g}", mask))
    return csv_text(rows)


def _figure(tasks: Sequence[Task], heading: str, text: str) -> Any:
    """A row for each task: the coordinates, and the mask where there is one."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    masked = any(task.mask is not None for task in tasks)
    columns, length = len(AXES) + masked, tasks[0].alignments.shape[2]
    figure = Figure(figsize=(2.8 * columns, 2.9 * len(tasks) + 1.5), layout="constrained")
    figure.suptitle(heading, x=0.01, ha="left")
    figure.supxlabel(text, x=0.01, ha="left", fontsize=9)
    grid = figure.subplots(len(tasks), columns, squeeze=False)
    values = np.stack([task.alignments for task in tasks])
    heat = scale_bar(figure, grid[:, : len(AXES)], values, length, "alignment $a_t(j)$")
    grey = ScalarMappable(Normalize(0, 1), colormaps["Greys"])
    if masked:
        bar = figure.colorbar(grey, ax=grid[:, -1], location="bottom", aspect=20)
        bar.set_label("mask $l_t(j)$", fontsize=9)
        bar.ax.tick_params(labelsize=_SMALL)
    for row, task in zip(grid, tasks, strict=True):
        for axes, axis, matrix in zip(row, AXES, task.alignments, strict=False):
            _draw_matrix(axes, f"axis {axis}", matrix, heat)
        if task.mask is not None:
            _draw_matrix(row[-1], "locality mask", task.mask, grey)
        elif masked:
            row[-1].set_visible(False)
        row[0].set_ylabel(f"{task.title}\ndecoding step t", fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel("input frame j", fontsize=9)
    return figure


def _draw_matrix(axes: Any, title: str, matrix: np.ndarray, colours: Any) -> None:
    """One matrix, step 1 on top, with a number in every cell where there are few."""
    length = len(matrix)
    axes.imshow(matrix, cmap=colours.cmap, norm=colours.norm, aspect="equal")
    axes.set_title(title, fontsize=9)
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)
    places = np.arange(length)
    if length > NUMBERED:
        places = np.unique(np.append(np.arange(0, length, max(1, length // 5)), length - 1))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(places, [str(place + 1) for place in places], fontsize=_SMALL)
    axes.tick_params(length=2)
    if length > NUMBERED:
        return
    for (t, j), value in np.ndenumerate(matrix):
        colour = "white" if colours.norm(value) > 0.55 else INK
        where = {"ha": "center", "va": "center_baseline"}
        axes.text(j, t, f"{value:.2f}", color=colour, fontsize=_SMALL, **where)
