"""`simmc reproduce`: make the cells of a published table again, each by its usual command.

A cell is a row, a dataset with its probe, and a seed. Its record is written when it is finished,
and a finished cell is not run again; what was interrupted goes on.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

from simmc.cli import with_flag
from simmc.cli.cell_runs import Cell, Job, Workshop, run_all
from simmc.cli.descriptors import DescriptorSettings
from simmc.data import specs
from simmc.data.manifest import read_manifest
from simmc.data.preprocess import READERS, preprocess
from simmc.errors import UserError, numbered
from simmc.methods.registry import METHODS
from simmc.reports import cells
from simmc.reports.cells import RECORDS, Record, Table
from simmc.reports.page import text_of
from simmc.reports.tables import INCIDENTAL
from simmc.settings import Range, Settings, option, resolve
from simmc.settings.options import MACHINE, MAIN

DATA = ("files", "skeleton", "gallery_of", "zeros")  # what of a manifest decides the numbers
DONE, CARRIED, RUN, NO_DATA = "done", "carried over, to run", "to run", "no data"


@dataclass(frozen=True, kw_only=True)
class ReproduceSettings(Settings):
    """Which cells are made again, and where."""

    GROUP: ClassVar[str] = MAIN
    COMMAND: ClassVar[str] = "reproduce"
    SUMMARY: ClassVar[str] = (
        "Run the cells of a published table again: simmc reproduce simmc-4. Finished cells are "
        "skipped; interrupted cells continue."
    )

    table: str = option("", "Name of a table, or all; may also be the first word.")
    dataset: str = option("", "Datasets, joined by commas; all with data if left out.")
    rows: str = option("", "Rows, joined by semicolons; all if left out.")
    seeds: str = option(
        "", "Seeds of split and training, such as 0-4 or 0,2; default: the table's."
    )
    protocol: str = option(
        "both", "Protocol of the printed table.", choices=("both", "paper", "label_free")
    )
    dry_run: bool = option(False, "List the cells and the time they will take; run nothing.")
    cells: str = option("", "I/N: every N-th cell from the I-th, to divide them among machines.")
    split: str = option("", "NAME=FILE: file of a given split, such as public=split.json.")
    sets: str = option("", "Folder of your own datasets, for the tables generality and sweep.")
    raw_root: str = option(".", "Folder of the raw datasets; missing splits are made from them.")
    data_root: str = option("Datasets", "Folder of the splits: split_0, split_1, ...")
    model_root: str = option("ReID_Models/cells", "Folder of the runs.")
    records: str = option(str(RECORDS), "Folder of the records.")
    processes: int = option(
        0, "Cells at a time; auto: by cores and free memory.", kind=int, limits=Range(0),
        group=MACHINE, words={"auto": 0},
    )  # fmt: skip
    threads: int = option(1, "Threads of a cell.", limits=Range(1), group=MACHINE)


def main(argv: list[str]) -> int:
    """Run what is missing of a table and print it."""
    settings = resolve(ReproduceSettings, with_flag(argv, "--table")).settings
    wanted = chosen(settings)
    records = Path(settings.records)
    known = cells.read_records(records, versions_now)
    jobs, missing, lacking = [], [], []
    for cell in wanted:
        found = prepared(cell, settings)
        state = found if isinstance(found, str) else state_of(found, known)
        if settings.dry_run or state not in (RUN, CARRIED):
            print(f"{state:<20} {cell}  {expected(cell, known)}".rstrip())
        if isinstance(found, Job) and state in (RUN, CARRIED):
            jobs.append(found)
        if not state.startswith((DONE, NO_DATA)):
            missing.append(cell)
        elif state == NO_DATA and cell.dataset not in lacking:
            lacking.append(cell.dataset)
    if lacking:
        print(advice(lacking, settings.raw_root))
    if settings.dry_run:
        print(total(missing, known))
        return 0
    shop = Workshop(Path(settings.model_root), records, settings.processes, settings.threads)
    failed = run_all(jobs, shop, known)
    again = cells.read_records(records, versions_now)
    for table in {cell.table.name: cell.table for cell in wanted}.values():
        print(f"\n{text_of(table, again, settings.protocol)}")
    return 1 if failed else 0


def advice(datasets: Sequence[str], raw_root: str) -> str:
    """What to do about datasets that are not there, in one line."""
    folders = ", ".join(str(Path(raw_root) / name) for name in datasets)
    steps = [f"raw files belong in {folders} (--raw_root; docs/data.md)"]
    if "KGBD" in datasets:
        steps.append("KGBD: python scripts/get_kgbd.py")
    if datasets != ["KGBD"]:
        steps.append("the others are given out by their authors")
    return f"{NO_DATA}: {'; '.join(steps)}"


def chosen(settings: ReproduceSettings) -> list[Cell]:
    """The cells that the settings name, each run once."""
    known = cells.tables()
    if settings.table not in (*known, "all"):
        raise UserError(f"there is no table {settings.table!r}; tables: {', '.join(known)}, all.")
    names = list(known) if settings.table == "all" else [settings.table]
    datasets = {specs.get(word).name for word in listed(settings.dataset) if not settings.sets}
    rows = set(listed(settings.rows, ";"))
    found: dict[tuple[Any, ...], Cell] = {}
    for table in (known[name] for name in names):
        if unknown := rows - {row.name for row in table.rows} if settings.table != "all" else set():
            raise UserError(
                f"--rows {'; '.join(sorted(unknown))}: rows of {table.name} are "
                f"{'; '.join(row.name for row in table.rows if row.run)}."
            )
        wanted = [row for row in table.rows if row.run and (not rows or row.name in rows)]
        columns = columns_of(table, settings)
        columns = [c for c in columns if not datasets or c.partition("/")[0] in datasets]
        for row, column, seed in product(wanted, columns, seeds_of(settings.seeds, table.seeds)):
            dataset, _, probe = column.partition("/")
            cell = Cell(table, row, dataset, probe, seed)
            found.setdefault((cell.commands, column, seed, row.split), cell)
    cells_found = list(found.values())
    if settings.cells:
        part, _, of = settings.cells.partition("/")
        if not (part.isdecimal() and of.isdecimal() and 1 <= int(part) <= int(of)):
            raise UserError(f"--cells {settings.cells}: give I/N, such as 1/8, with I from 1 to N.")
        cells_found = cells_found[int(part) - 1 :: int(of)]
    if not cells_found:
        if not any(row.run for name in names for row in known[name].rows):
            raise UserError(f"{settings.table} has published rows alone: there is nothing to run.")
        raise UserError("no cell is chosen: check --dataset and --rows.")
    return cells_found


def columns_of(table: Table, settings: ReproduceSettings) -> list[str]:
    """The columns of a table; `*` stands for every set of --sets."""
    if "*/probe" not in table.columns:
        return list(table.columns)
    if not settings.sets:
        print(f"{NO_DATA:<20} {table.name}: name a folder of sets with --sets DIR")
        return []
    folder = Path(settings.sets)
    names = sorted(path.name for path in folder.glob("*") if any(path.glob("*/manifest.json")))
    if not names:
        raise UserError(f"--sets {folder}: no set in it (NAME/LENGTH/manifest.json)")
    return [f"{name}/probe" for name in names]


def listed(text: str, sign: str = ",") -> list[str]:
    """The parts of a text between signs."""
    return [word.strip() for word in text.split(sign) if word.strip()]


def seeds_of(text: str, default: Sequence[int]) -> list[int]:
    """Seeds from 0-4 or 0,2."""
    found: list[int] = []
    for word in listed(text):
        if not (match := re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", word)):
            raise UserError(f"--seeds {text}: give numbers and ranges, such as 0-4 or 0,2,5.")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UserError(f"--seeds {text}: {word} is empty; give the smaller number first.")
        found += range(first, min(last, first + 9999) + 1)
    return list(dict.fromkeys(found)) or list(default)


def prepared(cell: Cell, settings: ReproduceSettings) -> Job | str:
    """The job of a cell, with its split made where the raw data are there; or why there is none."""
    steps = [resolved(command, cell.dataset, cell.probe) for command in cell.commands]
    length = int(steps[-1].settings["length"])
    root, given = Path(settings.data_root), None
    if cell.row.split == cells.SET:
        root = Path(settings.sets)
        spec_folder = root / cell.dataset / str(length)
    else:
        if cell.row.split != cells.SEED:
            name, _, file = settings.split.partition("=")
            if name != cell.row.split or not file:
                return f"{NO_DATA} (needs --split {cell.row.split}=FILE)"
            root, given = root / f"split_{name}", Path(file)
        else:
            root = root / f"split_{cell.seed}"
        by_view = re.fullmatch(r"\d+\.\d+", cell.probe) is not None
        spec = specs.DATASETS[cell.dataset]
        spec = specs.BY_VIEW[spec.name] if by_view else spec
        spec_folder = root / (spec.folder or spec.name) / str(length)
        if not (spec_folder / "manifest.json").is_file():
            raw = Path(settings.raw_root)
            if not (raw / cell.dataset).is_dir() or cell.dataset not in READERS:
                return NO_DATA
            if settings.dry_run:
                return f"{RUN} (and preprocess)"
            preprocess(
                raw, root, [cell.dataset], length, cell.seed,
                protocol="CVE" if by_view else "RVE", split=given,
            )  # fmt: skip
    manifest = read_manifest(spec_folder)[0] or {}
    checksum = cells.key_of({name: manifest.get(name) for name in DATA})
    named = [(step.name, step.settings) for step in steps]
    recipe = cells.key_of({"steps": named, "dataset": cell.dataset, "length": length})
    version = "-".join(str(step.version) for step in steps)
    return Job(cell, spec_folder, checksum, recipe, version)


@dataclass(frozen=True)
class Step:
    """A command, every setting that can change its numbers, and the version of these."""

    name: str
    settings: dict[str, Any]
    version: int = 1


def resolved(command: str, dataset: str, probe: str) -> Step:
    """What a command of a cell means."""
    name, *words = shlex.split(command)
    words += ["--dataset", dataset, "--probe", probe]
    if name not in METHODS and name != "descriptors":
        return Step(name, {"words": words, "length": 0})
    method = METHODS.get(name)
    settings = resolve(method.settings if method else DescriptorSettings, words).settings
    kept = {k.rstrip("_"): value for k, value in settings.flat().items()}
    length = kept["length"]
    kept = {k: v for k, v in kept.items() if k not in INCIDENTAL} | {"length": length}
    return Step(name, kept, method.version_of(settings) if method else 1)


def versions_now(record: Record) -> str:
    """The version that each command of a record has now, joined by "-"."""
    if "version" not in record:
        return ""
    commands, place = record["run"], (record["dataset"], record["probe"])
    try:
        return "-".join(str(resolved(command, *place).version) for command in commands)
    except UserError as error:
        raise UserError(
            f"the record of {'; '.join(commands)} (key {record.get('key')}) is of flags that are "
            f"gone: {error} Move the record away, or give another --records."
        ) from error


def state_of(job: Job, known: Sequence[Record]) -> str:
    """Whether a cell is finished."""
    cell = job.cell
    if any(record.get("key") == job.key for record in known):
        return DONE
    older = (
        record
        for record in known
        if "carried" in record
        and (record["run"], record["split"]) == (list(cell.commands), cell.row.split)
        and (record["dataset"], record["probe"]) == (cell.dataset, cell.probe)
    )
    seeds = (record["seeds"] if "seeds" in record else [record["seed"]] for record in older)
    return CARRIED if any(cell.seed in some for some in seeds) else RUN


def expected(cell: Cell, known: Sequence[Record]) -> str:
    """The time of a cell by earlier records, in words."""
    seconds = seconds_of(cell, known)
    return "" if seconds is None else f"about {seconds / 60:.0f} min"


def seconds_of(cell: Cell, known: Sequence[Record]) -> float | None:
    """Mean seconds of earlier runs of the same commands and dataset."""
    found = [
        record["seconds"]
        for record in known
        if record["run"] == list(cell.commands)
        and record["dataset"] == cell.dataset
        and record.get("seconds")
    ]
    return sum(found) / len(found) if found else None


def total(missing: Sequence[Cell], known: Sequence[Record]) -> str:
    """The last line of --dry-run."""
    seconds = [seconds_of(cell, known) for cell in missing]
    told = [value for value in seconds if value is not None]
    line = f"{numbered('{} [cell|cells] to run', len(missing))}"
    if told:
        line += f", about {sum(told) / 3600:.1f} hours one after another"
    if unknown := len(missing) - len(told):
        line += f"; {unknown} of them without an earlier time"
    return line
