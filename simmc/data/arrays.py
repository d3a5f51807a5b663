"""Arrays: ``.npy`` files, read with a clear error for every fault, and coordinates in metres."""

from __future__ import annotations

import math
import pickle
import struct
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np

from simmc import files
from simmc.data.pickled import NOT_PLAIN, unpickled
from simmc.errors import UserError

LIMIT_METRES = 1000.0  # no body sensor reaches so far; pixels of a small image stay below it
REWRITE = "run Preprocess.py again, or write a custom set again with write_dataset"
AGAIN = f"the set is damaged: {REWRITE}"
# what numpy, its header parser and the unpickler raise for a damaged file
FAULTS = (
    *(pickle.UnpicklingError, ValueError, TypeError, AttributeError, LookupError, EOFError),
    *(struct.error, MemoryError, OverflowError, RecursionError, ImportError, AssertionError),
    *(SyntaxError, tokenize.TokenError),
)


def save(path: Path, array: np.ndarray) -> None:
    """Write a plain ``.npy`` atomically."""
    with files.open_atomic(path) as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def save_blocks(
    paths: Sequence[Path], blocks: Iterable[np.ndarray], shape: tuple[int, int]
) -> None:
    """Write float64 arrays of one shape side by side, without holding them in memory.

    Each block is (len(paths), n, shape[1]): the next n rows of every array.
    """
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    with ExitStack() as stack:
        opened = [stack.enter_context(files.open_atomic(path)) for path in paths]
        for file in opened:
            np.lib.format.write_array_header_1_0(file, header)
        rows = 0
        for block in blocks:
            rows += block.shape[1]
            for file, plane in zip(opened, block, strict=True):
                file.write(np.ascontiguousarray(plane, "<f8").data)
        if rows != shape[0]:
            raise ValueError(f"{rows} rows, {shape[0]} announced")


def read_rows(path: Path, count: int) -> Iterator[np.ndarray]:
    """The rows of a stored float array, at most `count` at a time, not mapped into memory."""
    _open(path)  # UserError unless it is an array
    with path.open("rb") as file:
        shape, by_column, dtype = read_header(file)
        if by_column or dtype.hasobject:
            raise UserError(f"{path}: stored by column; {AGAIN}")
        for low in range(0, shape[0], count):
            rows = min(count, shape[0] - low)
            yield np.fromfile(file, dtype, rows * shape[1]).reshape(rows, shape[1])


