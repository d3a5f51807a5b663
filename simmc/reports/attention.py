"""Picture of attention matrices, as Figure 4 of the SGELA paper.

A row for each pretext task: the matrices of the three coordinates, and the locality mask where the
task has one. Columns of a matrix are input frames, its rows are decoding steps.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simmc.reports.style import INK, ORANGE, save

AXES = ("x", "y", "z")
HEAT, MASK = "Purples", "Greys"
NUMBERED = 10  # frames up to which every cell shows its number
_SIDE = 2.35  # inches of a matrix
_SMALL = 7.5


@dataclass(frozen=True, eq=False)
class Task:
    """The matrices of one pretext task.

    Attributes:
        name: as `--task` has it.
        title: in words.
        alignments: (3, f, f) float: axis, step, frame; each row of a matrix sums to 1.
        mask: (f, f) float, or None where the task has none.
    """

    name: str
    title: str
    alignments: np.ndarray
    mask: np.ndarray | None


def draw(tasks: Sequence[Task], heading: str, text: str, out: Path) -> Path:
    """Draws the matrices of at least one task.

    Args:
        tasks: all with windows of one length.
        heading: first line.
        text: lines under it.
        out: file to write; its ending, .png or .svg, says the format.

    Returns:
        The file written.

    Raises:
        UserError: another ending, or no matplotlib.
    """
    return save(lambda: _figure(tasks, heading, text), out)


def as_csv(tasks: Sequence[Task]) -> str:
    """The numbers of a picture: a line for each task, axis, step and frame, from 1."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("task", "axis", "step", "frame", "alignment", "mask"))
    for task in tasks:
        for axis, matrix in zip(AXES, task.alignments, strict=True):
            for (t, j), value in np.ndenumerate(matrix):
                mask = "" if task.mask is None else f"{task.mask[t, j]:.6g}"
                writer.writerow((task.name, axis, t + 1, j + 1, f"{value:.6g}", mask))
    return text.getvalue()


def _figure(tasks: Sequence[Task], heading: str, text: str) -> Any:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    masked = any(task.mask is not None for task in tasks)
    columns = len(AXES) + masked
    most, length = max(float(task.alignments.max()) for task in tasks), tasks[0].alignments.shape[2]
    # attention that is the same everywhere stays light
    heat = ScalarMappable(Normalize(0, max(most, min(1.0, 3 / length))), colormaps[HEAT])
    grey = ScalarMappable(Normalize(0, 1), colormaps[MASK])
    gap, head, foot, left = 0.42, 0.45 + 0.2 * text.count("\n"), 0.85, 0.75
    block = _SIDE + 0.75
    width = left + columns * (_SIDE + gap)
    height = head + len(tasks) * block + foot
    figure = Figure(figsize=(width, height))
    figure.text(0.12 / width, 1 - 0.12 / height, heading, fontsize=12, fontweight="bold", va="top")
    figure.text(0.12 / width, 1 - 0.38 / height, text, fontsize=9, va="top", linespacing=1.3)
    for row, task in enumerate(tasks):
        floor = height - head - (row + 1) * block + 0.3
        panels = [(f"axis {a}", m, heat) for a, m in zip(AXES, task.alignments, strict=True)]
        if task.mask is not None:
            panels.append(("locality mask", task.mask, grey))
        for column, (title, matrix, colours) in enumerate(panels):
            x = left + column * (_SIDE + gap)
            box = (x / width, floor / height, _SIDE / width, _SIDE / height)
            axes = figure.add_axes(box)
            _draw_matrix(axes, matrix, colours)
            axes.set_title(title, fontsize=9)
            if column == 0:
                axes.set_ylabel(f"{task.title}\ndecoding step t", fontsize=9)
            if row == len(tasks) - 1:
                axes.set_xlabel("input frame j", fontsize=9)
    alike = f"alignment $a_t(j)$; mark: 1/{length}, all frames alike"
    scales = [(heat, alike, left)]
    if masked:
        scales.append((grey, "mask $l_t(j)$", left + len(AXES) * (_SIDE + gap)))
    for colours, said, x in scales:
        long = 2 * _SIDE if colours is heat else _SIDE
        bar = figure.colorbar(
            colours,
            cax=figure.add_axes((x / width, 0.42 / height, long / width, 0.12 / height)),
            orientation="horizontal",
        )
        bar.ax.tick_params(labelsize=_SMALL)
        bar.ax.grid(False)
        if colours is heat:
            bar.ax.plot([1 / length] * 2, [0, 1], color=ORANGE, linewidth=1.6)
        figure.text(x / width, 0.05 / height, said, fontsize=8.5)
    return figure


def _draw_matrix(axes: Any, matrix: np.ndarray, colours: Any) -> None:
    """One matrix, step 1 on top, with a number in every cell where there are few."""
    length = len(matrix)
    axes.imshow(matrix, cmap=colours.cmap, norm=colours.norm, aspect="equal")
    axes.grid(False)
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
        axes.text(
            j,
            t,
            f"{value:.2f}",
            color="white" if colours.norm(value) > 0.55 else INK,
            fontsize=_SMALL,
            ha="center",
            va="center_baseline",
        )
