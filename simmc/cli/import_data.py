"""`simmc import`: recordings in files of many formats to a dataset (docs/import.md)."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from simmc.cli import progress, with_flag
from simmc.data.bodies import measure, open_set
from simmc.data.experiment.inputs import without_view
from simmc.data.findings import Finding, Summary
from simmc.data.importing.assign import KEPT_TOGETHER, Rule
from simmc.data.importing.description import FILE, SPLITS, Description, read_description
from simmc.data.importing.formats import ENDINGS
from simmc.data.importing.guess import guessed
from simmc.data.importing.importer import import_items, notes_of
from simmc.data.importing.source_files import NO_READER, NOT_CHOSEN, count, items
from simmc.data.importing.write_import import Imported, Request
from simmc.data.manifest import read_skeleton
from simmc.data.skeletons import SKELETONS
from simmc.errors import UserError, named, numbered
from simmc.files import write_text
from simmc.methods.trackmc import TrackMCSettings
from simmc.reports import look
from simmc.settings import Range, Settings, option, resolve
from simmc.settings.options import MAIN

PAGE = "look.html"  # beside the windows' folders
_NAMED = 5  # names in a line; the manifest holds all


@dataclass(frozen=True, kw_only=True)
class ImportSettings(Settings):
    """Settings of one import."""

    GROUP: ClassVar[str] = MAIN

    COMMAND: ClassVar[str] = "import"
    SUMMARY: ClassVar[str] = (
        "Make a dataset of recordings: simmc import SOURCE --out Datasets/Mine. SOURCE is a "
        "folder, a zip or tar archive, or a file. What the files do not show, such as the unit, is "
        "read from a dataset.toml in --out or in the folder of the source; --guess writes one. "
        "The same command continues an import that was interrupted, and adds new recordings."
    )

    source: str = option("", "Folder, archive or file; may also be the first word.")
    out: str = option("", "Folder of the dataset, such as Datasets/Mine.")
    guess: bool = option(
        False, "Import nothing; write a dataset.toml into --out, with doubts as comments."
    )
    description: str = option("", f"Path of the {FILE}, if it is in neither folder.")
    length: int = option(6, "Frames of a window.", limits=Range(1, 1000))
    split: str = option(
        "recording",
        "What is kept together in train, gallery or probe: a recording, or all recordings of a "
        "person that share a session or a camera; none: no test split, all recordings but two are "
        "training data.",
        choices=KEPT_TOGETHER,
    )
    person_disjoint: bool = option(False, "No person is in both the training and the test splits.")
    hold_out: float = option(
        0.5,
        "Share of a person's recordings (with --person_disjoint, of the persons) that is tested.",
        limits=Range(0, 1, exclusive=True),
    )
    seed: int = option(0, "Seed of the random split.", limits=Range(0))
    split_file: str = option("", "CSV file of recording,split, instead of a random split.")
    page: bool = option(True, f"Also write {PAGE}: moving recordings, and what to check.")


def main(argv: list[str]) -> int:
    """Import, and print what came in."""
    settings = resolve(ImportSettings, with_flag(argv, "--source")).settings
    if not settings.source or not settings.out:
        raise UserError(
            "give the source and the dataset's folder: "
            "python -m simmc import recordings --out Datasets/Mine"
        )
    source, out = Path(settings.source), Path(settings.out)
    if settings.guess:
        return _guess(source, out, settings)
    told, where = _description(source, out, settings)
    if settings.split_file:
        told = replace(told, split_file=settings.split_file)
    rule = Rule(settings.split, settings.person_disjoint, settings.hold_out, settings.seed)
    request = Request(out, settings.length, told, rule)
    found = import_items(items(source, told), request, progress("importing", count(source)))
    print("\n".join(report(found, where)))
    summary = Summary(measure(open_set(found.folder))) if settings.page and found.added else None
    checks = _checks(found, summary.findings if summary else [])
    if checks:
        again = f"python -m simmc {shlex.join(['import', *argv])}"
        checks.append(f"after a change of {FILE} delete {found.folder} and run: {again}")
    print("".join(f"{line}\n" for line in checks), end="")
    if summary:
        print(f"page: {look.write(summary, out / PAGE)}")
    print(f"next: {_next(found, out)}")
    return 0


def _checks(found: Imported, findings: Sequence[Finding]) -> list[str]:
    """What does not look right, each once: findings take the place of remarks of their kind."""
    kinds = {finding.kind for finding in findings}
    remarks = [text for kind, text in found.remarks.items() if kind not in kinds]
    return [f"check: {text}" for text in (*remarks, *findings)]


def _guess(source: Path, out: Path, settings: ImportSettings) -> int:
    path = Path(settings.description) if settings.description else out / FILE
    if path.exists():
        raise UserError(f"{path}: exists already; move it away to guess again")
    text, doubts = guessed(source)
    write_text(path, text)
    print(text)
    words = ["import", settings.source, "--out", settings.out]
    words += ["--description", settings.description] if settings.description else []
    print(
        f"written to {path}: {numbered('{} [doubt|doubts]', doubts)}, as comments. Correct it, "
        f"then run: python -m simmc {shlex.join(words)}"
    )
    return 0


def _description(source: Path, out: Path, settings: ImportSettings) -> tuple[Description, str]:
    """The description and where it stands."""
    if settings.description:
        return read_description(Path(settings.description)), settings.description
    for path in (out / FILE, *([source / FILE] if source.is_dir() else [])):
        if path.is_file():
            return read_description(path), str(path)
    return Description(), ""


def report(found: Imported, where: str) -> list[str]:
    """What came in, what was left out and why: lines."""
    content, entries = found.manifest, found.entries
    skeleton = content["skeleton"]
    sensor = f"{skeleton['name']}, " if skeleton["name"] in SKELETONS else ""
    rate = f" at {content['frame_rate']:g} Hz" if content["frame_rate"] else ""
    bodies = [body for entry in entries for body in entry["bodies"]]
    frames = sum(body["frames"] for body in bodies)
    persons = numbered("{} [person|persons]", len(content["persons"]))
    added = numbered("{} [recording|recordings] added", len(found.added))
    lines = [
        f"described by {where}" if where else f"no {FILE}: all settings follow from the files",
        f"{added}, {frames:,} frames{rate}; "
        f"{persons if content['persons'] else 'persons unknown'} and "
        f"{numbered('{} [recording|recordings]', len(content['recordings']))} in all; "
        f"{sensor}{numbered('{} [joint|joints]', len(skeleton['joints']))}",
    ]
    of_split = Counter(entry.get("split") for entry in content["recordings"])
    for name in SPLITS:
        windows = content["counts"][name]["windows"]
        recordings = "recording " if of_split[name] == 1 else "recordings"
        text = numbered(f"{windows:>9,} [window|windows]", windows)
        lines.append(f"  {name:<8} {of_split[name]:>7,} {recordings} {text}")
    if unused := of_split[None]:
        text = numbered(f"{unused:>7,} [recording|recordings]", unused)
        lines.append(f"  {'none':<8} {text}, not used")
    total: Counter[str] = Counter()
    for body in bodies:
        total.update(body["counts"])
    lines += [numbered(text, total[key]) for key, text in _COUNTS.items() if total[key]]
    if none := total["no_window"]:
        text = "{} [recording gives|recordings give] no window of " + f"{content['length']} frames"
        lines.append(numbered(text, none))
    lines += [f"{text}{'' if n == 1 else f' ({n:,} recordings)'}" for text, n in notes_of(entries)]
    if found.bones_guessed:
        lines.append("bones follow from the names of the joints; bones in dataset.toml corrects it")
    lines += _left_out(entries)
    copies = content.get("copies", ())
    lines += [f"the same frames, bit by bit: {named(names, _NAMED)}" for names in copies[:_NAMED]]
    if len(copies) > _NAMED:
        lines.append(f"and {len(copies) - _NAMED} more groups of copies (manifest.json, copies)")
    return [*lines, f"written to {found.folder}" if found.added else "nothing new; nothing written"]


# what was found and done, summed over the recordings
_COUNTS = {
    "cut_frames": "{} [frame|frames] cut at the ends (skip_frames)",
    "zero_joints": "{} [joint is|joints are] at exactly (0, 0, 0)",
    "unseen_joints": "{} [joint was|joints were] not seen",
    "filled_joints": "{} of them filled by interpolation (fill_gaps)",
    "repeated_frames": "{} [frame repeats|frames repeat] the one before, bit by bit",
    "gaps": "{} [gap|gaps] in the times",
    "lost_frames": "about {} [frame|frames] lost in them",
    "short": "{} [recording is|recordings are] shorter than min_frames",
    "blind": "{} [window|windows] without any joint dropped",
}


def _left_out(entries: Sequence[dict[str, Any]]) -> list[str]:
    """The files that were not read, by reason."""
    lines = []
    unused = [entry["path"] for entry in entries if entry["fault"] == NO_READER]
    if unused:
        endings = Counter(PurePosixPath(path).suffix or "no ending" for path in unused)
        shown = ", ".join(f"{n:,} {ending}" for ending, n in endings.most_common(_NAMED))
        text = numbered("{} [file has|files have] no reader", len(unused))
        lines.append(f"{text}: {shown}; files are read that end in {', '.join(ENDINGS)}")
    if chosen := sum(entry["fault"] == NOT_CHOSEN for entry in entries):
        lines.append(numbered(f"{{}} [file {NOT_CHOSEN}|files are not chosen by files]", chosen))
    faults = [e for e in entries if e["fault"] and e["fault"] not in (NO_READER, NOT_CHOSEN)]
    lines += [f"left out: {e['path']}: {e['fault']}" for e in faults[:_NAMED]]
    if len(faults) > _NAMED:
        lines.append(f"left out: {len(faults) - _NAMED:,} more files (manifest.json, left_out)")
    if known := sum(entry["known"] for entry in entries):
        lines.append(
            numbered(
                "{} [file was|files were] imported before and [stays as it is|stay as they are]",
                known,
            )
        )
    return lines


def _next(found: Imported, out: Path) -> str:
    """The command that trains on an imported set, with the inputs that its skeleton has."""
    defaults = TrackMCSettings.of()
    length = found.manifest["length"]
    described = without_view(read_skeleton(found.manifest["skeleton"]), defaults.joints.parts)
    words = ["trackmc", "--dataset", out.name]
    words += [] if out.parent == Path("Datasets") else ["--data_root", str(out.parent)]
    words += [] if length == defaults.place.length else ["--length", str(length)]
    words += [] if described == defaults.joints.input else ["--input", described]
    return f"python -m simmc {shlex.join(words)}"
