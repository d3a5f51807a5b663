"""The file that holds how every probe window of a run fared: `probes_<protocol>.npz`.

The means in results.json cannot say how sure they are; these numbers can (simmc report compare).
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simmc.errors import UserError
from simmc.evaluation.ranking import Retrieval
from simmc.runs import atomic

_KINDS = {"first_match_rank": "i", "average_precision": "f", "identity": "i", "recording": "i"}
# what numpy raises over a file that is torn or foreign, holds pickles or a mere array
_UNREADABLE = (OSError, ValueError, TypeError, EOFError, AttributeError, zipfile.BadZipFile)


@dataclass(frozen=True, eq=False)
class ProbeOutcomes:
    """How each of N probe windows fared, in the order of the probe set.

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
            if values.shape != (len(self.identity),) or values.dtype.kind != _KINDS[name]:
                raise ValueError(
                    f"{name}: {values.dtype} {values.shape} for {len(self.identity)} probes"
                )

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
        with atomic.open_atomic(path) as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def read(cls, path: Path) -> "ProbeOutcomes":
        """The stored arrays.

        Raises:
            UserError: the file is damaged, or another one.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(**{name: file[name] for name in file.files})
        except _UNREADABLE as error:
            raise UserError(
                f"cannot read {path}: {error}. Score the run again with --mode Eval, which writes "
                "the file anew."
            ) from error
