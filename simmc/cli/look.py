"""`simmc look`: a page about a stored dataset, and what to check in it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import ClassVar

from simmc.cli import progress, with_flag
from simmc.cli.datasets import folders
from simmc.data import specs
from simmc.data.bodies import measure, open_set
from simmc.data.findings import Summary
from simmc.errors import UserError
from simmc.reports import look
from simmc.settings import Range, Settings, option, resolve

WHAT = "what to look at"


@dataclass(frozen=True, kw_only=True)
class LookSettings(Settings):
    """Settings of `simmc look`."""

    GROUP: ClassVar[str] = WHAT

    COMMAND: ClassVar[str] = "look"
    SUMMARY: ClassVar[str] = (
        "Write one HTML page about a dataset: simmc look DATASET [RECORDING ...]. It shows counts, "
        "what to check, bone lengths, lost joints, and moving recordings. RECORDING is the name of "
        "a recording, or the end of it."
    )

    dataset: str = option("", "The dataset; may also be the first word.")
    data_root: str = option("Datasets", "Folder of the preprocessed datasets.")
    length: int | None = option(
        None,
        "Frames of a window; auto: the dataset's default, or the only or smallest length stored.",
        kind=int,
        limits=Range(1),
        words={"auto": None},
    )
    out: str = option("", "File of the page; default: look_DATASET_LENGTH.html in this folder.")


def main(argv: list[str]) -> int:
    """Write the page; print its path and the findings."""
    words = list(takewhile(lambda word: not word.startswith("-"), argv))
    flags = with_flag(words[:1], "--dataset") + argv[len(words) :]
    settings = resolve(LookSettings, flags).settings
    folder = find_folder(Path(settings.data_root), settings.dataset, settings.length)
    out = Path(settings.out or f"look_{folder.parent.name}_{folder.name}.html")
    summary = Summary(measure(open_set(folder), progress("measuring")))
    print(f"page: {look.write(summary, out, words[1:])}")
    for finding in summary.findings:
        print(f"CHECK: {finding}")
    if not summary.findings:
        print("No problem was found.")
    return 0


def find_folder(data_root: Path, dataset: str, length: int | None) -> Path:
    """The folder of the windows of a dataset; UserError with what is there otherwise."""
    stored = list(folders(data_root))
    there = ", ".join(dict.fromkeys(folder.parent.name for folder in stored)) or "none"
    if not dataset:
        raise UserError(f"name a dataset: python -m simmc look DATASET; in {data_root}: {there}")
    spec = specs.get(dataset) if specs.known(dataset) else None
    home = data_root / (spec.folder if spec else dataset)
    lengths = [int(folder.name) for folder in stored if folder.parent == home]
    if not lengths:
        raise UserError(f"{home}: holds no windows; datasets in {data_root} (--data_root): {there}")
    if length is not None and length not in lengths:
        known = ", ".join(map(str, lengths))
        raise UserError(f"--length {length}: {home} has windows of {known} frames")
    usual = spec.default_length if spec else lengths[0]
    return home / str(length or (usual if usual in lengths else lengths[0]))
