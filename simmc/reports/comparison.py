"""Means with intervals over persons, and the paired difference of two methods with its p-value."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simmc.errors import UserError
from simmc.evaluation.significance import bootstrap_means, interval, means, paired, sign_flip
from simmc.files import csv_text
from simmc.reports.render import HEADINGS, page, span
from simmc.reports.sides import FIGURES, Side, remarks, require_pairs
from simmc.reports.tables import NOTE_GENERATED, UNMATCHED

DIFFERENCE = "A - B"
_DESCRIPTION = (
    *("method", "fidelity", "protocol", "supervised"),
    *("seeds", "persons", "windows", "unmatched"),
)


@dataclass(frozen=True, eq=False)
class Line:
    """Figures of a side, or of the difference, as fractions of 1."""

    name: str  # A, B or A - B
    mean: np.ndarray  # (4,) over the runs
    std: np.ndarray  # (4,) sample standard deviation over the runs; NaN for a single run
    ends: np.ndarray  # (2, 4) of the 95 % interval
    p: np.ndarray | None = None  # (4,), of a difference only


@dataclass(frozen=True)
class Comparison:
    """Sides, their figures and remarks."""

    sides: tuple[Side, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


def compare(a: Side, b: Side | None, *, resamples: int, seed: int) -> Comparison:
    """Intervals of one or two sides and the paired difference of two.

    `resamples` draws of persons, and of signs, come from `seed`.
    """
    sides = (a,) if b is None else (a, b)
    if b is not None:
        require_pairs(a, b)
    persons = np.unique(np.concatenate([side.persons for side in sides]))
    if len(persons) < 2:
        raise UserError(
            f"{a.first.path} has windows of one person only as probes: intervals are taken over "
            "persons and need more of them."
        )
    tables = [side.sums(persons) for side in sides]
    if b is not None:
        tables.append(paired(*tables[0], *tables[1]))
    for_persons, for_signs = np.random.default_rng(seed).spawn(2)
    together = [np.concatenate(parts) for parts in zip(*tables, strict=True)]
    samples = bootstrap_means(together[0], together[1], resamples, for_persons)
    p = None if b is None else sign_flip(*tables[2], resamples, for_signs)
    lines, start = [], 0
    for name, (sums, counts) in zip(("A", "B", DIFFERENCE), tables, strict=False):
        drawn = samples[:, start : start + len(sums)].mean(1)
        start += len(sums)
        lines.append(_line(name, means(sums, counts), drawn, p if name == DIFFERENCE else None))
    notes = [] if b is None else remarks(a, b)
    if any(scored.unmatched for side in sides for scored in side.runs):
        notes.append(UNMATCHED)
    notes += _explained(len(persons), resamples, seed, b is not None)
    if any(scored.run.generated for side in sides for scored in side.runs):
        notes.append(NOTE_GENERATED)
    return Comparison(sides, tuple(lines), tuple(notes))


def render(found: Comparison, form: str) -> str:
    """The comparison as "text", "md" (Markdown) or "csv" (fractions of 1, a line a side)."""
    if form == "csv":
        return _csv(found)
    heads = ["Side", "Method", "Fidelity", "Protocol", "Labels", "Seeds", "Persons", "Windows"]
    heads.append("Unmatched")
    described = []
    for side in found.sides:
        method, fidelity, protocol, supervised, *counts = _description(side)
        labels = "identities" if supervised == "true" else "none"
        described.append([side.name, method, fidelity, protocol, labels, *counts])
    first = found.sides[0].first
    title = f"{first.text('dataset')}, probe {first.text('probe')}, f = {first.text('length')}"
    notes = [f"{title}. {found.notes[0]}", *found.notes[1:]]
    return page([(heads, described), _figures(found.lines)], notes, form)


def _line(name: str, by_run: np.ndarray, drawn: np.ndarray, p: np.ndarray | None) -> Line:
    """The line of (R, 4) figures of the runs and (S, 4) resampled means."""
    single = len(by_run) == 1
    std = np.full(by_run.shape[1], np.nan) if single else by_run.std(0, ddof=1)
    return Line(name, by_run.mean(0), std, interval(drawn), p)


def _explained(persons: int, resamples: int, seed: int, with_test: bool) -> list[str]:
    """How the numbers were computed."""
    found = [
        "Rates in percent, mean ± sample standard deviation over seeds. 95 %: percentile bootstrap "
        f"over {persons} persons, each with all of its probe windows and the same in every run "
        f"({resamples:,} resamples, seed {seed}); galleries and trainings stay as they are."
    ]
    if with_test:
        found.append(
            "p: two-sided sign-flip test of the paired differences over persons, the same in every "
            f"run ({resamples:,} draws); not corrected for the number of rates looked at."
        )
    return found


def _description(side: Side) -> list[str]:
    """The values of a side, in the order of `_DESCRIPTION`."""
    return [
        side.first.method_name,
        side.first.text("fidelity"),
        side.protocol,
        str(side.supervised).lower(),
        " ".join(scored.seed for scored in side.runs),
        str(len(side.persons)),
        span([len(scored.probes) for scored in side.runs]),
        span([scored.unmatched for scored in side.runs]),
    ]


def _figures(lines: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """Heads and cells of the table with a row for each rate."""
    heads = ["Rate"]
    for line in lines:
        heads += [line.name, "95 %"]
    heads += ["p"] * any(line.p is not None for line in lines)
    cells = []
    for at, figure in enumerate(FIGURES):
        row = [HEADINGS[figure]]
        for line in lines:
            sign = "+" if line.p is not None else ""
            mean, std, low, high = (
                100 * values[at] for values in (line.mean, line.std, line.ends[0], line.ends[1])
            )
            spread = "" if np.isnan(std) else f" ± {std:.1f}"
            row += [f"{mean:{sign}.1f}{spread}", f"{low:{sign}.1f} to {high:{sign}.1f}"]
            if line.p is not None:
                row.append(f"{line.p[at]:.4f}")
        cells.append(row)
    return heads, cells


def _csv(found: Comparison) -> str:
    parts = ("mean", "std", "low", "high", "p")
    columns = [f"{figure}_{part}" for figure in FIGURES for part in parts]
    rows = [["side", "dataset", "probe", "length", *_DESCRIPTION, *columns]]
    first = found.sides[0].first
    where = [first.text(key) for key in ("dataset", "probe", "length")]
    described = {side.name: _description(side) for side in found.sides}
    for line in found.lines:
        numbers = []
        for at in range(len(FIGURES)):
            p = np.nan if line.p is None else line.p[at]
            values = (line.mean[at], line.std[at], *line.ends[:, at], p)
            numbers += ["" if np.isnan(value) else f"{value:.6g}" for value in values]
        about = described.get(line.name, [""] * len(_DESCRIPTION))
        rows.append([line.name, *where, *about, *numbers])
    return csv_text(rows)
