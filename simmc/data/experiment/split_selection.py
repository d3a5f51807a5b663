"""Selecting the stored windows of the training, probe and gallery sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from simmc.data import specs, store
from simmc.data.manifest import RecordingEntry
from simmc.data.specs import DatasetSpec
from simmc.data.store import StoredSplit, joined
from simmc.errors import UserError

# the features (N, f, d) of the windows of a split
Features = Callable[[str, StoredSplit], np.ndarray]


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


def with_gallery(train: StoredSplit, gallery: StoredSplit, same: bool) -> StoredSplit:
    """Training and gallery windows together, sorted by person."""
    if same:
        raise UserError(
            "--train_on train_gallery: probe and gallery are the same windows here, so the test "
            "would use training windows; use --train_on train."
        )
    both = joined([train, gallery])
    return both.take(np.argsort(both.labels, kind="stable"))


def by_setting(
    both: StoredSplit, recordings: list[RecordingEntry]
) -> tuple[StoredSplit, StoredSplit]:
    """Probes of the repetition gc1, gallery of gc2 and gc3 of the same view."""
    if both.recording is None or not recordings:
        raise UserError(
            f"{both.path}: --cve_diagonal settings needs recording_*.npy and manifest.json; "
            "run `python Preprocess.py LENGTH --dataset KS20 --protocol CVE`"
        )
    settings = np.array([str(r.get("attributes", {}).get("setting", "")) for r in recordings])
    first = settings[both.recording] == "gc1"
    if first.all() or not first.any():
        raise UserError(f"{both.path}: --cve_diagonal settings needs gc1 and other repetitions")
    return both.take(first), both.take(~first)
