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
    same_splits,
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
    return [
        Verdict(table.name, claim["text"], *_judged(table, claim, records))
        for claim in table.claims
    ]


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

    def of(record: Record, one: Row) -> float | None:
        return figures_of(record, one.protocol, one.figure_of).get(figure)

    common = [
        (a, b, 100 * (x - y))
        for a, b in same_splits(row, other, column, records)
        if (x := of(a, row)) is not None and (y := of(b, other)) is not None
    ]
    if common:
        ours, theirs, each = zip(*common, strict=True)
        old = ", carried over" if any("carried" in record for record in (*ours, *theirs)) else ""
        how = f"{len(each)} split{'s' * (len(each) != 1)}{old}"
        if figure in MATCHED and not row.figure_of and not other.figure_of:
            a, b = sums_of(ours, row.protocol), sums_of(theirs, other.protocol)
            if a is not None and b is not None and np.array_equal(a[0], b[0]):
                sums, counts = paired(*a[1:], *b[1:])
                drawn = bootstrap_means(sums, counts, _RESAMPLES, np.random.default_rng(0)).mean(1)
                place = MATCHED.index(figure)
                mean = 100 * float(np.mean(sums.sum(1)[:, place] / counts.sum(1)[:, place]))
                low, high = (float(end) for end in 100 * interval(drawn)[:, place])
                return Difference(mean, low, high, f"paired over persons, {how}", unsure)
        mean = float(np.mean(each))
        reach = _reach(len(each), float(np.std(each, ddof=1)) if len(each) > 1 else math.nan)
        return Difference(mean, mean - reach, mean + reach, f"the same {how}", unsure)
    mine, its = (_ours(one, column, records) for one in (row, other))
    if mine is None or its is None or figure not in mine.mean or figure not in its.mean:
        return None
    mean = mine.mean[figure] - its.mean[figure]
    old = ", carried over" if mine.carried or its.carried else ""
    reach, how = math.nan, f"means of different seeds{old}"
    if figure in mine.deviation and figure in its.deviation:
        reach = math.hypot(*(_reach(one.n, one.deviation[figure]) for one in (mine, its)))
        how = f"{mine.n} and {its.n} seeds{old}"
    return Difference(mean, mean - reach, mean + reach, how, unsure)


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
