"""Single ``.npy`` files: written atomically, read with a clear error for every fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from simmc import files
from simmc.data.pickled import FAULTS, read_header, read_object_array
from simmc.errors import UserError

AGAIN = "the set is damaged: run Preprocess.py again"


def save(path: Path, array: np.ndarray) -> None:
    """Write a plain ``.npy`` atomically."""
    with files.open_atomic(path, "wb") as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def _open(path: Path) -> np.ndarray:
    """An array mapped from disk, so that a header cannot ask for more memory than the file has."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: the file is missing; {AGAIN}") from None
    except (OSError, *FAULTS) as error:
        raise UserError(f"{path}: cannot be read ({error}); {AGAIN}") from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: an archive, not an array; {AGAIN}")
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
            pickled = read_header(file)[1].hasobject
        array = np.asarray(read_object_array(path) if pickled else _open(path))
    except (OSError, *FAULTS) as error:
        raise UserError(f"{path}: cannot be read ({error}); {AGAIN}") from error
    if array.shape != (count,):
        raise UserError(f"{path}: shape {array.shape}, but there are {count} windows; {AGAIN}")
    if array.dtype.kind not in "iuf" or not _are_integers(array):
        raise UserError(
            f"{path}: holds {array.dtype} values that are no integers of 64 bits; {AGAIN}"
        )
    return array.astype(np.int64)


def _are_integers(array: np.ndarray) -> bool:
    if array.dtype.kind == "f":  # beyond 2**53 a float does not determine the integer
        return bool(((np.abs(array) <= 2**53) & (np.floor(array) == array)).all())
    return array.dtype.kind == "i" or not array.size or int(array.max()) < 2**63


def read_floats(path: Path) -> np.ndarray:
    """Floats of any shape, mapped from disk."""
    array = _open(path)
    if array.dtype.kind != "f" or array.size == 0:
        raise UserError(
            f"{path}: {array.dtype} of shape {array.shape}, expected floats; export them again"
        )
    return array
