"""Frames of one recording out of a MATLAB file; nothing else in the file is loaded."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from scipy.io import loadmat, whosmat
from scipy.io.matlab import MatReadError

from simmc.data.raw import text
from simmc.errors import UserError

FRAMES = "skeleton"  # the name our writer uses; on reading any name will do
TIME = "time"
_NUMBERS = frozenset(
    ("double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
)
_HDF5 = b"\x89HDF\r\n\x1a\n"
# What a damaged file makes the parser raise.
_DAMAGE = (MatReadError, ValueError, TypeError, KeyError, IndexError, OSError, EOFError, zlib.error)


def read_frames(path: Path, n_joints: int) -> tuple[np.ndarray, list[str] | None]:
    """The one array of (T, J, 3) or (T, 3 J) numbers in the file, and timestamps if it has them.

    Args:
        path: a MATLAB file of version 4 to 7.
        n_joints: J.

    Returns:
        Frames (T, J, 3) float64, and the entry ``time`` as texts, or None where there is none.
    """
    _refuse_hdf5(path)
    try:
        entries = whosmat(path)
        names = [name for name, shape, kind in entries if _fits(shape, kind, n_joints)]
        times = [TIME] if any(name == TIME for name, *_ in entries) else []
        loaded = loadmat(path, variable_names=[*names, *times]) if len(names) == 1 else {}
    except _DAMAGE as error:
        raise UserError(
            f"{path}: cannot be read as a MATLAB file ({error}); fetch or save it again"
        ) from error
    if len(names) != 1:
        listed = ", ".join(f"{name} {shape} {kind}" for name, shape, kind in entries) or "nothing"
        raise UserError(
            f"{path}: exactly one array of shape (T, {n_joints}, 3) or (T, {3 * n_joints}) is due, "
            f"found {listed}; save the frames as one such array"
        )
    frames = np.asarray(loaded[names[0]], dtype=np.float64).reshape(-1, n_joints, 3)
    if not np.isfinite(frames).all():
        raise UserError(f"{path}: {names[0]} holds NaN or infinity; mend the recording")
    return np.ascontiguousarray(frames), _times(path, loaded[TIME], len(frames)) if times else None


def _fits(shape: tuple[int, ...], kind: str, n_joints: int) -> bool:
    return kind in _NUMBERS and tuple(shape[1:]) in ((n_joints, 3), (3 * n_joints,))


def _times(path: Path, values: np.ndarray, count: int) -> list[str]:
    values = np.ravel(values)
    if len(values) != count or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise UserError(f"{path}: {TIME} must hold one number a frame ({count}); mend or drop it")
    return [str(int(v)) if float(v).is_integer() else repr(float(v)) for v in values.tolist()]


def _refuse_hdf5(path: Path) -> None:
    """Version 7.3 files are HDF5, after MATLAB's header of 512 bytes or without one."""
    head = text.read_bytes(path)[: 512 + len(_HDF5)]
    if head.startswith((_HDF5, b"MATLAB 7.3")) or head[512:] == _HDF5:
        raise UserError(
            f"{path}: a MATLAB 7.3 (HDF5) file; load it in MATLAB and save it again with "
            "save(file, 'skeleton', '-v7')"
        )
