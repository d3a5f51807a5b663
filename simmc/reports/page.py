"""The results as one page, drawn from records: HTML, Markdown, LaTeX, and parts for the docs."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from simmc.errors import UserError
from simmc.files import read_json
from simmc.reports.cells import Ours, Record, Row, Table, records_of, summary, tables
from simmc.reports.claims import MARKS, NAMES, Verdict, verdicts
from simmc.reports.render import page as plain_tables

PROTOCOLS = (("paper", "supervised"), ("label_free", "fixed_epochs"))
CARRIED = "†"
BUSY = "‡"
NOTE = (
    f"Percent. {CARRIED}: some or all of these seeds are carried over, measured by an older "
    "version. ±: sample standard deviation over seeds, each with its own training, and its own "
    "split where none is given. Best epoch by the test: of those that were tested, not of all. "
    "95 %: interval over persons (bootstrap) of the first of our values; empty where runs kept no "
    "outcomes by person. Seeds: two numbers where our two values have different ones. "
    f"{BUSY}: timed while other work may have used the machine."
)
_MINUTES = 90  # seconds from which a time is given in minutes
_CROWDED = 1.1  # processes a core; the averages of the system are never exact
_MARKER = re.compile(r"(<!-- (claims|table) ?([^>]*?) -->\n)(.*?)(<!-- end -->)", re.S)
_INLINE = re.compile(r"<!-- mean ([^>]*?)-->(.*?)<!-- /mean -->", re.S)
_BLOCK = {"title": str, "section": str, "blocks": [{str: object}]}

_TEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%_#{}$"},
        "\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}",
        "±": r"$\pm$", CARRIED: r"$\dagger$", BUSY: r"$\ddagger$", "λ": r"$\lambda$",
    }
)  # fmt: skip

Line = tuple[Row, Ours | None, Ours | None]  # by the test's best epoch; without the test


def lines_of(table: Table, column: str, records: Sequence[Record]) -> list[Line]:
    """Rows of a column that are printed or measured."""
    found: list[Line] = []
    for row in table.rows:
        having = records_of(records, row, column)
        chosen, blind = (
            next(filter(None, (summary(having, name, row.figure_of) for name in names)), None)
            for names in PROTOCOLS
        )
        if chosen or blind or column in row.printed:
            found.append((row, chosen, blind))
    return found


def heads_of(table: Table) -> list[str]:
    """Headings of `cells_of`."""
    rates = " / ".join(NAMES[name] for name in table.figures)
    ours = ["ours, best epoch by the test", "±", "ours, test not used", "±", "ours - published"]
    return ["method", "labels", f"published {rates}", *ours, "95 % of top-1", "seeds", "cost"]


def cells_of(table: Table, column: str, line: Line) -> list[str]:
    """One line of a table as text."""
    row, chosen, blind = line
    printed = row.printed.get(column, {})
    names, ours = table.figures, chosen or blind
    cells = [row.name, row.labels, _joined(printed, names)]
    if ours is None:
        return [*cells, *[""] * 6, "not run" if row.run else "", ""]
    for one in (chosen, blind):
        cells += [_joined(one.mean, names), _joined(one.deviation, names)] if one else ["", ""]
    away = {n: ours.mean[n] - printed[n] for n in names if n in ours.mean and n in printed}
    ends = "{:.1f} to {:.1f}".format(*ours.ends["top1"]) if "top1" in ours.ends else ""
    both = [one for one in (chosen, blind) if one]
    seeds = ", ".join(dict.fromkeys(str(one.n) for one in both))
    seeds += f" {CARRIED}" * any(one.carried for one in both)
    return [*cells, _joined(away, names, "+"), ends, seeds, cost_of(ours)]


def cost_of(ours: Ours) -> str:
    """Mean time of the runs that were timed, marked if any was on a busy machine; most memory."""
    timed = [record for record in ours.records if record.get("seconds")]
    peaks = [record["peak_rss_bytes"] for record in ours.records if record.get("peak_rss_bytes")]
    parts = []
    if timed:
        mean = sum(record["seconds"] for record in timed) / len(timed)
        shown = f"{mean / 60:.0f} min" if mean >= _MINUTES else f"{mean:.0f} s"
        parts.append(f"{shown} {BUSY}" if any(map(was_busy, timed)) else shown)
    return ", ".join(parts + ([f"{max(peaks) / 1e9:.1f} GB"] if peaks else []))


def was_busy(record: Record) -> bool:
    """Whether more wanted the cores than there are; unknown counts, but for carried-over times.

    Those were taken on idle cores.
    """
    return record.get("load", 0 if "carried" in record else _CROWDED + 1) > _CROWDED


def _joined(values: Any, names: Iterable[str], sign: str = "") -> str:
    names = list(names)
    if not any(name in values for name in names):
        return ""
    rounded = {name: round(values[name], 1) + 0.0 for name in names if name in values}  # no -0.0
    return " / ".join(f"{rounded[n]:{sign}.1f}" if n in rounded else "-" for n in names)


def columns_with(table: Table, records: Sequence[Record]) -> list[str]:
    """Columns of a table that have a record; of a table without commands, all."""
    known = list(table.columns)
    if "*/probe" in known:
        names = {f"{r['dataset']}/{r['probe']}" for r in records if r["split"] == "set"}
        known = sorted(names)
    if not any(row.run for row in table.rows):
        return known
    return [c for c in known if any(records_of(records, row, c) for row in table.rows)]


def title_of(table: Table) -> str:
    """Paper, number and title of a table."""
    number = f", Table {table.number}" if table.number else ""
    return f"{table.paper}{number}: {table.title}" if table.paper else table.title


def text_of(table: Table, records: Sequence[Record], protocol: str) -> str:
    """A table on the screen, of one protocol or "both"."""
    blocks = []
    for column in columns_with(table, records):
        lines = lines_of(table, column, records)
        if protocol != "both":
            first = protocol in PROTOCOLS[0]
            lines = [(row, a if first else None, None if first else b) for row, a, b in lines]
        cells = [[column, *cells_of(table, column, line)] for line in lines]
        blocks.append(without_empty(["data", *heads_of(table)], cells))
    if not blocks:
        return f"{title_of(table)}: no record yet\n"
    return f"{title_of(table)}\n\n" + plain_tables(blocks, [NOTE], "text")


def block_of(table: Table, column: str, lines: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of some lines, without the columns that are empty in all of them."""
    return without_empty(heads_of(table), [cells_of(table, column, line) for line in lines])


