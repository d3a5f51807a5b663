"""Raw KGBD: ``kinect gait raw dataset/PersonNNN/K.txt``, a line ``name;x;y;z`` for each joint.

A frame is twenty lines (docs/data.md 2.4). The label is the person's number; joints stay in file
order, as in the released ``.npy`` files.
"""

from __future__ import annotations

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from simmc.data.arrays import within_limit
from simmc.data.raw import files, text
from simmc.data.recordings import Progress, ReadOptions, Recording, silent
from simmc.errors import UserError, numbered

FOLDER = "kinect gait raw dataset"
# The names in the files, in the order of skeletons.KGBD_FILE.
JOINT_NAMES = (
    *("Head", "Shoulder-Center", "Shoulder-Right", "Shoulder-Left", "Elbow-Right", "Elbow-Left"),
    *("Wrist-Right", "Wrist-Left", "Hand-Right", "Hand-Left", "Spine", "Hip-centro"),
    *("Hip-Right", "Hip-Left", "Knee-Right", "Knee-Left"),
    *("Ankle-Right", "Ankle-Left", "Foot-Right", "Foot-Left"),
)
_J = len(JOINT_NAMES)
_TYPES = {0: pa.dictionary(pa.int32(), pa.string()), **dict.fromkeys((1, 2, 3), pa.float64())}
_PERSON = re.compile(r"Person(\d+)", re.ASCII)
_WALK = re.compile(r"(\d+)\.txt", re.ASCII)


def read(
    root: Path, options: ReadOptions | None = None, progress: Progress = silent
) -> list[Recording]:
    """All walks below the dataset's folder, by person number and then file number.

    Frames are (T, 20, 3) float64 in metres, bit-equal to Python's ``float`` of the text.
    """
    paths = walks(root)
    # parsing and hashing release the interpreter lock, so threads help
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        results = pool.map(partial(_read_walk, root), paths)
        return [walk for _, walk in zip(progress(paths), results, strict=True)]


def walks(root: Path) -> list[Path]:
    """The files to read, sorted by number; UserError if there are none."""
    folder = root / FOLDER
    found: dict[tuple[int, int], Path] = {}
    for path in sorted(folder.glob("Person*/*.txt")):
        person = _PERSON.fullmatch(path.parent.name)
        walk = _WALK.fullmatch(path.name)
        if person is None or walk is None:
            continue
        who = files.person_number(path.parent, person[1], "Person001")
        first = found.setdefault((who, int(walk[1])), path)
        if first != path:
            raise UserError(f"{path}: the same number as {first}; keep only one")
    if not found:
        raise UserError(
            f"{folder}: no PersonNNN/K.txt found; unpack KGBD with scripts/get_kgbd.py "
            "or point --raw_root to the folder that holds KGBD"
        )
    return [found[key] for key in sorted(found)]


def _read_walk(root: Path, path: Path) -> Recording:
    data = files.read_bytes(path)
    return Recording(
        name=path.relative_to(root).as_posix(),
        identity=int(path.parent.name.removeprefix("Person")),
        frames=_parse(path, data),
        sha256=hashlib.sha256(data).hexdigest(),
        files=[path],
    )


def _parse(path: Path, data: bytes) -> np.ndarray:
    """Frames (T, 20, 3) float64 of one file's bytes; NaN where a joint was not seen."""
    table = text.columns_of(data, ";", len(_TYPES), _TYPES)
    if table is None:
        raise UserError(_fault(path, data))
    names, *values = table.columns
    names, rows = names.combine_chunks(), len(names)
    if (
        rows % _J
        or names.dictionary.to_pylist() != list(JOINT_NAMES)
        or not (names.indices.to_numpy().reshape(-1, _J) == np.arange(_J)).all()
    ):
        raise UserError(_fault(path, data))
    frames = np.empty((rows // _J, _J, 3))
    for axis, column in enumerate(values):
        frames[..., axis] = column.to_numpy().reshape(-1, _J)
    if not within_limit(frames, allow_nan=True):
        raise UserError(_fault(path, data))
    return frames


def _fault(path: Path, data: bytes) -> str:
    """What is wrong with a file, line by line."""
    advice = "fetch the file again (scripts/get_kgbd.py)"
    count = 0
    for number, line in enumerate(data.decode("latin-1").splitlines(), start=1):
        if not line:
            continue
        fields = line.split(";")
        expected = JOINT_NAMES[count % _J]
        count += 1
        if len(fields) != len(_TYPES):
            found = numbered("{} [field|fields]", len(fields))
            return f"{path}, line {number}: {found}, expected name;x;y;z; {advice}"
        if fields[0] != expected:
            return f"{path}, line {number}: joint {fields[0]!r}, expected {expected!r}; {advice}"
        for fault in filter(None, map(text.fault_of, fields[1:])):
            return f"{path}, line {number}: {fault}; {advice}"
    if count == 0:
        return f"{path}: the file is empty; {advice}"
    if count % _J:
        lines = numbered("{} [line|lines]", count)
        return f"{path}: ends inside a frame ({lines}, no multiple of {_J}); {advice}"
    return f"{path}: cannot be read as lines of name;x;y;z; {advice}"