def _open(path: Path, advice: str = AGAIN) -> np.ndarray:
    """An array mapped from disk, so that a header cannot ask for more memory than the file has.

    UserError, which ends with `advice`, if it cannot be read.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: the file is missing; {advice}") from None
    except (OSError, *FAULTS) as error:
        raise UserError(f"{path}: cannot be read ({error}); {advice}") from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: an archive, not an array; {advice}")
    return array


def read_plane(path: Path, length: int, n_joints: int) -> np.ndarray:
    """One coordinate (N * f, J), mapped from disk as (N, f, J) floats."""
    array = _open(path)
    if array.ndim != 2 or array.shape[1] != n_joints or array.dtype.kind != "f":
        raise UserError(
            f"{path}: {array.dtype} of shape {array.shape}, expected floats of shape "
            f"(N * {length}, {n_joints}); {AGAIN}"
        )
    if len(array) % length:
        raise UserError(f"{path}: {len(array)} rows, no multiple of --length {length}; {AGAIN}")
    return array.reshape(-1, length, n_joints)


def read_integers(path: Path, count: int) -> np.ndarray:
    """One integer a window, (N,) int64; public files may hold them as objects or as floats."""
    try:
        with path.open("rb") as file:
            pickled = read_header(file)[2].hasobject
        array = np.asarray(read_object_array(path) if pickled else _open(path))
    except (OSError, *FAULTS) as error:
        raise UserError(f"{path}: cannot be read ({error}); {AGAIN}") from error
    if array.shape != (count,):
        raise UserError(f"{path}: shape {array.shape}, but there are {count} windows; {AGAIN}")
    if array.dtype.kind not in "iuf" or not _are_integers(array):
        raise UserError(f"{path}: holds {array.dtype} values that are not 64-bit integers; {AGAIN}")
    return array.astype(np.int64)


def _are_integers(array: np.ndarray) -> bool:
    if array.dtype.kind == "f":  # beyond 2**53 a float does not determine the integer
        return bool(((np.abs(array) <= 2**53) & (np.floor(array) == array)).all())
    return array.dtype.kind == "i" or not array.size or int(array.max()) < 2**63


def read_floats(path: Path, advice: str) -> np.ndarray:
    """Floats of any shape, mapped from disk; UserError, which ends with `advice`, otherwise."""
    array = _open(path, advice)
    if array.dtype.kind != "f" or array.size == 0:
        raise UserError(f"{path}: {array.dtype} of shape {array.shape}, expected floats; {advice}")
    return array


def read_object_array(path: Path) -> Any:
    """The content of an object-dtype ``.npy`` as plain lists, dicts and numbers.

    UserError if the file is damaged or its pickle asks for anything beyond arrays of integers.
    """
    try:
        with path.open("rb") as file:
            shape, _, dtype = read_header(file)
            if not dtype.hasobject:
                raise ValueError("no object array")
            content = unpickled(file.read())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the file") from error
    except FAULTS as error:
        raise UserError(
            f"{path}: damaged, or not a list of window indices by identity ({str(error)[:100]}); "
            f"{REWRITE}, and do not trust where it came from"
        ) from error
    if shape == () or isinstance(content, list):
        return content
    raise UserError(f"{path}: {NOT_PLAIN}; {REWRITE}")


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is in Fortran order, and dtype of an open ``.npy``.

    ValueError, or another of `FAULTS`, if the file is none.
    """
    first = np.lib.format.read_magic(file) == (1, 0)
    formats = np.lib.format
    read = formats.read_array_header_1_0 if first else formats.read_array_header_2_0
    shape, by_column, dtype = read(file)
    return shape, by_column, dtype


def within_limit(values: np.ndarray, *, allow_nan: bool) -> bool:
    """Whether no coordinate is beyond `LIMIT_METRES` or, unless allowed, NaN."""
    # without a temporary array; fmin and fmax skip NaN, the others return it
    low, high = (np.fmin, np.fmax) if allow_nan else (np.minimum, np.maximum)
    least = low.reduce(values, axis=None, initial=0)
    most = high.reduce(values, axis=None, initial=0)
    return bool(least >= -LIMIT_METRES and most <= LIMIT_METRES)


def parse_npy(file: IO[bytes], size: int) -> np.ndarray:
    """The plain array in an open ``.npy`` of so many bytes; one of `FAULTS` if it is none.

    The header is checked before memory is taken for the numbers that it claims.
    """
    shape, by_column, dtype = read_header(file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != size - file.tell():
        raise ValueError("not a plain array, or its header and size disagree")
    return np.frombuffer(file.read(), dtype).reshape(shape, order="F" if by_column else "C")


def check_coordinates(values: np.ndarray, where: str, *, allow_nan: bool = False) -> None:
    """UserError, which begins with `where`, if a coordinate cannot be a position in metres.

    NaN marks a joint that was not seen and may be allowed. Infinity never is.
    """
    if within_limit(values, allow_nan=allow_nan):
        return
    wrong = ~(np.abs(values) <= LIMIT_METRES)
    if allow_nan:
        wrong &= ~np.isnan(values)
    index = np.unravel_index(int(wrong.argmax()), values.shape)
    start = f"{where}: the coordinate at index ({', '.join(str(int(i)) for i in index)}) is"
    if not np.isfinite(values[index]):
        allowed = "; a joint that was not seen is NaN" if allow_nan else ""
        raise UserError(
            f"{start} {values[index]}, which is not finite{allowed}. "
            "Correct the data and run Preprocess.py or write_dataset again"
        )
    raise UserError(
        f"{start} {values[index]:g}. Coordinates are metres, and values beyond {LIMIT_METRES:g} m "
        "are not valid: divide millimetres by 1000 (and large pixel numbers by a constant) and run "
        "Preprocess.py or write_dataset again"
    )
