"""The manifest of a preprocessed set, and the folder swap that makes a set whole or absent.

The manifest holds the sha256 of every array of the set, so that its own checksum stands for the
values as well, and files that were damaged or exchanged are refused.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from simmc import files as atomic
from simmc import schema
from simmc.data import specs
from simmc.data.skeletons import SKELETONS, Skeleton, with_parts
from simmc.data.specs import DatasetSpec
from simmc.errors import UserError

NAME = "manifest.json"
SCHEMA = 1
_LEFTOVER_SECONDS = 3600
_AGAIN = "run Preprocess.py again, or write your own set again with write_dataset"
_FORM = {
    "schema": schema.Within(SCHEMA, SCHEMA, whole=True),
    "dataset?": str,
    "length?": int,
    "generated?": bool,
    "skeleton?": {"name": str, "joints?": [str], "root?": str, "bones?": [[str]]},
    "gallery_of?": {str: str},
    "counts?": {str: {"windows": int}},
    "files?": {str: str},
    "recordings?": [
        {
            "name": str,
            "identity?": (None, int),
            "split?": (None, str),
            "attributes?": {str: (float, str)},
        }
    ],
}


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Writes ``manifest.json``, with the checksum of every array that lies in the folder.

    It holds no times and no absolute paths: equal sets have equal ones.
    """
    arrays = sorted(folder.rglob("*.npy"))
    names = [path.relative_to(folder).as_posix() for path in arrays]
    files = dict(zip(names, checksums(arrays), strict=True))
    atomic.write_json(folder / NAME, {"schema": SCHEMA, **content, "files": files})


def read_manifest(folder: Path) -> tuple[dict[str, Any] | None, str | None]:
    """The manifest and the sha256 of its bytes; (None, None) for a public set without one."""
    path = folder / NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None, None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the file") from error
    return _parsed(data, str(path)), hashlib.sha256(data).hexdigest()


@lru_cache(maxsize=4)
def _parsed(data: bytes, where: str) -> dict[str, Any]:
    """The manifest; every split of a set asks for it."""
    content: dict[str, Any] = schema.parse_json(data, _FORM, where, _AGAIN)
    return {"recordings": [], "counts": {}, "files": {}, **content}


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


def has_checksums(manifest: Mapping[str, Any] | None) -> bool:
    """Whether the files of a set can be checked; not those of the public program or of old sets."""
    return bool(manifest and manifest["files"])


def check_files(
    base: Path, manifest: Mapping[str, Any], split: str, count: int, paths: Sequence[Path]
) -> None:
    """UserError where a split is not what the manifest describes.

    Args:
        base: folder of dataset and length, which holds the manifest.
        manifest: its content.
        split: name of the split.
        count: how many windows its files hold.
        paths: the files that are read.
    """
    expected = manifest["counts"].get(split, {}).get("windows", count)
    if expected != count:
        raise UserError(
            f"{base / NAME}: counts {expected} windows in {split}, but its files hold {count}: "
            f"windows were lost or added; {_AGAIN}"
        )
    if not has_checksums(manifest):
        return
    for path, found in zip(paths, checksums(paths), strict=True):
        if manifest["files"].get(path.relative_to(base).as_posix()) != found:
            raise UserError(
                f"{path}: is not the file that {NAME} describes: values were changed, moved or "
                f"exchanged since the set was written; {_AGAIN}"
            )


def describe_skeleton(skeleton: Skeleton, *, bones: bool = False) -> dict[str, Any]:
    """What the manifest says about the joint axis; of a user's own with its bones and parts."""
    found: dict[str, Any] = {
        "name": skeleton.name,
        "joints": list(skeleton.joints),
        "root": skeleton.root,
    }
    if bones and skeleton.edges:
        skeleton.edge_indices()  # all of them joints
        found["bones"] = [list(bone) for bone in skeleton.edges]
    if bones:
        for level, table in (("components", skeleton.components), ("limbs", skeleton.limbs)):
            found |= {level: [[part, list(names)] for part, names in table]} if table else {}
    return found


