"""The training, probe and gallery sets: as they are stored, and in memory as methods get them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from simmc.data import specs, store
from simmc.data.manifest import RecordingEntry
from simmc.data.skeletons import Skeleton
from simmc.data.specs import DatasetSpec
from simmc.data.store import StoredSplit, joined
from simmc.errors import UserError, numbered

# the features (N, f, d) of the windows of a split
Features = Callable[[str, StoredSplit], np.ndarray]
_CHUNK = 1024  # windows whose copies are looked for at a time


@dataclass(frozen=True, eq=False)
class Split:
    """Windows of the training, probe or gallery set."""

    # (N, f, J, 3) float32, metres, relative to the root joint of each frame; or (N, f, d) features
    windows: np.ndarray
    # (N,) int64, index into the sorted list of identities; below 0 the label of a window of nobody
    # in the list (junk, a distractor)
    identity: np.ndarray
    # (N,) int64, index into `Experiment.recordings`; pieces (--stress) have further numbers
    recording: np.ndarray | None
    # (N, 2) float64 seconds, begin and end of its recording, NaN if unknown; None: all unknown
    times: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.identity)


@dataclass(frozen=True, eq=False)
class Experiment:
    """The data of a method."""

    train: Split
    probe: Split
    gallery: Split
    identities: list[int]  # labels of the training identities, sorted; none is below 0
    test_identities: list[int]  # labels behind probe.identity and gallery.identity
    same_windows: bool  # probe and gallery are the same list: each probe would match itself
    skeleton: Skeleton  # the names by which methods read the joint axis
    recordings: list[RecordingEntry]  # of the manifest; empty without one
    checksum: str | None  # sha256 of the manifest
    generated: bool = False  # synthetic walkers
    checked: bool = False  # the checksums of the files are those of the manifest
    # number of probe windows with an exact copy in the gallery and train set
    copies: Mapping[str, int] = field(default_factory=dict)
    # windows of incomplete batches that were left out, by set (--part_batches drop)
    dropped: dict[str, int] = field(default_factory=dict)
    # (N, E) metres, length of every bone in each training window; None if not known
    body: np.ndarray | None = None
    lean: float | None = None  # degrees by which training recordings lean to a side, if measured

    def require_labels(self, what: str, remedy: str = "use SimMC.py, which needs none") -> None:
        """UserError if training windows have labels below 0, which no method can learn."""
        junk = int((self.train.identity < 0).sum())
        if junk:
            have = numbered("[has|have] a label below 0", junk)
            raise UserError(
                f"{what}: {junk} of {len(self.train)} training windows {have}, "
                "which is no identity that could be learned. Leave these windows out of the set, "
                f"or {remedy}."
            )

    def require_identities(
        self, what: str, remedy: str = "use SimMC.py, which needs no labels"
    ) -> None:
        """UserError if the training windows have no two identities that could be told apart."""
        self.require_labels(what, remedy)
        if len(self.identities) < 2:
            raise UserError(
                f"{what}: the training windows name fewer than two identities, so there is "
                f"nothing to tell apart. Label them, or {remedy}."
            )


def labels_of(identity: np.ndarray, identities: Sequence[int]) -> np.ndarray:
    """(N,) int64 labels as in the files, from the identities of a split's windows."""
    labels = identity.copy()
    known = identity >= 0
    labels[known] = np.array(identities, np.int64)[identity[known]]
    return labels


class Sets(NamedTuple):
    """The windows of an experiment; probe and gallery may be the same object."""

    train: StoredSplit
    probe: StoredSplit
    gallery: StoredSplit

    @property
    def same_windows(self) -> bool:
        """Whether probe and gallery are the same list."""
        return self.probe is self.gallery


def known_probe(spec: DatasetSpec, probe: str) -> str:
    """The probe by its proper name; UserError with the list otherwise."""
    for known in spec.probes:
        if known.casefold() == probe.casefold():
            return known
    more = ", or views in degrees as in 0.90" if spec.name == "KS20" else ""
    flag = "--probe_type" if spec.name == "CASIA_B" else "--probe"
    raise UserError(
        f"{flag} {probe}: {spec.name} has the probes {', '.join(spec.probes)}{more}; choose one"
    )


def read_sets(
    data_root: Path,
    spec: DatasetSpec,
    length: int,
    probe: str,
    features: Features | None,
    times: np.ndarray | None = None,
) -> Sets:
    """Training, probe and gallery; the latter two are one object if they are the same list.

    `features` replace the windows; `times` are `recording_times` of the manifest.
    """

    def read(split: str) -> StoredSplit:
        stored = store.read_split(data_root, spec, length, split)
        if times is not None and stored.recording is not None:
            stored = replace(stored, times=times[stored.recording])
        return stored if features is None else replace(stored, features=features(split, stored))

    probe = known_probe(spec, probe)
    gallery_name = spec.gallery_of[probe]
    probe_name = probe.partition(".")[0]
    training = [read(split) for split in specs.splits_of(spec, probe) if specs.is_training(split)]
    train = training[0] if len(training) == 1 else joined(training)
    probe_set = read(probe_name)
    gallery = probe_set if gallery_name == probe_name else read(gallery_name)
    return Sets(train, probe_set, gallery)


def with_gallery(sets: Sets) -> Sets:
    """Training on the training and gallery windows, sorted by person."""
    if sets.same_windows:
        raise UserError(
            "--train_on train_gallery: probe and gallery are the same windows here, so the test "
            "would use training windows; use --train_on train."
        )
    both = joined([sets.train, sets.gallery])
    return sets._replace(train=both.take(np.argsort(both.labels, kind="stable")))


def by_setting(sets: Sets, recordings: list[RecordingEntry]) -> Sets:
    """The windows of one view: probes of the repetition gc1, gallery of gc2 and gc3."""
    both = sets.probe
    if both.recording is None or not recordings:
        raise UserError(
            f"{both.path}: --cve_diagonal settings needs recording_*.npy and manifest.json; "
            "run `python Preprocess.py LENGTH --dataset KS20 --protocol CVE`"
        )
    settings = np.array([str(r.get("attributes", {}).get("setting", "")) for r in recordings])
    first = settings[both.recording] == "gc1"
    if first.all() or not first.any():
        raise UserError(f"{both.path}: --cve_diagonal settings needs gc1 and other repetitions")
    return sets._replace(probe=both.take(first), gallery=both.take(~first))


def count_copies(
    probe: StoredSplit, probes: np.ndarray, split: StoredSplit, rows: np.ndarray
) -> int:
    """How many probe windows have an exact copy in another split.

    `probes` and `rows` are the indices of the windows that count.
    """
    # hashing is slow, and only windows that begin with the same number can be copies
    ours, theirs = _first_numbers(probe, probes), _first_numbers(split, rows)
    known = set(_digests(split, rows[np.isin(theirs, ours)]))
    return sum(map(known.__contains__, _digests(probe, probes[np.isin(ours, theirs)])))


def _first_numbers(split: StoredSplit, rows: np.ndarray) -> np.ndarray:
    """The bits of the first coordinate of each window, (n,) int64."""
    return split.planes[0][rows, 0, 0].astype(np.float64).view(np.int64)


def _digests(split: StoredSplit, rows: np.ndarray) -> list[bytes]:
    """The sha256 of each window."""
    found = []
    for low in range(0, len(rows), _CHUNK):
        block = np.stack([plane[rows[low : low + _CHUNK]] for plane in split.planes], axis=1)
        windows = block.astype(np.float64, copy=False)
        found += [hashlib.sha256(window).digest() for window in windows]
    return found
