"""Pictures of a run: the CMC curve and the course of training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simmc.errors import UserError
from simmc.reports.results import PROTOCOLS, Run
from simmc.reports.style import BLUE, GREEN, INK, ORANGE, PROTOCOL_LINES, PURPLE, save, title_of

Metrics = Sequence[Mapping[str, Any]]  # one an epoch, as in metrics.jsonl


@dataclass(frozen=True)
class _Panel:
    """One plot of the training curves; `lines` are (key, name, colour, line style)."""

    heading: str
    label: str
    lines: tuple[tuple[str, str, str, str], ...]
    factor: float = 1.0
    whole: bool = False  # counts: ticks at whole numbers only


_PANELS = (
    _Panel(
        "Probe against gallery",
        "rate (%)",
        (
            ("top10", "top-10", GREEN, "-"),
            ("top5", "top-5", ORANGE, "-"),
            ("top1", "top-1", BLUE, "-"),
            ("mAP", "mAP", PURPLE, "-"),
            ("mINP", "mINP", INK, "-"),
        ),
        factor=100.0,
    ),
    _Panel(
        "Clusters",
        "clusters",
        (("clusters_1", "view 1", BLUE, "-"), ("clusters_2", "view 2", ORANGE, "--")),
        whole=True,
    ),
    _Panel(
        "Outliers",
        "windows",
        (
            ("outliers", "in either view", INK, "-"),
            ("outliers_1", "view 1", BLUE, "-"),
            ("outliers_2", "view 2", ORANGE, "--"),
        ),
        whole=True,
    ),
    _Panel(
        "Estimated number of people (TrackMC)",
        "clusters of recordings",
        (("people", "likely", BLUE, "-"), ("people_at_least", "at least", ORANGE, "--")),
        whole=True,
    ),
    _Panel("Prototype loss (MPC)", "mean loss", (("loss_mpc", "MPC", BLUE, "-"),)),
    _Panel("Intra-sequence loss (MIC)", "mean loss", (("loss_mic", "MIC", BLUE, "-"),)),
    _Panel(
        "Pseudo labels",
        "0 to 1",
        (
            ("ami", "AMI with identities", BLUE, "-"),
            ("label_free_score", "label-free score", ORANGE, "--"),
        ),
    ),
)


def cmc(run: Run, out: Path) -> Path:
    """Draw the CMC curve of a run to a .png or .svg, one line a protocol."""
    found = {
        name: [100 * float(rate) for rate in values["cmc"]]
        for name in PROTOCOLS
        if (values := run.protocol(name)) is not None and values.get("cmc")
    }
    if not found:
        reasons = [(run.protocol(name) or {}).get("no_rates") for name in PROTOCOLS]
        why = next((f", as there are no rates: {reason}" for reason in reasons if reason), "")
        remedy = "." if why else "; evaluate the run again."
        raise UserError(f"{run.path / 'results.json'} holds no CMC curve{why}{remedy}")
    longest = max(map(len, found.values()))
    lowest = min(rates[0] for rates in found.values())
    floor = max(0.0, 10 * (lowest // 10) - 10)

    def draw() -> Any:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.6, 4.4), layout="constrained")
        axes = figure.add_subplot()
        for name, rates in found.items():
            _, colour, style = PROTOCOL_LINES[name]
            # the second line is thinner and dashed: both are visible where they coincide
            width = 2.6 if style == "-" else 1.5
            axes.plot(range(1, len(rates) + 1), rates, style, color=colour, linewidth=width)
            ranks = [rank for rank in (1, 5, 10) if rank <= len(rates)]
            axes.plot(ranks, [rates[rank - 1] for rank in ranks], "o", color=colour, markersize=4)
        middle = max(rates[len(rates) // 2] for rates in found.values())
        _label_curves(axes, run, found, middle > (floor + 101) / 2)
        axes.set_xlim(0.5, longest + 0.5)
        axes.set_xticks([rank for rank in (1, 5, 10, 20, 30, 40, 50) if rank <= longest])
        axes.set_ylim(floor, 101)
        axes.set_xlabel("rank k (gallery windows, nearest first)")
        axes.set_ylabel("probes with a correct match\namong the k nearest (%)")
        axes.set_title(title_of(run), loc="left")
        return figure

    return save(draw, out)


def curves(
    metrics: Metrics,
    out: Path,
    run: Run | None = None,
    *,
    protocols: Sequence[str] = PROTOCOLS,
    title: str = "",
) -> Path:
    """Draw the curves of a training, of lines of metrics.jsonl, to a .png or .svg.

    The epochs that these protocols of a run chose are marked.
    """
    panels = [
        panel
        for panel in (*_PANELS, *_further_losses(metrics))
        if any(_series(metrics, line[0])[0] for line in panel.lines)
    ]
    if not panels:
        raise UserError(
            f"cannot draw {out}: the run has no epoch in its metrics.jsonl yet. Draw it again "
            "after its first epoch."
        )
    chosen = _chosen(run, protocols)

    def draw() -> Any:
        from matplotlib.figure import Figure

        columns = min(3, len(panels))
        rows = -(-len(panels) // columns)
        figure = Figure(figsize=(4.0 * columns, 2.9 * rows + 0.6), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for index, axes in enumerate(grid.flat):
            if index >= len(panels):
                axes.set_visible(False)
                continue
            _draw_panel(axes, metrics, panels[index], chosen)
            if index + columns >= len(panels):
                axes.set_xlabel("epoch")
                axes.tick_params(labelbottom=True)
        figure.suptitle(title or (title_of(run) if run else ""), x=0.005, ha="left")
        _label_marks(figure, chosen)
        return figure

    return save(draw, out)


def _label_marks(figure: Any, chosen: dict[str, int]) -> None:
    """A legend of the chosen epochs."""
    from matplotlib.lines import Line2D

    marks = []
    for name in chosen:
        _, colour, style = PROTOCOL_LINES[name]
        label = _protocol_label(name, chosen)
        marks.append(Line2D([], [], color=colour, linestyle=style, linewidth=0.9, label=label))
    if marks:
        place = "outside lower left"
        figure.legend(handles=marks, loc=place, ncols=2, frameon=False, fontsize=9)


def _draw_panel(axes: Any, metrics: Metrics, panel: _Panel, chosen: dict[str, int]) -> None:
    drawn = 0
    for key, name, colour, style in panel.lines:
        epochs, values = _series(metrics, key)
        if epochs:
            marker = "o" if len(epochs) < 3 else ""
            scaled = [panel.factor * value for value in values]
            axes.plot(epochs, scaled, style, marker=marker, color=colour, linewidth=1.5, label=name)
            drawn += 1
    for name, epoch in chosen.items():
        _, colour, style = PROTOCOL_LINES[name]
        axes.axvline(epoch, color=colour, linestyle=style, linewidth=0.9, alpha=0.8, zorder=0)
    axes.set_title(panel.heading, loc="left", fontsize=10, pad=18)
    axes.set_ylabel(panel.label)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if panel.whole:
        axes.yaxis.get_major_locator().set_params(integer=True)
        if axes.get_ylim()[1] < 1:  # no outliers at all: a flat line at 0, not at a tick of -0.02
            axes.set_ylim(-0.05, 1)
    if drawn and len(panel.lines) > 1:  # between heading and lines, where it hides nothing
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0}
        narrow = {"handlelength": 1.4, "handletextpad": 0.4, "columnspacing": 0.9}
        axes.legend(**place, **narrow, ncols=drawn, fontsize=8, frameon=False)


def _series(metrics: Metrics, key: str) -> tuple[list[int], list[float]]:
    """Epochs that have the value, and the values."""
    found = [line for line in metrics if line.get(key) is not None and "epoch" in line]
    for line in found:
        if not isinstance(line[key], int | float):
            raise UserError(
                f"metrics.jsonl: {key} of epoch {line['epoch']} is no number. Remove the line or "
                "start a new run."
            )
    return [line["epoch"] for line in found], [float(line[key]) for line in found]


def _chosen(run: Run | None, protocols: Sequence[str]) -> dict[str, int]:
    """The epoch of each of these protocols that the run has."""
    found = {name: run.protocol(name) for name in protocols} if run else {}
    return {
        name: int(values["epoch"])
        for name, values in found.items()
        if values and values.get("epoch") is not None
    }


def _protocol_label(name: str, chosen: dict[str, int]) -> str:
    """The name of a protocol's line; without the rule of choice where all have the same epoch."""
    if len(chosen) > 1 and len(set(chosen.values())) == 1:
        return f"{name}: epoch {chosen[name]}, the same under both protocols"
    return PROTOCOL_LINES[name][0]


