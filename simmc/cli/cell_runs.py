"""Running the cells of `simmc reproduce`: each by the usual commands, in processes of their own."""

import datetime
import os
import queue
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from simmc import files
from simmc.errors import UserError, numbered
from simmc.evaluation.significance import person_sums
from simmc.methods.registry import METHODS
from simmc.reports import cells
from simmc.reports.cells import Record, Row, Table
from simmc.reports.sides import Scored
from simmc.runs.directory import RunDirectory
from simmc.runs.records import ProbeOutcomes
from simmc.runs.runtime import physical_cores

_MEMORY = 2.5e9  # bytes of a process without an earlier record
_STEP = "step"  # run folders of a cell: step1, step2, ...


@dataclass(frozen=True)
class Workshop:
    """Where cells run, and how many at a time (0: by cores and free memory)."""

    model_root: Path
    records: Path
    processes: int
    threads: int


@dataclass(frozen=True)
class Cell:
    """One row on one dataset with one seed."""

    table: Table
    row: Row
    dataset: str
    probe: str
    seed: int

    @property
    def commands(self) -> tuple[str, ...]:
        """What is run."""
        return self.row.commands(self.dataset)

    def __str__(self) -> str:
        split = "" if self.row.split in (cells.SEED, cells.SET) else f", split {self.row.split}"
        column = f"{self.dataset}/{self.probe}"
        return f"{self.table.name} {self.row.name}, {column}, seed {self.seed}{split}"


@dataclass(frozen=True)
class Job:
    """A cell whose data are there."""

    cell: Cell
    folder: Path  # the windows: <data_root>/<dataset>/<length>
    checksum: str
    settings: str
    version: str

    @property
    def key(self) -> str:
        """Equal for equal runs."""
        cell = self.cell
        about = {"run": self.settings, "version": self.version, "data": self.checksum}
        return cells.key_of(about | {"probe": cell.probe, "seed": cell.seed})


