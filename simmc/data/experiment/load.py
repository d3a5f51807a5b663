"""From stored splits to an experiment, stage by stage.

The order of the stages is the released loader's (docs/data.md 5.3): read the splits, perturb them,
select their windows, balance classes (5.4) and shuffle once, leave out incomplete batches (6), and
bring the windows into memory: subtract a joint of the same frame, remap joints.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from simmc.data import store
from simmc.data.arrays import check_coordinates
from simmc.data.experiment.experiment import (
    Experiment,
    Features,
    Sets,
    Split,
    by_setting,
    count_copies,
    read_sets,
    with_gallery,
)
from simmc.data.experiment.sampling import class_sample
from simmc.data.features import require_finite
from simmc.data.manifest import (
    NAME,
    RecordingEntry,
    has_checksums,
    read_manifest,
    recording_times,
    spec_of,
)
from simmc.data.skeletons import KGBD_FILE, KINECT_V1, Skeleton, permutation
from simmc.data.specs import DatasetSpec, reads_by_other_names, skeleton_of
from simmc.data.store import StoredSplit
from simmc.data.synthetic.perturbations import perturbed
from simmc.errors import UserError, numbered

_CHUNK = 4096  # windows converted from float64 at a time


@dataclass(frozen=True)
class Request:
    """What to load; the fields are named as the flags."""

    data_root: Path
    dataset: str  # built-in or custom
    length: int  # frames of a window, f
    probe: str  # "A", "Walking", "probe", "nm.nm"; "a.b" in degrees: cross-view sets (KS20)
    kgbd_order: str = "raw"  # raw (file order), mapped (Kinect order), mirrored (sides swapped)
    root: str = "first"  # joint to subtract: first (of the file), sensor (the root), none, a name
    class_sampling: str = "on"  # on (all but KGBD, as released), all (as the graph models), off
    part_batches: str = "drop"  # drop or keep the last incomplete batch of every set
    double_load: str = "on"  # draw sampling and order twice and use the second draw (quirk Q11)
    batch_size: int = 256
    shuffle: bool = True  # permute the training windows once
    cve_diagonal: str = "self"  # for "a.a": self (one list on both sides), settings (gc1, others)
    with_gallery: bool = False  # train on the gallery too (SGELA's classification)
    stress: str = ""  # perturbations


@dataclass(frozen=True, eq=False)
class Source:
    """A dataset, and what its manifest says."""

    spec: DatasetSpec
    recordings: list[RecordingEntry]  # of the manifest; empty without one
    times: np.ndarray | None  # (R, 2) seconds, begin and end of the recordings; None: unknown
    checksum: str | None  # sha256 of the manifest
    generated: bool  # synthetic walkers
    checked: bool  # the manifest holds checksums of the files


class Chosen(NamedTuple):
    """Indices (n,) int64 of the windows of each set, and how many were left out, by set."""

    train: np.ndarray
    probe: np.ndarray
    gallery: np.ndarray
    dropped: dict[str, int]


@dataclass(frozen=True, eq=False)
class _View:
    """How the joint axis is treated."""

    root: int | None  # file index of the joint to subtract
    order: np.ndarray | None  # (J,) file indices in the new order
    skeleton: Skeleton


def load_experiment(
    request: Request, rng: np.random.Generator, features: Features | None = None
) -> Experiment:
    """Load an experiment.

    Args:
        request: what to load.
        rng: generator of sampling and order.
        features: gives the features of a source model, which replace the windows.

    Raises:
        UserError: a file is missing or damaged, or the request does not fit the data.
    """
    source = find(request)
    sets = read_sets(
        request.data_root, source.spec, request.length, request.probe, features, source.times
    )
    if request.stress:
        sets = perturbed(sets, request.stress, rng)
    if source.spec.by_view and sets.same_windows and request.cve_diagonal == "settings":
        sets = by_setting(sets, source.recordings)
    if request.with_gallery:
        sets = with_gallery(sets)
    return bring(sets, choose(sets, source, request, rng), source, request)


def find(request: Request) -> Source:
    """The dataset and its manifest."""
    spec = spec_of(request.data_root, request.dataset, request.length, request.probe)
    base = store.dataset_folder(request.data_root, spec, request.length)
    manifest, checksum = read_manifest(base)
    recordings = manifest["recordings"] if manifest else []
    return Source(
        spec,
        recordings,
        recording_times(recordings, base / NAME),
        checksum,
        bool(manifest and manifest.get("generated")),
        has_checksums(manifest),
    )


def choose(sets: Sets, source: Source, request: Request, rng: np.random.Generator) -> Chosen:
    """The windows of each set: classes balanced, shuffled once, incomplete batches left out."""
    sampled = request.class_sampling == "all" or (
        request.class_sampling == "on" and source.spec.sampled_by_class
    )
    train = np.arange(len(sets.train))
    for _ in range(2 if request.double_load == "on" else 1):
        train = np.arange(len(sets.train))
        if sampled:
            train = class_sample(sets.train.labels, request.batch_size, rng)
        if request.shuffle:
            train = train[rng.permutation(len(train))]
    every = {"train": train}
    every |= {role: np.arange(len(getattr(sets, role))) for role in ("probe", "gallery")}
    if request.part_batches == "keep":
        return Chosen(**every, dropped={})
    dropped = {role: len(indices) % request.batch_size for role, indices in every.items()}
    whole = {role: indices[: len(indices) - dropped[role]] for role, indices in every.items()}
    for role, indices in whole.items():
        if not len(indices):
            count = numbered("{} [window|windows]", len(every[role]))
            raise UserError(
                f"the {role} set {getattr(sets, role).path} has {count}, fewer than one batch "
                f"of --batch_size {request.batch_size}; use --part_batches keep or a smaller "
                "--batch_size"
            )
    return Chosen(**whole, dropped=dropped)


def bring(sets: Sets, chosen: Chosen, source: Source, request: Request) -> Experiment:
    """The chosen windows in memory."""
    view = _joint_view(source.spec, request.kgbd_order, request.root)
    same = sets.same_windows
    identities = _identities(sets.train.labels)
    test_identities = np.union1d(_identities(sets.probe.labels), _identities(sets.gallery.labels))
    if np.isin(test_identities, identities).all():
        test_identities = identities
    probe = _bring(sets.probe, chosen.probe, view, test_identities)
    others = {"train": (sets.train, np.unique(chosen.train))}
    if not same:
        others["gallery"] = sets.gallery, chosen.gallery
    return Experiment(
        train=_bring(sets.train, chosen.train, view, identities),
        probe=probe,
        gallery=probe if same else _bring(sets.gallery, chosen.gallery, view, test_identities),
        identities=identities.tolist(),
        test_identities=test_identities.tolist(),
        same_windows=same,
        skeleton=view.skeleton,
        recordings=source.recordings,
        checksum=source.checksum,
        generated=source.generated,
        checked=source.checked,
        copies={
            role: count_copies(sets.probe, chosen.probe, stored, places)
            for role, (stored, places) in others.items()
        },
        dropped=chosen.dropped,
    )


def load_stored(
    data_root: Path, spec: DatasetSpec, length: int, split: str, *, kgbd_order: str, root: str
) -> tuple[Split, StoredSplit]:
    """All windows of one split in the order of its files, and the split as it is stored.

    The arguments are those of `Request`.
    """
    stored = store.read_split(data_root, spec, length, split)
    view = _joint_view(spec, kgbd_order, root)
    return _bring(stored, np.arange(len(stored)), view, _identities(stored.labels)), stored


def experiment_of(windows: np.ndarray, spec: DatasetSpec, kgbd_order: str, root: str) -> Experiment:
    """Windows (N, f, J, 3) that are in no file, as training, probe and gallery of an experiment.

    Joints are in the order of the dataset's files; `kgbd_order` and `root` as in `Request`.
    """
    x, y, z = np.moveaxis(np.asarray(windows, np.float64), -1, 0)
    labels = np.full(len(windows), -1)
    view = _joint_view(spec, kgbd_order, root)
    stored = StoredSplit((x, y, z), labels, None, Path("the windows"))
    split = _bring(stored, np.arange(len(labels)), view, labels[:0])
    return Experiment(split, split, split, [], [], True, view.skeleton, [], None)


def _identities(labels: np.ndarray) -> np.ndarray:
    """The different labels of 0 or more, sorted."""
    return np.unique(labels[labels >= 0])


def _joint_view(spec: DatasetSpec, kgbd_order: str, root: str) -> _View:
    """Root joint and joint order (docs/data.md 2.4).

    In raw order KGBD's windows stay as they are in the files, with the head first, and methods
    read them by Kinect's names, as the released programs do; "sensor" still means the true hip
    centre.
    """
    named, order, shown = spec.skeleton, None, skeleton_of(spec)
    if reads_by_other_names(spec):
        if kgbd_order in ("mapped", "mirrored"):
            named = KINECT_V1
            order = permutation(KGBD_FILE, KINECT_V1, mirrored=kgbd_order == "mirrored")
        elif kgbd_order != "raw":
            raise UserError(f"--kgbd_order {kgbd_order}: choose raw, mapped or mirrored")
    if root == "none":
        return _View(None, order, shown)
    if root == "first":
        return _View(0, order, shown)
    try:
        place = named.index(named.root if root == "sensor" else root)
    except UserError as error:
        raise UserError(f"--root {root}: {error}, or first, sensor or none") from error
    return _View(place if order is None else int(order[place]), order, shown)


def _bring(stored: StoredSplit, chosen: np.ndarray, view: _View, identities: np.ndarray) -> Split:
    """The chosen windows (indices, repeats allowed) in float32; arithmetic in float64."""
    recording = None if stored.recording is None else stored.recording[chosen]
    times = None if stored.times is None else stored.times[chosen]
    labels = stored.labels[chosen]
    identity = np.where(labels < 0, labels, np.searchsorted(identities, labels))
    if stored.features is not None:
        features = _chosen_features(stored.features, chosen, stored.path)
        return Split(features, identity, recording, times)
    _, length, n_joints = stored.planes[0].shape
    windows = np.empty((len(chosen), length, n_joints, 3), dtype=np.float32)
    for low in range(0, len(chosen), _CHUNK):
        rows = chosen[low : low + _CHUNK]
        for axis, plane in enumerate(stored.planes):
            block = plane[rows]
            check_coordinates(block, f"{stored.path}, {'xyz'[axis]} coordinates")
            if view.root is not None:
                block = block - block[..., view.root, None]
            if view.order is not None:
                block = block[..., view.order]
            windows[low : low + len(rows), ..., axis] = block
    return Split(windows, identity, recording, times)


def _chosen_features(features: np.ndarray, chosen: np.ndarray, path: Path) -> np.ndarray:
    found = np.empty((len(chosen), *features.shape[1:]), dtype=np.float32)
    for low in range(0, len(chosen), _CHUNK):
        block = features[chosen[low : low + _CHUNK]]
        with np.errstate(over="ignore"):
            found[low : low + len(block)] = block
        require_finite(found[low : low + len(block)], path)
    return found
