"""`simmc datasets`: what is below a data root, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from simmc.cli import aligned
from simmc.data import specs, store
from simmc.data.manifest import NAME, find_spec, read_manifest
from simmc.data.skeletons import SKELETONS
from simmc.errors import UserError, numbered
from simmc.settings import Settings, option, resolve
from simmc.settings.options import MAIN

HEAD = ("dataset", "f", "persons", "recordings", "windows", "sensor", "problems")


@dataclass(frozen=True, kw_only=True)
class DatasetsSettings(Settings):
    """Where to look."""

    GROUP: ClassVar[str] = MAIN

    COMMAND: ClassVar[str] = "datasets"
    SUMMARY: ClassVar[str] = (
        "List the datasets below --data_root: persons, recordings, windows, sensor, problems."
    )

    data_root: str = option("Datasets", "Folder of the datasets.")


def main(argv: list[str]) -> int:
    """Print a table; 0 also where a dataset has a problem."""
    root = Path(resolve(DatasetsSettings, argv).settings.data_root)
    if not root.is_dir():
        raise UserError(f"--data_root {root}: is not a folder")
    rows = [row(folder) for folder in folders(root)]
    if not rows:
        print(f"{root}: no dataset; make one with python -m simmc import, or with Preprocess.py")
        return 0
    print("\n".join(aligned([HEAD, *rows], left=(0, 5, 6))))
    return 0


def folders(root: Path) -> Iterator[Path]:
    """The folders of windows below a data root, ``<dataset>/<f>``; none where there is no root."""
    try:
        for dataset in sorted(root.iterdir() if root.is_dir() else ()):
            if dataset.is_dir() and not dataset.name.startswith("."):
                lengths = [p for p in dataset.iterdir() if p.name.isdecimal() and p.is_dir()]
                yield from sorted(lengths, key=lambda path: int(path.name))
    except PermissionError as error:
        raise UserError(
            f"{error.filename}: cannot be read ({error.strerror}); check its permissions"
        ) from error


def row(folder: Path) -> tuple[str, ...]:
    """One line of the table: counts of what can be read, and the first problem."""
    name, length = folder.parent.name, int(folder.name)
    persons, recordings, windows, sensor, problem = "?", "?", "?", "?", ""
    try:
        content = read_manifest(folder)[0]
        spec = specs.in_folder(name) or find_spec(folder.parent.parent, name, length)
        skeleton = spec.skeleton
        named = skeleton.name in SKELETONS
        sensor = skeleton.name if named else numbered("{} [joint|joints]", skeleton.n_joints)
        splits = [specs.TRAIN, *spec.test_splits]
        if spec.by_view:
            splits = [*map(specs.train_view, spec.test_splits), *spec.test_splits]
        labels: set[int] = set()
        total = 0
        for split in splits:
            found = store.read_split(folder.parent.parent, spec, length, split)
            labels |= set(found.labels[found.labels >= 0].tolist())
            total += len(found)
        persons, windows = f"{len(labels):,}" if labels else "unknown", f"{total:,}"
        if content is None:
            problem = f"no {NAME}: recordings and checksums are unknown"
        else:
            recordings = f"{len(content['recordings']):,}" if content["recordings"] else "unknown"
            left = content.get("imported", {}).get("left_out", {})
            problem = numbered("{} [file|files] left out", len(left)) if left else ""
            if copies := content.get("copies"):
                groups = numbered("{} [group|groups] of copies", len(copies))
                problem += f"{'; ' * bool(problem)}{groups}"
    except UserError as error:
        problem = str(error)
    return name, str(length), persons, recordings, windows, sensor, problem
