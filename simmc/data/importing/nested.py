"""Arrays and JSON: ``.npy``, ``.npz``, and nested lists and objects.

Shape letters: F frames, J joints.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import IO, Any

import numpy as np
import pyarrow as pa

from simmc.data.arrays import FAULTS, parse_npy
from simmc.data.importing.columns import NOT_USED
from simmc.data.importing.delimited import text_of
from simmc.data.importing.description import ROLES, Description
from simmc.data.importing.json_frames import parse
from simmc.data.importing.members import MOST_BYTES
from simmc.data.importing.recording import Body, with_fields
from simmc.data.importing.tabular import from_arrow, in_seconds, read_text
from simmc.errors import UserError

_TIME_NAMES = ("time", "times", "timestamp", "timestamps")
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DEEPEST = 12  # levels of a JSON file


def read_npy(path: str, data: bytes, told: Description) -> list[Body]:
    """The body or bodies of one array."""
    return of_array(path, _loaded(path, io.BytesIO(data), len(data)), told)


def read_npz(path: str, data: bytes, told: Description) -> list[Body]:
    """The bodies of the arrays of an archive: one array of all frames with offsets, or several."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = [i for i in archive.infolist() if i.filename.endswith(".npy")]
            if any(i.compress_type not in _PLAIN for i in infos):  # others unpack without a bound
                raise UserError(f"{path}: packed in a way that NumPy does not use; save it again")
            if sum(info.file_size for info in infos) > MOST_BYTES:
                raise UserError(f"{path}: holds more than {MOST_BYTES:,} bytes; divide it")
            found = {}
            for info in infos:
                with archive.open(info) as file:
                    where = f"{path}, {info.filename}"
                    found[info.filename[:-4]] = _loaded(where, file, info.file_size)
    except (OSError, zipfile.BadZipFile, zlib.error, *FAULTS, RuntimeError) as error:
        # RuntimeError of zipfile: encrypted, or (NotImplementedError) of a form it does not read
        raise UserError(f"{path}: not a valid .npz file ({str(error)[:100]})") from error
    return _of_arrays(path, found, told)


def read_json(path: str, data: bytes, told: Description) -> list[Body]:
    """The bodies of a JSON file: nested lists of numbers, frames or columns with names."""
    content = parse(path, text_of(path, data))
    if told.array:
        content = content.get(told.array) if isinstance(content, dict) else None
        if content is None:
            raise UserError(f"{path}: has no {told.array!r}, which array in dataset.toml names")
    array, key = _numbers(content), ""
    if array is None and isinstance(content, dict):
        arrays = {key: _numbers(value) for key, value in content.items()}
        inside = [key for key, value in arrays.items() if value is not None and value.ndim > 2]
        if len(inside) == 1:
            array, key = arrays[inside[0]], inside[0]
    if array is not None and array.ndim > 1:
        beside = _beside(content) if isinstance(content, dict) and key else {}
        return [_with_row(body, beside, told, 0, 1) for body in of_array(path, array, told)]
    return from_arrow(path, _flattened(path, content), told)


def _loaded(path: str, file: IO[bytes], size: int) -> np.ndarray:
    """The array of a ``.npy`` of so many bytes."""
    try:
        found = parse_npy(file, size)
    except (OSError, zipfile.BadZipFile, zlib.error, *FAULTS) as error:
        raise UserError(f"{path}: not a valid array ({str(error)[:100]})") from error
    if found.dtype.kind not in "fiubUS":
        raise UserError(f"{path}: expected one array of numbers or text")
    return found


# Arrays of coordinates


