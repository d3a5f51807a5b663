"""The manifest of a preprocessed set: how it was made, and the sha256 of every array.

Its own checksum therefore stands for the values as well; changed files are refused.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from simmc.data import specs
from simmc.data.arrays import REWRITE
from simmc.data.conventions import Given
from simmc.data.skeletons import SKELETONS, Skeleton, with_parts
from simmc.data.specs import DatasetSpec
from simmc.errors import UserError
from simmc.files import Within, parse_json, write_json

NAME = "manifest.json"
SCHEMA = 1
BEGIN, END = "start", "end"  # attributes of a recording, in seconds


class RecordingEntry(TypedDict, total=False):
    """One recording of a set."""

    name: str
    identity: int | None  # None: a training recording of several persons
    role: str
    split: str | None
    attributes: dict[str, str]  # view, setting, ..., and start and end in seconds
    frames: int | None
    sha256: str | None  # of its source files
    frames_sha256: str  # of an imported recording: equal for copies under another name


class Manifest(TypedDict, total=False):
    """The content of ``manifest.json``; sets of other programs may lack any part of it."""

    schema: int
    dataset: str
    length: int
    protocol: str
    seed: int
    given_split: str  # sha256 of the file of --split, in place of the seed
    options: dict[str, str]  # the preprocess switches
    code_version: str
    generated: bool  # synthetic walkers
    skeleton: dict[str, Any]
    gallery_of: dict[str, str]
    zeros: str  # what (0, 0, 0) is in a custom set
    given: Given  # how the coordinates were given, before they became metres with y up
    frame_rate: float | None  # frames a second, if known
    persons: dict[str, int]  # name -> identity, of an imported set
    imported: dict[str, Any]  # how an imported set was made, and from which files
    seconds: float | None  # length of a window, if it was given in seconds
    counts: dict[str, dict[str, int]]  # by split
    left_out: dict[str, Any]
    copies: Sequence[Sequence[str]]  # names of recordings with the same frames
    files: dict[str, str]  # path below the folder -> sha256
    recordings: list[RecordingEntry]


_FORM = {
    "schema": Within(SCHEMA, SCHEMA, whole=True),
    "dataset?": str,
    "length?": int,
    "generated?": bool,
    "skeleton?": {"name": str, "joints?": [str], "root?": str, "bones?": [[str]]},
    "gallery_of?": {str: str},
    "persons?": {str: int},
    "imported?": {"description": {str: object}, "files": {str: str}},
    "given?": {
        "unit": str,
        "up": str,
        "dimensions": Within(2, 3, whole=True),
        "scale": float,
    },
    "frame_rate?": (None, Within(0, 10_000)),
    "seconds?": (None, float),
    "counts?": {str: {"windows": int}},
    "files?": {str: str},
    "recordings?": [
        {
            "name": str,
            "identity?": (None, int),
            "split?": (None, str),
            "attributes?": {str: (float, str)},
            "frames_sha256?": str,
        }
    ],
}


def write_manifest(folder: Path, content: Manifest) -> None:
    """Write ``manifest.json`` with the checksum of every array in the folder.

    It holds no times and no absolute paths, so equal sets have equal manifests.
    """
    arrays = sorted(folder.rglob("*.npy"))
    names = [path.relative_to(folder).as_posix() for path in arrays]
    files = dict(zip(names, checksums(arrays), strict=True))
    write_json(folder / NAME, {"schema": SCHEMA, **content, "files": files})


def read_manifest(folder: Path) -> tuple[Manifest | None, str | None]:
    """The manifest and the sha256 of its bytes; (None, None) for a public set without one."""
    path = folder / NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None, None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the file") from error
    return _parsed(data, str(path)), hashlib.sha256(data).hexdigest()


@lru_cache(maxsize=4)  # every split of a set asks for it
def _parsed(data: bytes, where: str) -> Manifest:
    found: Manifest = {"recordings": [], "counts": {}, "files": {}}
    content: Manifest = parse_json(data, _FORM, where, REWRITE)
    return {**found, **content}


def checksums(paths: Sequence[Path]) -> list[str]:
    """Hex sha256 of files, two at a time: KGBD has 230 MB of them."""

    def digest(path: Path) -> str:
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); check the file") from error

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(digest, paths))


def has_checksums(manifest: Manifest | None) -> bool:
    """Whether the files of a set can be checked; not those of the public program or of old sets."""
    return bool(manifest and manifest["files"])


def check_files(
    base: Path, manifest: Manifest, split: str, count: int, paths: Sequence[Path]
) -> None:
    """UserError if a split of `count` windows, read from `paths`, is not the manifest's."""
    expected = manifest["counts"].get(split, {}).get("windows", count)
    if expected != count:
        raise UserError(
            f"{base / NAME}: counts {expected} windows in {split}, but its files hold {count}: "
            f"windows were lost or added; {REWRITE}"
        )
    if not has_checksums(manifest):
        return
    for path, found in zip(paths, checksums(paths), strict=True):
        if manifest["files"].get(path.relative_to(base).as_posix()) != found:
            raise UserError(
                f"{path}: is not the file that {NAME} describes: values were changed, moved or "
                f"exchanged since the set was written; {REWRITE}"
            )


