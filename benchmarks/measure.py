"""Run every measurement in a process of its own and keep all of them in benchmark.json.

machine   versions, processor, threads
settings  what must be the same for all measurements of one file
cases     one for each data set and size: neighbour lists, seconds, memory, labels
epoch     the training recipe, seconds by stage
load      load average when each call began
notes     what was left out, and why
fit_from  the smallest N that the exponents are fitted to
summary   medians, ratios and exponents, computed from the cases at every writing
"""

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import page
from benchmarks.contestants import CONTESTANTS, lacking
from simmc import files
from simmc.errors import UserError
from simmc.runs.runtime import physical_cores, versions

FILE = "benchmark.json"
FORMAT = 1
NO_MEMORY = 12  # exit code of a job
DENSE_BYTES = 10  # a pair of rows: weights, averaged weights, and some more
Say = Callable[[str], None]


@dataclass(frozen=True)
class Source:
    """Features of one data set.

    Attributes:
        name: of the data set.
        generated: whether a program generated them.
        most: how many rows there are; None: any number.
        rows: N -> (N, d) float32.
    """

    name: str
    generated: bool
    most: int | None
    rows: Callable[[int], np.ndarray]

    def sizes(self, wanted: Sequence[int]) -> list[int]:
        """The wanted sizes; a size above `most` becomes `most`."""
        return sorted({n if self.most is None else min(n, self.most) for n in wanted})


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        contestants: names of `CONTESTANTS`.
        repeats: how often each time is measured.
        threads: of every process.
        exact_up_to: above this N, neighbour lists are approximate and exact search is not run.
        dense_up_to: above this N, the dense routine is not run.
        memory: whether memory is measured too.
    """

    contestants: tuple[str, ...]
    repeats: int
    threads: int
    exact_up_to: int
    dense_up_to: int
    memory: bool


def measure(
    source: Source, sizes: Sequence[int], plan: Plan, out: Path, kept: dict[str, Any], say: Say
) -> None:
    """Measure a data set at some sizes; what the record `kept` already holds is not repeated."""
    for n in source.sizes(sizes):
        case = case_of(kept, source.name, n, source.generated)
        where = f"{source.name}, N = {n:,}"
        chosen, reasons = choose(n, plan, where)
        for reason in reasons:
            note(kept, reason)
        timed = [name for name in chosen if CONTESTANTS[name].timed]
        missing = [name for name in chosen if plan.memory and name not in case["memory"]]
        if not chosen or (case["time"] is not None and not missing):
            say(f"{where}: {'measured before' if chosen else 'left out'}")
            save(out, kept)
            continue
        with prepared(source, n, plan, out) as run:
            say(f"{where}: neighbour lists")
            lists = run("lists", timed)
            if lists is None:
                note(kept, f"{where}: left out, no memory for the neighbour lists")
                continue
            case["lists"] = lists
            if case["time"] is None:
                say(f"{where}: time, {plan.repeats} repeats of {', '.join(timed)}")
                case["time"] = run("time", timed)
                if case["time"] is None:
                    note(kept, f"{where}: no times, the process was killed")
                save(out, kept)
            for name in missing:
                found = run("memory", [name])
                if found is None:
                    note(kept, f"{where}: no memory of {name}, the process was killed")
                    continue
                case["memory"][name] = found
                say(f"{where}: memory of {name}: {(found['added_bytes'] or 0) / 2**20:,.1f} MiB")
                save(out, kept)
        save(out, kept)


def choose(n: int, plan: Plan, where: str) -> tuple[list[str], list[str]]:
    """The contestants to run at N = n, and why others are left out of the case `where`."""
    absent = lacking()
    reasons = [f"{name} left out: {absent[name]}" for name in plan.contestants if name in absent]
    chosen = [name for name in plan.contestants if name not in absent]
    if n > plan.exact_up_to:
        chosen = [name for name in chosen if not CONTESTANTS[name].exact_search]
        reasons.append(f"{where}: neighbour lists are approximate (--exact_up_to)")
    if any(CONTESTANTS[name].quadratic for name in chosen):
        available = available_bytes()
        too_large = available is not None and DENSE_BYTES * n * n > available
        if too_large or n > plan.dense_up_to:
            chosen = [name for name in chosen if not CONTESTANTS[name].quadratic]
            why = "it would not fit into memory" if too_large else "--dense_up_to"
            reasons.append(f"{where}: dense routine left out ({why})")
    return chosen, reasons


@contextmanager
def prepared(
    source: Source, n: int, plan: Plan, out: Path
) -> Iterator[Callable[[str, list[str]], dict[str, Any] | None]]:
    """Write the features of a case to a temporary folder and yield what runs a job on them.

    A job returns None where the system killed its process, as it does when memory runs out.
    """
    with TemporaryDirectory(prefix="case-", dir=out) as folder:
        here = Path(folder).resolve()
        np.save(here / "features.npy", source.rows(n))
        names = {name: here / f"{name}.npy" for name in ("features", "lists")}
        job = names | {"result": here / "result.json", "exact": n <= plan.exact_up_to}
        job |= {"repeats": plan.repeats, "threads": plan.threads}

        def run(kind: str, contestants: list[str]) -> dict[str, Any] | None:
            files.write_json(here / "job.json", job | {"kind": kind, "contestants": contestants})
            if not python(["-m", "benchmarks.job", str(here / "job.json")], plan.threads):
                return None
            found: dict[str, Any] = json.loads((here / "result.json").read_text(encoding="utf-8"))
            return found

        yield run


def python(words: Sequence[str], threads: int, *, quiet: bool = False) -> bool:
    """Run this Python on our code in a new process.

    Returns:
        False where the process ran out of memory, or the system killed it.

    Raises:
        RuntimeError: it failed; its message went to standard error.
    """
    root = str(Path(__file__).resolve().parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    count = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    code = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, **count, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.DEVNULL if quiet else None,
        start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the other
        check=False,
    ).returncode
    if code not in (0, NO_MEMORY, -signal.SIGKILL):
        raise RuntimeError(f"{' '.join(words)} ended with exit code {code}")
    return code == 0


def run_training(data_root: str, epochs: int, threads: int, out: Path) -> dict[str, Any] | None:
    """Train SimMC on KGBD in a process of its own and score the probe in every epoch.

    Args:
        data_root: folder of the preprocessed datasets.
        epochs: gradient epochs, after the untrained epoch 0.
        threads: of that process.
        out: folder for temporary files.

    Returns:
        Seconds of every epoch and the peak memory; None where memory ran out.
    """
    with TemporaryDirectory(prefix="epoch-", dir=out) as folder:
        words = ["-m", "simmc", "simmc", "--dataset", "KGBD", "--probe", "probe"]
        words += ["--data_root", data_root, "--model_root", folder, "--run", "benchmark"]
        words += ["--epochs", str(epochs), "--threads", str(threads), "--device", "cpu"]
        if not python(words, threads, quiet=True):
            return None
        run = Path(folder) / "KGBD" / "probe" / "benchmark"
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    return {
        "epochs": epochs,
        "seconds": [json.loads(line)["seconds"] for line in lines],
        "peak_rss_bytes": results["peak_rss_bytes"],
        "windows": {name: results["counts"][name] for name in ("train", "probe", "gallery")},
        "generated": results["data"]["generated"],
    }


def read(file: Path) -> dict[str, Any]:
    """The record in a file; UserError where it is missing or no benchmark.json."""
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']}, not {FORMAT}")
        page.document(record)  # a record that cannot be rendered is damaged
        return record
    except (
        *(OSError, ArithmeticError, AttributeError, LookupError),
        *(TypeError, ValueError, RecursionError),
    ) as error:
        raise UserError(
            f"{file} is not a readable benchmark.json of this version "
            f"({type(error).__name__}: {error}). Name another file, or measure again."
        ) from error


def begin(out: Path, settings: dict[str, Any], threads: int) -> dict[str, Any]:
    """The record in the folder `out`: a new one, or the one to continue.

    Raises:
        UserError: the folder cannot be written, or its measurements were made in another way.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"--out {out}: {reason}. Name another folder.") from error
    here = {"machine": machine(threads), "settings": settings}
    if not (out / FILE).exists():
        new = {"format": FORMAT, "cases": [], "epoch": None, "load": [], "notes": [], "fit_from": 0}
        return new | here
    record = read(out / FILE)
    for part, now in here.items():
        for key, value in now.items():
            before = record[part].get(key)
            if before != value:
                raise UserError(
                    f"--out {out} holds measurements with {key} {before}, not {value}; they cannot "
                    "be mixed. Name another folder, or delete that one."
                )
    return record