def of_array(path: str, array: np.ndarray, told: Description) -> list[Body]:
    """The bodies of an array of coordinates, by the axes that `told` names or that fit."""
    axes = told.axes or _axes(array.shape, len(told.joints))
    if array.dtype.kind not in "fiu" or not axes or len(axes) != array.ndim or not array.size:
        raise UserError(
            f"{path}: an array of {array.dtype} and shape {array.shape} is not recognised as "
            "frames x joints x 3 coordinates; say in dataset.toml what its axes are, such as "
            'axes = "fjc" (f frames, j joints, c coordinates, b bodies)'
        )
    if axes == "fn":  # the numbers of a frame in a row
        size = 3 if array.shape[1] % 3 == 0 else 2
        size = array.shape[1] // len(told.joints) if told.joints else size
        by_joint = told.order == "joints"
        shape = (len(array), -1, size) if by_joint else (len(array), size, -1)
        array = array.reshape(shape)
        axes = "fjc" if by_joint else "fcj"
    if "b" not in axes:
        array, axes = array[None], f"b{axes}"
    array = np.moveaxis(array, [axes.index(axis) for axis in "bfjc"], range(4))
    if not 2 <= array.shape[3] <= 4:
        raise UserError(
            f"{path}: {array.shape[3]} coordinates a joint, expected 2 or 3 (a fourth is not used)"
        )
    several = len(array) > 1
    found = []
    for number, one in enumerate(array, start=1):
        xyz = np.zeros((*one.shape[:2], 3))
        flat = one.shape[2] == 2
        xyz[..., : 2 if flat else 3] = one[..., :3]
        if several and not xyz.any():
            continue  # an empty place for another body
        if flat:
            xyz[..., 2][np.isnan(xyz).any(-1)] = np.nan
        name = f"{path}#{number}" if several else path
        found.append(Body(name, xyz, tuple(map(str, range(xyz.shape[1]))), flat=flat))
    return found


def _axes(shape: tuple[int, ...], n_joints: int) -> str:
    """The axes of an array of coordinates; "" if they cannot be told."""
    match len(shape):
        case 2 if n_joints:
            return "fn" if shape[1] in (2 * n_joints, 3 * n_joints) else ""
        case 2:
            return "fn" if shape[1] % 3 == 0 or shape[1] % 2 == 0 else ""
        case 3 if shape[2] in (2, 3, 4):
            return "fjc"
        case 3 if shape[0] in (2, 3):
            return "cfj"
        case 3 if shape[1] in (2, 3):
            return "fcj"
        case 4 if shape[3] in (2, 3, 4):
            return "bfjc"
        case 4 if shape[0] in (2, 3) and shape[3] in (1, 2):
            return "cfjb"
    return ""


def _of_arrays(path: str, found: Mapping[str, np.ndarray], told: Description) -> list[Body]:
    """The bodies of named arrays."""
    if told.array and told.array not in found:
        raise UserError(f"{path}: has no array {told.array!r}; it has {', '.join(found)}")
    names = [told.array] if told.array else [n for n, a in found.items() if a.ndim > 2]
    if not names:
        names = [name for name, array in found.items() if array.ndim == 2]
    if not names:
        raise UserError(f"{path}: holds no array of coordinates; it has {', '.join(found)}")
    if told.offsets and told.offsets not in found:
        raise UserError(f"{path}: has no array {told.offsets!r}; it has {', '.join(found)}")
    array = found[names[0]]
    offsets = found[told.offsets] if told.offsets else _offsets(found, len(array))
    if len(names) == 1 and offsets is not None:
        return _divided(path, array, offsets, found, told)
    made = []
    for name in names:
        inside = path if len(names) == 1 else f"{path}#{name}"
        made += of_array(inside, found[name], told)
    if len(names) == 1:
        rest = {name: array for name, array in found.items() if name != names[0]}
        made = [_with_row(body, rest, told, place, len(made)) for place, body in enumerate(made)]
    return made


def _offsets(found: Mapping[str, np.ndarray], frames: int) -> np.ndarray | None:
    """The array of whole numbers that rises from 0 to the number of frames, if there is one."""
    for array in found.values():
        if array.ndim != 1 or array.dtype.kind not in "iu" or len(array) < 2:
            continue
        ends = array.astype(np.int64)
        if ends[0] == 0 and ends[-1] == frames and (np.diff(ends) > 0).all():
            return array
    return None


def _divided(
    path: str,
    array: np.ndarray,
    offsets: np.ndarray,
    found: Mapping[str, np.ndarray],
    told: Description,
) -> list[Body]:
    """Recordings that lie one after another in an array."""
    whole = offsets.ndim == 1 and offsets.dtype.kind in "iu"
    ends = offsets.astype(np.int64) if whole else np.empty(0, np.int64)
    rises = len(ends) > 1 and ends[0] >= 0 and ends[-1] <= len(array) and np.all(np.diff(ends) >= 0)
    if not rises:
        raise UserError(
            f"{path}: offsets have to be whole numbers that rise from 0 to the number of frames, "
            f"{len(array):,}"
        )
    made: list[Body] = []
    for place in range(len(ends) - 1):
        part = array[ends[place] : ends[place + 1]]
        if len(part):
            (body,) = of_array(f"{path}#{place}", part, told)
            made.append(_with_row(body, found, told, place, len(ends) - 1))
    return made


