"""What a run writes: metrics.jsonl by epoch, results.json, and probes_<protocol>.npz by window.

Rates are fractions of 1. An entry that a method does not have is left out.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, NotRequired, TypedDict

import numpy as np

from simmc import files
from simmc.data.arrays import read_header
from simmc.data.experiment.experiment import Experiment
from simmc.errors import UserError
from simmc.evaluation.ranking import Retrieval
from simmc.runs.runtime import Runtime, versions
from simmc.settings.groups import Rematch

# the arrays of probes_<protocol>.npz
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

Verdict = Literal["healthy", "collapsed", "over-split", "unstable", "unsure", "nothing learned"]


class Figures(TypedDict, total=False):
    """Numbers of the probe, by matching or by classification; None where there are no rates."""

    top1: float | None  # share of probes with the right person at rank 1 (or named first)
    top5: float | None
    top10: float | None
    mAP: float | None
    mINP: float | None
    nauc_roc: float  # of classification: the area of SGELA's program, and of its paper
    nauc_cmc: float
    probes: int  # probe windows that are scored
    unmatched: int  # of these, those without a match in the gallery: misses in top-k
    averaged: int  # probe windows that mAP and mINP are means over
    no_rates: str  # why there are no rates


class EpochRecord(Figures, total=False):
    """A line of metrics.jsonl: the numbers of an epoch, before its steps."""

    epoch: int
    levels: dict[str, Figures]  # Hi-MPC: of each body level alone
    clusters_1: int  # clusters of each view (SimMC) or level (Hi-MPC), and their outliers
    clusters_2: int
    clusters_3: int
    outliers_1: int
    outliers_2: int
    outliers_3: int
    outliers: int  # windows that are an outlier of some view
    kept: int  # windows that are learned from
    largest: float  # share of the windows in clusters (of the first view) in the largest one
    label_free_score: float | None  # trust in the pseudo labels, from these labels alone
    eps: float  # of the clustering, where it is chosen from the features
    min_samples: int
    body_agreement: float  # of distances between features with those between bone lengths
    recall: float  # share of the true neighbours that an approximate search has found
    mi: float  # mutual information with the identities, and its adjusted form: diagnostics
    ami: float
    mACT: float  # tightness and looseness of the training features: diagnostics
    mRCL: float
    people: int  # TrackMC: clusters, and how many there are at least
    people_at_least: int
    tracks: int  # TrackMC: training recordings
    unsure: int  # TrackMC: recordings whose cluster is not certain
    reach: float  # TrackMC: how unlike the recordings are that the features bring together
    reach_score: float | None  # TrackMC: the epoch, where it is better than those before
    seen_at_once: int  # TrackMC: pairs of recordings that overlap in time
    ended: str  # why the method ended the training here
    train_top1: float  # supervised: share of training windows that are named right
    steps: int
    loss_mpc: float  # means over the steps
    loss_mic: float
    loss_joint: float  # Hi-MPC's levels; "joint" is a level of SM-SGE as well
    loss_component: float
    loss_limb: float
    loss_reconstruction: float  # AGE and SGELA
    loss_locality: float
    loss_contrast: float
    loss_prediction: float  # MG-SCR
    loss_hyper: float  # SM-SGE's levels
    loss_part: float
    loss_body: float
    loss_identity: float  # supervised
    loss_center: float
    seconds: dict[str, float]  # by stage


class ProtocolResults(Figures, total=False):
    """What results.json holds of a protocol."""

    epoch: int | None  # that the weights come from
    cmc: list[float] | None
    levels: dict[str, Figures]  # Hi-MPC
    kinds: dict[str, Figures]  # source models: every pooled feature; SimMC-UF: the source alone
    confusion: list[list[int]]  # recognition: true person, named person, windows


class Health(TypedDict):
    """What `simmc.engine.health` finds of a training without labels."""

    verdict: Verdict
    reason: str
    next_step: str  # "" where healthy


class DataRecord(TypedDict):
    """The data of a run."""

    manifest_sha256: str | None
    generated: bool  # synthetic walkers
    checked: bool  # the files are those of the manifest's checksums
    lean: NotRequired[float]  # degrees by which recordings lean to a side, for turned and levelled


class Results(TypedDict, total=False):
    """The content of results.json."""

    method: str
    method_version: int  # `Method.version`
    dataset: str
    probe: str
    length: int
    seed: int
    fidelity: str
    protocols: dict[str, ProtocolResults | None]
    counts: dict[str, Any]  # windows by role, copies, labels below 0, epochs, clusters
    health: Health  # of the label-free training where there is one
    timing: dict[str, float]  # mean seconds an epoch by stage, and `total_run`
    peak_rss_bytes: int | None
    versions: dict[str, str]
    data: DataRecord
    settings: dict[str, Any]
    supervised: bool  # identity labels were used; `note` says for what
    note: str
    trained_on: dict[str, str | None]
    matching: dict[str, Any]  # settings of further ways of matching (matching.json)


def new_results(title: str, settings: Any, data: Experiment, runtime: Runtime) -> Results:
    """The frame of results.json, without results."""
    place, common = settings.place, settings.common
    further = Rematch.of().flat()
    return {
        "method": title,
        "dataset": place.dataset,
        "probe": place.probe,
        "length": place.length,
        "seed": common.seed,
        "fidelity": common.fidelity,
        "protocols": {},
        "counts": {
            "train": len(data.train.windows),
            "probe": len(data.probe.windows),
            "gallery": len(data.gallery.windows),
            **{f"probe_copies_in_{name}": count for name, count in data.copies.items()},
            "identities": len(np.unique(data.probe.identity[data.probe.identity >= 0])),
            "dropped": data.dropped,
            "labels_below_0": {
                name: int((getattr(data, name).identity < 0).sum())
                for name in ("train", "probe", "gallery")
            },
        },
        "timing": {},
        "peak_rss_bytes": None,
        "versions": versions() | {"threads": str(runtime.threads), "device": str(runtime.device)},
        "data": described_data(data),
        "settings": {k.rstrip("_"): v for k, v in settings.flat().items() if k not in further},
    }


def described_data(data: Experiment) -> DataRecord:
    """The entry on the data in config.json, results.json and embed.json."""
    found: DataRecord = {
        "manifest_sha256": data.checksum,
        "generated": data.generated,
        "checked": data.checked,
    }
    return found if data.lean is None else {**found, "lean": data.lean}


@dataclass(frozen=True, eq=False)
class ProbeOutcomes:
    """The results of N probe windows, in the order of the probe set (`probes_<protocol>.npz`).

    `simmc report compare` computes confidence intervals from them.

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
