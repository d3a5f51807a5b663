"""Features of a source model for stored windows: written and read here, or imported and checked.

`<split folder>/<kind>_<NAME>_<DS>_<f>.npy` holds (N, f, d) float32, pooled kinds (N, 1, d), in the
order of the split's windows. `<kind>_<NAME>.json` in the folder of dataset and length records which
model made them, from which windows, and the checksum of every file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from simmc import files
from simmc.data import arrays, store
from simmc.data.specs import DatasetSpec
from simmc.data.store import StoredSplit
from simmc.errors import UserError

FRAMES = "frames"  # the kind that SimMC-UF learns from
SCHEMA = 1
_FORM = {
    "schema": files.Within(SCHEMA, SCHEMA, whole=True),
    "made_by": str,
    "labels": str,
    "splits": {
        str: {
            "windows": int,
            "shape": [files.Within(1, 2**31, whole=True)],
            "sha256": str,
            "order": str,
        }
    },
}
_CHUNK_BYTES, _CHUNK = 1 << 24, 4096  # bytes hashed, and windows checked, at a time
FEWEST_PAIRS, MOST_PAIRS = 200, 4000
DEVIATIONS = 4.0  # by which the share of closer neighbours has to exceed one half


class SplitFeatures(TypedDict):
    """The features of one split in their manifest."""

    windows: int
    shape: list[int]  # (t, d)
    sha256: str  # of the rows
    order: str  # `order_of` the windows


@dataclass(frozen=True)
class FeatureFiles:
    """The files of the features of one name and kind."""

    root: Path  # folder laid out like the data root; usually the same
    spec: DatasetSpec
    length: int  # f
    name: str  # of the source model and export, such as "SM-SGE"
    kind: str = FRAMES  # or a pooled feature
    # how to make them, for error messages
    remedy: str = "export them again with python -m simmc export-features"

    @property
    def base(self) -> Path:
        """Folder of dataset and length."""
        return store.dataset_folder(self.root, self.spec, self.length)

    @property
    def manifest(self) -> Path:
        """The file that describes them."""
        return self.base / f"{self.kind}_{self.name}.json"

    def path(self, split: str) -> Path:
        """The file of one split."""
        folder = store.split_folder(self.base, self.spec, split)
        return folder / f"{self.kind}_{self.name}_{self.spec.name}_{self.length}.npy"

    def write_split(
        self, split: str, stored: StoredSplit, blocks: Iterable[np.ndarray]
    ) -> SplitFeatures:
        """Write the features of one split; returns its entry for the manifest.

        Args:
            split: its name.
            stored: its windows.
            blocks: float32 (n, t, d) arrays whose rows together are those of the windows.

        Raises:
            ValueError: shapes that do not fit the windows.
            UserError: values that are not finite.
        """
        count, shape, digest = 0, (0, 0), hashlib.sha256()
        with files.open_atomic(self.path(split)) as file:
            for block in blocks:
                with np.errstate(over="ignore"):
                    block = np.ascontiguousarray(block, dtype=np.float32)
                require_finite(block, self.path(split))
                if count == 0:
                    shape = block.shape[1:]
                    head = {"descr": "<f4", "fortran_order": False}
                    whole = {**head, "shape": (len(stored), *shape)}
                    np.lib.format.write_array_header_1_0(file, whole)
                if block.ndim != 3 or block.shape[1:] != shape:
                    raise ValueError(f"features of shape {block.shape} after (n, {shape})")
                file.write(block.data)
                digest.update(block.data)
                count += len(block)
            if count != len(stored):
                raise ValueError(f"{count} features for {len(stored)} windows")
        return {
            "windows": count,
            "shape": list(shape),
            "sha256": digest.hexdigest(),
            "order": order_of(stored),
        }

    def write_manifest(self, about: Mapping[str, Any], splits: Mapping[str, SplitFeatures]) -> None:
        """Write the manifest; last, so that it never describes files that do not exist."""
        content = {"schema": SCHEMA, "name": self.name, "kind": self.kind}
        content |= {"dataset": self.spec.name, "length": self.length}
        files.write_json(self.manifest, {**content, **about, "splits": dict(splits)})

    def read_manifest(self) -> dict[str, Any]:
        """The manifest."""
        if not self.manifest.exists():
            raise UserError(
                f"{self.manifest}: there are no {self.kind} of {self.name} for {self.spec.name}, "
                f"length {self.length}. {self.remedy[:1].upper()}{self.remedy[1:]}"
            )
        content: dict[str, Any] = files.read_json(self.manifest, _FORM, self.remedy)
        return content

    def read_split(self, split: str, stored: StoredSplit, about: Mapping[str, Any]) -> np.ndarray:
        """The features of a split's windows, (N, t, d) float32, mapped from disk.

        Args:
            split: its name.
            stored: its windows, which have to be those that the features were made from.
            about: the manifest.
        """
        path, entry, again = self.path(split), about["splits"].get(split), self.remedy
        if entry is None:
            raise UserError(f"{self.manifest}: does not list the split {split}; {again}")
        if entry["order"] != order_of(stored):
            raise UserError(
                f"{path}: was made from other windows than those in {stored.path}, or from the "
                f"same in another order; {again}"
            )
        features = arrays.read_floats(path, again)
        if list(features.shape) != [len(stored), *entry["shape"]] or features.ndim != 3:
            raise UserError(
                f"{path}: shape {features.shape}, expected {len(stored)} windows of "
                f"{entry['shape']}; {again}"
            )
        if content_of(features) != entry["sha256"]:
            raise UserError(
                f"{path}: is not the file that {self.manifest.name} describes: rows were changed, "
                f"lost or moved; {again}"
            )
        return features


def require_finite(features: np.ndarray, path: Path) -> None:
    """UserError if features cannot be float32."""
    if not np.isfinite(features).all():
        raise UserError(
            f"{path}: the features hold values that are not finite, or too large for float32: the "
            "source model's training has diverged; train it again with a smaller --lr"
        )


def content_of(features: np.ndarray) -> str:
    """Checksum of the rows in their order."""
    digest = hashlib.sha256()
    step = max(1, _CHUNK_BYTES // max(1, features[:1].nbytes))
    for low in range(0, len(features), step):
        digest.update(np.ascontiguousarray(features[low : low + step]).data)
    return digest.hexdigest()


def order_of(stored: StoredSplit) -> str:
    """Checksum of the windows and their order."""
    digest = hashlib.sha256(np.ascontiguousarray(stored.labels).data)
    for plane in stored.planes:
        digest.update(np.ascontiguousarray(plane).data)
    return digest.hexdigest()


def read_imported(folder: Path, names: FeatureFiles, split: str, stored: StoredSplit) -> np.ndarray:
    """Features (N, f, d) that were made elsewhere, from a folder laid out like the data root.

    A file of features does not say which window a row belongs to. Two checks do: the labels that
    come with them have to be those of the windows, and neighbouring windows of a recording have to
    be more alike than random windows of the same person.
    """
    spec, length = names.spec, names.length
    home = store.split_folder(store.dataset_folder(folder, spec, length), spec, split)
    path = home / names.path(split).name
    if not path.is_file():
        raise UserError(
            f"{path}: does not exist. Point --from to the folder that holds "
            f"{spec.folder}/{length} with the features, or name the files with --kind and --name"
        )
    features = arrays.read_floats(path, "export them again")
    each = length if names.kind == FRAMES else 1
    if features.ndim == 2 and len(features) == len(stored) * each:
        features = features.reshape(len(stored), each, -1)  # rows = frames, like coordinates
    if features.ndim != 3 or features.shape[:2] != (len(stored), each):
        raise UserError(
            f"{path}: shape {features.shape}, expected ({len(stored)}, {each}, features): "
            f"one row of frames for each window of {stored.path}; windows are missing or too many"
        )
    labels = store.read_labels(home, spec, length, split, len(stored))
    if not np.array_equal(labels, stored.labels):
        wrong = int(np.flatnonzero(labels != stored.labels)[0])
        raise UserError(
            f"{path}: window {wrong} belongs to person {labels[wrong]} there and to "
            f"{stored.labels[wrong]} in {stored.path}: the windows are others, or in another order"
        )
    for low in range(0, len(features), _CHUNK):
        with np.errstate(over="ignore"):
            require_finite(features[low : low + _CHUNK].astype(np.float32), path)
    require_order(features, stored, path)
    return features


def require_order(features: np.ndarray, stored: StoredSplit, path: Path) -> None:
    """UserError if neighbouring windows are no more alike than random ones of the same person."""
    share, pairs = closer_neighbours(features, stored)
    if pairs >= FEWEST_PAIRS and share < 0.5 + DEVIATIONS * 0.5 / pairs**0.5:
        raise UserError(
            f"{path}: only {100 * share:.0f} % of {pairs} neighbouring windows of a recording are "
            "more alike than random windows of the same person: the rows are not in the order of "
            f"the windows in {stored.path}. Export them again in that order"
        )


def closer_neighbours(features: np.ndarray, stored: StoredSplit) -> tuple[float, int]:
    """Share of windows nearer to the next window than to a random one of their person.

    Returns the share (equal distances count half) and the number of windows.
    """
    group = stored.labels if stored.recording is None else stored.recording
    first = np.flatnonzero((group[:-1] == group[1:]) & (stored.labels[:-1] == stored.labels[1:]))
    rng = np.random.default_rng(0)
    first = np.sort(rng.permutation(first)[:MOST_PAIRS])
    order = np.argsort(stored.labels, kind="stable")
    values, starts, counts = np.unique(stored.labels[order], return_index=True, return_counts=True)
    place = np.searchsorted(values, stored.labels[first])
    other = order[starts[place] + rng.integers(0, counts[place])]
    usable = (other != first) & (other != first + 1)
    first, other = first[usable], other[usable]
    if len(first) == 0:
        return 1.0, 0
    here, following, elsewhere = (
        features[rows].mean(1, dtype=np.float64) for rows in (first, first + 1, other)
    )
    near = ((here - following) ** 2).sum(1)
    far = ((here - elsewhere) ** 2).sum(1)
    return float(((near < far) + 0.5 * (near == far)).mean()), len(first)
