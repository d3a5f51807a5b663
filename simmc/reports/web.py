"""The HTML of the results page: one file, no network; a script only where skeletons move.

A measured cell is a `details` element, so it opens by mouse and keyboard and prints as it stands.
"""

import re
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from simmc.reports import charts, persons, run_figures
from simmc.reports.cells import Ours, Record, Row, Table, figures_of, tables
from simmc.reports.charts import asset
from simmc.reports.claims import FAILS, HOLDS, MARKS, MISSING, OPEN, Verdict
from simmc.reports.moving import controls
from simmc.reports.page import (
    BUSY,
    NOTE,
    PROTOCOLS,
    Line,
    cells_of,
    claims_of,
    columns_with,
    heads_of,
    lines_of,
    title_of,
    was_busy,
    without_empty,
)
from simmc.reports.run_figures import Embedded

_CURVES = 10  # of a CMC chart

_CLASS = {HOLDS: "yes", FAILS: "no", OPEN: "open", MISSING: "none"}


def html_page(
    records: Sequence[Record], carried: Sequence[dict[str, Any]], runs: Sequence[Embedded] = ()
) -> str:
    """The whole page as one HTML file that needs nothing else.

    Args:
        records: every record.
        carried: sections of an older page (`page.read_carried`).
        runs: trained runs whose features are drawn.
    """
    found = [(t, columns) for t in tables().values() if (columns := columns_with(t, records))]
    sections = [_section_of_claims(claims_of(records), [table.name for table, _ in found])]
    links = [("claims", "Claims")]
    if runs:
        sections.append(_section_of_runs(runs))
        links.append(("runs", "Trained runs"))
    sections += [_section_of_table(table, columns, records) for table, columns in found]
    sections.append(_section_of_carried(carried))
    links += [*((t.name, t.name) for t, _ in found), ("carried", "Carried over")]
    return _document(sections, links, len(records), run_figures.data_of(runs) if runs else "")


def _document(
    sections: Sequence[str], links: Sequence[tuple[str, str]], count: int, data: str
) -> str:
    """The page around its sections; `data` is what its script draws, "" where nothing moves."""
    style = asset("page.css") + asset("results.css")
    menu = "".join(f'<li><a href="#{escape(to)}">{escape(name)}</a></li>' for to, name in links)
    script = (
        f'<script type="application/json" id="data">{data}</script>'
        f"<script>{asset('moving.js')}</script>"
        if data
        else ""
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>simmc: results</title><style>{style}</style></head>\n<body>"
        '<a class="skip" href="#claims">Skip to the results</a>'
        "<header><h1>Results of simmc</h1>"
        f'<p class="note">Drawn from {count} records by <code>simmc report page</code>. '
        f"{escape(NOTE)} A value of ours opens: commands, seeds, curves.</p></header>"
        f'<nav aria-label="Tables"><ul>{menu}</ul></nav>\n<main>\n'
        + "\n".join(sections)
        + f"\n</main>{script}</body></html>\n"
    )


def _section_of_runs(runs: Sequence[Embedded]) -> str:
    """Every run that was given, and the buttons of what moves."""
    parts = [
        '<section id="runs"><h2>Trained runs</h2><p class="note">Drawn from weights by '
        f"<code>simmc report page --runs</code>.</p>{controls(0.5, '1/2')}"
    ]
    first = 0
    for number, run in enumerate(runs, start=1):
        parts.append(run_figures.section(run, number, first))
        first += len(run.shown) * (1 + run.gallery_windows.shape[1])
    return "".join(parts) + "</section>"


def _section_of_claims(found: Sequence[Verdict], drawn: Sequence[str]) -> str:
    """The first screen: every claim with its mark, and a link to its table if that is drawn."""
    counts = "".join(
        f'<span class="{_CLASS[mark]}">{MARKS[mark]} {mark}: {sum(v.mark == mark for v in found)}'
        "</span>"
        for mark in (HOLDS, FAILS, OPEN, MISSING)
    )
    items = "".join(
        f'<li><span class="mark {_CLASS[v.mark]}">{MARKS[v.mark]} {v.mark}</span>'
        f"<span>{escape(v.text)} ({_linked(v.table, drawn)})</span>"
        + (f'<span class="dim">{escape(v.detail)}</span>' if v.detail else "")
        + "</li>"
        for v in found
    )
    return (
        '<section id="claims"><h2>Which published claims hold on KGBD</h2>'
        f'<p class="counts">{counts}</p><ul class="claims">{items}</ul></section>'
    )


