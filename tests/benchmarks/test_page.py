"""docs/benchmark.md names flags, defaults and contestants that exist."""

import re
from pathlib import Path

from simmc.benchmarks.contestants import CONTESTANTS

from simmc.cli.benchmark import INPUTS, BenchmarkSettings
from simmc.settings import options_of, resolve

PAGE = (Path(__file__).parents[2] / "docs" / "benchmark.md").read_text(encoding="utf-8")


def rows(heading):
    table = PAGE[PAGE.index(heading) :].split("\n\n")[0]
    return [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def test_flags_and_defaults():
    defaults = {f"--{option.key}": option.default for option in options_of(BenchmarkSettings)}
    special = {
        "--inputs": "all three",
        "--fit_from": "0",
        "--memory": "1",
        "--threads": "cores",
    }
    for flag, shown, _ in rows("| flag |"):
        assert shown == special.get(flag, str(defaults[flag]))
    for flag in re.findall(r"--\w+", PAGE):
        assert flag in {*defaults, "--dataset"}


def test_commands_parse():
    lines = re.findall(r"^python -m simmc benchmark(.*)$", PAGE, re.M)
    assert lines
    for line in lines:
        resolve(BenchmarkSettings, line.split())


def test_contestants_and_data_sets():
    assert sorted(row[0] for row in rows("| name |")) == sorted(CONTESTANTS)
    for name in INPUTS:
        assert re.search(rf"^- \*\*{name} \(", PAGE, re.M)