def processes_for(jobs: Sequence[Job], shop: Workshop, known: list[Record]) -> int:
    """Cells at a time: as many as cores and free memory admit."""
    if shop.processes:
        return shop.processes
    peaks = [r["peak_rss_bytes"] for r in known if r.get("peak_rss_bytes")]
    most = len(jobs)
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
        most = int(1024 * free // max([_MEMORY, *peaks]))
    except (OSError, StopIteration):
        pass  # not Linux: cores alone decide
    return max(1, min(physical_cores() // shop.threads, most, len(jobs)))


def run_all(jobs: Sequence[Job], shop: Workshop, known: list[Record]) -> list[Cell]:
    """Run jobs and write their records; the cells that failed."""
    if not jobs:
        print("every cell that has data is finished")
        return []
    import torch

    count, gpus = processes_for(jobs, shop, known), torch.cuda.device_count()
    devices: queue.Queue[int | None] = queue.Queue()
    for place in range(count):
        devices.put(place % gpus if gpus else None)

    def one(job: Job) -> Record:
        device = devices.get()
        try:
            return run_cell(job, shop, device)
        finally:
            devices.put(device)

    failed = []
    print(f"{numbered('{} [cell|cells]', len(jobs))}, {count} at a time")
    with ThreadPoolExecutor(count) as pool:
        waiting = {pool.submit(one, job): job for job in jobs}
        bar = tqdm(as_completed(waiting), total=len(jobs), file=sys.stderr, disable=None)
        for done in bar:
            cell = waiting[done].cell
            try:
                record = done.result()
                path = cells.write_record(shop.records, record)
                print(f"{'done':<20} {cell}: {in_short(record, cell.row)}; {path}", flush=True)
            except UserError as error:
                failed.append(cell)
                print(f"{'failed':<20} {cell}: {error}", flush=True)
    return failed


def in_short(record: Record, row: Row) -> str:
    """The figures of a record under the protocol of its row, percent."""
    found = cells.figures_of(record, row.protocol, row.figure_of)
    rates = [f"{name} {100 * found[name]:.1f}" for name in cells.RATES if name in found]
    return ", ".join(rates) or "no rates"


def run_cell(job: Job, shop: Workshop, device: int | None = None) -> Record:
    """Run the commands of a cell one after the other, and describe the last one's results."""
    home = shop.model_root / job.key
    home.mkdir(parents=True, exist_ok=True)
    with alone(home, job.cell) as handle:
        data_root = job.folder.parent.parent
        if len(job.cell.commands) > 1:  # features are written beside the windows: a copy of its own
            data_root = home / "data"
            copied = data_root / job.folder.parent.name / job.folder.name
            if not copied.is_dir():
                with files.staged_folder(copied) as stage:
                    shutil.copytree(job.folder, stage, dirs_exist_ok=True)
        runs = []
        for number, command in enumerate(job.cell.commands, start=1):
            runs.append(run_step(job, shop, command, number, home, data_root, device, handle))
    return described(job, [run for run in runs if run is not None])


@contextmanager
def alone(home: Path, cell: Cell) -> Iterator[int | None]:
    """Lock a cell's folder, for this process and those that it starts.

    A training whose `simmc reproduce` was killed still holds it: the next call waits for its end.
    """
    try:
        import fcntl
    except ImportError:  # Windows: no such lock
        yield None
        return
    with (home / ".cell").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print(f"waiting for the process of an earlier call: {cell}", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def run_step(
    job: Job, shop: Workshop, command: str, number: int, home: Path,
    data_root: Path, device: int | None, handle: int | None,
) -> RunDirectory | None:  # fmt: skip
    """Run one command unless it is finished; its run, None for a command that makes none."""
    cell = job.cell
    name, *words = shlex.split(command)
    place = home / f"models{number}" if name == "descriptors" else home / "models"
    folder = place / cell.dataset / cell.probe
    words += ["--dataset", cell.dataset, "--probe", cell.probe, "--data_root", str(data_root)]
    words += ["--model_root", str(place), "--threads", str(shop.threads)]
    run = folder / f"{_STEP}{number}"
    if name in METHODS:
        words += ["--seed", str(cell.seed), "--run", run.name]
        if (run / "last.pt").is_file():
            words += ["--resume"]
        elif not (run / "results.json").is_file():
            shutil.rmtree(run, ignore_errors=True)
    elif name == "descriptors":
        words += ["--seed", str(cell.seed)]
        run = next(iter(folder.glob("*/results.json")), run / "none").parent
    if not (run / "results.json").is_file():
        call([name, *words], home / "log.txt", device, handle)
        if name == "descriptors":
            run = next(folder.glob("*/results.json")).parent
    return RunDirectory(run) if (run / "results.json").is_file() else None


def call(words: list[str], log: Path, device: int | None, handle: int | None) -> None:
    """Run one command of this program; UserError with the last line of its log if it fails."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    package = str(Path(cells.__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [package, environment.get("PYTHONPATH")])
    )
    if device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = str(device)
    with log.open("ab") as file:
        file.write(f"\n$ simmc {shlex.join(words)}\n".encode())
        file.flush()
        done = subprocess.run(
            [sys.executable, "-m", "simmc", *words],
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=environment,
            pass_fds=[] if handle is None else [handle], check=False,
        )  # fmt: skip
    if done.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise UserError(f"{lines[-1]} (exit code {done.returncode}; {log})")


def described(job: Job, runs: Sequence[RunDirectory]) -> Record:
    """The record of a finished cell."""
    last, cell = runs[-1], job.cell
    all_results = [run.read_results() for run in runs]
    results = all_results[-1]
    protocols = {name: found for name, found in results["protocols"].items() if found}
    record: Record = {
        "run": list(cell.commands),
        "dataset": cell.dataset,
        "probe": cell.probe,
        "split": cell.row.split,
        "seed": cell.seed,
        "key": job.key,
        "settings": job.settings,
        "version": job.version,
        "data": job.checksum,
        "protocols": {name: small(found) for name, found in protocols.items()},
        "persons": {
            name: persons_of(last.probes_path(name))
            for name in protocols
            if last.probes_path(name).is_file()
        },
        "epochs": [
            {name: line[name] for name in ("epoch", "top1", "mAP") if name in line}  # type: ignore[misc]
            for line in last.read_metrics()
            if line.get("top1") is not None
        ],
        "counts": dict(results["counts"]),
        "seconds": sum(seconds(found["timing"]) for found in all_results),
        **load(),
        "peak_rss_bytes": max(found["peak_rss_bytes"] or 0 for found in all_results),
        "machine": machine(),
        "versions": results["versions"],
        "commit": commit(),
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    return record


def small(found: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a protocol without long lists; of the CMC the first 20 ranks."""
    kept = {k: v for k, v in found.items() if k not in ("confusion", "cmc")}
    if found.get("cmc"):
        kept["cmc"] = [round(rate, 5) for rate in found["cmc"][:20]]
    return kept


def persons_of(path: Path) -> str:
    """The outcomes of the probe windows of a run, by person."""
    probes = ProbeOutcomes.read(path).scored()
    persons = np.unique(probes.identity)
    values = Scored(None, probes).values  # type: ignore[arg-type]
    sums, counts = person_sums(values, probes.identity, persons)
    precision = np.rint(1e6 * sums[:, 3])
    columns = [persons, counts[:, 0], *sums[:, :3].T, counts[:, 3], precision]
    return cells.pack_persons(np.column_stack(columns).astype(np.int64))


def seconds(timing: Mapping[str, float]) -> float:
    """Seconds of a run: of its epochs, or of the stages of one that learns nothing."""
    return timing.get("total_run") or sum(timing.values())


def load() -> Record:
    """Processes that want a core, by core: over 1, times mean little. Nothing where not known."""
    try:
        return {"load": round(max(os.getloadavg()) / physical_cores(), 2)}
    except (AttributeError, OSError):  # Windows
        return {}


def machine() -> str:
    """The processor and how many cores may be used."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model n"))
    except (OSError, StopIteration):
        name = "unknown processor"
    return f"{name}, {numbered('{} [core|cores]', physical_cores())}"


def commit() -> str:
    """The commit of this program, "" outside a repository."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            capture_output=True, text=True, check=False, cwd=Path(cells.__file__).parent,
        )  # fmt: skip
    except OSError:
        return ""
    return done.stdout.strip() if not done.returncode else ""
