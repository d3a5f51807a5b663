"""`simmc generate`: raw data of invented walkers, in the public raw layout of a dataset."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tqdm import tqdm

from simmc import __version__, files
from simmc.data import specs
from simmc.data.manifest import NAME
from simmc.data.raw import write as raw
from simmc.data.synthetic import recording_plan as takes
from simmc.data.synthetic import walkers
from simmc.data.synthetic.walkers import Walk
from simmc.errors import UserError
from simmc.settings import Range, Settings, option, resolve

WHAT = "what to make"


@dataclass(frozen=True, kw_only=True)
class GenerateSettings(Settings):
    """Settings of one generated dataset."""

    GROUP: ClassVar[str] = WHAT

    COMMAND: ClassVar[str] = "generate"
    SUMMARY: ClassVar[str] = (
        "Invent walking skeletons and write them in the raw layout of a dataset, to try things on. "
        "They are no real people: results on them say that the programs work, nothing else."
    )

    dataset: str = option("KS20", f"Whose layout and sensor: {', '.join(specs.DATASETS)}.")
    persons: int | None = option(
        None,
        "How many walkers; as many as the size has if left out (KS20: 20).",
        kind=int,
        limits=Range(2),
        words={"default": None},
    )
    size: str = option(
        "small",
        "tiny (for tests), small (every split fills a batch) or full (as long as the original).",
        choices=takes.SIZES,
    )
    seed: int = option(0, "Same seed, same walkers, byte for byte.", limits=Range(0))
    raw_root: str = option(".", "Folder in which the dataset's folder is made.", aliases=("out",))
    config: str = option("", "TOML file of settings.")


def main(argv: list[str]) -> int:
    """Generate a dataset and print its folder."""
    settings = resolve(GenerateSettings, argv).settings
    name = specs.get(settings.dataset).name
    folder = Path(settings.raw_root) / name
    refuse_real_data(folder)
    began = time.perf_counter()
    with files.staged_folder(folder) as stage:  # first of all: nothing is made that has no place
        walks = walkers.walks(
            name, settings.persons, settings.seed, settings.size, progress=_progress(name)
        )
        persons = len({walk.recording.identity for walk in walks})
        walkers.write(name, stage, walks)
        files.write_text(stage / "README.txt", readme(name, persons, walks, settings))
        details = {"dataset": name, "persons": persons, "size": settings.size}
        raw.mark_generated(stage, details | {"seed": settings.seed, "code_version": __version__})
    frames = sum(len(walk.tracked) for walk in walks)
    print(
        f"{name}: {persons} generated walkers (not real people), {len(walks):,} recordings, "
        f"{frames:,} frames in {time.perf_counter() - began:.1f} s\nwritten to {folder}"
    )
    return 0


def refuse_real_data(folder: Path) -> None:
    """UserError where the folder holds anything but generated walkers, which may be replaced."""
    if prepared := sorted(folder.glob(f"*/{NAME}")):
        raise UserError(
            f"{prepared[0].parent}: holds windows that Preprocess.py made, which would be lost "
            f"with {folder}; choose another place with --raw_root"
        )
    if not folder.exists() or raw.is_generated(folder):
        return
    if folder.is_dir() and not any(folder.iterdir()):
        return
    raise UserError(
        f"{folder}: exists and holds no generated walkers, so it is not overwritten; "
        "choose another place with --raw_root"
    )


def readme(name: str, persons: int, walks: Sequence[Walk], settings: GenerateSettings) -> str:
    """The README.txt in the dataset's folder."""
    paragraphs = (
        f"The recordings in this folder were made by a program. The {persons} persons in it do not "
        "exist and nobody was recorded. They serve to try the tools on; results on them say that "
        "the tools work, and nothing about real people or about the dataset whose layout this is.",
        f"Layout and joints are those of {name}; {len(walks)} recordings.",
        f"Made by simmc {__version__} with: simmc generate --dataset {name} --persons {persons} "
        f"--size {settings.size} --seed {settings.seed}",
    )
    return "\n\n".join(
        ["GENERATED WALKERS, NOT REAL PEOPLE", *(textwrap.fill(p, 80) for p in paragraphs), ""]
    )


def _progress(name: str) -> walkers.Progress:
    def show(items: Iterable[Any]) -> Iterable[Any]:
        return tqdm(
            items,
            desc=f"making {name}",
            file=sys.stderr,
            leave=False,
            disable=None,  # a bar only on a terminal
            dynamic_ncols=True,
        )

    return show
