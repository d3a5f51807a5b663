"""What several tests share: real KGBD, where it is at hand."""

import os
import re
import sys
import tarfile
from pathlib import Path

import hypothesis
import pytest

from simmc.data.raw.kgbd import FOLDER

ROOT = Path(__file__).resolve().parent.parent
# their tests run whole commands or trainings; `scripts/test.sh --fast` leaves them out
SLOW_FOLDERS = {"benchmarks", "cli", "engine", "fuzz", "golden", "methods"}
SLICE_PERSONS = 12


def is_fast(config: pytest.Config) -> bool:
    """Whether slow tests are left out."""
    return "not slow" in config.getoption("markexpr")


def pytest_configure(config: pytest.Config) -> None:
    """Fast tests draw fewer inputs; where a test names a number of its own, that one holds.

    No input has a deadline: on a busy machine any takes longer than Hypothesis's 0.2 seconds.
    """
    hypothesis.settings.register_profile("whole", deadline=None)
    hypothesis.settings.register_profile("fast", deadline=None, max_examples=20)
    hypothesis.settings.load_profile("fast" if is_fast(config) else "whole")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Folders of slow tests are not even imported where those are left out."""
    slow = collection_path.parent == ROOT / "tests" and collection_path.name in SLOW_FOLDERS
    return True if slow and is_fast(config) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of whole folders, and those of slow.txt, as slow."""
    listed = set((ROOT / "tests" / "slow.txt").read_text(encoding="utf-8").splitlines())
    for item in items:
        if (
            item.nodeid.partition("[")[0] in listed
            or item.path.relative_to(ROOT / "tests").parts[0] in SLOW_FOLDERS
        ):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def denormal_numbers() -> None:
    """Undoes what a command run in an earlier test of this process has set (`runtime.start`).

    Commands round denormal numbers to zero. Hypothesis refuses to draw floats then, and whether it
    came to that would depend on the order of the tests.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


def shared_file(name: str, variable: str | None = None) -> Path:
    """A file beside the KGBD archive, or where an environment variable points; skips without it."""
    told = os.environ.get(variable, "") if variable else ""
    path = Path(told) if told else ROOT.parent / "shared" / "data" / name
    if not path.is_file():
        hint = f"; {variable} can name it" if variable else ""
        pytest.skip(f"needs real data: there is no {path}{hint}")
    return path


def _unpack(archive: Path, root: Path, persons: int | None) -> Path:
    """Writes the walks of the archive's first persons (all of them for None) into a raw root."""
    seen: set[str] = set()
    with tarfile.open(archive, "r|*") as tar:
        for member in tar:
            walk = re.fullmatch(r"Data/(Person\d+)/(\d+\.txt)", member.name)
            if walk is None:
                continue
            seen.add(walk[1])
            if persons is not None and len(seen) > persons:
                break  # the archive lists person after person
            path = root / "KGBD" / FOLDER / walk[1] / walk[2]
            path.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            assert content is not None
            path.write_bytes(content.read())
    return root


def _unpacked() -> Path | None:
    """The folder that SIMMC_KGBD_DIR names, so that nothing has to be unpacked."""
    told = os.environ.get("SIMMC_KGBD_DIR", "")
    if not told:
        return None
    for folder in (Path(told), Path(told) / "KGBD" / FOLDER, Path(told) / "Data"):
        if (folder / "Person001").is_dir():
            return folder.resolve()
    return pytest.fail(f"SIMMC_KGBD_DIR={told} holds no Person001")


@pytest.fixture(scope="session")
def kgbd_archive() -> Path:
    """The archive of raw KGBD."""
    return shared_file("kgbd-raw.tar.xz", "SIMMC_KGBD_ARCHIVE")


def _raw_root(root: Path, request: pytest.FixtureRequest, persons: int | None) -> Path:
    """A raw root with KGBD's first persons, or all of them for None."""
    unpacked = _unpacked()
    if unpacked is None:
        return _unpack(request.getfixturevalue("kgbd_archive"), root, persons)
    (root / "KGBD" / FOLDER).mkdir(parents=True)
    for person in sorted(unpacked.glob("Person*"))[:persons]:
        (root / "KGBD" / FOLDER / person.name).symlink_to(person, target_is_directory=True)
    return root


@pytest.fixture(scope="session")
def kgbd_full(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A raw root with all of KGBD; unpacked once a session."""
    return _raw_root(tmp_path_factory.mktemp("kgbd_full"), request, None)


@pytest.fixture(scope="session")
def kgbd_slice(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A raw root with the first twelve persons of KGBD."""
    return _raw_root(tmp_path_factory.mktemp("kgbd_slice"), request, SLICE_PERSONS)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
