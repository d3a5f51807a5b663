"""Frames in many small files, a line ``a,b,c,...`` for each joint (IAS, BIWI and KS20).

The files of a recording are joined and parsed together. If that fails in any way, the lines are
read one by one to find the fault.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from simmc.data.arrays import LIMIT_METRES, within_limit
from simmc.data.raw.files import read_bytes
from simmc.errors import UserError, numbered

_NAN = re.compile(r"[+-]?nan(\(\w*\))?", re.IGNORECASE)  # C libraries write "-nan(ind)"
_ADVICE = "restore or remove the file"


@dataclass(frozen=True)
class Layout:
    """The lines of a frame's file: joint id, x, y, z and more for each joint."""

    lines: int  # joints, one line each
    fields: tuple[int, ...]  # how many fields a line may have
    state: int | None = None  # index of the tracking state, if lines have one
    person_ids: bool = False  # the first field may also be the person's number in all lines
    more_lines: bool = False  # further lines belong to other bodies and are not read

    @property
    def columns(self) -> tuple[int, ...]:
        """The fields that are read: id, x, y, z and the state."""
        return (0, 1, 2, 3) if self.state is None else (0, 1, 2, 3, self.state)


@dataclass(frozen=True, eq=False)
class Frames:
    """One recording from files of one frame each."""

    coordinates: np.ndarray  # (T, lines, 3) float64, metres; NaN where a joint was not seen
    states: np.ndarray  # (T, lines) float64; 1 where the layout has no state
    sha256: str  # of all bytes
    unordered: int  # frames whose first field does not number the joints
    more_bodies: int  # files with further lines


def read_frames(paths: Sequence[Path], layout: Layout) -> Frames:
    """Read a file for each frame; values are bit-equal to Python's ``float`` of the text."""
    blobs = [read_bytes(path) for path in paths]
    digest = hashlib.sha256()
    for blob in blobs:
        digest.update(blob)
    bodies, more = _first_bodies(blobs, layout)
    values = _fast(bodies, layout)
    if values is None:
        rows = [_frame(path, blob, layout) for path, blob in zip(paths, blobs, strict=True)]
        values = np.array(rows).reshape(-1, layout.lines, len(layout.columns))
    ids = values[..., 0]
    unordered = int(np.count_nonzero((ids == ids[:, :1]).all(axis=1)))
    _check_same_ids(paths, ids, unordered)
    states = np.ones(ids.shape) if layout.state is None else values[..., 4]
    return Frames(values[..., 1:4], states, digest.hexdigest(), unordered, more)


def number(text: str) -> float:
    """The number as Python reads it, NaN included; infinity if it is none."""
    text = text.strip()
    if _NAN.fullmatch(text):
        return math.nan
    try:
        value = float(text) if "_" not in text else math.inf
    except ValueError:
        return math.inf
    return math.inf if math.isnan(value) else value


def fault_of(text: str) -> str:
    """What is wrong with a coordinate, or ""."""
    value = number(text)
    if math.isinf(value):
        return f"{text.strip()!r} is no finite number"
    if abs(value) > LIMIT_METRES:
        return f"{text.strip()!r} is no position in metres (beyond {LIMIT_METRES:g} m)"
    return ""


def _first_bodies(blobs: Sequence[bytes], layout: Layout) -> tuple[list[bytes], int]:
    """The lines of each file that are read, and how many files have more lines."""
    if not layout.more_lines:
        return [blob.rstrip() for blob in blobs], 0
    n = layout.lines
    split = [blob.split(b"\n", n) for blob in blobs]
    more = sum(len(lines) > n and bool(lines[n].strip()) for lines in split)
    return [b"\n".join(lines[:n]) for lines in split], more


def _fast(bodies: Sequence[bytes], layout: Layout) -> np.ndarray | None:
    """All numbers parsed together; None if a line has to be looked at."""
    n = layout.lines
    if not bodies or any(body.count(b"\n") != n - 1 for body in bodies):
        return None
    joined = b"\n".join(bodies)
    first = joined.partition(b"\n")[0].rstrip()
    count = first.count(b",") + 1
    if count - first.endswith(b",") not in layout.fields:
        return None
    table = columns_of(joined, ",", count, dict.fromkeys(layout.columns, pa.float64()))
    if table is None or len(table) != n * len(bodies):  # empty lines
        return None
    values = np.stack([column.to_numpy() for column in table.columns], axis=-1)
    values = values.reshape(-1, n, len(layout.columns))
    if not np.isfinite(values[..., layout.columns.index(layout.state or 0)]).all():
        return None
    if not within_limit(values[..., 1:4], allow_nan=True):
        return None
    return values if _ordered(values[..., 0], layout).all() else None


