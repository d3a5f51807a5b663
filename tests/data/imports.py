"""Small sources of `simmc import`, and the import of them."""

import json
from pathlib import Path

import numpy as np

from simmc.data.importing.assign import Rule
from simmc.data.importing.description import described
from simmc.data.importing.importer import Request, import_items
from simmc.data.importing.source_files import items

JOINTS = ("hip_center", "neck", "head", "left_foot", "right_foot")


HEIGHT = np.array([0.9, 1.4, 1.6, 0.1, 0.1])


def frames(seed: int, n: int = 20) -> np.ndarray:
    """(n, 5, 3) metres, y up."""
    found = np.random.default_rng(seed).normal(scale=0.05, size=(n, 5, 3))
    found[..., 1] += HEIGHT
    return found.round(6)


def csv_text(xyz: np.ndarray) -> str:
    names = ",".join(f"{joint}_{axis}" for joint in JOINTS for axis in "xyz")
    rows = [",".join(map(repr, row)) for row in xyz.reshape(len(xyz), -1).tolist()]
    return "\n".join([names, *rows])


def make(folder: Path, persons: int = 3, walks: int = 3, first: int = 1) -> Path:
    for person in range(persons):
        for walk in range(first, first + walks):
            path = folder / f"person{person}" / f"walk{walk}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(csv_text(frames(100 * person + walk)))
    return folder


def load(source: Path, out: Path, length: int = 6, rule: Rule | None = None, **told):
    told = {"path": "person{person}/*.csv", **told}
    found = described(told, "dataset.toml")
    return import_items(items(source, found), Request(out, length, found, rule or Rule()))


def content(out: Path, length: int = 6) -> dict:
    return json.loads((out / str(length) / "manifest.json").read_text())
