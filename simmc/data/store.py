"""The public ``.npy`` layout on disk, with a manifest beside it (docs/data.md 5.1).

``<data_root>/<folder>/<f>/`` holds a folder of training windows, one of test splits, and
``manifest.json``. Coordinates are float64 (N * f, J), rows = frames, windows one after another.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from simmc import __version__, files
from simmc.data import arrays, custom, specs
from simmc.data.conventions import check_given, mirrored_remarks, remarks
from simmc.data.manifest import (
    Manifest,
    check_files,
    describe_skeleton,
    find_spec,
    read_manifest,
    write_manifest,
)
from simmc.data.recordings import fill_missing
from simmc.data.skeletons import Skeleton, with_parts
from simmc.data.specs import DatasetSpec
from simmc.errors import UserError

_WRITTEN = re.compile(r"manifest\.json|((t_)?source_[xyz]|ids|frame_id|recording)_.*\.npy")
_MOST_RECORDINGS = 2**31  # if no manifest lists them


@dataclass(frozen=True, eq=False)
class StoredSplit:
    """One split as stored; coordinates stay on disk until they are used."""

    planes: tuple[np.ndarray, np.ndarray, np.ndarray]  # x, y, z: (N, f, J) float64, metres
    labels: np.ndarray  # (N,) int64, identity labels as in the files
    recording: np.ndarray | None  # (N,) int64, index into the manifest's list of recordings
    path: Path  # its folder
    features: np.ndarray | None = None  # (N, f, d) floats of a source model, instead of windows
    times: np.ndarray | None = None  # (N, 2) begin and end of its recording, s, NaN if unknown

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def windows(self) -> np.ndarray:
        """All windows in memory, (N, f, J, 3) float64."""
        return np.stack(self.planes, axis=-1)

    def take(self, which: np.ndarray) -> StoredSplit:
        """The windows that an index or mask (N,) selects, in memory."""
        x, y, z = (plane[which] for plane in self.planes)
        extra = (self.features, self.times)
        features, times = (None if values is None else values[which] for values in extra)
        recording = None if self.recording is None else self.recording[which]
        return StoredSplit((x, y, z), self.labels[which], recording, self.path, features, times)


def joined(parts: Sequence[StoredSplit]) -> StoredSplit:
    """Splits one after another, in memory; what is unknown in one is unknown in the whole."""

    def together(values: Sequence[np.ndarray | None]) -> np.ndarray | None:
        known = [value for value in values if value is not None]
        return np.concatenate(known) if len(known) == len(parts) else None

    x, y, z = (np.concatenate(planes) for planes in zip(*(p.planes for p in parts), strict=True))
    return StoredSplit(
        (x, y, z),
        np.concatenate([part.labels for part in parts]),
        together([part.recording for part in parts]),
        parts[0].path.parent,
        together([part.features for part in parts]),
        together([part.times for part in parts]),
    )


def dataset_folder(data_root: Path, spec: DatasetSpec, length: int) -> Path:
    """Folder of the windows of one dataset and length."""
    return data_root / spec.folder / str(length)


def split_folder(base: Path, spec: DatasetSpec, split: str) -> Path:
    """Folder of a split below the folder of dataset and length."""
    if specs.is_training(split):
        return base / spec.train_folder / split.partition("/")[2]
    return base / spec.test_folder / split


def file_path(folder: Path, spec: DatasetSpec, length: int, split: str, what: str) -> Path:
    """A file of a split; `what` is x, y, z, ids, frame_id or recording."""
    if what in ("x", "y", "z"):
        what = f"source_{what}" if specs.is_training(split) else f"t_source_{what}"
    return folder / f"{what}_{spec.name}_{length}.npy"


def write_split(
    base: Path,
    spec: DatasetSpec,
    length: int,
    split: str,
    planes: np.ndarray | Iterable[np.ndarray],
    labels: np.ndarray,
    recording: np.ndarray | None,
) -> None:
    """Write one split below `base`, the folder of dataset and length.

    `planes` are (3, N * f, J) float64 coordinates, rows = frames, or blocks (3, n * f, J) of them;
    `labels` (N,) int64 identities; `recording` (N,) int64 indices of the windows' recordings in the
    manifest, if known.
    """
    folder = split_folder(base, spec, split)
    target = partial(file_path, folder, spec, length, split)
    blocks = [planes] if isinstance(planes, np.ndarray) else planes
    shape = (len(labels) * length, spec.n_joints)
    arrays.save_blocks([target(axis) for axis in "xyz"], blocks, shape)
    arrays.save(target("frame_id"), labels.astype(np.int64))
    if recording is not None:
        arrays.save(target("recording"), recording.astype(np.int64))
    values, members = np.unique(labels, return_inverse=True)
    order = np.argsort(members, kind="stable")
    ends = np.cumsum(np.bincount(members, minlength=len(values)))[:-1]
    ids = {int(v): part.tolist() for v, part in zip(values, np.split(order, ends), strict=True)}
    with files.open_atomic(target("ids")) as file:
        # the only pickle that simmc writes: the public programs read no other form of this file
        np.lib.format.write_array(file, np.array(ids, dtype=object), allow_pickle=True)


def read_split(
    data_root: str | Path, spec: DatasetSpec | str, length: int, split: str
) -> StoredSplit:
    """One split, coordinates mapped from disk; UserError with the file if anything is wrong."""
    data_root = Path(data_root)
    spec = find_spec(data_root, spec, length) if isinstance(spec, str) else spec
    base = dataset_folder(data_root, spec, length)
    folder = split_folder(base, spec, split)
    target = partial(file_path, folder, spec, length, split)
    try:
        exists = folder.is_dir()
    except OSError as error:  # such as a name that is too long for the disk
        raise UserError(f"{folder}: cannot be read ({error.strerror}); {arrays.AGAIN}") from error
    if not exists:
        raise _no_folder(folder, spec, length)
    x, y, z = (arrays.read_plane(target(axis), length, spec.n_joints) for axis in "xyz")
    if len(x) == 0:
        raise UserError(f"{target('x')}: holds no window; {arrays.AGAIN}")
    for axis, plane in zip("yz", (y, z), strict=True):
        if len(plane) != len(x):
            raise UserError(
                f"{target(axis)}: {len(plane)} windows, but x has {len(x)}; {arrays.AGAIN}"
            )
    labels = read_labels(folder, spec, length, split, len(x))
    used = [target(what) for what in ("x", "y", "z", label_file(folder, spec, length, split))]
    manifest, indices = read_manifest(base)[0], None
    recording = target("recording")
    listed = manifest is not None and recording.relative_to(base).as_posix() in manifest["files"]
    if recording.exists() or listed:
        known = None if manifest is None else len(manifest["recordings"])
        indices = read_recordings(recording, len(x), known)
        used.append(recording)
    if manifest is not None:
        check_files(base, manifest, split, len(x), used)
    return StoredSplit((x, y, z), labels, indices, folder)


def _no_folder(folder: Path, spec: DatasetSpec, length: int) -> UserError:
    if length not in spec.lengths:
        return UserError(
            f"{folder}: does not exist, and {spec.name} is not cut into windows of --length "
            f"{length}; choose one of {', '.join(map(str, spec.lengths))}"
        )
    if not specs.known(spec.name):
        return UserError(f"{folder}: does not exist; write the set again with write_dataset")
    cve = " --protocol CVE" if spec.by_view else ""
    return UserError(
        f"{folder}: does not exist; run `python Preprocess.py {length} --dataset {spec.name}{cve}` "
        "or point --data_root to the folder of the windows"
    )


def read_recordings(path: Path, count: int, known: int | None) -> np.ndarray:
    """Index of every window's recording, (N,) int64, into a list of `known` (None: unknown)."""
    places = arrays.read_integers(path, count)
    most = _MOST_RECORDINGS if known is None else known
    wrong = places[(places < 0) | (places >= most)]
    if len(wrong):
        raise UserError(
            f"{path}: refers to recording {wrong[0]}, but there are at most {most:,}, counted from "
            f"0; {arrays.AGAIN}"
        )
    return places


