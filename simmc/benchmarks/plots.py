"""Pictures of a record: time and memory over N, one panel a data set, both axes logarithmic."""

from functools import partial
from pathlib import Path
from typing import Any

from simmc.benchmarks.contestants import CONTESTANTS
from simmc.benchmarks.summary import MIB, added, by_dataset, fit, spread
from simmc.reports.style import BLUE, GREEN, INK, ORANGE, PURPLE, save

_LINES: dict[str, tuple[str, str]] = {
    "ours": (BLUE, "-"),
    "dense": (ORANGE, "-"),
    "exact": (GREEN, "-"),
    "product_topk": (INK, "--"),
    "product": (INK, ":"),
    "approximate": (PURPLE, "-"),
    "whole": (GREEN, "--"),
    "whole_approximate": (PURPLE, "--"),
}
_DRAWN = {
    "time": ("ours", "dense", "exact", "product_topk", "product", "approximate"),
    "memory": (
        "ours",
        "dense",
        "exact",
        "product_topk",
        "approximate",
        "whole",
        "whole_approximate",
    ),
}
_AXIS = {"time": "seconds", "memory": "memory added (MiB)"}


def draw(record: dict[str, Any], out: Path) -> list[Path]:
    """Draws time and memory, each as .png and .svg, into the folder `out`.

    Returns:
        The files written; none for what was not measured.

    Raises:
        UserError: no matplotlib.
    """
    written = []
    for kind in _DRAWN:
        if _panels(record, kind):
            for form in ("png", "svg"):
                file = out / f"benchmark_{kind}.{form}"
                written.append(save(partial(figure, record, kind), file))
    return written


def figure(record: dict[str, Any], kind: str) -> Any:
    """The matplotlib figure of "time" or "memory"."""
    from matplotlib.figure import Figure

    panels = _panels(record, kind)
    made = Figure(figsize=(5.2 * len(panels), 6.0), layout="constrained")
    grid = made.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (dataset, lines) in zip(grid, panels.items(), strict=True):
        for name, line in lines.items():
            colour, style = _LINES[name]
            n, middle, low, high = zip(*line["points"], strict=True)
            axes.plot(n, middle, style, marker="o", markersize=4, color=colour, label=line["label"])
            axes.vlines(n, low, high, color=colour, linewidth=1)
        axes.set_xscale("log")
        axes.set_yscale("log")
        sizes = sorted({point[0] for line in lines.values() for point in line["points"]})
        axes.set_xticks(sizes, [_short(n) for n in sizes], fontsize=8)
        axes.minorticks_off()
        axes.set_title(dataset, loc="left")
        axes.set_xlabel("N, rows clustered")
        axes.legend(
            loc="upper left", bbox_to_anchor=(0, -0.13), fontsize=8, frameon=False, borderaxespad=0
        )
    grid[0].set_ylabel(_AXIS[kind])
    return made


def _short(n: int) -> str:
    """2000 as 2k, 1000000 as 1M."""
    for unit, name in ((1_000_000, "M"), (1000, "k")):
        if n >= unit:
            return f"{n / unit:.3g}{name}"
    return str(n)


def _panels(record: dict[str, Any], kind: str) -> dict[str, dict[str, dict[str, Any]]]:
    """The lines of every data set that has some."""
    found = {
        dataset: _lines(cases, kind, record["fit_from"])
        for dataset, cases in by_dataset(record).items()
    }
    return {dataset: lines for dataset, lines in found.items() if lines}


def _lines(cases: list[dict[str, Any]], kind: str, fit_from: int) -> dict[str, dict[str, Any]]:
    """Points (N, median, least, most) of each contestant, and its name with the exponent."""
    found = {}
    for name in _DRAWN[kind]:
        points = []
        for case in cases:
            if kind == "time" and (seconds := spread(case, name)):
                points.append((case["n"], seconds.median, seconds.low, seconds.high))
            elif kind == "memory" and (extra := added(case, name)):
                points.append((case["n"], *[extra / MIB] * 3))
        if points:
            growth = fit(cases, kind, name, fit_from)
            label = CONTESTANTS[name].label + (f": N^{growth.exponent:.2f}" if growth else "")
            found[name] = {"label": label, "points": points}
    return found