def columns_of(
    data: bytes, delimiter: str, count: int, types: Mapping[int, pa.DataType]
) -> pa.Table | None:
    """Some columns of lines of `count` fields: those whose numbers `types` maps to Arrow types.

    None where a line has more or fewer fields, a value is not of its type, or the data are too
    long for one block.
    """
    # as many names as fields: a line with more or fewer is an error
    names = [f"f{place}" for place in range(count)]
    read = {names[place]: kind for place, kind in types.items()}
    # one block for all lines: no copies to join chunks
    how = csv.ReadOptions(column_names=names, use_threads=False, block_size=len(data) + 1)
    convert = csv.ConvertOptions(column_types=read, include_columns=list(read), null_values=[])
    parse = csv.ParseOptions(delimiter=delimiter, quote_char=False)
    try:
        return csv.read_csv(pa.py_buffer(data), how, parse, convert)
    except (pa.ArrowException, OverflowError):
        return None


def _ordered(ids: np.ndarray, layout: Layout) -> np.ndarray:
    """Whether the ids (..., lines) of a frame are 0, 1, ... or 1, 2, ..., or a person's number."""
    start = ids[..., :1]
    joints = ids - start == np.arange(layout.lines)
    found = joints.all(axis=-1) & ((start == 0) | (start == 1))[..., 0]
    return found | (ids == start).all(axis=-1) if layout.person_ids else found


def _check_same_ids(paths: Sequence[Path], ids: np.ndarray, unordered: int) -> None:
    """UserError if the frames of a recording number their joints in different ways."""
    if unordered == len(ids):
        return
    wrong = (ids != ids[0]).any(axis=1)
    if wrong.any():
        raise UserError(
            f"{paths[int(wrong.argmax())]}, line 1: the joint ids in the first field are not those "
            f"of {paths[0].name}; {_ADVICE}"
        )


def _frame(path: Path, blob: bytes, layout: Layout) -> list[list[float]]:
    """The numbers of one file, line by line."""
    lines = [
        (place, line)
        for place, line in enumerate(blob.decode("latin-1").splitlines(), start=1)
        if line.strip()
    ]
    if len(lines) < layout.lines or (len(lines) > layout.lines and not layout.more_lines):
        raise UserError(
            f"{path}: {numbered('{} [line|lines]', len(lines))}, expected {layout.lines} (one for "
            f"each joint); {_ADVICE}"
        )
    lines = lines[: layout.lines]
    values = [_line(f"{path}, line {place}", line, layout) for place, line in lines]
    ids = np.array(values)[:, 0]
    if not _ordered(ids, layout):
        expected = np.arange(layout.lines) + (ids[0] == 1)
        wrong = int((ids != expected).argmax())
        raise UserError(
            f"{path}, line {lines[wrong][0]}: joint id {ids[wrong]:g} in the first field, expected "
            f"{expected[wrong]}; a file holds each joint once, in order; {_ADVICE}"
        )
    return values


def _line(where: str, line: str, layout: Layout) -> list[float]:
    fields = line.rstrip().split(",")
    if len(fields) not in layout.fields and not fields[-1]:
        fields.pop()  # a comma at the end of the line
    if len(fields) not in layout.fields:
        expected = " or ".join(map(str, layout.fields))
        found = numbered("{} [field|fields]", len(fields))
        raise UserError(
            f"{where}: {found}, expected {expected}, separated by commas, with decimal points; "
            f"{_ADVICE}"
        )
    for place in layout.columns:
        text = fields[place]
        fault = fault_of(text) if place in (1, 2, 3) else ""
        if place not in (1, 2, 3) and not math.isfinite(number(text)):
            fault = f"{text.strip()!r} is no finite number"
        if fault:
            raise UserError(f"{where}: {fault}; {_ADVICE}")
    return [number(fields[place]) for place in layout.columns]