def label_file(folder: Path, spec: DatasetSpec, length: int, split: str) -> str:
    """Which of its two files gives the labels of a split."""
    exists = file_path(folder, spec, length, split, "frame_id").exists()
    return "frame_id" if exists else "ids"


def read_labels(folder: Path, spec: DatasetSpec, length: int, split: str, count: int) -> np.ndarray:
    """The identity label of every window of a split, (N,) int64, from either of its two files."""
    what = label_file(folder, spec, length, split)
    ids = file_path(folder, spec, length, split, what)
    if what == "frame_id":
        return arrays.read_integers(ids, count)
    windows_of = read_ids(ids)
    places = [place for windows in windows_of.values() for place in windows]
    if len(places) != count or set(places) != set(range(count)):
        raise UserError(
            f"{ids}: lists {len(places)} windows, {len(set(places))} different ones, expected each "
            f"of the {count} windows once; {arrays.AGAIN}"
        )
    labels = np.empty(count, dtype=np.int64)
    for label, windows in windows_of.items():
        labels[windows] = label
    return labels


def read_ids(path: Path) -> dict[int, list[int]]:
    """The public dict {label: window indices}; UserError for any other content."""
    if not path.exists():
        raise UserError(f"{path}: the file is missing; {arrays.AGAIN}")
    content = arrays.read_object_array(path)
    if not isinstance(content, dict) or not all(  # its keys are integers of 64 bits
        isinstance(places, list) and all(type(p) is int for p in places)
        for places in content.values()
    ):
        raise UserError(f"{path}: not a dict of window indices by identity; {arrays.AGAIN}")
    return content


