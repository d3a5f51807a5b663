"""Many damaged inputs to every reader, in processes of their own, and counts of what came of them.

    python -m tests.fuzz.run --inputs 100000          all readers together
    python -m tests.fuzz.run --inputs 500 "probes npz" manifest
    python -m tests.fuzz.run --again "probes npz" 17  one input, with its traceback

An input is the name of its reader and a number. A process that crashes or hangs is counted, and the
next one goes on behind the input that did it. Exit code: 0 where nothing failed, else 1.
"""

from __future__ import annotations

import argparse
import json
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

HANG = 60.0  # seconds without an answer
START = 600.0  # seconds for imports and valid files, before the first answer
SPACE = 4 << 30  # bytes of address space that a process may add to what it has at the beginning
FIRST = 3  # inputs that are named for each kind of failure


def main(argv: list[str]) -> int:
    """Prints a line for each reader, then all counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("readers", nargs="*", help="default: all")
    parser.add_argument("--inputs", type=int, default=3000, help="of all readers together")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--again", action="store_true", help="READER NUMBER: one input, unguarded")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    words = parser.parse_args(argv)
    if words.worker:
        return work(words.readers[0], words.first, words.inputs)
    if words.again:
        return again(words.readers[0], int(words.readers[1]))
    names = words.readers or known()
    each = max(1, -(-words.inputs // len(names)))
    report: dict[str, Any] = {}
    for name in names:
        began = time.perf_counter()
        report[name] = campaign(name, words.first, each)
        print(f"{name}: {report[name]}, {time.perf_counter() - began:.0f} s", flush=True)
    failed = sum(sum(one["failures"].values()) for one in report.values())
    totals = {key: sum(one[key] for one in report.values()) for key in ("valid", "refused")}
    print(json.dumps({"inputs": each * len(names), **totals, "failed": failed}))
    return 1 if failed else 0


def known() -> list[str]:
    """Names of all readers."""
    from tests.fuzz.readers import READERS

    return list(READERS)


def campaign(name: str, first: int, count: int) -> dict[str, Any]:
    """Counts of one reader over so many inputs."""
    found: Counter[str] = Counter()
    examples: dict[str, list[int]] = {}
    at = first
    while at < first + count:
        at = _one_process(name, at, first + count, found, examples)
    failures = {kind: n for kind, n in found.most_common() if kind not in ("valid", "refused")}
    made = {"valid": found["valid"], "refused": found["refused"], "failures": failures}
    return made | ({"examples": examples} if examples else {})


def _one_process(
    name: str, at: int, end: int, found: Counter[str], examples: dict[str, list[int]]
) -> int:
    """Lets a process work until it ends, however it ends; the number of the next input."""
    words = ["--worker", name, "--first", str(at), "--inputs", str(end - at)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz.run", *words], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    kind, first = "", at
    while True:
        patience = START if at == first else HANG
        if not select.select([process.stdout], [], [], patience)[0]:
            process.kill()
            kind = "hang"
        line = process.stdout.readline()
        if not line:
            break
        _count(json.loads(line), at, found, examples)
        at += 1
    code = process.wait()
    if at < end:
        if code == 1 and not kind:
            raise RuntimeError(f"{name}: the worker failed before input {at}; see its traceback")
        _count(kind or f"crash {code}", at, found, examples)
        at += 1
    return at


def _count(kind: str, at: int, found: Counter[str], examples: dict[str, list[int]]) -> None:
    found[kind] += 1
    if kind not in ("valid", "refused") and found[kind] <= FIRST:
        examples.setdefault(kind, []).append(at)


def work(name: str, first: int, count: int) -> int:
    """The inputs of one process; a line for each."""
    import torch

    from tests.fuzz.engine import READERS, Case, outcome, quiet

    torch.set_num_threads(1)
    answers = sys.stdout.buffer
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_fast_folder()) as folder:
        case = Case(READERS[name], Path(folder) / "files")
        outcome(case, Random("warm"))
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + SPACE, size + SPACE))
        for at in range(first, first + count):
            with quiet():
                kind, _ = outcome(case, Random(f"{name}:{at}"))
            answers.write(json.dumps(kind).encode() + b"\n")
            answers.flush()
    return 0


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
