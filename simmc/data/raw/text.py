"""Frames in many tiny files, one line ``a,b,c,...`` a joint: read fast, every fault named.

IAS, BIWI and KS20 keep each frame in a file of its own. The files of a recording are joined and
parsed in one go; where that fails in any way, a slow walk over the lines decides.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from simmc.errors import UserError

_PARSE = csv.ParseOptions(delimiter=",", quote_char=False)


@dataclass(frozen=True)
class Layout:
    """What a frame's file holds."""

    lines: int  # joints, one line each
    columns: tuple[int, ...]  # places of the numbers to read within a line
    more_lines: bool = False  # further lines belong to other bodies and are not read


def read_frames(paths: Sequence[Path], layout: Layout) -> tuple[np.ndarray, str]:
    """The numbers (T, lines, columns) float64 of one file a frame, and the sha256 of all bytes.

    Values are bit-equal to Python's ``float`` of the text, and finite.
    """
    blobs = [read_bytes(path) for path in paths]
    digest = hashlib.sha256()
    for blob in blobs:
        digest.update(blob)
    values = _fast(blobs, layout)
    if values is None:
        frames = [_frame(path, blob, layout) for path, blob in zip(paths, blobs, strict=True)]
        values = np.array(frames).reshape(-1, layout.lines, len(layout.columns))
    return values, digest.hexdigest()


def read_bytes(path: Path) -> bytes:
    """The whole file; UserError where it cannot be read."""
    try:
        with path.open("rb", buffering=0) as file:  # there are very many, and no second read
            return file.readall()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the file") from error


def list_folder(folder: Path, what: str) -> list[str]:
    """Names in a folder, without hidden ones, as text sorts them."""
    try:
        return sorted(path.name for path in folder.iterdir() if path.name[0] != ".")
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be listed ({error.strerror}); {what} is due there (docs/data.md)"
        ) from error


def leaves(folder: Path, files: str) -> list[tuple[Path, list[Path]]]:
    """Folders without folders in them, in `os.walk` order, each with its frame files.

    Args:
        folder: where to start.
        files: a file whose name contains this text is a frame; frames are sorted by path as text.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: the folder is missing; put the raw data there (docs/data.md)")
    found = []
    for path, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if folders:
            continue
        here = Path(path)
        frames = [here / name for name in sorted(names) if files in name and name[0] != "."]
        if not frames:
            raise UserError(f"{here}: holds no frame (*{files}*); fill the folder or take it away")
        found.append((here, frames))
    return found


def _fast(blobs: Sequence[bytes], layout: Layout) -> np.ndarray | None:
    """All numbers in one parse, or None where the slow way has to look."""
    n = layout.lines
    if layout.more_lines:
        bodies = [b"\n".join(blob.split(b"\n", n)[:n]) for blob in blobs]
    else:
        bodies = [blob.rstrip() for blob in blobs]
    if not bodies or any(body.count(b"\n") != n - 1 for body in bodies):
        return None
    joined = b"\n".join(bodies)
    names = [f"f{column}" for column in layout.columns]  # as the parser names nameless columns
    convert = csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.float64()), include_columns=names, null_values=[]
    )
    how = csv.ReadOptions(
        autogenerate_column_names=True, use_threads=False, block_size=len(joined) + 1
    )
    try:
        table = csv.read_csv(pa.py_buffer(joined), how, _PARSE, convert)
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        return None
    if len(table) != n * len(bodies):  # empty lines
        return None
    values = np.stack([table[name].to_numpy() for name in names], axis=-1)
    return values.reshape(-1, n, len(names)) if np.isfinite(values).all() else None


def _frame(path: Path, blob: bytes, layout: Layout) -> list[list[float]]:
    """The numbers of one file, line by line."""
    advice = "restore the file or take it away"
    lines = [
        (number, line)
        for number, line in enumerate(blob.decode("latin-1").splitlines(), start=1)
        if line.strip()
    ]
    if len(lines) < layout.lines or (len(lines) > layout.lines and not layout.more_lines):
        raise UserError(
            f"{path}: {len(lines)} lines where {layout.lines} (one a joint) are due; {advice}"
        )
    values = []
    for number, line in lines[: layout.lines]:
        fields = line.split(",")
        if len(fields) <= max(layout.columns):
            raise UserError(
                f"{path}, line {number}: {len(fields)} fields where at least "
                f"{max(layout.columns) + 1} are due, separated by commas; {advice}"
            )
        values.append([_number(fields[column], path, number) for column in layout.columns])
    return values


def _number(text: str, path: Path, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(
            f"{path}, line {line}: {text.strip()!r} is no finite number; "
            "restore the file or take it away"
        )
    return value
