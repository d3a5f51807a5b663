"""Picture of the frames that hard skeleton mining weighs most, as Figure 7 of the Hi-MPC paper.

A block is one window: a row of skeletons for each body level, and under each row a strip with one
cell a frame, the darker the more important. Long windows show every n-th skeleton over all cells.
The whole picture is drawn in inches, so that no two texts meet whatever there is to draw.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simmc.data.skeletons import Skeleton
from simmc.reports.body_view import level_bones, projected, shown_frames
from simmc.reports.importance_layout import (
    MARGIN,
    SIDE,
    STRIP,
    TITLE,
    UNDER,
    Layout,
    note_lines,
    plan,
    text_lines,
)
from simmc.reports.style import BLUE, FAINT, GREEN, INK, ORANGE, save

COLOURS = {"joint": GREEN, "component": BLUE, "limb": ORANGE}  # those of the paper
HEAT = "Purples"
SHADOW = "#d0d0d0"
OUTLIER = "outlier: no importance"

_SMALL = 8
_DOT = {"joint": 2.4, "component": 4.0, "limb": 5.5}


@dataclass(frozen=True, eq=False)
class Window:
    """One window to draw.

    Attributes:
        title: whose, which.
        note: what else is to be said of it; may be empty.
        joints: (f, J, 3) float, metres, y the vertical.
        points: level -> (f, n, 3) float, what the network sees at that level.
        importance: level -> (f,) float, weights that sum to 1; NaN where the window is an outlier.
    """

    title: str
    note: str
    joints: np.ndarray
    points: Mapping[str, np.ndarray]
    importance: Mapping[str, np.ndarray]


def draw(windows: Sequence[Window], skeleton: Skeleton, heading: str, text: str, out: Path) -> Path:
    """Draws windows at each level with the importance of their frames.

    Args:
        windows: at least one, all of one length and with the same levels.
        skeleton: names the joint axis of `joints`.
        heading: first line.
        text: sentences under it.
        out: file to write; its ending, .png or .svg, says the format.

    Returns:
        The file written.

    Raises:
        UserError: another ending, or no matplotlib.
    """
    return save(lambda: _figure(windows, skeleton, heading, text), out)


def as_csv(
    windows: np.ndarray,
    persons: np.ndarray,
    clusters: Mapping[str, np.ndarray],
    importance: Mapping[str, np.ndarray],
) -> str:
    """The numbers of a picture: a line for each window, level and frame.

    Args:
        windows: (n,) int64 places in the training windows.
        persons: (n,) int64 identities as the dataset labels them.
        clusters: level -> (n,) int64 pseudo labels; -1 = outlier.
        importance: level -> (n, f) float, NaN of outliers, which is left empty.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("window", "person", "level", "cluster", "frame", "importance"))
    for i, window in enumerate(windows):
        for level, values in importance.items():
            for frame, value in enumerate(values[i], start=1):
                shown = f"{value:.6g}" if np.isfinite(value) else ""
                writer.writerow((window, persons[i], level, clusters[level][i], frame, shown))
    return text.getvalue()


def _figure(windows: Sequence[Window], skeleton: Skeleton, heading: str, text: str) -> Any:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    length = len(windows[0].joints)
    values = np.concatenate([row for window in windows for row in window.importance.values()])
    most = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
    # frames that are all alike stay light
    heat = ScalarMappable(Normalize(0, max(most, min(1.0, 3 / length))), colormaps[HEAT])
    seen = [projected({"body": one.joints, **one.points}, skeleton) for one in windows]
    bodies = np.stack([one["body"] for one in seen])
    place = plan(bodies, len(windows[0].points), [window.note for window in windows], text)
    figure = Figure(figsize=place.size)
    canvas = figure.add_axes((0, 0, 1, 1))
    canvas.set(xlim=(0, place.size[0]), ylim=(0, place.size[1]))
    canvas.axis("off")
    top = place.size[1] - 0.16
    canvas.text(0.12, top, heading, fontsize=12, fontweight="bold", va="top")
    lines = "\n".join(text_lines(text, place.size[0]))
    canvas.text(0.12, top - 0.28, lines, fontsize=9, va="top", linespacing=1.3)
    for index, window in enumerate(windows):
        down, right = divmod(index, place.columns)
        left = right * place.block[0] + SIDE
        top = place.size[1] - place.heading - down * place.block[1]
        _draw_block(canvas, window, seen[index], skeleton, place, left, top, heat)
    _draw_scale(figure, place, heat, length)
    return figure


