"""One visit to a GPU: tests, times and a record of both. `bash scripts/gpu_check.sh --help`.

Each part is a process of its own with a limit of its own, the most important first. A part writes
what it has measured at once, so that a part that is cut off still leaves something.
"""

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmarks import gpu_page
from simmc import files

ROOT = Path(__file__).resolve().parents[1]
FILE = "gpu_check.json"
TRAININGS = ("simmc", "trackmc", "himpc")
ARCHIVE, WALKERS = "archive", "synthetic walkers"


@dataclass(frozen=True)
class Part:
    """A step of the check.

    Attributes:
        name: also of its file of results.
        what: for the log.
        seconds: after which it is stopped.
    """

    name: str
    what: str
    seconds: float


# 480 seconds in all
PARTS = (
    Part("machine", "versions, card, memory", 20),
    Part("tests_methods", "two epochs of every method against the CPU", 50),
    Part("tests_clustering", "clustering against the compiled engine", 50),
    Part("tests_evaluation", "ranking against the compiled engine", 30),
    Part("data", "windows of KGBD, or of walkers of its size", 60),
    Part("simmc", "a whole run of SimMC", 90),
    Part("trackmc", "a whole run of TrackMC", 25),
    Part("clustering", "10k to 1M rows", 110),
    Part("himpc", "a run of Hi-MPC", 45),
)


def main(argv: list[str]) -> int:
    """Run the parts, or one of them in this process, or render a record."""
    parser = argparse.ArgumentParser(prog="gpu_check", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="default: cuda")
    parser.add_argument("--small", action="store_true", help="small sizes: tries the script itself")
    parser.add_argument("--kgbd", type=Path, help="archive of raw KGBD; without it, walkers")
    parser.add_argument("--out", type=Path, default=Path("gpu_check"), help="default: gpu_check")
    parser.add_argument("--parts", default="all", help=", ".join(part.name for part in PARTS))
    parser.add_argument("--limits", type=float, default=1.0, help="factor of all limits")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--render", type=Path, help="only write the section of this record")
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "benchmark.md")
    given = parser.parse_args(argv)
    given.out = given.out.resolve()
    if given.render:
        try:
            gpu_page.put(json.loads(given.render.read_text(encoding="utf-8")), given.into)
        except (OSError, ValueError, LookupError, TypeError) as error:
            parser.error(f"--render {given.render}: no record of this script ({error})")
        return 0
    if given.part:
        from benchmarks import gpu_parts

        gpu_parts.run(given)
        return 0
    if given.kgbd and not given.kgbd.is_file():
        parser.error(f"--kgbd {given.kgbd}: there is no such file")
    names = [part.name for part in PARTS] if given.parts == "all" else given.parts.split(",")
    if unknown := set(names) - {part.name for part in PARTS}:
        parser.error(f"--parts: there is no {', '.join(sorted(unknown))}; see --help")
    if given.device == "cuda" and not has_gpu():
        parser.error("--device cuda: torch finds no GPU. Try the script with --device cpu --small")
    check(given, [part for part in PARTS if part.name in names])
    print(f"\n{given.out / FILE}\n{given.out / 'gpu_check.log'}")  # noqa: T201
    return 0


def has_gpu() -> bool:
    """Whether torch finds a GPU; asked in another process, so that none of its memory is held."""
    asked = [sys.executable, "-c", "import sys, torch; sys.exit(not torch.cuda.is_available())"]
    return subprocess.run(asked, check=False).returncode == 0


def check(given: argparse.Namespace, parts: Sequence[Part]) -> None:
    """Run parts in their order; the record is written after each."""
    (given.out / "parts").mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {
        "format": gpu_page.FORMAT,
        "date": time.strftime("%Y-%m-%d"),
        "device": given.device,
        "small": given.small,
        "kgbd": f"{ARCHIVE} {given.kgbd.name}" if given.kgbd else WALKERS,
        "parts": {},
    }
    with (given.out / "gpu_check.log").open("ab") as log:
        for part in parts:
            limit = part.seconds * given.limits
            print(f"{part.name}: {part.what} (at most {limit:.0f} s)", flush=True)  # noqa: T201
            record["parts"][part.name] = run_part(part, limit, given, log)
            files.write_json(given.out / FILE, record)
            end = record["parts"][part.name]
            print(f"    {end['end']} after {end['wall_s']:.1f} s", flush=True)  # noqa: T201


def run_part(part: Part, limit: float, given: argparse.Namespace, log: Any) -> dict[str, Any]:
    """What a part measured, how it ended, and its wall-clock seconds."""
    results = given.out / "parts" / f"{part.name}.json"
    results.unlink(missing_ok=True)
    report = results.with_suffix(".xml")
    report.unlink(missing_ok=True)
    log.write(f"\n=== {part.name}: {part.what}\n".encode())
    log.flush()
    is_test = part.name.startswith("tests_")
    if is_test and (lacking := [m for m in ("pytest", "hypothesis") if not installed(m)]):
        return {"end": f"left out: no {' and no '.join(lacking)}", "wall_s": 0.0}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *(test_words if is_test else part_words)(part.name, given, report)],
        cwd=ROOT,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, "SIMMC_TEST_DEVICE": given.device, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    try:
        code = process.wait(limit)
        end = "done" if code == 0 else f"failed with exit code {code}"
    except subprocess.TimeoutExpired:
        end = f"stopped at its limit of {limit:.0f} s"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    found: dict[str, Any] = {"end": end, "wall_s": round(time.perf_counter() - began, 3)}
    if results.is_file():
        found |= json.loads(results.read_text(encoding="utf-8"))
    if report.is_file():
        found |= counts(report)
    if part.name in TRAININGS:
        found["epochs"] = epochs(given.out / "runs" / "KGBD" / "probe" / part.name)
    return found


def installed(module: str) -> bool:
    """Whether a module can be imported."""
    return importlib.util.find_spec(module) is not None


def part_words(name: str, given: argparse.Namespace, report: Path) -> list[str]:
    """The words after `python` that run a part."""
    words = ["-m", "benchmarks.gpu_check", "--part", name, "--device", given.device]
    words += ["--out", str(given.out)] + ["--small"] * given.small
    return words + (["--kgbd", str(given.kgbd.resolve())] if given.kgbd else [])


def test_words(name: str, given: argparse.Namespace, report: Path) -> list[str]:
    """The words after `python` that run a file of tests."""
    file = f"tests/{name.removeprefix('tests_')}/test_on_device.py"
    several = installed("xdist") and given.device == "cuda"
    words = ["-m", "pytest", "-v", "-p", "no:cacheprovider", f"--junitxml={report}", file]
    return words + (["-n", "4"] if several else [])


def counts(report: Path) -> dict[str, Any]:
    """Tests that passed, and the names of those that did not, from pytest's XML."""
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    bad = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    skipped = [c for c in cases if c.find("skipped") is not None]
    return {
        "passed": len(cases) - len(bad) - len(skipped),
        "skipped": len(skipped),
        "failed": [str(c.get("name")) for c in bad],
    }


def epochs(run: Path) -> list[dict[str, float]]:
    """Seconds by stage of the epochs that a run has finished."""
    log = run / "metrics.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    return [json.loads(line)["seconds"] for line in lines]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
