"""Features that a source model gave for stored windows, beside the windows they come from.

`<split folder>/<kind>_<NAME>_<DS>_<f>.npy` holds (N, f, d) float32, pooled kinds (N, 1, d), row by
row as the windows of the split lie in their files; `<kind>_<NAME>.json` in the folder of dataset
and length says who made them, from which windows, and the checksum of every file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simmc import files, schema
from simmc.data import arrays, store
from simmc.data.specs import DatasetSpec
from simmc.data.store import StoredSplit
from simmc.errors import UserError

FRAMES = "frames"  # the kind that SimMC-UF learns from
SCHEMA = 1
_FORM = {
    "schema": schema.Within(SCHEMA, SCHEMA, whole=True),
    "made_by": str,
    "labels": str,
    "splits": {
        str: {
            "windows": int,
            "shape": [schema.Within(1, 2**31, whole=True)],
            "sha256": str,
            "order": str,
        }
    },
}
_CHUNK = 1 << 24  # bytes hashed at a time


@dataclass(frozen=True)
class FeatureFiles:
    """Where the features of one name and kind lie.

    Attributes:
        root: folder that mirrors that of the preprocessed sets; mostly the same.
        spec: the dataset.
        length: f.
        name: of the source model, with whatever tells two exports of it apart ("SM-SGE").
        kind: frames, or a pooled feature.
    """

    root: Path
    spec: DatasetSpec
    length: int
    name: str
    kind: str = FRAMES

    @property
    def base(self) -> Path:
        """Folder of dataset and length."""
        return store.dataset_folder(self.root, self.spec, self.length)

    @property
    def manifest(self) -> Path:
        """What is known of the files."""
        return self.base / f"{self.kind}_{self.name}.json"

    def path(self, split: str) -> Path:
        """The file of one split."""
        folder = store.split_folder(self.base, self.spec, split)
        return folder / f"{self.kind}_{self.name}_{self.spec.name}_{self.length}.npy"

    def write_split(
        self, split: str, stored: StoredSplit, blocks: Iterable[np.ndarray]
    ) -> dict[str, Any]:
        """Write the features of one split; what the manifest says of it.

        Args:
            split: its name.
            stored: its windows.
            blocks: float32 (n, t, d) arrays whose rows together are those of the windows.

        Raises:
            ValueError: other shapes than the windows ask for.
            UserError: values that are not finite.
        """
        count, shape, digest = 0, (0, 0), hashlib.sha256()
        with files.open_atomic(self.path(split), "wb") as file:
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

    def write_manifest(self, about: Mapping[str, Any], splits: Mapping[str, Any]) -> None:
        """Write the manifest, last, so that it never speaks of files that are not there."""
        content = {"schema": SCHEMA, "name": self.name, "kind": self.kind}
        content |= {"dataset": self.spec.name, "length": self.length}
        files.write_json(self.manifest, {**content, **about, "splits": dict(splits)})

    def read_manifest(self, remedy: str = "") -> dict[str, Any]:
        """What is known of the files.

        Args:
            remedy: the command that makes them, for the message where there are none.
        """
        again = remedy or "export them again with simmc export-features"
        if not self.manifest.exists():
            raise UserError(
                f"{self.manifest}: there are no {self.kind} of {self.name} for {self.spec.name}, "
                f"length {self.length}. {again[:1].upper()}{again[1:]}"
            )
        content: dict[str, Any] = schema.read_json(self.manifest, _FORM, again)
        return content

    def read_split(
        self, split: str, stored: StoredSplit, about: Mapping[str, Any], remedy: str = ""
    ) -> np.ndarray:
        """The features of a split's windows, (N, t, d) float32, mapped from disk.

        Args:
            split: its name.
            stored: its windows, which have to be those that the features were made from.
            about: the manifest.
            remedy: as in `read_manifest`.

        Raises:
            UserError: a missing, damaged or foreign file; windows that have changed since.
        """
        again = remedy or "export them again with simmc export-features"
        path, said = self.path(split), about["splits"].get(split)
        if said is None:
            raise UserError(f"{self.manifest}: says nothing of the split {split}; {again}")
        if said["order"] != order_of(stored):
            raise UserError(
                f"{path}: was made from other windows than those in {stored.path}, or from the "
                f"same in another order; {again}"
            )
        features = arrays.read_floats(path)
        if list(features.shape) != [len(stored), *said["shape"]] or features.ndim != 3:
            raise UserError(
                f"{path}: {features.shape}, where {len(stored)} windows of {said['shape']} "
                f"are due; {again}"
            )
        if content_of(features) != said["sha256"]:
            raise UserError(
                f"{path}: is not the file that {self.manifest.name} speaks of: rows were changed, "
                f"lost or moved; {again}"
            )
        return features


def require_finite(features: np.ndarray, path: Path) -> None:
    """UserError where features cannot be float32: a diverged source model, or a foreign file."""
    if not np.isfinite(features).all():
        raise UserError(
            f"{path}: the features hold values that are not finite, or too large for float32: the "
            "source model's training has diverged; train it again with a smaller --lr"
        )


def content_of(features: np.ndarray) -> str:
    """Checksum of the rows in their order."""
    digest = hashlib.sha256()
    step = max(1, _CHUNK // max(1, features[:1].nbytes))
    for low in range(0, len(features), step):
        digest.update(np.ascontiguousarray(features[low : low + step]).data)
    return digest.hexdigest()


def order_of(stored: StoredSplit) -> str:
    """Tells other windows, or the same in another order, from these."""
    digest = hashlib.sha256(np.ascontiguousarray(stored.labels).data)
    for plane in stored.planes:
        digest.update(np.ascontiguousarray(plane).data)
    return digest.hexdigest()
