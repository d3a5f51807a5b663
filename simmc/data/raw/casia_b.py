"""Raw CASIA-B: a ``.npy``, ``.json`` or ``.csv`` of estimated 3D joints for each video.

There is no public raw format; this is simmc's (docs/data.md 2.5). A video is named by subject,
condition, take and view, ``001-nm-01-090.npy`` or ``001/nm-01/090.npy``. It holds (T, 14, 3): an
array, a JSON list of frames (or ``{"frames": [...]}``), or lines of 42 numbers x1,y1,z1,x2,... with
or without a header. NaN (in JSON also null) marks a joint that was not seen.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from simmc.data.arrays import FAULTS, check_coordinates, parse_npy, within_limit
from simmc.data.raw import files, text
from simmc.data.recordings import Progress, ReadOptions, Recording, silent
from simmc.errors import UserError

N_JOINTS = 14
VIEWS = tuple(range(0, 181, 18))  # degrees
_NAME = re.compile(r"(?:.*-)?(\d{3})-(nm|bg|cl)-(\d{2})-(\d{3})", re.ASCII)
_EXAMPLE = "001-nm-01-090.npy or 001/nm-01/090.npy"
_Key = tuple[str, str, str, str]  # subject, condition, take, view


def read(
    root: Path, options: ReadOptions | None = None, progress: Progress = silent
) -> list[Recording]:
    """All videos by subject, condition, take and view; the label is the subject's number."""
    found: dict[_Key, Path] = {}
    paths = (folder / name for folder, _, names in files.walk(root) for name in names)
    for path in paths:
        if path.suffix not in _PARSERS or path.name.startswith("generated."):
            continue
        key = _key(root, path)
        if key in found:
            raise UserError(f"{path}: {found[key]} is the same video; keep only one of them")
        found[key] = path
    if not found:
        raise UserError(f"{root}: holds no video named like {_EXAMPLE}; see docs/data.md")
    return [_read_video(root, key, path) for key, path in progress(sorted(found.items()))]


def _key(root: Path, path: Path) -> _Key:
    """Subject, condition, take and view; folders count like parts of the name."""
    match = _NAME.fullmatch("-".join(path.relative_to(root).with_suffix("").parts))
    if match is None or int(match[4]) not in VIEWS:
        views = ", ".join(f"{view:03d}" for view in VIEWS)
        raise UserError(
            f"{path}: not named like {_EXAMPLE} (subject, nm, bg or cl, take, "
            f"view out of {views}); rename or remove it"
        )
    return match[1], match[2], match[3], match[4]


def _read_video(root: Path, key: _Key, path: Path) -> Recording:
    subject, condition, take, view = key
    data = files.read_bytes(path)
    try:
        frames = _PARSERS[path.suffix](data)
    except (*FAULTS, csv.Error) as error:
        raise UserError(
            f"{path}: cannot be read as (T, {N_JOINTS}, 3) numbers ({error}); "
            "write it as docs/data.md says"
        ) from error
    if frames.shape[1:] != (N_JOINTS, 3) or frames.dtype.kind not in "fiu":
        raise UserError(
            f"{path}: {frames.dtype} of shape {frames.shape}, expected numbers of shape "
            f"(T, {N_JOINTS}, 3); write it as docs/data.md says"
        )
    frames = np.ascontiguousarray(frames, dtype=np.float64)
    check_coordinates(frames, str(path), allow_nan=True)
    return Recording(
        name=path.relative_to(root).as_posix(),
        identity=int(subject),
        frames=frames,
        role=condition,
        attributes={"subject": subject, "condition": condition, "take": take, "view": view},
        sha256=hashlib.sha256(data).hexdigest(),
        files=[path],
    )


def _parse_npy(data: bytes) -> np.ndarray:
    return parse_npy(io.BytesIO(data), len(data))


def _parse_json(data: bytes) -> np.ndarray:
    content: Any = json.loads(data)
    if isinstance(content, dict):
        if "frames" not in content:
            raise ValueError("no entry 'frames'")
        content = content["frames"]
    # as objects first: one long text among numbers would make every number as long
    cells = np.array(content, dtype=object)
    wrong = set(map(type, cells.ravel().tolist())) - {int, float, type(None)}
    if wrong:
        raise ValueError(f"{wrong.pop().__name__} instead of a number")
    frames = cells.astype(np.float64)
    return frames.reshape(-1, N_JOINTS, 3) if frames.size == 0 else frames


def _parse_csv(data: bytes) -> np.ndarray:
    rows = [row for row in csv.reader(io.StringIO(data.decode("utf-8-sig"))) if row]
    if rows and all(math.isinf(text.number(cell)) for cell in rows[0]):
        rows = rows[1:]  # the header
    frames = []
    for place, row in enumerate(rows, start=1):
        if len(row) != 3 * N_JOINTS:
            raise ValueError(f"frame {place} has {len(row)} numbers, not {3 * N_JOINTS}")
        frames.append([text.number(cell) for cell in row])
        if not within_limit(np.array(frames[-1]), allow_nan=True):
            fault = next(filter(None, map(text.fault_of, row)))
            raise ValueError(f"frame {place}: {fault}")
    return np.array(frames, dtype=np.float64).reshape(-1, N_JOINTS, 3)


_PARSERS = {".npy": _parse_npy, ".json": _parse_json, ".csv": _parse_csv}