def _with_row(
    body: Body, found: Mapping[str, np.ndarray], told: Description, place: int, count: int
) -> Body:
    """The body with what the other arrays say in the row of its recording, and its times."""
    by_role = {name: role for role, name in told.columns.items() if name != NOT_USED}
    fields: dict[str, str] = {}
    times = None
    for name, array in found.items():
        role = by_role.get(name, "" if name in told.columns else name)
        if array.ndim == 1 and len(array) == count and role and role not in ROLES:
            fields[role.lower()] = str(array[place])
        elif count == 1 and array.shape == body.xyz.shape[:1] and role in _TIME_NAMES:
            times = array
    return _timed(with_fields(body, fields), times, told)


def _timed(body: Body, times: np.ndarray | None, told: Description) -> Body:
    """The body with the times of its frames, or with a note why they are not used."""
    if times is None or times.dtype.kind not in "fiu" or len(times) < 2:
        return body
    when = times.astype(np.float64)
    if not (np.diff(when) > 0).all():
        return replace(body, notes=(*body.notes, "times do not rise: they are not used"))
    found, doubts = in_seconds(when, told)
    return replace(body, times=found, notes=(*body.notes, *doubts))


# JSON


def _numbers(value: Any) -> np.ndarray | None:
    """Nested lists of numbers (null: not seen) as an array; None for anything else."""
    inner = value
    for _ in range(4):
        if not isinstance(inner, list) or not inner:
            break
        inner = next((item for item in inner if item is not None), None)
    if not isinstance(value, list) or not isinstance(inner, int | float) or inner is True:
        return None
    try:
        return np.array(value, np.float64)
    except (ValueError, TypeError, OverflowError):
        return None


def _beside(content: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Single values of an object, and its lists of numbers, as arrays."""
    found = {}
    for name, value in content.items():
        array = np.array([value], object) if isinstance(value, str | int) else _numbers(value)
        if array is not None and (array.dtype == object or len(array) > 1):
            found[name] = array
    return found


def _flattened(path: str, content: Any) -> pa.Table:
    """A table of a list of frames, or of an object of columns, whose values may be nested."""
    rows = content
    if isinstance(content, dict):
        lists = {name: value for name, value in content.items() if isinstance(value, list)}
        lengths = {len(value) for value in lists.values()}
        frames = [v for v in lists.values() if v and all(isinstance(item, dict) for item in v)]
        if len(frames) == 1:
            rows = frames[0]
        elif lists and len(lengths) == 1:
            rows = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise UserError(
            f"{path}: no coordinates found: expected nested lists, frames x joints x 3, or a list "
            "of frames with joints by name; give the key that holds them as array in dataset.toml"
        )
    flat = [_leaves(row, "", 0) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    if len(names) * len(flat) > 10 * sum(map(len, flat)) + 1000:
        raise UserError(f"{path}: its frames have different keys, so they are not a table")
    columns = {}
    for name in names:
        values = [row.get(name) for row in flat]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowException, OverflowError):
            columns[name] = pa.array([None if v is None else str(v) for v in values])
    return pa.table(columns)


def _leaves(value: Any, name: str, depth: int) -> dict[str, Any]:
    """Single values by name: keys joined by dots, items of a list of coordinates by axis."""
    if depth > _DEEPEST:
        return {}
    if isinstance(value, list):
        if name and 2 <= len(value) <= 4 and all(isinstance(v, int | float) for v in value[:3]):
            return {f"{name}.{axis}": v for axis, v in zip("xyz", value, strict=False)}
        value = {str(place): item for place, item in enumerate(value)}
    if not isinstance(value, dict):
        return {name or "value": value}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= _leaves(item, f"{name}.{key}" if name else str(key), depth + 1)
    return found


def read_text_or_json(path: str, data: bytes, told: Description) -> list[Body]:
    """A ``.txt`` file, which may be JSON or a table."""
    is_json = data.lstrip()[:1] in (b"[", b"{")
    return read_json(path, data, told) if is_json else read_text(path, data, told)
