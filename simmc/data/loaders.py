"""An experiment in memory: training, probe and gallery windows as the methods use them.

The order of steps is the released loader's (docs/data.md 5.3): reshape, subtract a joint of the
same frame, remap joints, balance classes (5.4), one global permutation, full batches only (6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from simmc.data import roles, store
from simmc.data.copies import count_copies
from simmc.data.features import require_finite
from simmc.data.manifest import NAME, has_checksums, spec_of
from simmc.data.plausible import check_coordinates
from simmc.data.sampling import class_sample
from simmc.data.skeletons import KGBD_FILE, KINECT_V1, Skeleton, permutation
from simmc.data.specs import DatasetSpec, reads_by_other_names, skeleton_of
from simmc.data.store import StoredSplit
from simmc.data.stress import Sets, stressed
from simmc.data.times import recording_times
from simmc.errors import UserError

_CHUNK = 4096  # windows worked on at a time, so that float64 never exists for a whole set


@dataclass(frozen=True, eq=False)
class Split:
    """Windows of one role."""

    # (N, f, J, 3) float32, metres, relative to the root joint of each frame; or (N, f, d) features
    windows: np.ndarray
    # (N,) int64, place in the sorted list of identities; or, below 0, the label of a window that
    # shows nobody in the list (junk, a distractor)
    identity: np.ndarray
    # (N,) int64, place in `Experiment.recordings`; pieces of a stressed set have numbers of theirs
    recording: np.ndarray | None
    # (N, 2) float64 seconds, begin and end of its recording, NaN where unknown; None: all unknown
    times: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.identity)


@dataclass(frozen=True, eq=False)
class Experiment:
    """What a method needs of a dataset, and all it may see."""

    train: Split
    probe: Split
    gallery: Split
    identities: list[int]  # labels of the training identities, sorted; none is below 0
    test_identities: list[int]  # labels behind probe.identity and gallery.identity
    same_windows: bool  # probe and gallery are the same list: each probe would find itself
    skeleton: Skeleton  # the names by which methods read the joint axis
    recordings: list[dict[str, Any]]  # the manifest's recordings; empty where there is no manifest
    checksum: str | None  # sha256 of the manifest
    generated: bool = False  # invented walkers, says the manifest
    checked: bool = False  # the files are those that the manifest holds the checksums of
    # probe windows of which there is an exact copy, by the set that holds it: gallery, train
    copies: Mapping[str, int] = field(default_factory=dict)
    # windows of the last incomplete batches that were left out, by role (--part_batches drop)
    dropped: dict[str, int] = field(default_factory=dict)

    def require_labels(self, what: str, remedy: str = "use SimMC.py, which needs none") -> None:
        """UserError where identities are learned and training windows have labels below 0."""
        junk = int((self.train.identity < 0).sum())
        if junk:
            raise UserError(
                f"{what}: {junk} of {len(self.train)} training windows have a label below 0, "
                "which is no identity that could be learned. Leave these windows out of the set, "
                f"or {remedy}."
            )


@dataclass(frozen=True, eq=False)
class _View:
    """How the joint axis is treated."""

    root: int | None  # file index of the joint to subtract
    order: np.ndarray | None  # (J,) file indices in the new order
    skeleton: Skeleton


def load_experiment(
    data_root: Path,
    dataset: str,
    length: int,
    probe: str,
    *,
    kgbd_order: str = "raw",
    root: str = "first",
    class_sampling: str = "on",
    part_batches: str = "drop",
    double_load: str = "on",
    batch_size: int = 256,
    rng: np.random.Generator,
    shuffle: bool = True,
    cve_diagonal: str = "self",
    features: roles.Features | None = None,
    with_gallery: bool = False,
    stress: str = "",
) -> Experiment:
    """Loads one experiment.

    Args:
        data_root: folder of the preprocessed sets.
        dataset: name in the table, or of a set of the user's own.
        length: frames of a window, f.
        probe: probe split ("A", "Walking", "probe", "nm.nm"); for KS20 "a.b" in degrees loads the
            cross-view sets: probe view a, gallery view b, training on the views that are neither.
        kgbd_order: raw (file order), mapped (Kinect order) or mirrored (the same, sides swapped).
        root: joint subtracted from each frame: "first" of the file, "sensor" (the skeleton's
            root), "none", or a joint by name.
        class_sampling: on (all datasets but KGBD, as released), all (KGBD too, as the graph
            models do) or off.
        part_batches: drop the last incomplete batch of every set, or keep it.
        double_load: draw sampling and order twice and use the second draw (quirk Q11).
        batch_size: windows of a batch, for class sampling and part batches.
        rng: generator of sampling and order.
        shuffle: permute the training windows once.
        cve_diagonal: for "a.a": "self" (the same list on both sides) or "settings" (gc1 against
            gc2 and gc3).
        features: gives what stands in place of the windows: a source model's features.
        with_gallery: train on the gallery's windows as well, person by person (SGELA's division of
            KGBD and KS20 for classification).
        stress: difficulties as `simmc.data.stress` names them; none where empty.
    """
    spec = spec_of(data_root, dataset, length, probe)
    probe = roles.known_probe(spec, probe)
    base = store.dataset_folder(data_root, spec, length)
    manifest, checksum = store.read_manifest(base)
    recordings = manifest["recordings"] if manifest else []
    times = recording_times(recordings, base / NAME)
    train, probe_set, gallery_set = roles.read_sets(data_root, spec, length, probe, features, times)
    train, probe_set, gallery_set = stressed(Sets(train, probe_set, gallery_set), stress, rng)
    same = probe_set is gallery_set
    if spec.by_view and same and cve_diagonal == "settings":
        probe_set, gallery_set = roles.by_setting(probe_set, recordings)
        same = False
    if with_gallery:
        train = roles.with_gallery(train, gallery_set, same)
    view = _joint_view(spec, kgbd_order, root)
    sampled = class_sampling == "all" or (class_sampling == "on" and spec.sampled_by_class)
    for _ in range(2 if double_load == "on" else 1):
        chosen = np.arange(len(train))
        if sampled:
            chosen = class_sample(train.labels, batch_size, rng)
        if shuffle:
            chosen = chosen[rng.permutation(len(chosen))]

    identities = _identities(train.labels)
    test_identities = np.union1d(_identities(probe_set.labels), _identities(gallery_set.labels))
    if np.isin(test_identities, identities).all():
        test_identities = identities

    def batches(count: int, name: str, folder: Path) -> int:
        if part_batches != "drop":
            return count
        whole = _whole_batches(count, batch_size, f"{name} set {folder}")
        dropped[name] = count - whole
        return whole

    dropped: dict[str, int] = {}
    chosen = chosen[: batches(len(chosen), "train", train.path)]
    probes = np.arange(batches(len(probe_set), "probe", probe_set.path))
    gallery = np.arange(batches(len(gallery_set), "gallery", gallery_set.path))
    others = {"train": (train, np.unique(chosen)), "gallery": (gallery_set, gallery)}
    if same:
        del others["gallery"]
    probe_split = _bring(probe_set, probes, view, test_identities)
    return Experiment(
        train=_bring(train, chosen, view, identities),
        probe=probe_split,
        gallery=probe_split if same else _bring(gallery_set, gallery, view, test_identities),
        identities=identities.tolist(),
        test_identities=test_identities.tolist(),
        same_windows=same,
        skeleton=view.skeleton,
        recordings=recordings,
        checksum=checksum,
        generated=bool(manifest and manifest.get("generated")),
        checked=has_checksums(manifest),
        copies=count_copies(probe_set, probes, others),
        dropped=dropped,
    )


def load_stored(
    data_root: Path, spec: DatasetSpec, length: int, split: str, *, kgbd_order: str, root: str
) -> tuple[Split, StoredSplit]:
    """All windows of one split in the order of its files, and the split as it is stored.

    The arguments are those of `load_experiment`.
    """
    stored = store.read_split(data_root, spec, length, split)
    view = _joint_view(spec, kgbd_order, root)
    return _bring(stored, np.arange(len(stored)), view, _identities(stored.labels)), stored


def labels_of(identity: np.ndarray, identities: Sequence[int]) -> np.ndarray:
    """(N,) int64 labels as in the files, of the identities of a split's windows."""
    labels = identity.copy()
    known = identity >= 0
    labels[known] = np.array(identities, np.int64)[identity[known]]
    return labels


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


def _whole_batches(count: int, batch_size: int, what: str) -> int:
    whole = count - count % batch_size
    if whole == 0:
        raise UserError(
            f"the {what} has {count} windows, fewer than one batch of --batch_size {batch_size}; "
            "use --part_batches keep or a smaller --batch_size"
        )
    return whole


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
