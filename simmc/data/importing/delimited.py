"""Text with delimiters: header, decimal sign and encoding are found, and cells become numbers."""

from __future__ import annotations

import csv as quoted
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from simmc.data.importing.columns import Columns
from simmc.data.importing.description import Description
from simmc.errors import UserError, numbered

_NULLS = ["", "NA", "N/A", "n/a", "null", "NULL", "None", "none", "-", "#N/A", "-nan(ind)"]
_DELIMITERS = (",", ";", "\t", "|", " ")
_HEAD = 2**16  # bytes that are looked at to find delimiter and header
_AXES = ("x", "y", "z")


@dataclass(frozen=True, eq=False)
class Layout:
    """How a text is divided, and what its columns are called ("" where it has no header)."""

    names: list[str]
    body: bytes  # the rows of data
    delimiter: str
    decimal: str
    first_line: int  # number of the first row's line


def text_of(path: str, data: bytes) -> bytes:
    """The text of a file as UTF-8 with plain line ends; what is not UTF-8 is read as Latin-1."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            data = data.decode("utf-16").encode()
        except UnicodeError as error:
            raise UserError(f"{path}: not valid UTF-16 text ({error})") from error
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in data:
        raise UserError(f"{path}: holds zero bytes, so it is not text")
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            data = data.decode("latin-1").encode()
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data


def layout_of(path: str, data: bytes, told: Description) -> Layout:
    """Delimiter, header and rows of a text."""
    data = text_of(path, data)
    lines = data[:_HEAD].decode("utf-8", "replace").split("\n")
    lines.pop()  # cut short, or what follows the last line's end
    if not data.endswith(b"\n") and len(data) <= _HEAD:
        lines.append(data[data.rfind(b"\n") + 1 :].decode("utf-8", "replace"))
    if not lines or not data.strip():
        raise UserError(f"{path}: the file is empty")
    if len(lines) < 2 and len(data) > _HEAD:
        raise UserError(f"{path}: a line of more than {_HEAD:,} bytes; is it a table?")
    delimiter = told.delimiter or _delimiter(lines[-20:])
    decimal = told.decimal or _decimal(lines[-20:], delimiter)
    width = max(len(_split(line, delimiter)) for line in lines[-20:])
    header: list[list[str]] = []
    first, found = -1, []
    for number, line in enumerate(lines):
        found = _split(line, delimiter)
        if number < told.skip_lines or not _fits(found, width):
            continue
        if _is_data(found, decimal):
            first = number
            break
        header.append(found)
    if first < 0:
        where = numbered("[its only line|its first {} lines]", len(lines))
        raise UserError(f"{path}: no row of numbers in {where}")
    names = _names(header, len(found))
    start = 0
    for _ in range(first):
        start = data.index(b"\n", start) + 1
    body = data[start:] if start else data
    if delimiter == " ":
        body = b"\n".join(b" ".join(line.split()) for line in body.splitlines())
    return Layout(names, body, delimiter, decimal, first + 1)


def _fits(row: Sequence[str], width: int) -> bool:
    """Whether a row is as wide as the others; a delimiter at the end may be missing."""
    return abs(len(row) - width) <= 1


def _delimiter(lines: Sequence[str]) -> str:
    """The delimiter that divides most lines into the same number of fields, the more the better."""

    def worth(delimiter: str) -> tuple[int, int]:
        widths = [len(_split(line, delimiter)) for line in lines if line.strip()]
        usual = max(set(widths), key=widths.count, default=1)
        return (widths.count(usual) * 10 // max(len(widths), 1) if usual > 1 else 0, usual)

    if any(";" in line for line in lines) and worth(";")[0] >= 9:
        return ";"  # commas are decimal signs
    return max(_DELIMITERS, key=worth)


def _split(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        return line.split()
    if '"' in line:
        fields = next(quoted.reader([line], delimiter=delimiter, skipinitialspace=True))
        return [text.strip() for text in fields]
    return [text.strip() for text in line.rstrip("\r\n").split(delimiter)]


def _decimal(lines: Sequence[str], delimiter: str) -> str:
    if delimiter == ",":
        return "."
    number = re.compile(r"-?\d+,\d+(?:[eE][+-]?\d+)?")
    texts = [text for line in lines for text in _split(line, delimiter)]
    return "," if any(number.fullmatch(text) for text in texts) else "."


def _is_number(text: str, decimal: str) -> bool:
    try:
        float(text.replace(",", ".") if decimal == "," else text)
    except ValueError:
        return False
    return True


def _is_data(row: Sequence[str], decimal: str) -> bool:
    """Whether a row holds numbers; a header holds none or, above them, a few."""
    filled = [text for text in row if text]
    return 2 * sum(_is_number(text, decimal) for text in filled) >= max(len(filled), 1)


def _names(header: Sequence[Sequence[str]], width: int) -> list[str]:
    """Names of columns; of two rows, joints above axes, the two together."""
    if not header:
        return [""] * width
    names = list(header[-1])
    for row in reversed(header[:-1]):
        axes = sum(name.lower() in _AXES for name in names)
        if 2 * axes <= len(names):
            break
        above, filled = "", []
        for text in row:
            above = text or above
            filled.append(above)
        if len(set(filled)) > 1:
            cells = zip(filled, row, names, strict=False)
            names = [f"{a}_{n}" if n.lower() in _AXES else n or own for a, own, n in cells]
            break
    return (names + [""] * width)[:width]


def parsed(
    path: str, layout: Layout, columns: Columns, told: Description
) -> tuple[pa.Table, tuple[str, ...]]:
    """The needed columns, coordinates as float64 with null where a cell is empty."""
    names = [f"c{place}" for place in range(len(layout.names))]
    numbers = [names[place] for place in columns.places.ravel() if place >= 0]
    texts = [names[place] for place in columns.roles.values() if names[place] not in numbers]
    wrong: list[int] = []
    try:
        table = _csv(layout, names, numbers, texts, None)
    except pa.ArrowException:
        try:
            table = _csv(layout, names, [], [*numbers, *texts], wrong)
        except pa.ArrowException as error:
            raise UserError(f"{path}: cannot be read as a table ({str(error)[:200]})") from error
        table = _by_cell(path, layout, table, numbers, told, wrong)
    if told.bad_rows == "refuse":
        return table, ()
    empty = np.zeros(len(table), bool)
    for name in numbers:
        if table[name].null_count:
            empty |= table[name].is_null().to_numpy(zero_copy_only=False)
    dropped = int(empty.sum()) + len(wrong)
    if not dropped:
        return table, ()
    note = numbered("{} [row|rows] with empty or unreadable numbers dropped", dropped)
    return table.filter(pa.array(~empty)), (note,)


def _csv(
    layout: Layout,
    names: list[str],
    numbers: Sequence[str],
    texts: Sequence[str],
    wrong: list[int] | None,
) -> pa.Table:
    types = {name: pa.float64() for name in numbers} | {name: pa.string() for name in texts}
    parse = csv.ParseOptions(delimiter=layout.delimiter)
    if wrong is not None:

        def skip(row: Any) -> str:
            wrong.append(row.number)
            return "skip"

        parse.invalid_row_handler = skip
    convert = csv.ConvertOptions(
        column_types=types,
        include_columns=[*numbers, *texts],
        null_values=_NULLS,
        decimal_point=layout.decimal,
        check_utf8=False,
    )
    how = csv.ReadOptions(
        column_names=names, use_threads=False, block_size=len(layout.body) + 1, encoding="utf8"
    )
    return csv.read_csv(pa.py_buffer(layout.body), how, parse, convert)


def _by_cell(
    path: str,
    layout: Layout,
    table: pa.Table,
    numbers: Sequence[str],
    told: Description,
    wrong: list[int],
) -> pa.Table:
    """Numbers of cells one by one; UserError for the first that is none, unless rows are dropped.

    `wrong` are the numbers of rows with too many or too few fields.
    """
    refuse = told.bad_rows == "refuse"
    advice = 'correct it, or set bad_rows = "drop" in dataset.toml'
    if refuse and wrong:
        line = layout.first_line - 1 + (wrong[0] or 0)
        raise UserError(
            f"{path}, line {line}: the number of fields is not {len(layout.names)}, as in the "
            f"first row; {advice}"
        )
    for name in numbers:
        place = table.column_names.index(name)
        cells = table[name].to_pylist()
        values: list[float | None] = []
        for row, cell in enumerate(cells):
            text = (cell or "").strip()
            text = text.replace(",", ".") if layout.decimal == "," else text
            value = float(text) if _is_number(text, ".") else None
            if value is None and text not in _NULLS and refuse:
                raise UserError(
                    f"{path}, line {layout.first_line + row}: {text[:40]!r} is not a number "
                    f"({layout.names[int(name[1:])]}); {advice}"
                )
            values.append(value)
        table = table.set_column(place, name, pa.array(values, pa.float64()))
    return table
