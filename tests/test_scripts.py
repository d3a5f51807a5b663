"""The shell scripts and the packaging: no network is used here."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
SCRIPTS = [*sorted((ROOT / "scripts").glob("*.sh")), ROOT / ".ci" / "run"]
bash = shutil.which("bash")
needs_bash = pytest.mark.skipif(bash is None, reason="there is no bash on this machine")


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    found = [line for line in lines if line.strip() and not line.startswith("#")]
    return dict(line.split("==") for line in found)


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


class TestRequirements:
    @pytest.mark.parametrize("name", ["", "-gpu", "-test", "-docs"])
    def test_every_package_is_pinned_to_one_version(self, name):
        for version in pins(f"requirements{name}.txt").values():
            assert re.fullmatch(r"[0-9][0-9a-z.]*", version)

    def test_the_package_metadata_agree_with_the_pins(self):
        pinned = pins("requirements.txt") | pins("requirements-test.txt")
        pinned |= pins("requirements-gpu.txt")
        extras = project()["optional-dependencies"].values()
        for text in [*project()["dependencies"], *(line for extra in extras for line in extra)]:
            requirement = Requirement(text)
            assert requirement.specifier.contains(pinned[requirement.name]), text

    def test_the_oldest_versions_are_the_lower_bounds(self):
        oldest = pins("requirements-oldest.txt")
        extras = project()["optional-dependencies"]
        lines = [*project()["dependencies"], *extras["test"]]
        bounds = {r.name: r.specifier for r in map(Requirement, lines)}
        exact = {name for name, bound in bounds.items() if str(bound).startswith("==")}
        assert oldest.keys() - {"setuptools"} == bounds.keys() - exact
        for name in oldest.keys() & bounds.keys():
            (bound,) = bounds[name]
            assert Version(bound.version) == Version(oldest[name]), name

    def test_the_console_command_exists(self):
        import importlib

        module, _, function = project()["scripts"]["simmc"].partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_the_wheel_holds_the_package_and_the_presets(tmp_path):
    pytest.importorskip("setuptools")
    source = tmp_path / "source tree"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("simmc", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    code = "from setuptools.build_meta import build_wheel as b; print(b('.'))"
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    names = zipfile.ZipFile(source / made.stdout.split()[-1]).namelist()
    ours = {name for name in names if ".dist-info/" not in name}
    code = {path.relative_to(ROOT).as_posix() for path in (ROOT / "simmc").rglob("*.py")}
    presets = {
        f"simmc/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").rglob("*.toml")
    }
    pages = {
        f"simmc/reports/{name}" for name in ("page.css", "look.css", "results.css", "moving.js")
    }
    assert ours == code | presets | pages | {"simmc/py.typed"}


@needs_bash
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_have_no_fault_of_syntax(path):
    subprocess.run([bash, "-n", path], check=True)


@needs_bash
def test_what_names_its_interpreter_can_be_executed():
    """The others are sourced, imported, or called by `python`."""
    paths = [path for path in (ROOT / "scripts").iterdir() if path.is_file()]
    paths += [ROOT / ".ci" / "run", *ROOT.glob("*.py"), *(ROOT / "examples").glob("*.py")]
    named = {path.name for path in paths if path.read_bytes().startswith(b"#!")}
    assert named >= {"run", "demo.sh", "test.sh", "wheel.sh", "docs.sh", "gpu_check.sh"}
    assert named == {path.name for path in paths if os.access(path, os.X_OK)}


# Stands for Python where environments are made: `-m venv` and `-m pip install` take no time and no
# network, and an installation fails where the requirement file names what does not exist.
IMITATION = """#!/usr/bin/env bash
case "$*" in
"-m venv --clear "*)
    rm -rf -- "$4"
    mkdir -p -- "$4/bin"
    cp -- "$0" "$4/bin/python"
    ;;
"-m pip install "*)
    echo "pip $*"
    ! grep -q "no such package" "${@: -1}"
    ;;
"-m pip --version") ;;
*) exec "@PYTHON@" "$@" ;;
esac
"""


@pytest.fixture
def prepare(tmp_path):
    """Calls `prepare_environment` in a copy of the project, in a path with spaces."""
    place, imitation = tmp_path / "a place with spaces", tmp_path / "an imitation"
    (place / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "env.sh", place / "scripts")
    imitation.write_text(IMITATION.replace("@PYTHON@", sys.executable))
    imitation.chmod(0o755)

    def call(requirement="torch==1.2.3", *, strict=True, python=imitation, **variables):
        (place / "requirements.txt").unlink(missing_ok=True)
        if requirement:
            (place / "requirements.txt").write_text(f"{requirement}\n")
        script = f'{"set -euo pipefail; " if strict else ""}. "$1/scripts/env.sh"; '
        script += 'prepare_environment requirements.txt; "$PYTHON" -c "print(40 + 2)"'
        return subprocess.run(
            [bash, "-c", script, "bash", str(place)],
            cwd=tmp_path,
            env={**os.environ, "SIMMC_PYTHON": str(python), **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    return call


@needs_bash
def test_an_environment_is_made_once_then_kept_and_changed(prepare):
    first = prepare(SIMMC_TORCH_INDEX="place/of/wheels")
    assert first.returncode == 0, first.stderr
    assert "Making the virtual environment" in first.stdout and first.stdout.endswith("42\n")
    torch, rest = re.findall(r"^pip .*$", first.stdout, re.M)
    assert "--no-deps --index-url place/of/wheels torch==1.2.3" in torch
    assert "index-url" not in rest
    assert prepare(strict=False).stdout == "42\n"  # nothing to do, nothing said
    changed = prepare("torch==1.2.4").stdout
    assert "Installing requirements.txt" in changed and "Making the virtual" not in changed


@needs_bash
@pytest.mark.parametrize("strict", [True, False])
def test_a_failed_installation_is_an_error_and_made_anew(prepare, strict):
    failed = prepare("no such package", strict=strict)
    assert failed.returncode == 2 and "requirements.txt" in failed.stderr
    mended = prepare(strict=strict)
    assert "Making the virtual environment" in mended.stdout and mended.returncode == 0
    assert prepare().stdout == "42\n"


@needs_bash
@pytest.mark.parametrize("strict", [True, False])
def test_what_is_missing_is_named(prepare, strict):
    failed = prepare(strict=strict, python="/no/python")
    assert failed.returncode == 2 and "SIMMC_PYTHON=/no/python" in failed.stderr
    failed = prepare("", strict=strict)
    assert failed.returncode == 2 and "requirements.txt" in failed.stderr


def test_mutants_are_small_changes_of_code_and_not_of_texts_and_types():
    spec = importlib.util.spec_from_file_location("mutate", ROOT / "scripts" / "mutate.py")
    mutate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mutate)
    text = '''"""Text."""
def f(x: int | None, *, up: bool = True) -> int | None:
    y = "é" if not x else x  # 1 + 1
    y += 2
    return y if x < 3 and up else None
'''
    found = {(line, before, after) for line, before, after, _ in mutate.mutants(text)}
    assert found == {
        (2, "True", "False"),
        (3, "not x", "x"),
        (4, "y += 2", "y -= 2"),
        (4, "2", "3"),
        (5, "x < 3", "x <= 3"),
        (5, "3", "4"),
        (5, "x < 3 and up", "x < 3 or up"),
    }
    for line, _, _, whole in mutate.mutants(text):
        pairs = zip(text.split("\n"), whole.split("\n"), strict=True)
        changed = [i for i, (a, b) in enumerate(pairs) if a != b]
        assert changed == [line - 1]
