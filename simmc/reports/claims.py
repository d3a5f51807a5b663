"""Which claims of a paper the records confirm.

A claim stands in its table's file: a row that reaches its printed figures or exceeds them (less
`within` points), a row that is above another (`above`), rows in an order (`order`), or a row whose
top-1 is its printed one (give or take `around` points). A claim holds or fails only where the whole
interval of the figure does; otherwise it is undecided.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import t

from simmc.evaluation.significance import bootstrap_means, interval, paired
from simmc.reports.cells import (
    MATCHED,
    Ours,
    Record,
    Row,
    Table,
    figures_of,
    records_of,
    summary,
    sums_of,
)

HOLDS, FAILS, OPEN, MISSING = "holds", "does not hold", "undecided", "not measured"
MARKS = {HOLDS: "✓", FAILS: "✗", OPEN: "?", MISSING: "–"}
NAMES = {"top1": "top-1", "top5": "top-5", "top10": "top-10", "mAP": "mAP", "nauc_roc": "nAUC"}
# Points that count as undecided where no interval is known: a little more than half the width of
# the paired interval of one run over the 164 persons of KGBD.
_UNSURE = {"mAP": 1.5}
_UNSURE_OTHER = 3.0
_FEWEST = 3  # splits for an interval over splits
_RESAMPLES = 2000


@dataclass(frozen=True)
class Verdict:
    """What became of a claim."""

    table: str
    text: str
    mark: str
    detail: str


@dataclass(frozen=True)
class Difference:
    """One row minus another in one figure, percent; the ends are NaN where they are not known."""

    mean: float
    low: float
    high: float
    how: str
    unsure: float

    @property
    def mark(self) -> str:
        """Whether the first row is above the other."""
        if math.isnan(self.low):
            return OPEN if abs(self.mean) <= self.unsure else HOLDS if self.mean > 0 else FAILS
        return HOLDS if self.low > 0 else FAILS if self.high < 0 else OPEN

    def __str__(self) -> str:
        ends = "" if math.isnan(self.low) else f" ({self.low:+.1f} to {self.high:+.1f})"
        return f"{self.mean:+.1f}{ends}"


def verdicts(table: Table, records: Sequence[Record]) -> list[Verdict]:
    """Every claim of a table."""
    found = []
    for claim in table.claims:
        mark, detail = _judged(table, claim, records)
        found.append(Verdict(table.name, claim["text"], mark, detail))
    return found


def _judged(table: Table, claim: Mapping[str, Any], records: Sequence[Record]) -> tuple[str, str]:
    column = claim["column"]
    figures = claim.get("figures", table.figures)
    if "row" in claim:
        row = table.row(claim["row"])
        ours = _ours(row, column, records)
        printed = row.printed.get(column, {})
        if ours is None or not printed:
            return MISSING, ""
        names = [name for name in figures if name in printed and name in ours.mean]
        above = {name: ours.mean[name] - printed[name] for name in names}
        if "around" in claim:
            above = {"top1": -abs(above["top1"])}
        margin = claim.get("around", claim.get("within"))
        marks = [_against(ours, name, above[name] + margin).mark for name in above]
        shown = f"{_joined(ours.mean, above)} against {_joined(printed, above)}"
        return _worst(marks), f"{shown}, margin {margin:.1f}; {_seeds(ours)}"
    order = claim.get("order", claim.get("above", []))
    marks, parts = [], []
    for better, worse in pairwise(order):
        for name in figures:
            found = difference(table.row(better), table.row(worse), column, records, name)
            if found is None:
                return MISSING, ""
            marks.append(found.mark)
            parts.append(f"{NAMES[name]} {found}, {found.how}")
    return _worst(marks), "; ".join(parts)


def _worst(marks: Sequence[str]) -> str:
    return FAILS if FAILS in marks else OPEN if OPEN in marks else HOLDS


def _against(ours: Ours, figure: str, points: float) -> Difference:
    """Points above a printed number, which has no interval of its own."""
    reach = _reach(ours.n, ours.deviation.get(figure, math.nan))
    unsure = _UNSURE.get(figure, _UNSURE_OTHER)
    return Difference(points, points - reach, points + reach, _seeds(ours), unsure)


def difference(
    row: Row, other: Row, column: str, records: Sequence[Record], figure: str
) -> Difference | None:
    """One row minus another: paired over persons on common seeds where the runs kept persons."""
    unsure = _UNSURE.get(figure, _UNSURE_OTHER)
    by_seed: list[dict[int, Record]] = [
        {
            record["seed"]: record
            for record in records_of(records, one, column)
            if "seed" in record and figure in figures_of(record, one.protocol, one.figure_of)
        }
        for one in (row, other)
    ]
    common = sorted(by_seed[0].keys() & by_seed[1].keys())
    common = [s for s in common if by_seed[0][s].get("data") == by_seed[1][s].get("data")]
    used = [side[seed] for side in by_seed for seed in common]
    old = ", carried over" if any("carried" in record for record in used) else ""
    if common and figure in MATCHED and not row.figure_of and not other.figure_of:
        kept = [
            sums_of([side[seed] for seed in common], one.protocol)
            for side, one in zip(by_seed, (row, other), strict=True)
        ]
        if kept[0] is not None and kept[1] is not None and kept[0][0].shape == kept[1][0].shape:
            sums, counts = paired(*kept[0], *kept[1])
            drawn = bootstrap_means(sums, counts, _RESAMPLES, np.random.default_rng(0)).mean(1)
            place = MATCHED.index(figure)
            mean = 100 * float(np.mean(sums.sum(1)[:, place] / counts.sum(1)[:, place]))
            low, high = 100 * interval(drawn)[:, place]
            how = f"paired over persons, {_of(common)}{old}"
            return Difference(mean, float(low), float(high), how, unsure)
    if common:
        each = [
            100
            * (
                figures_of(by_seed[0][seed], row.protocol, row.figure_of)[figure]
                - figures_of(by_seed[1][seed], other.protocol, other.figure_of)[figure]
            )
            for seed in common
        ]
        mean = float(np.mean(each))
        reach = _reach(len(each), float(np.std(each, ddof=1)) if len(each) > 1 else math.nan)
        return Difference(mean, mean - reach, mean + reach, f"the same {_of(common)}{old}", unsure)
    ours = [_ours(one, column, records) for one in (row, other)]
    if any(one is None or figure not in one.mean for one in ours):
        return None
    a, b = (one for one in ours if one is not None)
    mean = a.mean[figure] - b.mean[figure]
    old = ", carried over" if a.carried or b.carried else ""
    if figure in a.deviation and figure in b.deviation:
        reach = math.hypot(_reach(a.n, a.deviation[figure]), _reach(b.n, b.deviation[figure]))
        return Difference(mean, mean - reach, mean + reach, f"{a.n} and {b.n} seeds{old}", unsure)
    return Difference(mean, math.nan, math.nan, f"means of different seeds{old}", unsure)


def _reach(count: int, deviation: float) -> float:
    """Half of the 95 % interval of a mean by Student's t; NaN for too few values."""
    if count < _FEWEST:
        return math.nan
    return float(t.ppf(0.975, count - 1)) * deviation / math.sqrt(count)


def _ours(row: Row, column: str, records: Sequence[Record]) -> Ours | None:
    return summary(records_of(records, row, column), row.protocol, row.figure_of)


def _joined(values: Mapping[str, float], names: Iterable[str]) -> str:
    return " / ".join(f"{values[name]:.1f}" for name in names)


def _seeds(ours: Ours) -> str:
    some = "" if ours.carried == ours.n else f"{ours.carried} "
    marked = f", {some}carried over" if ours.carried else ""
    return f"{ours.n} seed{'s' * (ours.n != 1)}{marked}"


def _of(seeds: Sequence[int]) -> str:
    return f"{len(seeds)} split{'s' * (len(seeds) != 1)}"
