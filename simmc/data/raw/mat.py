"""Numeric arrays from MATLAB files of level 5 (save options -v6 and -v7), nothing else.

`scipy.io.loadmat` can crash the whole process on a damaged file. Everything that is no plain array
of numbers is skipped unread. An element of such a file is a type, a size and that many bytes; a
variable is an element that holds elements.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simmc.data.arrays import check_coordinates
from simmc.data.raw import files
from simmc.errors import UserError

FRAMES = "skeleton"  # the name our writer uses; on reading any name will do
TIME = "time"
_MATRIX, _COMPRESSED = 14, 15
_COMPLEX = 0x800
# Storage types of numbers; a double array whose values fit is stored in a smaller one.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
_STORED |= {12: "i8", 13: "u8"}
_NUMERIC = range(6, 16)  # classes double, single, int8 ... uint64
_HEADER = 128
_MOST_BYTES = 1 << 28  # 2.5 hours of 25 joints at 30 Hz take half of it
_HDF5 = b"\x89HDF\r\n\x1a\n"
_RESAVE = "load it in MATLAB and save it again with save(file, 'skeleton', '-v7')"


@dataclass(frozen=True, eq=False)
class _Variable:
    """One array of the file, still as bytes."""

    name: str
    shape: tuple[int, ...]
    stored: str  # numpy's name of the stored type; "" for what is no plain array of numbers
    data: memoryview

    def __str__(self) -> str:
        return f"{self.name} {self.shape}" if self.stored else f"{self.name} (no numbers)"

    def load(self) -> np.ndarray:
        """The array as float64, in MATLAB's shape."""
        values = np.frombuffer(self.data, self.stored).astype(np.float64)
        return values.reshape(self.shape, order="F")


@dataclass(frozen=True, eq=False)
class Frames:
    """One recording from a MATLAB file."""

    frames: np.ndarray  # (T, J, 3) float64; NaN where a joint was not seen
    times: list[str] | None  # the entry ``time`` as texts
    flat: bool  # the array is (T, 3 J): x, y, z of the first joint, then of the second, ...
    sha256: str


def read_frames(path: Path, n_joints: int) -> Frames:
    """The one array of (T, J, 3) or (T, 3 J) numbers in the file, and timestamps if it has them."""
    data = files.read_bytes(path)
    order = _byte_order(path, data)
    try:
        variables = list(_variables(memoryview(data)[_HEADER:], order))
        fitting = [v for v in variables if _fits(v, n_joints)]
        arrays = {v.name: v.load() for v in variables if v in fitting or v.name == TIME}
    except (ValueError, OverflowError, MemoryError, struct.error, zlib.error) as error:
        raise UserError(
            f"{path}: damaged, or no MATLAB file ({error}); fetch or save it again"
        ) from error
    if len(fitting) != 1:
        listed = ", ".join(map(str, variables)) or "nothing"
        raise UserError(
            f"{path}: expected exactly one array of shape (T, {n_joints}, 3) or "
            f"(T, {3 * n_joints}), found {listed}; save the frames as one such array"
        )
    array = arrays[fitting[0].name]
    frames = np.ascontiguousarray(array.reshape(-1, n_joints, 3))
    check_coordinates(frames, f"{path}, {fitting[0].name}", allow_nan=True)
    times = _times(path, arrays[TIME], len(frames)) if TIME in arrays else None
    return Frames(frames, times, array.ndim == 2, hashlib.sha256(data).hexdigest())


def _fits(variable: _Variable, n_joints: int) -> bool:
    return bool(variable.stored) and variable.shape[1:] in ((n_joints, 3), (3 * n_joints,))


def _times(path: Path, values: np.ndarray, count: int) -> list[str]:
    if values.size != count or not np.isfinite(values).all():
        raise UserError(
            f"{path}: {TIME} must hold one number for each frame ({count}); fix or remove it"
        )
    return [str(int(v)) if v.is_integer() else repr(v) for v in values.ravel("F").tolist()]


def _byte_order(path: Path, data: bytes) -> str:
    """'<' or '>' from the file's head; UserError for other kinds of file."""
    # 7.3 is HDF5, after MATLAB's own header of 512 bytes or without one
    if data.startswith((_HDF5, b"MATLAB 7.3")) or data[512:520] == _HDF5:
        raise UserError(f"{path}: a MATLAB 7.3 (HDF5) file; {_RESAVE}")
    order = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}.get(data[124:_HEADER])
    if order is None:
        raise UserError(f"{path}: no MATLAB file of version 5 to 7, or cut short; {_RESAVE}")
    return order


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and content of each element in a row of them."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # a small element: both in one word, content in the next
            kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        else:
            start = at + 8
            end = start + size + (0 if kind == _COMPRESSED else -size % 8)  # padded to eight
        if start + size > len(data) or start + size > end:
            raise ValueError("an element is cut short")
        yield kind, data[start : start + size]
        at = end


def _variables(data: memoryview, order: str) -> Iterator[_Variable]:
    for kind, content in _elements(data, order):
        if kind == _COMPRESSED:
            inside = memoryview(_decompressed(content))
            yield from (
                _variable(part, order) for k, part in _elements(inside, order) if k == _MATRIX
            )
        elif kind == _MATRIX:
            yield _variable(content, order)


def _decompressed(content: memoryview) -> bytes:
    """The content of a compressed element; a damaged file may claim to hold very much."""
    inflate = zlib.decompressobj()
    data = inflate.decompress(content, _MOST_BYTES)
    if not inflate.eof:
        raise ValueError(f"an element is cut short or holds more than {_MOST_BYTES:,} bytes")
    return data


def _variable(content: memoryview, order: str) -> _Variable:
    """A variable: flags, shape, name, and the numbers if it is an array of numbers."""
    parts = _elements(content, order)
    (flags,) = struct.unpack_from(f"{order}I", next(parts, (0, b""))[1])
    if flags & 0xFF not in _NUMERIC or flags & _COMPLEX:
        return _Variable("something", (), "", memoryview(b""))
    head = [next(parts, (0, memoryview(b""))) for _ in range(3)]
    (_, shape), (_, name), (kind, numbers) = head
    dims = tuple(np.frombuffer(shape, f"{order}i4").tolist())
    if kind not in _STORED or any(n < 0 for n in dims):
        raise ValueError("an array of unknown type or size")
    return _Variable(bytes(name).decode("latin-1"), dims, order + _STORED[kind], numbers)