def is_written(name: str) -> bool:
    """Whether a file of that name belongs to this layout (files of features do not)."""
    return _WRITTEN.fullmatch(name) is not None


def write_dataset(
    data_root: str | Path,
    name: str,
    splits: Mapping[str, tuple[np.ndarray, np.ndarray]],
    skeleton: Skeleton,
    gallery_of: Mapping[str, str] | None = None,
    *,
    recordings: Mapping[str, np.ndarray] | None = None,
    times: Mapping[int, tuple[float, float]] | None = None,
    zeros: Literal["missing", "position"] = "missing",
    unit: Literal["m", "cm", "mm", "px"] = "m",
    up: Literal["y", "-y", "z", "-z", "x", "-x"] = "y",
    frame_rate: float | None = None,
) -> Path:
    """Write your own windows in the public layout, ready for ``--dataset NAME``.

    Args:
        data_root: folder of all datasets.
        name: of the dataset: letters, digits, "_", "-" and spaces; not that of a built-in one.
        splits: split -> (windows (N, f, J, 3), integer identity labels (N,)). One split is called
            "train"; its labels may be all 0 if identities are unknown. A joint that was not seen
            is NaN or masked; it is filled by the last observation of its window. Plane poses are
            (N, f, J, 2): x and y; z is then 0.
        skeleton: joint names in the order of the J axis, and bones;
            `Skeleton(name, joints, root, bones)` is enough. Parts that it does not name are found
            by the usual names of joints (docs/data.md 7).
        gallery_of: probe split -> gallery split; by default {"probe": "gallery"}.
        recordings: split -> (N,) integers: the recording of each window. A number is one recording
            in the whole set, and all its windows are in one split. Splits may be left out. A
            recording of probe or gallery shows one identity.
        times: number of a recording -> (start, end) in seconds, on one clock, the end excluded.
            Recordings may be left out.
        zeros: what a joint at exactly (0, 0, 0) is: "missing" (not seen, as sensors and exporters
            write it) or "position" (as in coordinates relative to a joint).
        unit: of the coordinates; they are stored in metres. "px" stands for pixels and for units
            that are not known: one factor gives the bodies a median height of 1.7 m.
        up: the axis that points up, "-y" in images; coordinates are stored with y up, rotated.
        frame_rate: frames a second, if known.

    Returns:
        The folder of the set. A warning says how many joints at (0, 0, 0) were taken as not seen,
        and whether the bodies do not look like metres with y up; the manifest holds the numbers.
    """
    gallery_of = gallery_of or {"probe": "gallery"}
    check_given(name, unit, up, frame_rate)
    sets = custom.checked(name, splits, skeleton, gallery_of)
    unseen = custom.drop_unseen(name, sets, skeleton, zeros)
    given = custom.to_metres(name, sets, unit, up)
    places, listed = custom.list_recordings(name, sets, recordings or {}, times or {})
    tested = tuple(set(splits) - {specs.TRAIN})
    spec = DatasetSpec(name, with_parts(skeleton), tested, gallery_of)
    counts = {split: {"windows": len(y), **unseen[split]} for split, (_, y) in sets.items()}
    content: Manifest = {"zeros": zeros, "counts": counts, "given": given}
    content["frame_rate"] = None if frame_rate is None else float(frame_rate)
    if listed:
        content["recordings"] = listed
    target = _write_custom(Path(data_root), spec, sets, places, content)
    if zeros == "missing" and (remark := custom.zeros_remark(name, sets, unseen)):
        warnings.warn(remark, stacklevel=2)
    seen = {split: windows for split, (windows, _) in sets.items()}
    doubts = remarks(name, seen[specs.TRAIN], skeleton, given)
    for remark in doubts.values() or mirrored_remarks(name, seen, skeleton):  # which needs y up
        warnings.warn(remark, stacklevel=2)
    return target


def _write_custom(
    data_root: Path,
    spec: DatasetSpec,
    sets: custom.Sets,
    places: Mapping[str, np.ndarray],
    content: Manifest,
) -> Path:
    """The files of a custom set; its folder."""
    length = next(iter(sets.values()))[0].shape[1]
    target = dataset_folder(data_root, spec, length)
    custom.check_folder(target, spec.name)
    with files.staged_folder(target, is_written) as stage:
        for split, (windows, labels) in sets.items():
            planes = np.moveaxis(windows, -1, 0)
            seen = np.logical_not(np.isnan(planes).any(0))
            planes = fill_missing(planes, np.asarray(seen)).reshape(3, -1, spec.n_joints)
            write_split(stage, spec, length, split, planes, labels, places.get(split))
        about: Manifest = {
            "dataset": spec.name,
            "length": length,
            "code_version": __version__,
            "skeleton": describe_skeleton(spec.skeleton, bones=True),
            "gallery_of": dict(spec.gallery_of),
        }
        write_manifest(stage, {**about, **content})
    return target