def time_attributes(begin: float, end: float) -> dict[str, str]:
    """The times of a recording for the manifest: as text that is read back to the last bit."""
    return {BEGIN: repr(float(begin)), END: repr(float(end))}


def is_span(begin: float, end: float) -> bool:
    """Whether two times can be the beginning and the end of a recording."""
    return math.isfinite(begin) and math.isfinite(end) and begin < end


def recording_times(recordings: Sequence[Mapping[str, Any]], manifest: Path) -> np.ndarray | None:
    """Begin and end of the manifest's recordings: (R, 2) float64 seconds, NaN where unknown.

    None if no recording has times; UserError if the times of a recording are not valid.
    """
    times = np.full((len(recordings), 2), np.nan)
    for place, recording in enumerate(recordings):
        attributes = recording.get("attributes", {})
        given = attributes.get(BEGIN), attributes.get(END)
        if given == (None, None):
            continue
        try:
            begin, end = (float(value) for value in given)
        except (TypeError, ValueError):
            begin = end = math.nan
        if not is_span(begin, end):
            raise UserError(
                f"{manifest}: recording {recording.get('name', place)!r} has the {BEGIN} "
                f"{str(given[0])[:30]} and the {END} {str(given[1])[:30]}; expected seconds, "
                f"{BEGIN} before {END}. Write the set again, or remove both."
            )
        times[place] = begin, end
    return None if np.isnan(times).all() else times


def describe_skeleton(skeleton: Skeleton, *, bones: bool = False) -> dict[str, Any]:
    """The skeleton for the manifest; of a custom set with its bones and parts."""
    found: dict[str, Any] = {
        "name": skeleton.name,
        "joints": list(skeleton.joints),
        "root": skeleton.root,
    }
    if bones and skeleton.edges:
        skeleton.edge_indices()  # UserError unless all are joints
        found["bones"] = [list(bone) for bone in skeleton.edges]
    if bones:
        for level, table in (("components", skeleton.components), ("limbs", skeleton.limbs)):
            found |= {level: [[part, list(names)] for part, names in table]} if table else {}
    return found


def read_skeleton(stored: Mapping[str, Any]) -> Skeleton:
    """The skeleton of a manifest; KeyError, TypeError or ValueError if it is incomplete.

    Its joints count, whatever its name. A built-in skeleton of that name fills in what is missing
    if its joints are the same, or if the manifest gives only the name.
    """
    name = str(stored["name"])
    known = SKELETONS.get(name)
    if known is not None and "joints" not in stored:
        return known
    joints, root = tuple(map(str, stored["joints"])), str(stored["root"])
    if known is None or (known.joints, known.root) != (joints, root):
        known = Skeleton(name, joints, root)
    bones, parts = known.edges, {"components": known.components, "limbs": known.limbs}
    if "bones" in stored:
        bones = tuple((str(one), str(other)) for one, other in stored["bones"])
    for level in parts.keys() & stored.keys():
        parts[level] = tuple((str(p), tuple(map(str, names))) for p, names in stored[level])
    return with_parts(Skeleton(name, joints, root, bones, **parts))


def find_spec(data_root: Path, dataset: str, length: int) -> DatasetSpec:
    """A built-in dataset, or a custom one as its manifest describes it (docs/own_data.md)."""
    try:
        return specs.get(dataset)
    except UserError as unknown:
        if not dataset.strip(". ") or set(dataset) & set("/\\"):
            raise  # not a folder below the data root
        path = data_root / dataset / str(length) / NAME
        content, _ = read_manifest(path.parent)
        if content is None:
            own = sorted(found.parent.parent.name for found in data_root.glob(f"*/{length}/{NAME}"))
            there = f" (in {data_root}: {', '.join(own)})" if own else ""
            raise UserError(f"{unknown}, or your own with a {path}{there}") from None
    try:
        gallery_of = {str(probe): str(split) for probe, split in content["gallery_of"].items()}
        skeleton = read_skeleton(content["skeleton"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path}: lacks skeleton or gallery_of ({error!r}); "
            "write the set with simmc.data.store.write_dataset"
        ) from error
    if dotted := [split for split in gallery_of if "." in split]:
        raise UserError(
            f"{path}: the split {dotted[0]!r} has a '.', which separates probe and gallery; "
            "write the set again with other names"
        )
    return DatasetSpec(
        name=dataset,
        skeleton=skeleton,
        test_splits=tuple({**gallery_of, **{s: s for s in gallery_of.values()}}),
        gallery_of=gallery_of,
        default_length=length,
        lengths=(length,),
        train_windows="plain",
        sampled_by_class=False,  # the released balancing is for the published sets
    )


def spec_of(data_root: Path, dataset: str, length: int, probe: str) -> DatasetSpec:
    """The dataset; for a pair of views the set that is divided by view."""
    spec = find_spec(data_root, dataset, length)
    return specs.BY_VIEW.get(spec.name, spec) if probe.replace(".", "").isdecimal() else spec