def _linked(name: str, drawn: Sequence[str]) -> str:
    return f'<a href="#{name}">{name}</a>' if name in drawn else name


def _section_of_table(table: Table, columns: Sequence[str], records: Sequence[Record]) -> str:
    """A table, one block for each dataset that has records."""
    named = [head for head in heads_of(table) if head != "±"]
    parts = [f'<section id="{table.name}"><h2>{escape(title_of(table))}</h2>']
    if any(row.run for row in table.rows):
        parts.append(f'<p class="note"><code>simmc reproduce {table.name}</code></p>')
    for column in columns:
        lines = lines_of(table, column, records)
        shown, rows = without_empty(named, [_cells(table, column, line) for line in lines])
        heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in shown)
        body = "".join(
            f'<tr{" class=ours" * any(line[1:])}><th scope="row">{name}</th>'
            + "".join(f"<td>{cell}</td>" for cell in rest)
            + "</tr>"
            for line, (name, *rest) in zip(lines, rows, strict=True)
        )
        parts.append(
            _wide(f"{table.name}, {column}", f"<caption>{escape(column)}</caption>", heads, body)
        )
        parts += [_cmc(column, lines), persons.section(table, column, records)]
    return "".join(parts) + "</section>"


def _cmc(column: str, lines: Sequence[Line]) -> str:
    """CMC curves of the rows whose runs kept one, the best rows; "" for none."""
    curves = []
    for row, *both in lines:
        for ours, protocols in zip(both, PROTOCOLS, strict=True):
            kept = [_curve(record, protocols) for record in ours.records] if ours else []
            if kept and all(kept) and not row.figure_of:
                length = min(map(len, kept))
                curves.append((row.name, np.mean([curve[:length] for curve in kept], axis=0)))
                break
    curves.sort(key=lambda curve: -curve[1][0])
    drawn = [
        charts.Line(name, 100 * values, place % 5, dashed=place >= 5)
        for place, (name, values) in enumerate(curves[:_CURVES])
    ]
    about = "Probe windows with a right answer among the first k, percent; mean over seeds."
    return charts.by_rank(f"CMC, {column}", drawn, about) if drawn else ""


def _curve(record: Record, protocols: Sequence[str]) -> list[float]:
    found = (record["protocols"].get(name) or {} for name in protocols)
    return next((one["cmc"] for one in found if one.get("cmc")), [])


def _wide(label: str, caption: str, heads: str, body: str) -> str:
    """A table that scrolls by itself, with the keyboard as well."""
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(label)}"><table>'
        f"{caption}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(table: Table, column: str, line: Line) -> list[str]:
    """The cells of a line; deviations stand below their means."""
    row, *both = line
    cells = [escape(cell) for cell in cells_of(table, column, line)]
    for place, ours, protocols in zip((3, 5), both, PROTOCOLS, strict=True):
        if ours is not None:
            spread = f'<div class="dim">± {cells[place + 1]}</div>' if cells[place + 1] else ""
            cells[place] = _opened(cells[place], row, column, protocols, ours) + spread
    name, labels, printed, chosen, _, blind, _, *rest, cost = cells
    note = f'<br><span class="dim">{escape(row.note)}</span>' if row.note else ""
    cost = cost.replace(", ", ",<br>")
    return [name + note, labels, printed, chosen, blind, *rest, cost]


def _opened(shown: str, row: Row, column: str, protocols: Sequence[str], ours: Ours) -> str:
    """A value with what lies behind it."""
    seed = "S" if len(ours.records) > 1 or "seeds" in ours.records[0] else ours.records[0]["seed"]
    dataset, _, probe = column.partition("/")
    commands = "\n".join(
        f"simmc {one} --dataset {dataset} --probe {probe} --seed {seed}"
        for one in row.commands(dataset)
    )
    lines = "".join(f"<li>{_of_record(record, row, protocols)}</li>" for record in ours.records)
    curves = [record for record in ours.records if len(record.get("epochs", ())) > 2]
    chart = chart_of(curves) if curves else ""
    return (
        f"<details><summary>{shown}</summary><div><pre><code>{escape(commands)}</code></pre>"
        f"<ul>{lines}</ul>{chart}</div></details>"
    )


