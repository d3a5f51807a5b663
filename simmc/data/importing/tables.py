"""Tables, a row a frame or a row a joint: CSV, TSV and other text, Parquet, data frames.

Shape letters: F frames, J joints.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from simmc.data.importing.columns import Columns, fields_of, find_columns
from simmc.data.importing.description import Description
from simmc.data.importing.members import natural
from simmc.data.importing.recording import Body
from simmc.errors import UserError, numbered

_NULLS = ["", "NA", "N/A", "n/a", "null", "NULL", "None", "none", "-", "#N/A", "-nan(ind)"]
_DELIMITERS = (",", ";", "\t", "|", " ")
_HEAD = 2**16  # bytes that are looked at to find delimiter and header
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "100ns": 1e-7, "ns": 1e-9}
_RATES = (4.0, 250.0)  # Hz, of body sensors: tells the unit of times
_AXES = ("x", "y", "z")


@dataclass(frozen=True, eq=False)
class Table:
    """A table with named columns: text, or numbers where they are needed."""

    names: Sequence[str]
    table: pa.Table
    notes: tuple[str, ...] = ()


def read_text(path: str, data: bytes, told: Description) -> list[Body]:
    """The bodies of a CSV or TSV file."""
    layout = _layout(path, data, told)
    columns = find_columns(layout.names, told, path)
    table, notes = _parsed(path, layout, columns, told)
    return bodies(path, Table(layout.names, table, notes), columns, told)


def read_parquet(path: str, data: bytes, told: Description) -> list[Body]:
    """The bodies of a Parquet file."""
    try:
        table = parquet.read_table(pa.BufferReader(data))
        table.validate(full=True)
        _ = table.column_names  # decoded here
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise UserError(f"{path}: no valid Parquet file ({str(error)[:200]})") from error
    return from_arrow(path, table, told)


def from_arrow(path: str, table: pa.Table, told: Description) -> list[Body]:
    """The bodies of a table in memory; pandas and polars frames become one by `pa.table`."""
    names = [str(name) for name in table.column_names]
    columns = find_columns(names, told, path)
    table = table.rename_columns([f"c{place}" for place in range(len(names))])
    for place in sorted({int(p) for p in columns.places.ravel() if p >= 0}):
        try:
            numbers = table.column(place).cast(pa.float64())
        except pa.ArrowException as error:
            raise UserError(
                f"{path}: the column {names[place]!r} is not numbers ({str(error)[:100]})"
            ) from error
        table = table.set_column(place, f"c{place}", numbers)
    return bodies(path, Table(names, table), columns, told)


# Text


@dataclass(frozen=True, eq=False)
class _Layout:
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
            raise UserError(f"{path}: no valid UTF-16 text ({error})") from error
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in data:
        raise UserError(f"{path}: holds zero bytes, so it is no text")
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            data = data.decode("latin-1").encode()
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data


def _layout(path: str, data: bytes, told: Description) -> _Layout:
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
        raise UserError(f"{path}: no row of numbers in its first {len(lines)} lines")
    names = _names(header, len(found))
    start = 0
    for _ in range(first):
        start = data.index(b"\n", start) + 1
    body = data[start:] if start else data
    if delimiter == " ":
        body = b"\n".join(b" ".join(line.split()) for line in body.splitlines())
    return _Layout(names, body, delimiter, decimal, first + 1)


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
        found = re.findall(rf'(?:^|{re.escape(delimiter)})("(?:[^"]|"")*"|[^{delimiter}]*)', line)
        return [text.strip().strip('"') for text in found]
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


def _parsed(
    path: str, layout: _Layout, columns: Columns, told: Description
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
    layout: _Layout,
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
    layout: _Layout,
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
            f"{path}, line {line}: another number of fields than the {len(layout.names)} of the "
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
                    f"{path}, line {layout.first_line + row}: {text[:40]!r} is no number "
                    f"({layout.names[int(name[1:])]}); {advice}"
                )
            values.append(value)
        table = table.set_column(place, name, pa.array(values, pa.float64()))
    return table


# From columns to bodies


def bodies(path: str, found: Table, columns: Columns, told: Description) -> list[Body]:
    """The bodies of a table: one for each recording, person, session, camera and body it names."""
    table, notes = found.table, [*found.notes, *columns.guesses]
    fields = {role: _text(table, columns.roles[role]) for role in fields_of(columns)}
    keys = dict(fields)
    if "body" in columns.roles:
        keys["body"] = _text(table, columns.roles["body"])
    order = _order(table, columns, told, path)
    joints, joint = columns.joints, np.empty(0, np.int64)
    if columns.long:
        joints, joint = _joint_ids(_text(table, columns.roles["joint"]))
    xyz = _coordinates(table, columns)
    made = []
    groups = _groups(keys, len(table))
    for number, rows in enumerate(groups, start=1):
        values = {role: str(texts[rows[0]]) for role, texts in keys.items()}
        body_notes = list(notes) if number == 1 else []
        when = None if order is None else order[rows]
        if columns.long:
            one, when, more = _pivoted(path, xyz[rows, 0], joint[rows], when, len(joints))
            body_notes += more
        else:
            one = xyz[rows]
            if when is not None and (np.diff(when) < 0).any():
                sort = np.argsort(when, kind="stable")
                one, when = one[sort], when[sort]
                body_notes.append("frames sorted by their time or number")
        times, doubts = _times(when, columns, told)
        name = path if len(groups) == 1 else f"{path}#{values.get('recording', number)}"
        values.pop("body", None)
        made.append(
            Body(
                name=name,
                xyz=one,
                joints=joints,
                times=times,
                person=values.pop("person", None) or None,
                session=values.pop("session", None) or None,
                camera=values.pop("camera", None) or None,
                flat=columns.flat,
                notes=(*body_notes, *doubts),
                fields=values,
            )
        )
    return _unique(made)


def _unique(made: list[Body]) -> list[Body]:
    """The bodies, with different names: several persons of one recording are numbered."""
    seen: dict[str, int] = {}
    found = []
    for body in made:
        seen[body.name] = count = seen.get(body.name, 0) + 1
        found.append(body if count == 1 else replace(body, name=f"{body.name}#{count}"))
    return found


def _text(table: pa.Table, place: int) -> np.ndarray:
    """A column as text, (n,) object."""
    column = table[f"c{place}"]
    if pa.types.is_floating(column.type):
        whole = [None if v is None else f"{v:g}" for v in column.to_pylist()]
        column = pa.chunked_array([pa.array(whole, pa.string())])
    return np.array([text or "" for text in column.cast(pa.string()).to_pylist()], dtype=object)


def _coordinates(table: pa.Table, columns: Columns) -> np.ndarray:
    """(n, J, 3) float64; NaN where a cell is empty, z 0 where there is none."""
    found = np.zeros((len(table), *columns.places.shape))
    for joint, places in enumerate(columns.places):
        for axis, place in enumerate(places):
            if place >= 0:
                column = table[f"c{place}"]
                found[:, joint, axis] = column.to_numpy(zero_copy_only=False)
    if columns.flat:
        found[..., 2][np.isnan(found).any(-1)] = np.nan
    return found


def _groups(keys: Mapping[str, np.ndarray], count: int) -> list[np.ndarray]:
    """Rows of each combination of texts, in the order in which they first occur."""
    code = np.zeros(count, np.int64)
    for texts in keys.values():
        values, inverse = np.unique(texts.astype(str), return_inverse=True)
        code = np.unique(code * len(values) + inverse, return_inverse=True)[1]
    _, first, code = np.unique(code, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    sort = np.argsort(rank[code], kind="stable")
    if not count:
        return []
    ends = np.cumsum(np.bincount(rank[code]))[:-1]
    return list(np.split(sort, ends))


def _order(table: pa.Table, columns: Columns, told: Description, path: str) -> np.ndarray | None:
    """Times or numbers of frames of every row, (n,) float64; None if there are none."""
    role = "time" if "time" in columns.roles else "frame"
    if role not in columns.roles:
        return None
    texts = _text(table, columns.roles[role])
    try:
        return np.array([float(str(t).replace(",", ".")) if t else np.nan for t in texts])
    except ValueError:
        pass
    try:
        return np.array(texts.astype(str), "datetime64[us]").astype(np.int64) / 1e6
    except ValueError:
        raise UserError(
            f"{path}: the column of the {role} holds {str(texts[0])[:40]!r}, which is no number "
            f'and no date; name another in [columns], or {role} = "-"'
        ) from None


def _times(
    when: np.ndarray | None, columns: Columns, told: Description
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Times in seconds, if they are usable, and notes."""
    if when is None or len(when) < 2:
        return None, ()
    if np.isnan(when).any():
        return None, ("frames without a time: times are not used",)
    if "time" not in columns.roles:
        return (when / told.frame_rate, ()) if told.frame_rate else (None, ())
    step = float(np.median(np.diff(when)))
    if step <= 0:
        return None, ("times do not rise: they are not used",)
    unit = told.time_unit or guessed_unit(step)
    if not unit:
        return None, (f"times are {step:g} apart, of an unknown unit: they are not used",)
    return when * _SECONDS[unit], ()


