"""How the code is laid out: few levels, one table of methods, names that occur once."""

import ast
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from simmc.data.skeletons import KINECT_V1
from simmc.data.store import write_dataset
from tests.conftest import ROOT

PACKAGE = ROOT / "simmc"
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
# A method is methods/<name>.py and its network models/<name>.py; a command of that name calls it,
# and its picture is in reports/; gpu/ is the clustering again, on a GPU.
PARALLEL = {"methods", "models", "cli", "scoring", "reports", "clustering", "clustering/gpu"}
# file name -> why it occurs in folders that are not parallel
TWICE = {
    "files.py": "files.py writes files of ours, data/raw/files.py reads those of datasets",
    "preprocess.py": "data/preprocess.py, and cli/preprocess.py its command",
    "pseudo_labels.py": "clustering/pseudo_labels.py of one set, engine/pseudo_labels.py of a run",
    "tracklets.py": "clustering/tracklets.py groups, evaluation/tracklets.py averages",
}
MOST_MODULES = 40


def classes():
    """(file, class, names of its bases) of every class."""
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases = [ast.unparse(base).partition("[")[0].split(".")[-1] for base in node.bases]
                yield name, node.name, bases


@pytest.mark.parametrize("base", ["Settings", "Training"])
def test_nothing_is_derived_twice(base):
    derived = {name for _, name, bases in classes() if base in bases} - {"Training"}
    assert len(derived) >= 8
    deeper = [f"{file}: {name}" for file, name, bases in classes() if derived & set(bases)]
    assert not deeper, f"derive from {base} itself, or compose"


def test_nothing_removes_what_it_inherits():
    assert not [name for name, path in FILES.items() if "LACKS" in path.read_text("utf-8")]


def test_no_module_is_found_by_its_name():
    """Except the public names, imported when used, and work that is sent to a Ray cluster."""
    found = [name for name, path in FILES.items() if "import_module" in path.read_text("utf-8")]
    assert set(found) <= {"__init__.py", "clustering/on_ray.py"}


def test_a_file_name_occurs_once_or_its_folder_explains_it():
    places = defaultdict(list)
    for name in FILES:
        folder, _, file = name.rpartition("/")
        if file != "__init__.py":
            places[file].append(folder)
    several = {file for file, folders in places.items() if len(folders) > 1}
    unexplained = {file: places[file] for file in several if not set(places[file]) <= PARALLEL}
    assert unexplained.keys() <= TWICE.keys()


COUNT = """
import json, sys
executed = set()
def look(frame, event, argument):
    if event == "call" and frame.f_code.co_flags & 2:  # a function's, not a module's or a class's
        executed.add(frame.f_code.co_filename)
from simmc import cli
import simmc.methods.registry, simmc.cli.console  # what an import builds is not the run
sys.setprofile(look)
code = cli.run("simmc", sys.argv[1:])
sys.setprofile(None)
print("\\n" + json.dumps([code, sorted(executed)]))
"""


def test_a_run_of_simmc_executes_few_modules(tmp_path):
    rng = np.random.default_rng(0)
    identity = np.arange(60) % 6
    windows = rng.normal(size=(6, 1, 20, 3))[identity] + 0.1 * rng.normal(size=(60, 6, 20, 3))
    splits = dict.fromkeys(("train", "probe", "gallery"), (windows, identity))
    write_dataset(tmp_path, "mine", splits, KINECT_V1)
    words = ["--dataset", "mine", "--data_root", tmp_path, "--model_root", tmp_path / "runs"]
    words += ["--epochs", 2, "--batch_size", 16, "--k1", 6, "--k2", 2, "--H", 8, "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-c", COUNT, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    code, files = json.loads(done.stdout.splitlines()[-1])
    modules = [Path(file).relative_to(PACKAGE).as_posix() for file in files if str(PACKAGE) in file]
    assert code == 0 and "methods/simmc.py" in modules
    assert len(modules) <= MOST_MODULES, " ".join(sorted(modules))


def test_help_imports_no_heavy_library():
    """A stand-in without a file takes its place (simmc/cli/light.py)."""
    script = (
        "import runpy, sys; sys.argv = ['SimMC.py', '--help']\n"
        "try: runpy.run_path('SimMC.py', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "there = [n for n in ('torch', 'numba') if n in sys.modules]\n"
        "sys.exit([n for n in there if '__file__' in vars(sys.modules[n])] or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--mask_x" in done.stdout
