"""Picture of the frames that hard skeleton mining weighs most, as Figure 7 of the Hi-MPC paper.

A column is one window, a row one body level: its skeletons, and under them a strip with one cell a
frame, the darker the more important. Long windows show every n-th skeleton.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simmc.data.skeletons import Skeleton
from simmc.files import csv_text
from simmc.reports.body_view import level_bones, projected, shown_frames
from simmc.reports.style import BLUE, FAINT, GREEN, INK, ORANGE, save, scale_bar

COLOURS = {"joint": GREEN, "component": BLUE, "limb": ORANGE}  # those of the paper
SHADOW = "#d0d0d0"
OUTLIER = "outlier: no importance"

_SMALL = 8
_DOT = {"joint": 2.4, "component": 4.0, "limb": 5.5}
_TALL, _CELL = 1.0, 0.58  # about so many inches: a row of skeletons, a frame
_WIDEST = 14.0  # inches of windows side by side
_STRIP = 0.24  # height of a strip, of the height of a row


@dataclass(frozen=True, eq=False)
class Window:
    """One window to draw.

    Attributes:
        title: person and number of the window.
        note: a remark under the title; may be empty.
        joints: (f, J, 3) float, metres, y the vertical.
        points: level -> (f, n, 3) float, the network's input at that level.
        importance: level -> (f,) float, weights that sum to 1; NaN where the window is an outlier.
    """

    title: str
    note: str
    joints: np.ndarray
    points: Mapping[str, np.ndarray]
    importance: Mapping[str, np.ndarray]


def draw(windows: Sequence[Window], skeleton: Skeleton, heading: str, text: str, out: Path) -> Path:
    """Draw windows, all of one length, at each level with the importance of their frames."""
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
        importance: level -> (n, f) float, NaN for outliers: these are left empty.
    """
    rows: list[tuple[Any, ...]] = [("window", "person", "level", "cluster", "frame", "importance")]
    for i, window in enumerate(windows):
        for level, values in importance.items():
            for frame, value in enumerate(values[i], start=1):
                shown = f"{value:.6g}" if np.isfinite(value) else ""
                rows.append((window, persons[i], level, clusters[level][i], frame, shown))
    return csv_text(rows)