def guessed_unit(step: float) -> str:
    """The unit in which frames `step` apart are those of a body sensor; "" if there is none."""
    for unit, seconds in _SECONDS.items():
        if _RATES[0] <= 1 / (step * seconds) <= _RATES[1]:
            return unit
    return ""


def _joint_ids(names: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Joints, numbers by value and names as they first occur, and the joint of every row."""
    values, first, inverse = np.unique(names.astype(str), return_index=True, return_inverse=True)
    by_number = all(value.isdecimal() for value in values)
    key = [natural(str(v)) for v in values] if by_number else list(first)
    order = sorted(range(len(values)), key=key.__getitem__)
    rank = np.empty(len(values), np.int64)
    rank[order] = np.arange(len(values))
    return tuple(str(values[place]) for place in order), rank[inverse]


def _pivoted(
    path: str, xyz: np.ndarray, joint: np.ndarray, when: np.ndarray | None, n_joints: int
) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """Frames (F, J, 3) of rows (n, 3) of one joint each; their times; notes."""
    notes = []
    if when is None or np.isnan(when).any():  # a frame begins where the joints begin again
        frame = np.cumsum(np.diff(joint, prepend=-1) <= 0).astype(np.int64)
        at = None
    else:
        at, frame = np.unique(when, return_inverse=True)
    count = int(frame.max(initial=-1)) + 1
    if count * n_joints > 50 * len(joint):
        raise UserError(
            f"{path}: {len(joint):,} rows for {count:,} frames of {n_joints:,} joints: say in "
            "[columns] of a dataset.toml which column names the joint"
        )
    cell = frame * n_joints + joint
    if repeated := len(cell) - len(np.unique(cell)):
        text = "{} [row repeats|rows repeat] a joint of the same frame: the last counts"
        notes.append(numbered(text, repeated))
    found = np.full((count * n_joints, 3), np.nan)
    found[cell] = xyz
    return found.reshape(count, n_joints, 3), at, notes


def columns_of(path: str, data: bytes, told: Description) -> tuple[list[str], Mapping[str, int]]:
    """The names of a table's columns, and role -> column; nothing for what is no table."""
    if path.lower().endswith(".parquet"):
        try:
            names = parquet.read_schema(pa.BufferReader(data)).names
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path}: no valid Parquet file ({str(error)[:200]})") from error
    elif path.lower().endswith((".csv", ".tsv", ".tab", ".txt")) and data.lstrip()[:1] not in b"[{":
        names = _layout(path, data, told).names
    else:
        return [], {}
    return names, find_columns(names, told, path).roles