def save(out: Path, record: dict[str, Any]) -> None:
    """Write the record with its summary."""
    files.write_json(out / FILE, record | {"summary": page.summarise(record)})


def case_of(record: dict[str, Any], dataset: str, n: int, generated: bool) -> dict[str, Any]:
    """The case of a data set and size, created where it is missing; cases stay sorted."""
    for case in record["cases"]:
        if (case["dataset"], case["n"]) == (dataset, n):
            return case
    new: dict[str, Any] = {"dataset": dataset, "n": n, "generated": generated}
    new |= {"lists": None, "time": None, "memory": {}}
    record["cases"].append(new)
    order = list(dict.fromkeys(case["dataset"] for case in record["cases"]))
    record["cases"].sort(key=lambda case: (order.index(case["dataset"]), case["n"]))
    return new


def note(record: dict[str, Any], sentence: str) -> None:
    """Add a remark unless it is there."""
    if sentence not in record["notes"]:
        record["notes"].append(sentence)


def machine(threads: int) -> dict[str, Any]:
    """Versions, processor, cores, threads and memory."""
    memory = processor = None
    with suppress(ValueError, OSError, AttributeError):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("model name"))
        processor = line.partition(":")[2].strip()
    return {
        **versions(),
        "processor": processor or platform.processor() or platform.machine(),
        "cores": physical_cores(),
        "threads": threads,
        "memory_bytes": memory,
    }


def load_average() -> float | None:
    """Load average over the last minute, where the system reports it."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def available_bytes() -> int | None:
    """Memory that a new process may use: of the machine, and of its control group (Linux)."""
    limits = [proc_bytes("/proc/meminfo", "MemAvailable")]
    with suppress(OSError, ValueError):
        most, used = (
            Path(f"/sys/fs/cgroup/memory.{name}").read_text().strip() for name in ("max", "current")
        )
        limits.append(None if most == "max" else int(most) - int(used))
    return min((limit for limit in limits if limit is not None), default=None)


def proc_bytes(file: str, name: str) -> int | None:
    """A number of kilobytes from a /proc file, in bytes."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path(file).read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None
