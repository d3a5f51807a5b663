"""The confusion matrix of a recognition run: true persons by row, predicted ones by column."""

from pathlib import Path
from typing import Any

import numpy as np

from simmc.errors import UserError
from simmc.files import csv_text
from simmc.reports.results import RESULTS, Run
from simmc.reports.style import save, title_of, wrapped

MOST_NAMED = 40  # persons that all get a tick label
TITLE = 60  # characters of a title that fit above it


def counts(run: Run, protocol: str) -> tuple[list[int], np.ndarray]:
    """Persons, and (C, C) int64 numbers of windows by true and predicted person."""
    found = run.protocol(protocol)
    if found is None or "confusion" not in found:
        raise UserError(
            f"{run.path} holds no confusion matrix for protocol {protocol}. Give the folder of a "
            "run of simmc recognition with --score classify."
        )
    rows = found["confusion"] or []
    if not rows or any(len(row) != 3 or row[2] < 1 for row in rows):
        raise UserError(
            f"{run.path / RESULTS}: confusion: rows of two persons and a number of windows are "
            "expected. Score the run again with --mode Eval."
        )
    cells = np.array(rows, dtype=np.int64)
    persons = np.unique(cells[:, :2])
    matrix = np.zeros((len(persons), len(persons)), dtype=np.int64)
    true, named = np.searchsorted(persons, cells[:, :2]).T
    matrix[true, named] = cells[:, 2]
    return persons.tolist(), matrix


def draw(run: Run, protocol: str, out: Path) -> Path:
    """Draw the matrix to a .png or .svg; each row is in percent of its person's windows."""
    persons, matrix = counts(run, protocol)
    shares = 100 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    right = 100 * np.trace(matrix) / matrix.sum()

    def figure() -> Any:
        from matplotlib.figure import Figure

        made = Figure(figsize=(7.2, 6.6), layout="constrained")
        axes = made.add_subplot()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
        bar = made.colorbar(image, ax=axes, shrink=0.8)
        bar.set_label("windows of the true person (%)")
        bar.outline.set_visible(False)
        step = 1 if len(persons) <= MOST_NAMED else int(np.ceil(len(persons) / 20))
        places = range(0, len(persons), step)
        size = 8 if step > 1 or len(persons) <= 25 else 6
        names = [str(persons[i]) for i in places]
        axes.set_xticks(places, names, rotation=90, fontsize=size)
        axes.set_yticks(places, names, fontsize=size)
        axes.set_xlabel("predicted person")
        axes.set_ylabel("true person")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        made.suptitle(wrapped(title_of(run), TITLE))
        axes.set_title(
            f"{right:.1f} % of {matrix.sum():,} windows classified correctly ({protocol})",
            fontsize=10,
            fontweight="normal",
        )
        return made

    return save(figure, out)


def as_csv(run: Run, protocol: str) -> str:
    """The cells that are not empty: true person, predicted person, windows."""
    persons, matrix = counts(run, protocol)
    cells = [(persons[i], persons[j], matrix[i, j]) for i, j in np.argwhere(matrix)]
    return csv_text([("true", "named", "windows"), *cells])
