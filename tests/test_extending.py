"""The method of docs/extending.md, written as a stranger would: one file and one row."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from simmc.methods.registry import METHODS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
# the line before the last stands for the row in simmc/methods/registry.py
START = """
import mine
from simmc import cli
from simmc.methods import registry
registry.METHODS["mine"] = mine.METHOD
assert all(cli.run(*words) == 0 for words in COMMANDS)
assert cli.run("mine", ["--leng", "3"]) == 2
print(cli.overview())
"""
DATA = ["--dataset", "KS20"]
COMMANDS = [
    ("generate", [*DATA, "--size", "tiny", "--raw_root", "raw"]),
    ("preprocess", ["6", *DATA, "--raw_root", "raw"]),
    ("mine", [*DATA, "--epochs", "1", "--batch_size", "16"]),
    ("mine", [*DATA, "--epochs", "2", "--resume"]),
    ("mine", [*DATA, "--mode", "Eval", "--walk", "all"]),
    ("report", ["table", "--format", "csv", "--out", "table.csv"]),
    ("mine", [*DATA, "--model_size", "1"]),
    ("mine", ["--help"]),
]


@pytest.mark.slow
def test_a_method_is_one_file_and_one_row(tmp_path):
    (example,) = re.findall(r'^```python\n("""Mine.*?)^```', PAGE, re.M | re.S)
    (tmp_path / "mine.py").write_text(example, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", f"COMMANDS = {COMMANDS!r}\n{START}"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for text in ("MINE 0.", "label_free", "whole recordings", "parameters", "--epochs"):
        assert text in done.stdout
    assert "continuing at epoch 1" in done.stdout
    assert "did you mean --length?" in done.stderr
    assert re.search("^  mine +train Mine without labels", done.stdout, re.M)
    assert re.search(r"KS20.*,Mine,released,label_free,", (tmp_path / "table.csv").read_text())
    assert (tmp_path / "ReID_Models/KS20/probe/mine_f6_released_seed0/label_free").is_dir()


def test_the_registry_is_a_list_of_rows():
    source = (ROOT / "simmc" / "methods" / "registry.py").read_text(encoding="utf-8")
    assert len(re.findall(r"^        \w+\.\w*METHOD,$", source, re.M)) == len(METHODS)
