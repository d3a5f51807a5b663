"""`simmc preprocess`, also `python Preprocess.py 6`: raw recordings to windows of equal length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, cast

from simmc.cli import aligned, progress, with_flag
from simmc.data import specs
from simmc.data.preprocess import Outcome, Protocol, preprocess
from simmc.data.recordings import ReadOptions
from simmc.data.windows import seconds_of
from simmc.settings import Range, Settings, option, resolve, switch
from simmc.settings.options import FIDELITY, MAIN


@dataclass(frozen=True, kw_only=True)
class PreprocessSettings(Settings):
    """Settings of one preprocessing run."""

    GROUP: ClassVar[str] = MAIN

    COMMAND: ClassVar[str] = "preprocess"
    SUMMARY: ClassVar[str] = (
        "Cut every raw dataset found into windows of equal length. The length may come first, "
        "without a flag: Preprocess.py 6. --dataset takes one or more names."
    )

    length: str = option(
        "",
        "Frames of a window: 4, 6, 8, 10 or 12; 40, 50 or 60 for CASIA_B; or seconds such as 0.2s "
        "where the frame rate is known. If left out 6, or 40 where CASIA_B alone is named.",
        words={"default": ""},
    )
    dataset: str = option(
        "", f"Names out of {', '.join(specs.DATASETS)}; all that are found if left out."
    )
    raw_root: str = option(".", "Folder that holds the folders of the raw datasets.")
    data_root: str = option("Datasets", "Folder of the results.")
    seed: int = option(0, "Seed of the random split.", limits=Range(0))
    split: str = option(
        "", "JSON file that assigns each recording to a split, in place of a random split."
    )
    write_split: str = option("", "JSON file to write: the split of each recording.")
    protocol: str = option(
        "RVE",
        "The usual split (RVE: KS20 at random over the repetitions), or KS20 and CASIA_B by view "
        "(CVE).",
        choices=("RVE", "CVE"),
    )
    config: str = option("", "TOML file of settings.")
    fidelity: str = option(
        "released",
        "Sets all fidelity switches: as the published numbers were made, or as the paper says.",
        group=FIDELITY,
        choices=("released", "exact"),
    )
    ias_label_order: str = switch("ias_label_order")
    ias_cut: str = switch("ias_cut")
    ks20_time: str = switch("ks20_time")
    ks20_roles: str = switch("ks20_roles")
    zero_joints: str = switch("zero_joints")
    dense_starts: str = switch("dense_starts")


def main(argv: list[str]) -> int:
    """Preprocess the chosen datasets and print a table."""
    settings = resolve(PreprocessSettings, flags(argv)).settings
    names = [specs.get(word).name for word in settings.dataset.replace(",", " ").split()]
    if settings.length:
        seconds_of(settings.length)  # UserError unless it is a length
    switches = {entry.name: getattr(settings, entry.name) for entry in fields(ReadOptions)}
    outcome = preprocess(
        Path(settings.raw_root),
        Path(settings.data_root),
        names or None,
        settings.length or (specs.get(names[0]).default_length if len(names) == 1 else 6),
        settings.seed,
        ReadOptions(**switches),
        cast(Protocol, settings.protocol),
        lambda name: progress(f"reading {name}"),
        Path(settings.split) if settings.split else None,
        Path(settings.write_split) if settings.write_split else None,
    )
    print(table(outcome))
    return 0


def flags(argv: Sequence[str]) -> list[str]:
    """The public program's arguments, ``6 --dataset A B``, as flags with one value each."""
    words = ["--write_split" if word == "--write-split" else word for word in argv]
    result: list[str] = []
    for word in with_flag(words, "--length"):
        # a name after the first value of --dataset belongs to that value
        if not word.startswith("-") and len(result) > 1 and result[-2] == "--dataset":
            result[-1] += f",{word}"
        else:
            result.append(word)
    return result


def table(outcome: Outcome) -> str:
    """The printed table of datasets, and those that were skipped."""
    head = ("dataset", "persons", "recordings", "frames read", "after cutting", "windows", "s")
    rows = [
        (
            done.dataset,
            str(done.persons),
            str(done.recordings),
            f"{done.frames_read:,}",
            f"{done.frames_kept:,}",
            f"{sum(done.windows.values()):,}",
            f"{done.seconds:.1f}",
        )
        for done in outcome.done
    ]
    lines = aligned([head, *rows], left=(0,))
    for done in outcome.done:
        split = ", ".join(f"{name} {count:,}" for name, count in done.windows.items())
        lines += ["", f"{done.dataset}: {split} windows", f"written to {done.folder}"]
        lines += [f"the same frames, bit by bit: {', '.join(names)}" for names in done.copies]
        lines += done.notes
        if done.generated:
            lines.append(
                "These are synthetic walkers: their numbers say nothing about real people."
            )
    lines += [""] * bool(outcome.skipped)
    lines += [f"skipped {name}: {reason}" for name, reason in outcome.skipped.items()]
    return "\n".join(lines)