def read_skeleton(said: Mapping[str, Any]) -> Skeleton:
    """The skeleton that a manifest describes; KeyError, TypeError or ValueError where it is not.

    Its joints count, whatever its name. Where they are those of the table's skeleton of that name,
    or only the name stands, the table adds what is not said.
    """
    name = str(said["name"])
    known = SKELETONS.get(name)
    if known is not None and "joints" not in said:
        return known
    joints, root = tuple(map(str, said["joints"])), str(said["root"])
    if known is None or (known.joints, known.root) != (joints, root):
        known = Skeleton(name, joints, root)
    bones, parts = known.edges, {"components": known.components, "limbs": known.limbs}
    if "bones" in said:
        bones = tuple((str(one), str(other)) for one, other in said["bones"])
    for level in parts.keys() & said.keys():
        parts[level] = tuple((str(p), tuple(map(str, names))) for p, names in said[level])
    return with_parts(Skeleton(name, joints, root, bones, **parts))


def find_spec(data_root: Path, dataset: str, length: int) -> DatasetSpec:
    """A dataset of the table, or the user's own as its manifest describes it (docs/data.md)."""
    try:
        return specs.get(dataset)
    except UserError as unknown:
        if not dataset.strip(". ") or set(dataset) & set("/\\"):
            raise  # no folder below the data root
        path = data_root / dataset / str(length) / NAME
        content, _ = read_manifest(path.parent)
        if content is None:
            raise UserError(f"{unknown}, or your own with a {path}") from None
    try:
        gallery_of = {str(probe): str(split) for probe, split in content["gallery_of"].items()}
        skeleton = read_skeleton(content["skeleton"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path}: says no skeleton and gallery_of ({error!r}); "
            "write the set with simmc.data.store.write_dataset"
        ) from error
    if dotted := [split for split in gallery_of if "." in split]:
        raise UserError(
            f"{path}: the split {dotted[0]!r} has a '.', which stands between probe and gallery; "
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
        sampled_by_class=False,  # the released balancing belongs to the published sets
    )


def spec_of(data_root: Path, dataset: str, length: int, probe: str) -> DatasetSpec:
    """The dataset; for a pair of views the sets that are divided by view."""
    spec = find_spec(data_root, dataset, length)
    return specs.BY_VIEW.get(spec.name, spec) if probe.replace(".", "").isdecimal() else spec


@contextmanager
def staged_folder(target: Path, own: Callable[[str], bool] | None = None) -> Iterator[Path]:
    """An empty folder beside `target` that takes its place only when the block ends well.

    A kill in between leaves the previous `target`, and at worst a hidden folder that nothing loads;
    the next writer of the same set clears it away. Where `target` is a symbolic link, the folder
    that it leads to is replaced and the link stays.

    Args:
        target: the folder to make or replace.
        own: whether a file of that name is the writer's, to be replaced. All other files of the
            previous folder are kept. None: the whole folder is the writer's.
    """
    if target.is_symlink():
        target = Path(os.path.realpath(target))
    if target.exists() and not target.is_dir():
        raise UserError(f"{target}: is a file, where a folder is due; move it away")
    token = secrets.token_hex(4)
    stage = target.with_name(f".{target.name}.{token}.part")
    previous = target.with_name(f".{target.name}.{token}.old")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _tidy(target)
        stage.mkdir()
        yield stage
        if target.exists():
            if own is not None:
                _keep_others(target, stage, own)
            target.replace(previous)
        try:
            stage.replace(target)
        except OSError:
            if previous.exists():
                previous.replace(target)
            raise
    except OSError as error:
        raise atomic.cannot_write(target, error) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if target.exists():
            shutil.rmtree(previous, ignore_errors=True)


def _keep_others(folder: Path, stage: Path, own: Callable[[str], bool]) -> None:
    """Files of a folder that are not the writer's, such as features, into the stage as well."""
    for path in folder.rglob("*"):
        place = stage / path.relative_to(folder)
        if own(path.name) or place.exists() or (path.is_dir() and not path.is_symlink()):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):
            os.link(path, place, follow_symlinks=False)
            continue
        shutil.copy2(path, place, follow_symlinks=False)  # a disk without links


def _tidy(target: Path) -> None:
    """Brings back what a kill between the two renames left, and clears what killed writers left."""
    for old in target.parent.glob(f".{target.name}.*.old"):
        if not target.exists():
            old.replace(target)
    for part in target.parent.glob(f".{target.name}.*.part"):
        if time.time() - part.stat().st_mtime > _LEFTOVER_SECONDS:  # not another writer at work
            shutil.rmtree(part, ignore_errors=True)
