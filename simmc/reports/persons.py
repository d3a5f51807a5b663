"""Which persons decide: those whose results differ most between seeds, and between two methods.

Where a person has one probe recording, as on KGBD, these are the recordings that decide.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from simmc.reports import charts
from simmc.reports.cells import Record, Row, Table, records_of, same_splits, sums_of

_SHOWN = 20  # persons in a chart


def spread(hits: np.ndarray, windows: np.ndarray) -> tuple[float, float, np.ndarray]:
    """How top-1 differs between R seeds, and what the persons have to do with it.

    Args:
        hits: (R, P) windows with a right first match.
        windows: (R, P) scored windows.

    Returns:
        Standard deviation of top-1 over the seeds; the deviation that it would have if persons
        varied independently; (P,) shares of the persons in the square of the latter.
    """
    rates = 100 * hits / np.where(windows > 0, windows, np.nan)
    weight = windows.mean(0) / windows.mean(0).sum()
    known = np.isfinite(rates).sum(0) > 1
    parts = np.zeros(hits.shape[1])
    parts[known] = weight[known] ** 2 * np.nanvar(rates[:, known], axis=0, ddof=1)
    whole = 100 * hits.sum(1) / windows.sum(1)
    return (
        float(np.std(whole, ddof=1)),
        float(np.sqrt(parts.sum())),
        parts / max(parts.sum(), np.finfo(float).tiny),
    )


def section(table: Table, column: str, records: Sequence[Record]) -> str:
    """What a column of a table shows by person; "" where no runs kept outcomes by person."""
    parts = [
        text
        for row in table.rows
        if (text := _between_seeds(row, records_of(records, row, column)))
    ]
    compared = [
        pair
        for claim in table.claims
        if claim["column"] == column
        for pair in pairwise(claim.get("above", claim.get("order", [])))
    ]
    parts += [
        text
        for one, other in dict.fromkeys(compared)
        if (text := _between(table.row(one), table.row(other), column, records))
    ]
    return "".join(
        f"<details><summary>{title}</summary><div>{chart}</div></details>" for title, chart in parts
    )


def _between_seeds(row: Row, found: Sequence[Record]) -> tuple[str, str] | None:
    """The persons whose top-1 differs most between the seeds of a row: summary and chart."""
    having = [r for r in found if row.protocol in r.get("persons", {}) and "seeds" not in r]
    kept = sums_of(having, row.protocol) if len(having) > 1 and not row.figure_of else None
    if kept is None:
        return None
    persons, hits, windows = kept[0], kept[1][..., 0], kept[2][..., 0]
    measured, independent, shares = spread(hits, windows)
    if not independent:  # nothing differs, as without training on a given split
        return None
    order = np.argsort(-shares, kind="stable")[:_SHOWN]
    rates = 100 * hits / np.where(windows > 0, windows, np.nan)
    half = int(np.searchsorted(np.cumsum(np.sort(shares)[::-1]), 0.5)) + 1
    title = f"{row.name}: persons that differ most between {len(having)} seeds"
    about = (
        f"Top-1 of a person in percent, a dot a seed; the {len(order)} of {len(persons)} that "
        f"count most. Top-1 of all windows differs by {measured:.1f} points between the seeds "
        f"(standard deviation); independent persons would make it {independent:.1f}, half of its "
        f"square by {half} of them."
    )
    return _strips(title, persons[order], rates[:, order], about)


def _between(
    row: Row, other: Row, column: str, records: Sequence[Record]
) -> tuple[str, str] | None:
    """The persons that make the difference of two rows on the same data: summary and chart."""
    common = [
        (a, b)
        for a, b in same_splits(row, other, column, records)
        if row.protocol in a.get("persons", {}) and other.protocol in b.get("persons", {})
    ]
    if not common or row.figure_of or other.figure_of:
        return None
    a, b = (
        sums_of(side, one.protocol)
        for side, one in zip(zip(*common, strict=True), (row, other), strict=True)
    )
    if a is None or b is None or not np.array_equal(a[0], b[0]):
        return None
    persons, windows, better = a[0], a[2][..., 0], (a[1] - b[1])[..., 0]
    rates = 100 * better / np.where(windows > 0, windows, np.nan)
    points = 100 * better.sum(0) / windows.sum()  # of the difference of the whole
    order = np.argsort(-np.abs(points), kind="stable")[:_SHOWN]
    order = order[np.argsort(-points[order], kind="stable")]
    title = f"{row.name} - {other.name}: persons that make the difference"
    about = (
        f"Difference of a person's top-1 in points, a dot a seed ({len(common)}); the "
        f"{len(order)} of {len(persons)} that count most. The whole difference is "
        f"{points.sum():+.1f}; without these persons it is "
        f"{points.sum() - points[order].sum():+.1f}. {int((points > 0).sum())} persons are better, "
        f"{int((points < 0).sum())} worse."
    )
    return _strips(title, persons[order], rates[:, order], about)


def _strips(title: str, persons: np.ndarray, rates: np.ndarray, about: str) -> tuple[str, str]:
    """Summary and chart of rates (S, P), a dot for each of S seeds, of persons (P,)."""
    names = [f"person {person}" for person in persons]
    return charts.escape(title), charts.strips(title, names, rates, about)