def _draw_block(
    canvas: Any,
    window: Window,
    seen: Mapping[str, np.ndarray],
    skeleton: Skeleton,
    place: Layout,
    left: float,
    top: float,
    heat: Any,
) -> None:
    """One window, to the right of `left` and below `top`."""
    canvas.text(left, top, window.title, fontsize=10, fontweight="bold", va="top")
    note = "\n".join(note_lines(window.note))
    canvas.text(left, top - 0.2, note, fontsize=_SMALL, va="top", linespacing=1.25)
    frames = shown_frames(len(window.joints))
    middles = left + (frames + 0.5) * place.content / len(window.joints)
    floor = top - TITLE - place.notes
    for level in window.points:
        floor -= place.tall
        at = np.stack([middles, np.full(len(frames), floor + MARGIN / 2)], axis=1)[:, None]
        if level != "joint":  # what the parts are parts of
            bones = level_bones("joint", skeleton)
            _draw_skeletons(canvas, seen["body"][frames] * place.scale + at, bones, SHADOW, 0)
        bones = level_bones(level, skeleton)
        _draw_skeletons(
            canvas, seen[level][frames] * place.scale + at, bones, COLOURS[level], _DOT[level]
        )
        canvas.text(
            left - 0.1,
            floor + place.tall / 2,
            level,
            color=COLOURS[level],
            fontweight="bold",
            rotation=90,
            ha="right",
            va="center",
        )
        _draw_strip(canvas, window.importance[level], (left, floor), place, heat)
        floor -= STRIP + UNDER
    under = floor + UNDER - 0.04
    canvas.text(left - 0.05, under, "frame", fontsize=_SMALL, ha="right", va="top")
    for x, frame in zip(middles, frames, strict=True):
        canvas.text(x, under, str(frame + 1), fontsize=_SMALL, ha="center", va="top")


def _draw_skeletons(
    canvas: Any, points: np.ndarray, bones: np.ndarray, colour: str, dot: float
) -> None:
    """Skeletons (k, n, 2) in inches, with dots of that size in points."""
    from matplotlib.collections import LineCollection

    lines = points[:, bones].reshape(-1, 2, 2)
    canvas.add_collection(
        LineCollection(list(lines), colors=colour, linewidths=1.4, capstyle="round"),
        autolim=False,
    )
    if dot:
        flat = points.reshape(-1, 2)
        canvas.plot(flat[:, 0], flat[:, 1], "o", color=colour, markersize=dot, markeredgewidth=0)


def _draw_strip(
    canvas: Any, importance: np.ndarray, corner: tuple[float, float], place: Layout, heat: Any
) -> None:
    """One cell a frame, its upper left corner at `corner`; with numbers where they fit."""
    from matplotlib.patches import Rectangle

    left, top = corner
    middle = top - STRIP / 2
    outlier = not np.isfinite(importance).all()
    if not outlier:
        edges = np.linspace(left, left + place.content, len(importance) + 1)
        canvas.pcolormesh(
            edges, [top - STRIP, top], importance[None], cmap=heat.cmap, norm=heat.norm
        )
        if len(shown_frames(len(importance))) == len(importance):
            for x, value in zip((edges[:-1] + edges[1:]) / 2, importance, strict=True):
                dark = heat.norm(value) > 0.55
                canvas.text(
                    x,
                    middle,
                    f"{value:.2f}",
                    color="white" if dark else INK,
                    fontsize=_SMALL,
                    ha="center",
                    va="center_baseline",
                )
    canvas.add_patch(
        Rectangle(
            (left, top - STRIP),
            place.content,
            STRIP,
            facecolor=FAINT if outlier else "none",
            edgecolor=INK,
            linewidth=0.6,
        )
    )
    if outlier:
        x = left + place.content / 2
        canvas.text(x, middle, OUTLIER, fontsize=_SMALL, ha="center", va="center_baseline")


def _draw_scale(figure: Any, place: Layout, heat: Any, length: int) -> None:
    """The colour bar at the foot, with a mark where all frames would weigh the same."""
    width, height = place.size
    box = (SIDE / width, 0.36 / height, 2.4 / width, 0.14 / height)
    axes = figure.add_axes(box)
    bar = figure.colorbar(heat, cax=axes, orientation="horizontal")
    bar.ax.tick_params(labelsize=_SMALL)
    bar.ax.grid(False)
    bar.ax.plot([1 / length] * 2, [0, 1], color=ORANGE, linewidth=1.6)
    figure.text(
        (SIDE + 2.55) / width,
        0.43 / height,
        f"importance of a frame; mark: 1/{length}, all frames alike",
        fontsize=9,
        va="center",
    )
