"""How the code is laid out: imports point one way, few levels, names that occur once."""

import ast
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.data.make import own_set

PACKAGE = ROOT / "simmc"
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FILES.values()
}
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
# A part may import parts of its own layer and of the layers before it, but never in a circle.
LAYERS = (
    ("simmc", "errors"),
    ("files", "compiled"),
    ("data", "distances"),
    ("settings",),
    ("models", "losses", "clustering", "evaluation"),
    ("runs",),
    ("scoring",),
    ("engine",),
    ("methods",),
    ("reports",),
    ("cli", "api", "__main__"),
)
HEIGHT = {part: height for height, parts in enumerate(LAYERS) for part in parts}


@cache
def trees() -> dict[str, ast.Module]:
    """Every module, parsed once."""
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def part_of(module: str) -> str:
    """The part of the package that a module belongs to: "simmc.data.raw.kgbd" -> "data"."""
    words = module.split(".")[1:]
    return words[0] if words else "simmc"


def imports() -> Iterator[tuple[str, str]]:
    """Every module with each of ours that it imports, also inside functions."""
    for module, tree in trees().items():
        if module == "simmc":
            continue  # its public names are imported on first use
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for name in node.names:
                    if name.name.split(".")[0] == "simmc":
                        yield module, name.name
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module}: relative import; write the whole name"
                if node.module and node.module.split(".")[0] == "simmc":
                    for name in node.names:
                        inner = f"{node.module}.{name.name}"
                        yield module, inner if inner in MODULES else node.module


def test_every_part_has_a_layer():
    assert {part_of(module) for module in MODULES} <= set(HEIGHT)


def test_imports_point_down_and_no_part_imports_itself_by_way_of_others():
    found = list(imports())
    assert len({module for module, _ in found}) > 100
    graph: dict[str, set[str]] = {}
    for module, imported in found:
        mine, other = part_of(module), part_of(imported)
        assert HEIGHT[other] <= HEIGHT[mine], f"{module} imports {imported}, which lies above it"
        if other != mine:
            graph.setdefault(mine, set()).add(other)
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError


def classes():
    """(file, class, names of its bases) of every class."""
    for name, tree in trees().items():
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
    own_set(tmp_path, "mine")
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