def claims_of(records: Sequence[Record]) -> list[Verdict]:
    """Every claim of every table."""
    return [verdict for table in tables().values() for verdict in verdicts(table, records)]


def claims_markdown(records: Sequence[Record]) -> str:
    """The claims as a Markdown table."""
    cells = [[f"{MARKS[v.mark]} {v.mark}", v.text, v.table, v.detail] for v in claims_of(records)]
    return plain_tables([(["", "claim", "table", "measured"], cells)], [], "md")


def markdown_page(records: Sequence[Record]) -> str:
    """The whole page as Markdown."""
    parts = ["# Results", NOTE, "## Which published claims hold on KGBD", claims_markdown(records)]
    for table in tables().values():
        if columns := columns_with(table, records):
            parts += [f"## {title_of(table)}"]
            for column in columns:
                block = block_of(table, column, lines_of(table, column, records))
                parts += [f"### {column}", plain_tables([block], [], "md")]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def latex_page(records: Sequence[Record]) -> str:
    r"""Every table for a paper; it needs \usepackage{booktabs}."""
    parts = ["% \\usepackage{booktabs}", rf"\noindent {_tex(NOTE)}"]
    for table in tables().values():
        for column in columns_with(table, records):
            heads, body = block_of(table, column, lines_of(table, column, records))
            lines = [" & ".join(map(_tex, row)) + r" \\" for row in [heads, *body]]
            left = sum(head in ("method", "labels") for head in heads)
            caption = _tex(f"{title_of(table)}, {column}")
            top = [
                rf"\begin{{table}}\caption{{{caption}}}",
                rf"\centering\begin{{tabular}}{{{'l' * left}{'r' * (len(heads) - left)}}}",
            ]
            end = [r"\bottomrule", r"\end{tabular}\end{table}"]
            rules = [*top, r"\toprule", lines[0], r"\midrule", *lines[1:], *end]
            parts.append("\n".join(rules))
    return "\n\n".join(parts) + "\n"


def _tex(text: str) -> str:
    return re.sub(r"(?<!\w)-(?=[\d ])", "$-$", text.translate(_TEX))


def fill(text: str, records: Sequence[Record]) -> str:
    """A page of the docs with what stands between its markers drawn again.

    `<!-- claims -->`, `<!-- table NAME DATASET/PROBE row; row -->` and, inside a sentence,
    `<!-- mean TABLE DATASET/PROBE PROTOCOL FIGURE row-->`.
    """

    def block(match: re.Match[str]) -> str:
        kind, words = match[2], match[3]
        if kind == "claims":
            return f"{match[1]}\n{claims_markdown(records)}\n{match[5]}"
        name, column, *rest = words.split(" ", 2)
        table = _named(name)
        wanted = [word.strip() for word in rest[0].split(";")] if rest else []
        lines = [
            line
            for line in lines_of(table, column, records)
            if (not wanted or line[0].name in wanted)
            and (line[1] or line[2] or not line[0].run or wanted)
        ]
        made = plain_tables([block_of(table, column, lines)], [], "md")
        return f"{match[1]}\n{made}\n{match[5]}"

    def number(match: re.Match[str]) -> str:
        name, column, protocol, figure, row_name = match[1].strip().split(" ", 4)
        row = _named(name).row(row_name)
        ours = summary(records_of(records, row, column), protocol, row.figure_of)
        shown = "not measured" if ours is None else f"{ours.mean[figure]:.1f}"
        if ours and figure in ours.deviation:
            shown += f" ± {ours.deviation[figure]:.1f}"
        return f"<!-- mean {match[1]}-->{shown}<!-- /mean -->"

    return _INLINE.sub(number, _MARKER.sub(block, text))


def without_empty(heads: list[str], cells: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells without the columns that are empty in every row."""
    kept = [place for place in range(len(heads)) if any(row[place] for row in cells)]
    return [heads[place] for place in kept], [[row[place] for place in kept] for row in cells]


def _named(name: str) -> Table:
    if name not in tables():
        raise UserError(f"a marker names the table {name!r}; tables: {', '.join(tables())}")
    return tables()[name]


def read_carried(folder: Path) -> list[dict[str, Any]]:
    """Sections of the results page of version 0.2.0, as it stood."""
    advice = "take the file from the repository again"
    return [read_json(path, _BLOCK, advice) for path in sorted(folder.glob("*.json"))]
