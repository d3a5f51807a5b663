"""Writes a result table as aligned text, Markdown or CSV."""

import textwrap
from collections import Counter
from collections.abc import Sequence

from simmc.engine.health import HEALTHY
from simmc.files import csv_text
from simmc.reports.tables import AREAS, RATES, Table

FORMATS = ("text", "md", "csv")
HEADINGS = {
    **{"top1": "top-1", "top5": "top-5", "top10": "top-10", "mAP": "mAP", "mINP": "mINP"},
    **{"nauc_roc": "nAUC ROC", "nauc_cmc": "nAUC CMC"},
}
_COLUMNS = (
    *("dataset", "probe", "length", "method", "fidelity", "protocol", "settings", "seeds"),
    *(f"{name}_{part}" for name in (*RATES, *AREAS) for part in ("mean", "std")),
    *("epochs", "probes", "unmatched", "no_rates", "health"),
)


def render(table: Table, form: str) -> str:
    """The table as "text", "md" (Markdown) or "csv" (fractions of 1, one column a number)."""
    if form == "csv":
        return _csv(table)
    return page([_cells(table)], table.notes, form)


def page(
    blocks: Sequence[tuple[list[str], list[list[str]]]], notes: Sequence[str], form: str
) -> str:
    """Tables, each of heads and cells, and notes below them, as "text" or "md"."""
    if form == "md":
        parts = ["\n".join(_markdown(*block)) for block in blocks]
        return "\n\n".join([*parts, *notes]) + "\n"
    filled = [textwrap.fill(note, 100, subsequent_indent="  ") for note in notes]
    lines = [line for block in blocks for line in [*_text(*block), ""]]
    return "\n".join([*lines, *filled]) + "\n"


def _cells(table: Table) -> tuple[list[str], list[list[str]]]:
    with_settings = any(row.settings for row in table.rows)
    heads = ["Dataset", "Probe", "f", "Method", "Fidelity", "Protocol"]
    shown = [*RATES, *(area for area in AREAS if any(area in row.rates for row in table.rows))]
    with_unmatched = any(any(row.unmatched) for row in table.rows)
    heads += ["Settings"] * with_settings + ["Seeds", *(HEADINGS[name] for name in shown)]
    with_health = any(set(row.health) - {HEALTHY} for row in table.rows)
    heads += ["Unmatched"] * with_unmatched + ["Health"] * with_health + ["Epoch"]
    cells = []
    for row in table.rows:
        line = [row.dataset, row.probe, row.length, row.method, row.fidelity, row.protocol]
        line += [row.settings or "-"] if with_settings else []
        line.append(str(len(row.seeds)) if row.seeds else "-")
        line += [str(row.rates[name]) if name in row.rates else "-" for name in shown]
        if with_unmatched:
            line.append(f"{span(row.unmatched)} of {span(row.probes)}" if row.probes else "-")
        if with_health:
            line.append(_verdicts(row.health))
        cells.append([*line, span(row.epochs)])
    return heads, cells


def _verdicts(found: Sequence[str]) -> str:
    """Every verdict with the number of its runs, where they differ."""
    counted = Counter(found)
    if len(counted) < 2:
        return next(iter(counted), "-")
    return ", ".join(f"{verdict} ({count})" for verdict, count in counted.items())


def span(numbers: Sequence[int]) -> str:
    """The smallest and the largest of some numbers; one where they are equal."""
    if not numbers:
        return "-"
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low}-{high}"


def _text(heads: list[str], cells: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    lines = [heads, ["-" * width for width in widths], *cells]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def _markdown(heads: list[str], cells: list[list[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *cells]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _csv(table: Table) -> str:
    rows: list[Sequence[str]] = [_COLUMNS]
    for row in table.rows:
        line = [row.dataset, row.probe, row.length, row.method, row.fidelity, row.protocol]
        line += [row.settings, " ".join(row.seeds)]
        for name in (*RATES, *AREAS):
            value = row.rates.get(name)
            line.append("" if value is None else f"{value.mean / 100:.6g}")
            line.append("" if value is None or value.std is None else f"{value.std / 100:.6g}")
        lists = (row.epochs, row.probes, row.unmatched)
        lists_text = [" ".join(map(str, one)) for one in lists]
        rows.append([*line, *lists_text, row.no_rates, "; ".join(row.health)])
    return csv_text(rows)