def _further_losses(metrics: Metrics) -> list[_Panel]:
    """A panel for each loss that no panel of SimMC's shows, in the order of the metrics."""
    shown = {line[0] for panel in _PANELS for line in panel.lines}
    keys = dict.fromkeys(key for line in metrics for key in line if key.startswith("loss_"))
    return [
        _Panel(f"Loss: {key.removeprefix('loss_')}", "mean loss", ((key, "", BLUE, "-"),))
        for key in keys
        if key not in shown
    ]


def _label_curves(axes: Any, run: Run, found: dict[str, list[float]], under: bool) -> None:
    """Label the curves in the empty corner below or above them."""
    chosen = _chosen(run, list(found))
    for index, (name, rates) in enumerate(found.items()):
        colour = PROTOCOL_LINES[name][1]
        numbers = [f"top-{rank} {rates[rank - 1]:.1f}" for rank in (1, 5, 10) if rank <= len(rates)]
        values = run.protocol(name) or {}
        if values.get("mAP") is not None:
            numbers.append(f"mAP {100 * float(values['mAP']):.1f}")
        if values.get("epoch") is not None:
            numbers.append(f"epoch {values['epoch']}")
        if values.get("unmatched"):
            numbers.append(f"{values['unmatched']} of {values['probes']} probes unmatched")
        place = len(found) - 1 - index if under else index
        axes.text(
            0.98,
            0.04 + 0.13 * place if under else 0.97 - 0.13 * place,
            f"{_protocol_label(name, chosen)}\n{'   '.join(numbers)}",
            transform=axes.transAxes,
            ha="right",
            va="bottom" if under else "top",
            color=colour,
            fontsize=9,
        )
