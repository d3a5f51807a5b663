"""Find runs and read their `results.json`.

No key is required: a report of an older or unfinished run shows what exists.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simmc.errors import UserError
from simmc.files import read_json
from simmc.runs.directory import RESULTS as SCHEMA
from simmc.runs.directory import pointed

RESULTS = "results.json"
PROTOCOLS = ("paper", "label_free")


@dataclass(frozen=True)
class Run:
    """A run that has results.

    Attributes:
        path: folder of the run.
        results: its `results.json`; rates are fractions of 1.
    """

    path: Path
    results: dict[str, Any]

    def text(self, key: str) -> str:
        """A value such as the dataset's name, "?" where it is missing."""
        value = self.results.get(key)
        return "?" if value in (None, "") else str(value)

    def protocol(self, name: str) -> dict[str, Any] | None:
        """The numbers of one protocol, None where the run has none."""
        return (self.results.get("protocols") or {}).get(name)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings the run was made with."""
        settings = self.results.get("settings") or {}
        return {"method_version": self.results.get("method_version", 1)} | settings

    @property
    def method_name(self) -> str:
        """The method as the papers call it; SimMC's ablations by their rows in Table 4."""
        method = self.text("method")
        if method.casefold() != "simmc":
            return method
        settings = self.settings
        if settings.get("encoder") == "none":
            return "Baseline"
        if settings.get("q") == 1:
            return "NPC"
        return "MPC" if settings.get("lambda") == 0 else "SimMC"

    @property
    def health(self) -> dict[str, str]:
        """Verdict, reason and next step of the training; empty where it was not judged."""
        return self.results.get("health") or {}

    @property
    def checksum(self) -> str:
        """Checksum of the data's manifest, "" where unknown."""
        return str(self.data.get("manifest_sha256") or "")

    @property
    def checked(self) -> bool:
        """Whether the manifest held the checksums of the windows that were scored."""
        return bool(self.data.get("checked"))

    @property
    def generated(self) -> bool:
        """Whether the data are known to be synthetic walkers, which have no published row."""
        return bool(self.data.get("generated"))

    @property
    def data(self) -> dict[str, Any]:
        """What is known of the data."""
        return self.results.get("data") or {}

    @property
    def counts(self) -> dict[str, Any]:
        """Windows by role, and other numbers."""
        return self.results.get("counts") or {}


def folder_of(path: str | Path, *, pointer: str = "latest*") -> Path:
    """The folder of a run, from this folder, a file in it, or the folder of a dataset and probe.

    Args:
        path: one of these.
        pointer: pattern of the files in the folder of a dataset and probe that name the newest run
            of each method; the newest of them is used.
    """
    path = Path(path)
    if path.is_file():
        return path.parent
    if not path.is_dir():
        raise UserError(
            f"{path}: there is no such run. Give the folder of a run, for instance "
            "ReID_Models/KS20/probe for the newest one of KS20."
        )
    pointers = [file for file in path.glob(pointer) if file.is_file()]
    for newest in sorted(pointers, key=lambda file: file.stat().st_mtime, reverse=True):
        if (named := pointed(newest)) is not None:
            return named
    return path


def load(path: str | Path) -> Run:
    """Read one run; `path` as for `folder_of`."""
    folder = folder_of(path)
    file = folder / RESULTS
    if not file.is_file():
        raise UserError(
            f"{folder} has no {RESULTS}: the run is not finished, or this is not a run's folder. "
            "Let the run finish, or continue it with --resume."
        )
    return Run(folder, _read(file))


def find_all(model_root: str | Path) -> list[Run]:
    """Every finished run below the folder of all runs, in the order of their paths."""
    root = Path(model_root)
    if not root.is_dir():
        raise UserError(
            f"--model_root {root}: there is no such folder. Train a model first, or give the "
            "folder that holds your runs."
        )
    # <dataset>/<probe>/<run>; what lies deeper is part of a run
    runs = [Run(file.parent, _read(file)) for file in sorted(root.glob(f"*/*/*/{RESULTS}"))]
    if not runs:
        raise UserError(
            f"--model_root {root}: no finished run in it (no {RESULTS}). Train a model first, or "
            "give the folder that holds your runs."
        )
    return runs


def _read(file: Path) -> dict[str, Any]:
    advice = "move the run out of the way, or train it again"
    found: dict[str, Any] = read_json(file, SCHEMA, advice)
    return found
