"""Raw CASIA-B: one file of estimated 3D joints a video, as ``.npy``, ``.json`` or ``.csv``.

There is no public raw format (docs/data.md 2.5); this one is ours. A video is named by subject,
condition, take and view, ``001-nm-01-090.npy`` or ``001/nm-01/090.npy``. It holds (T, 14, 3): an
array, a JSON list of frames (or ``{"frames": [...]}``), or lines of 42 numbers x1,y1,z1,x2,... with
or without a header.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from simmc.data.raw import text
from simmc.data.recordings import Progress, ReadOptions, Recording, silent
from simmc.errors import UserError

N_JOINTS = 14
VIEWS = tuple(range(0, 181, 18))  # degrees
_KINDS = (".npy", ".json", ".csv")
_NAME = re.compile(r"(?:.*-)?(\d{3})-(nm|bg|cl)-(\d{2})-(\d{3})")
_EXAMPLE = "001-nm-01-090.npy or 001/nm-01/090.npy"
_Key = tuple[str, str, str, str]  # subject, condition, take, view


def read(
    root: Path, options: ReadOptions | None = None, progress: Progress = silent
) -> list[Recording]:
    """All videos by subject, condition, take and view; frames (T, 14, 3) float64.

    The label is the subject's number. No option changes anything here.
    """
    found: dict[_Key, Path] = {}
    for path in _files(root):
        key = _key(root, path)
        if key in found:
            raise UserError(f"{path}: {found[key]} is the same video; keep only one of them")
        found[key] = path
    if not found:
        raise UserError(f"{root}: holds no video named like {_EXAMPLE}; see docs/data.md")
    return [_read_video(root, key, path) for key, path in progress(sorted(found.items()))]


def _files(root: Path) -> list[Path]:
    if not root.is_dir():
        raise UserError(f"{root}: the folder is missing; put the raw data there (docs/data.md)")
    return [
        Path(folder) / name
        for folder, _, names in os.walk(root, followlinks=True)
        for name in names
        if name.endswith(_KINDS) and not name.startswith((".", "generated."))
    ]


def _key(root: Path, path: Path) -> _Key:
    """What the path says of a video; parts of the path count like parts of the name."""
    match = _NAME.fullmatch("-".join(path.relative_to(root).with_suffix("").parts))
    if match is None or int(match[4]) not in VIEWS:
        views = ", ".join(f"{view:03d}" for view in VIEWS)
        raise UserError(
            f"{path}: not named like {_EXAMPLE} (subject, nm, bg or cl, take, "
            f"view out of {views}); rename it or take it away"
        )
    return match[1], match[2], match[3], match[4]


def _read_video(root: Path, key: _Key, path: Path) -> Recording:
    subject, condition, take, view = key
    data = text.read_bytes(path)
    parse = {".npy": _parse_npy, ".json": _parse_json, ".csv": _parse_csv}[path.suffix]
    try:
        frames = parse(data)
    except (ValueError, TypeError, OSError, EOFError, RecursionError) as error:
        raise UserError(
            f"{path}: cannot be read as (T, {N_JOINTS}, 3) numbers ({error}); "
            "write it as docs/data.md says"
        ) from error
    if frames.shape[1:] != (N_JOINTS, 3) or frames.dtype.kind not in "fiu":
        raise UserError(
            f"{path}: {frames.dtype} of shape {frames.shape}, where numbers of shape "
            f"(T, {N_JOINTS}, 3) are due; write it as docs/data.md says"
        )
    frames = np.ascontiguousarray(frames, dtype=np.float64)
    if not np.isfinite(frames).all():
        raise UserError(f"{path}: holds NaN or infinity; leave out frames without a pose")
    return Recording(
        name=path.relative_to(root).as_posix(),
        identity=int(subject),
        frames=frames,
        role=condition,
        attributes={"subject": subject, "condition": condition, "take": take, "view": view},
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _parse_npy(data: bytes) -> np.ndarray:
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("an archive where one array is due")
    return array


def _parse_json(data: bytes) -> np.ndarray:
    content: Any = json.loads(data)
    if isinstance(content, dict):
        if "frames" not in content:
            raise ValueError("no entry 'frames'")
        content = content["frames"]
    frames = np.array(content)
    return frames.reshape(-1, N_JOINTS, 3) if frames.size == 0 else frames


def _parse_csv(data: bytes) -> np.ndarray:
    rows = [row for row in csv.reader(io.StringIO(data.decode("utf-8-sig"))) if row]
    if rows and not any(_is_number(cell) for cell in rows[0]):
        rows = rows[1:]
    for number, row in enumerate(rows, start=1):
        if len(row) != 3 * N_JOINTS:
            raise ValueError(f"frame {number} has {len(row)} numbers, not {3 * N_JOINTS}")
    return np.array([[float(cell) for cell in row] for row in rows]).reshape(-1, N_JOINTS, 3)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