def _figure(windows: Sequence[Window], skeleton: Skeleton, heading: str, text: str) -> Any:
    """A grid of axes: windows side by side, the levels of each below each other."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    length, levels = len(windows[0].joints), list(windows[0].points)
    seen = [projected({"body": one.joints, **one.points}, skeleton) for one in windows]
    bodies = np.stack([one["body"] for one in seen])
    tall = max(float(bodies[..., 1].max()), 1e-6)  # metres, as all lengths in an axes
    step = max(2.1 * float(np.abs(bodies[..., 0]).max()), tall * _CELL / _TALL)
    step *= len(shown_frames(length)) / length
    width = max(3.4, length * step / tall * _TALL)  # inches of a window
    rows = -(-len(windows) // max(1, int(_WIDEST // width)))
    columns = -(-len(windows) // rows)
    size = (max(7.4, columns * (width + 0.4)), rows * (0.5 + len(levels) * (_TALL + 0.5)) + 1.4)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.06))
    figure.suptitle(heading, x=0.01, ha="left")
    figure.supxlabel(textwrap.fill(text, int(size[0] * 14)), x=0.01, ha="left", fontsize=9)
    grid = figure.subplots(rows * len(levels), columns, squeeze=False)
    values = np.concatenate([list(one.importance.values()) for one in windows])
    heat = scale_bar(figure, grid, values, length, "importance of a frame")
    for index in range(rows * columns):
        down, column = divmod(index, columns)
        for row, level in enumerate(levels, down * len(levels)):
            axes = grid[row, column]
            if index >= len(windows):
                axes.set_visible(False)
                continue
            axes.set(aspect="equal", anchor="W", xlim=(0, length * step))
            axes.set_ylim(-_STRIP * tall, 1.03 * tall)
            _draw_level(axes, level, windows[index], seen[index], skeleton, step, heat)
        if index < len(windows):
            _label(grid[down * len(levels), column], axes, windows[index], step, int(width * 14))
    return figure


def _label(top: Any, bottom: Any, window: Window, step: float, letters: int) -> None:
    """Title and note over the first level of a window, frame numbers under the last one."""
    lines = textwrap.wrap(window.note, letters)
    top.set_title(window.title, loc="left", fontsize=10, pad=6 + 10.5 * len(lines))
    if lines:
        place = {"xy": (0, 1), "xycoords": "axes fraction", "xytext": (0, 4)}
        note = "\n".join(lines)
        top.annotate(note, **place, textcoords="offset points", fontsize=_SMALL, va="bottom")
    frames = shown_frames(len(window.joints))
    names = [str(frame + 1) for frame in frames]
    bottom.set_xticks((frames + 0.5) * step, names, fontsize=_SMALL)
    bottom.set_xlabel("frame", fontsize=_SMALL, labelpad=1)
    bottom.tick_params(pad=3)


def _draw_level(
    axes: Any,
    level: str,
    window: Window,
    seen: Mapping[str, np.ndarray],
    skeleton: Skeleton,
    step: float,
    heat: Any,
) -> None:
    """The skeletons of one level, `step` metres a frame, above the strip of their importance."""
    frames = shown_frames(len(window.joints))
    middles = (frames + 0.5) * step
    at = np.stack([middles, np.zeros(len(frames))], axis=1)[:, None]
    if level != "joint":  # the joints in grey, behind the parts that they belong to
        _draw_skeletons(axes, seen["body"][frames] + at, level_bones("joint", skeleton), SHADOW, 0)
    bones, colour = level_bones(level, skeleton), COLOURS[level]
    _draw_skeletons(axes, seen[level][frames] + at, bones, colour, _DOT[level])
    _draw_strip(axes, window.importance[level], step, heat)
    axes.set_ylabel(level, color=colour, fontweight="bold")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set(xticks=[], yticks=[])
    axes.tick_params(length=0, pad=1)


def _draw_skeletons(
    axes: Any, points: np.ndarray, bones: np.ndarray, colour: str, dot: float
) -> None:
    """Skeletons (k, n, 2), with dots of that size in points."""
    from matplotlib.collections import LineCollection

    lines = points[:, bones].reshape(-1, 2, 2)
    axes.add_collection(
        LineCollection(list(lines), colors=colour, linewidths=1.4, capstyle="round"), autolim=False
    )
    if dot:
        flat = points.reshape(-1, 2)
        axes.plot(flat[:, 0], flat[:, 1], "o", color=colour, markersize=dot, markeredgewidth=0)


def _draw_strip(axes: Any, importance: np.ndarray, step: float, heat: Any) -> None:
    """One cell a frame at the foot of an axes, with numbers where they fit."""
    floor = axes.get_ylim()[0]
    edges = np.arange(len(importance) + 1) * step
    centre = {"fontsize": _SMALL, "ha": "center", "va": "center_baseline"}
    if not np.isfinite(importance).all():
        axes.axhspan(floor, floor / 4, facecolor=FAINT, edgecolor=INK, linewidth=0.6, clip_on=False)
        axes.text(edges[-1] / 2, floor * 0.62, OUTLIER, **centre)
        return
    axes.pcolormesh(edges, [floor, floor / 4], importance[None], cmap=heat.cmap, norm=heat.norm)
    axes.axhspan(floor, floor / 4, facecolor="none", edgecolor=INK, linewidth=0.6, clip_on=False)
    if len(shown_frames(len(importance))) == len(importance):
        for x, value in zip((edges[:-1] + edges[1:]) / 2, importance, strict=True):
            colour = "white" if heat.norm(value) > 0.55 else INK
            axes.text(x, floor * 0.62, f"{value:.2f}", color=colour, **centre)
