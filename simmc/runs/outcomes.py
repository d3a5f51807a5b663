"""The results of every probe window of a run: `probes_<protocol>.npz`.

`simmc report compare` computes confidence intervals from them.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from simmc import files
from simmc.data.arrays import read_header
from simmc.errors import UserError
from simmc.evaluation.ranking import Retrieval

_TYPES: dict[str, np.dtype] = {
    "first_match_rank": np.dtype(np.int32),
    "average_precision": np.dtype(np.float64),
    "identity": np.dtype(np.int64),
    "recording": np.dtype(np.int64),
}
# rounding may lift a sum of shares a little above 1; -1: a window of no known recording
_RANGES = {"first_match_rank": (-1, 2**31 - 1), "average_precision": (0, 1 + 1e-9)}
_RANGES["recording"] = (-1, 2**63 - 1)
_MOST = 2**27  # bytes of an array: 16 million windows


@dataclass(frozen=True, eq=False)
class ProbeOutcomes:
    """The results of N probe windows, in the order of the probe set.

    Attributes:
        first_match_rank: (N,) int32, 1-based; 0 where the gallery holds no match, -1 where the
            window has a label below 0 and is not scored.
        average_precision: (N,) float64 in [0, 1]; NaN where mAP leaves the probe out.
        identity: (N,) int64, the person's number in the dataset.
        recording: (N,) int64, place in the manifest's list of recordings; None where unknown.
    """

    first_match_rank: np.ndarray
    average_precision: np.ndarray
    identity: np.ndarray
    recording: np.ndarray | None = None

    @classmethod
    def of(
        cls, found: Retrieval, identity: np.ndarray, recording: np.ndarray | None = None
    ) -> "ProbeOutcomes":
        """The outcome of a ranking.

        Args:
            found: what was retrieved for the N probe windows.
            identity: (N,) integers, the person's number in the dataset.
            recording: (N,) integers, or None.
        """
        precision = found.average_precision.astype(np.float64)
        precision[: found.left_out] = np.nan
        return cls(
            found.first_match_rank.astype(np.int32),
            precision,
            np.asarray(identity, np.int64),
            None if recording is None else np.asarray(recording, np.int64),
        )

    def __post_init__(self) -> None:
        arrays = {name: values for name, values in vars(self).items() if values is not None}
        for name, values in arrays.items():
            if values.shape != (len(self.identity),) or values.dtype != _TYPES[name]:
                raise ValueError(
                    f"{name}: {values.dtype} {values.shape} for {len(self.identity)} probes"
                )
            low, high = _RANGES.get(name, (-np.inf, np.inf))
            if ((values < low) | (values > high)).any():  # NaN is neither
                raise ValueError(f"{name}: values outside {low} .. {high:g}")

    def __len__(self) -> int:
        return len(self.identity)

    def scored(self) -> "ProbeOutcomes":
        """Those of the windows that are scored."""
        kept = self.first_match_rank >= 0
        arrays = {name: values for name, values in vars(self).items() if values is not None}
        return ProbeOutcomes(**{name: values[kept] for name, values in arrays.items()})

    def write(self, path: Path) -> None:
        """Stores the arrays; the same numbers give the same bytes."""
        arrays = {name: values for name, values in vars(self).items() if values is not None}
        with files.open_atomic(path) as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def read(cls, path: Path) -> "ProbeOutcomes":
        """The stored arrays.

        Raises:
            UserError: the file is damaged, or another one.
        """
        try:
            return cls(**_read_arrays(path))
        except Exception as error:  # foreign bytes can fail anywhere in a library
            raise UserError(
                f"cannot read {path}: {str(error)[:200] or type(error).__name__}. Score the run "
                "again with --mode Eval, which writes the file again."
            ) from error


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file, in memory of about its size; any exception where it is damaged."""
    found: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if name not in _TYPES or name in found:
                raise ValueError(f"it holds {entry.filename[:80]!r}")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{name} is packed by another method than deflate")
            if entry.file_size > _MOST:
                raise ValueError(f"{name} would take {entry.file_size} bytes")
            with archive.open(entry) as file:
                found[name] = _array(file, entry.file_size, _TYPES[name])
    if "identity" not in found:
        raise ValueError("it holds no identities")
    return found


def _array(file: IO[bytes], size: int, kind: np.dtype) -> np.ndarray:
    """The content of a .npy file of so many bytes with one axis, whose header is not trusted."""
    shape, _, dtype = read_header(file)
    rest = size - file.tell()
    if len(shape) != 1 or dtype.kind != kind.kind or shape[0] * dtype.itemsize != rest:
        raise ValueError(f"{dtype} of shape {shape} in {rest} bytes")
    values = np.frombuffer(file.read(), dtype)
    made = values.astype(kind)
    if kind.kind == "i" and not np.array_equal(made, values):
        raise ValueError(f"values that do not fit {kind}")
    return made
