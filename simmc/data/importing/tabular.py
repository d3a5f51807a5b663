"""Tables, a row a frame or a row a joint: CSV, TSV and other text, Parquet, data frames.

Shape letters: F frames, J joints.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from simmc.data.conventions import METRES, in_metres
from simmc.data.importing.columns import Columns, find_columns
from simmc.data.importing.delimited import layout_of, parsed
from simmc.data.importing.description import ROLES, Description
from simmc.data.importing.members import natural
from simmc.data.importing.recording import Body, with_fields
from simmc.errors import UserError, numbered

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "100ns": 1e-7, "ns": 1e-9}
_RATES = (4.0, 250.0)  # Hz, of body sensors: tells the unit of times


def read_text(path: str, data: bytes, told: Description) -> list[Body]:
    """The bodies of a CSV or TSV file."""
    layout = layout_of(path, data, told)
    columns = find_columns(layout.names, told, path)
    table, notes = parsed(path, layout, columns, told)
    return _bodies(path, table, columns, told, notes)


def read_parquet(path: str, data: bytes, told: Description) -> list[Body]:
    """The bodies of a Parquet file."""
    try:
        table = parquet.read_table(pa.BufferReader(data))
        table.validate(full=True)
        _ = table.column_names  # decoded here
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise UserError(f"{path}: not a valid Parquet file ({str(error)[:200]})") from error
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
    return _bodies(path, table, columns, told)


def _bodies(
    path: str, table: pa.Table, columns: Columns, told: Description, notes: tuple[str, ...] = ()
) -> list[Body]:
    """The bodies of a table: one for each recording, person, session, camera and body it names.

    A column is text, or numbers where it holds coordinates.
    """
    fields = [role for role in columns.roles if role not in ROLES]  # who, where and whatever else
    fields += ["body"] if "body" in columns.roles else []
    keys = {role: _text(table, columns.roles[role]) for role in fields}
    order = _order(table, columns, told, path)
    joints, joint = columns.joints, np.empty(0, np.int64)
    if columns.long:
        joints, joint = _joint_ids(_text(table, columns.roles["joint"]))
    xyz = _coordinates(table, columns)
    metres, unit_notes = _unit(columns, told)
    if metres:
        xyz = in_metres(xyz, columns.unit)
    notes = (*notes, *unit_notes)
    made, seen = [], Counter[str]()
    groups = _groups(keys, len(table))
    for number, rows in enumerate(groups, start=1):
        values = {role: str(texts[rows[0]]) for role, texts in keys.items()}
        body_notes = [*notes, *columns.guesses] if number == 1 else []
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
        seen[name] += 1
        name += f"#{seen[name]}" if seen[name] > 1 else ""  # several persons of one recording
        all_notes = (*body_notes, *doubts)
        body = Body(name, one, joints, times, columns.flat, all_notes, metres=metres)
        made.append(with_fields(body, values))
    return made


def _unit(columns: Columns, told: Description) -> tuple[bool, tuple[str, ...]]:
    """Whether coordinates become metres by the unit in the columns' names, and a note on it."""
    unit, given = columns.unit, told.unit
    if not unit or unit == given:
        return False, ()
    if given:
        note = f'the columns are named in {unit}, but unit = "{given}" of dataset.toml is used'
        return False, (note,)
    if unit not in METRES:
        note = f"the columns are named in {unit}, but coordinates are taken as metres; "
        return False, (note + f'set unit = "{unit}" in dataset.toml to scale them to an adult',)
    return True, (f"the unit is {unit}, by the names of the columns; coordinates become metres",)


def _text(table: pa.Table, place: int) -> np.ndarray:
    """A column as text, (n,) object."""
    column = table[f"c{place}"]
    if pa.types.is_floating(column.type):
        whole = [None if v is None else f"{v:.15g}" for v in column.to_pylist()]
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
    column = table[f"c{columns.roles[role]}"]
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy())  # null is NaN
    texts = _text(table, columns.roles[role])
    try:
        return np.array([float(str(t).replace(",", ".")) if t else np.nan for t in texts])
    except ValueError:
        pass
    try:
        return np.array(texts.astype(str), "datetime64[us]").astype(np.int64) / 1e6
    except ValueError:
        raise UserError(
            f"{path}: the column of the {role} holds {str(texts[0])[:40]!r}, which is not a number "
            f'or a date; name another in [columns], or {role} = "-"'
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
    return in_seconds(when, told)


def in_seconds(when: np.ndarray, told: Description) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Times (F,) of frames in seconds, and a note where they cannot be used."""
    step = float(np.median(np.diff(when)))
    if step <= 0:
        return None, ("times do not rise: they are not used",)
    unit = told.time_unit or _guessed_unit(step)
    if not unit:
        return None, (f"times are {step:g} apart, of an unknown unit: they are not used",)
    return when * _SECONDS[unit], ()


def _guessed_unit(step: float) -> str:
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
            raise UserError(f"{path}: not a valid Parquet file ({str(error)[:200]})") from error
    elif path.lower().endswith((".csv", ".tsv", ".tab", ".txt")) and data.lstrip()[:1] not in b"[{":
        names = layout_of(path, data, told).names
    else:
        return [], {}
    return names, find_columns(names, told, path).roles