def _of_record(record: Record, row: Row, protocols: Sequence[str]) -> str:
    """One run in words, under the first of the protocols that it has."""
    each = (figures_of(record, protocol, row.figure_of) for protocol in protocols)
    found = next(filter(None, each), {})
    rates = [f"{name} {100 * value:.2f}" for name, value in found.items() if name != "epoch"]
    seeds = f"seeds {', '.join(map(str, record['seeds']))}" if "seeds" in record else ""
    parts = [seeds or f"seed {record.get('seed', '?')}", ", ".join(rates)]
    if found.get("epoch") is not None:
        parts.append(f"epoch {found['epoch']}")
    if record.get("seconds"):
        parts.append(f"{record['seconds'] / 60:.1f} min{f' {BUSY}' * was_busy(record)}")
    parts += [str(record[key]) for key in ("machine", "commit", "made", "key") if record.get(key)]
    if "carried" in record:
        parts.append(f"carried over: {record['carried']}")
    return escape("; ".join(parts))


def chart_of(records: Sequence[Record]) -> str:
    """Top-1 and mAP by epoch as a small drawing, one line a seed."""
    wide, high, left, top = 460, 190, 44, 12
    last = max(one["epochs"][-1]["epoch"] for one in records) or 1
    most = max(100 * line["top1"] for one in records for line in one["epochs"])
    most = 10 * (int(most / 10) + 1)

    def at(epoch: float, rate: float) -> str:
        x = left + (wide - left - 60) * epoch / last
        y = top + (high - top - 34) * (1 - 100 * rate / most)
        return f"{x:.1f},{y:.1f}"

    parts = []
    for rate in range(0, most + 1, 10 if most <= 40 else 20):
        y = at(0, rate / 100).split(",")[1]
        parts.append(
            f'<line x1="{left}" x2="{wide - 60}" y1="{y}" y2="{y}" stroke="currentColor" '
            'opacity=".15"/>'
            f'<text x="{left - 6}" y="{float(y) + 4}" text-anchor="end">{rate}</text>'
        )
    for name, label, dash in (("top1", "top-1", ""), ("mAP", "mAP", "5 3")):
        end = ""
        for one in sorted(records, key=lambda one: one["epochs"][-1]["epoch"]):
            points = [at(x["epoch"], x[name]) for x in one["epochs"] if x.get(name) is not None]
            end = points[-1] if points else end
            parts.append(
                f'<polyline points="{" ".join(points)}" fill="none" stroke="var(--yes)" '
                f'stroke-width="1.6" stroke-dasharray="{dash}"/>'
            )
        if end:
            x, y = end.split(",")
            parts.append(f'<text x="{float(x) + 5}" y="{float(y) + 4}">{label}</text>')
    parts.append(f'<text x="{left}" y="{high - 4}">epoch 0</text>')
    parts.append(f'<text x="{wide - 60}" y="{high - 4}" text-anchor="end">{last}</text>')
    return (
        f'<svg width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" role="img" '
        f'aria-label="top-1 and mAP by epoch, percent">{"".join(parts)}</svg>'
    )


def _section_of_carried(sections: Sequence[dict[str, Any]]) -> str:
    """What an older page of results said, section by section."""
    parts = [
        '<section id="carried"><h2>Carried over: measurements of version 0.2.0</h2>'
        '<p class="note">Typed by hand then, and kept as it stood: text, commands, tables. Numbers '
        "of cells that the tables above have are there as well.</p>"
    ]
    for section in sections:
        name = f"{section['section']} {section['title']}".strip()
        body = "".join(_block(block) for block in section["blocks"])
        parts.append(f"<details><summary>{escape(name)}</summary><div>{body}</div></details>")
    return "".join(parts) + "</section>"


def _block(block: dict[str, Any]) -> str:
    if "code" in block:
        return f"<pre><code>{escape(block['code'])}</code></pre>"
    if "text" in block:
        return f"<p>{_inline(block['text'])}</p>"
    if "items" in block:
        return "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in block["items"]) + "</ul>"
    heads = "".join(f'<th scope="col">{_inline(head)}</th>' for head in block["heads"])
    rows = "".join(
        "<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>"
        for row in block["rows"]
    )
    return _wide(" / ".join(block["heads"]), "", heads, rows)


def _inline(text: str) -> str:
    """Code, bold text and links of Markdown; links keep their words alone."""
    made = escape(text, quote=False)
    made = re.sub(r"`([^`]+)`", r"<code>\1</code>", made)
    made = re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", made)
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", made)
