"""Every measurement in a process of its own, and its result into the record."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import simmc
from simmc import files
from simmc.benchmarks import machine, record
from simmc.benchmarks.contestants import CONTESTANTS
from simmc.benchmarks.summary import MIB
from simmc.benchmarks.worker import NO_MEMORY

DENSE_BYTES = 10  # a pair of rows: weights, averaged weights, and some more
Say = Callable[[str], None]


@dataclass(frozen=True)
class Source:
    """Features of one data set.

    Attributes:
        name: of the data set; "(generated)" is added where it is.
        generated: whether a program made them up.
        most: how many rows there are; None: any number.
        rows: N to (N, d) float32.
    """

    name: str
    generated: bool
    most: int | None
    rows: Callable[[int], np.ndarray]

    def sizes(self, wanted: Sequence[int]) -> list[int]:
        """The wanted sizes, with all rows in place of whatever is more than that."""
        if self.most is None:
            return sorted(set(wanted))
        return sorted({min(n, self.most) for n in wanted})


@dataclass(frozen=True)
class Plan:
    """What is asked for.

    Attributes:
        contestants: names of `CONTESTANTS`.
        repeats: how often each time is taken.
        threads: of every process.
        exact_up_to: beyond this N, approximate neighbour lists are used and exact search rests.
        dense_up_to: beyond this N, the dense routine rests.
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
    """Measures a data set at some sizes; what the record `kept` holds already stays as it is."""
    for n in source.sizes(sizes):
        case = record.case_of(kept, source.name, n, source.generated)
        where = f"{source.name}, N = {n:,}"
        chosen, reasons = choose(n, plan, where)
        for reason in reasons:
            record.note(kept, reason)
        timed = [name for name in chosen if CONTESTANTS[name].timed]
        missing = [name for name in chosen if plan.memory and name not in case["memory"]]
        if not chosen or (case["time"] is not None and not missing):
            say(f"{where}: {'measured before' if chosen else 'left out'}")
            record.save(out, kept)
            continue
        with prepared(source, n, plan, out) as run:

            def tell(text: str, where: str = where) -> None:
                say(f"{where}: {text}")

            tell("neighbour lists")
            lists = run("lists", timed)
            if lists is None:
                record.note(kept, f"{where}: left out, no memory for the neighbour lists")
                continue
            case["lists"] = lists
            if case["time"] is None:
                tell(f"time, {plan.repeats} repeats of {', '.join(timed)}")
                case["time"] = run("time", timed)
                if case["time"] is None:
                    record.note(kept, f"{where}: no times, the process was killed")
                record.save(out, kept)
            for name in missing:
                found = run("memory", [name])
                if found is None:
                    record.note(kept, f"{where}: no memory of {name}, the process was killed")
                    continue
                case["memory"][name] = found
                tell(f"memory of {name}: {_mib(found['added_bytes'])} added")
                record.save(out, kept)
        record.save(out, kept)


def choose(n: int, plan: Plan, where: str) -> tuple[list[str], list[str]]:
    """The contestants that take part at N = n, and why others do not.

    Args:
        n: number of rows.
        plan: what is asked for.
        where: the case in words.
    """
    reasons = []
    chosen = list(plan.contestants)
    if n > plan.exact_up_to:
        chosen = [name for name in chosen if not CONTESTANTS[name].exact_search]
        reasons.append(f"{where}: neighbour lists are approximate (--exact_up_to)")
    if any(CONTESTANTS[name].quadratic for name in chosen):
        available = machine.available_bytes()
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
    """Writes the features of a case for a while; gives what runs one job on them.

    A job's answer is None where the system killed its process, as it does when memory runs out.
    """
    with TemporaryDirectory(prefix="case-", dir=out) as folder:
        here = Path(folder).resolve()
        np.save(here / "features.npy", source.rows(n))
        job = {
            "features": here / "features.npy",
            "lists": here / "lists.npy",
            "result": here / "result.json",
            "exact": n <= plan.exact_up_to,
            "repeats": plan.repeats,
            "threads": plan.threads,
        }

        def run(kind: str, contestants: list[str]) -> dict[str, Any] | None:
            (here / "result.json").unlink(missing_ok=True)
            files.write_json(here / "job.json", job | {"kind": kind, "contestants": contestants})
            words = ["-m", "simmc.benchmarks.worker", str(here / "job.json")]
            if not python(words, plan.threads):
                return None
            found: dict[str, Any] = json.loads((here / "result.json").read_text(encoding="utf-8"))
            return found

        yield run


def python(words: Sequence[str], threads: int, *, quiet: bool = False) -> bool:
    """Runs this Python on our package in a new process.

    Returns:
        Whether it had memory enough: False where it found none, or the system killed it.

    Raises:
        RuntimeError: it failed; its own words went to standard error.
    """
    root = str(Path(simmc.__file__).resolve().parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    count = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    code = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, **count, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.DEVNULL if quiet else None,
        start_new_session=True,  # Ctrl-C is for us: we end the process and say so
        check=False,
    ).returncode
    if code not in (0, NO_MEMORY, -signal.SIGKILL):
        raise RuntimeError(f"{' '.join(words)} ended with exit code {code}")
    return code == 0


def _mib(count: int | None) -> str:
    return "unknown" if count is None else f"{count / MIB:,.1f} MiB"
