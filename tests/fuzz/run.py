"""Many damaged inputs to every reader, in processes of their own, and counts of what came of them.

    python -m tests.fuzz.run --inputs 100000          all readers together
    python -m tests.fuzz.run --inputs 500 "probes npz" manifest
    python -m tests.fuzz.run --inputs 100000 --counts counts.json  goes on where it stopped
    python -m tests.fuzz.run --table counts.json      the counts as Markdown
    python -m tests.fuzz.run --again "probes npz" 17  one input, with its traceback

An input is the name of its reader and a number. A process that crashes or hangs is counted, and the
next one goes on behind the input that did it. Exit code: 0 where nothing failed, else 1.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

HANG = 60.0  # seconds without an answer
START = 600.0  # seconds for valid files, before the first answer
SPACE = 4 << 30  # bytes of address space that a process may add to what it has at the beginning
FIRST = 3  # inputs that are named for each kind of failure
BLOCK = 1000  # inputs of a reader before the next one has its turn
Counts = dict[str, Any]  # of a reader: inputs, valid, refused, failures and examples by kind


def main(argv: list[str]) -> int:
    """Prints a line for each block of inputs, then all counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("readers", nargs="*", help="default: all")
    parser.add_argument("--inputs", type=int, default=3000, help="of all readers together")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--counts", type=Path, help="a JSON file to which counts are added")
    parser.add_argument("--table", type=Path, help="prints a file of counts as Markdown")
    parser.add_argument("--again", action="store_true", help="READER NUMBER: one input, unguarded")
    words = parser.parse_args(argv)
    if words.table:
        print(table(json.loads(words.table.read_text())))
        return 0
    if words.again:
        return again(words.readers[0], int(words.readers[1]))
    report = campaign(words.readers, words.first, words.inputs, words.counts)
    totals = {key: sum(one[key] for one in report.values()) for key in ("inputs", *ENDS)}
    failed = totals["inputs"] - sum(totals[key] for key in ENDS)
    print(json.dumps({**totals, "failed": failed}))
    return 1 if failed else 0


ENDS = ("valid", "refused")


def campaign(names: list[str], first: int, inputs: int, kept: Path | None) -> dict[str, Counts]:
    """Counts of every reader, those of the file `kept` included, which is written anew each block.

    A reader goes on behind the inputs that the file has counted.
    """
    import torch

    from tests.fuzz.engine import READERS

    torch.set_num_threads(1)
    names = names or list(READERS)
    report: dict[str, Counts] = {}
    if kept and kept.exists():
        report = json.loads(kept.read_text())
    left = dict.fromkeys(names, max(1, -(-inputs // len(names))))
    while any(left.values()):
        for name in filter(left.get, names):
            began, count = time.perf_counter(), min(BLOCK, left[name])
            new: Counts = {"inputs": 0, "valid": 0, "refused": 0, "failures": {}, "examples": {}}
            one = report.setdefault(name, new)
            end = first + one["inputs"] + count
            while first + one["inputs"] < end:
                _one_process(name, first, end, one)
            left[name] -= count
            if kept:
                kept.write_text(json.dumps(report, indent=1))
            print(f"{name}: {one}, {time.perf_counter() - began:.0f} s", flush=True)
    return report


def _one_process(name: str, first: int, end: int, one: Counts) -> None:
    """Lets a process work until it ends, however it ends, and counts what came of its inputs.

    It is a fork of this one, so that nothing is imported again.
    """
    begin = first + one["inputs"]
    fork = multiprocessing.get_context("fork")
    answers, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=work, args=(name, begin, end, sender))
    process.start()
    sender.close()
    kind = ""
    while True:
        at = first + one["inputs"]
        if not answers.poll(START if at == begin else HANG):
            process.kill()
            kind = "hang"
        try:
            _count(answers.recv(), at, one)
        except EOFError:
            break
    process.join()
    if at < end:
        if process.exitcode == 1 and not kind:
            raise RuntimeError(f"{name}: the worker failed before input {at}; see its traceback")
        _count(kind or f"crash {process.exitcode}", at, one)


def _count(kind: str, at: int, one: Counts) -> None:
    one["inputs"] += 1
    if kind in ENDS:
        one[kind] += 1
        return
    one["failures"][kind] = one["failures"].get(kind, 0) + 1
    if one["failures"][kind] <= FIRST:
        one["examples"].setdefault(kind, []).append(at)


def work(name: str, at: int, end: int, answers: Connection) -> None:
    """The inputs `at` to `end` of a reader; an answer for each."""
    from tests.fuzz.engine import READERS, Case, outcome, quiet

    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_fast_folder()) as folder:
        case = Case(READERS[name], Path(folder) / "files")
        outcome(case, Random("warm"))
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + SPACE, size + SPACE))
        for place in range(at, end):
            with quiet():
                kind, _ = outcome(case, Random(f"{name}:{place}"))
            answers.send(kind)


def table(report: dict[str, Counts]) -> str:
    """Counts as a Markdown table."""
    rows = [
        [name, one["inputs"], one["valid"], one["refused"], sum(one["failures"].values())]
        for name, one in report.items()
    ]
    rows.append(["all", *(sum(row[place] for row in rows) for place in range(1, 5))])
    head = ["| reader | inputs | valid | refused | failed |", "|---|---|---|---|---|"]
    return "\n".join(
        [*head, *(f"| {row[0]} | " + " | ".join(f"{n:,}" for n in row[1:]) + " |" for row in rows)]
    )


def again(name: str, at: int) -> int:
    """One input, said and read without a guard: a failure ends in its traceback."""
    from tests.fuzz.engine import READERS, Case

    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        case = Case(READERS[name], Path(folder) / "files")
        print(case.damage(Random(f"{name}:{at}")))
        case.reader.call(case.here)
    return 0


def _fast_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
