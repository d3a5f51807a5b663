from __future__ import annotations

import importlib.util
import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from simmc.data.raw import kgbd
from tests.conftest import ROOT

SCRIPT = ROOT / "scripts" / "get_kgbd.py"
WALKS = {"Data/Person001/1.txt": b"one", "Data/Person002/1.txt": b"two"}
MORE = {"README.md": b"read me", "GenderBMIData/person-data.csv": b"1;2"}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module that is content with two walks."""
    spec = importlib.util.spec_from_file_location("get_kgbd", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PERSONS", 2)
    monkeypatch.setattr(module, "WALKS", 2)
    return module


def _tar(path: Path, files: dict[str, bytes], *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, f"w:{path.suffix[1:]}") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for member in members:
            tar.addfile(member)
    return path


def _zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return path


def _made(root: Path) -> dict[str, bytes]:
    folder = root / "KGBD" / kgbd.FOLDER
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.txt")}


def _get(script: ModuleType, root: Path, *words: str | Path) -> int:
    return script.main(["--raw_root", str(root), *map(str, words)])


@pytest.mark.parametrize("name", ["a b.tar.xz", "a b.tar.gz", "a b.zip"])
def test_archive_is_unpacked_into_place(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    make = _zip if name.endswith("zip") else _tar
    archive = make(tmp_path / name, {**WALKS, **MORE})
    root = tmp_path / "raw data"
    assert _get(script, root, "--archive", archive) == 0
    assert _made(root) == {"Person001/1.txt": b"one", "Person002/1.txt": b"two"}
    assert [p.name for p in (root / "KGBD").iterdir()] == [kgbd.FOLDER]
    out = capsys.readouterr().out
    assert "not known here" in out
    assert "2 persons, 2 walks" in out
    # again: says so and does nothing, whatever the archive
    assert _get(script, root, "--archive", tmp_path / "none") == 0
    assert "already complete" in capsys.readouterr().out


def test_names_of_an_archive_from_the_web_page(script: ModuleType, tmp_path: Path) -> None:
    files = {f"KinectGait-master/{name}": data for name, data in WALKS.items()}
    assert _get(script, tmp_path, "--archive", _zip(tmp_path / "a.zip", files)) == 0
    assert len(_made(tmp_path)) == 2


def test_incomplete_archive_keeps_what_is_there(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "KGBD" / kgbd.FOLDER / "Person001" / "1.txt"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    archive = _tar(tmp_path / "a.tar.gz", dict(list(WALKS.items())[:1]))
    assert _get(script, tmp_path, "--archive", archive) == 2
    assert "holds 1 persons and 1 walks where 2 and 2 are due" in capsys.readouterr().err
    assert _made(tmp_path) == {"Person001/1.txt": b"old"}
    assert _get(script, tmp_path, "--archive", _tar(tmp_path / "b.tar.gz", WALKS)) == 0
    assert len(_made(tmp_path)) == 2


BAD_NAMES = ["../evil.txt", "Data/../../evil.txt", "/evil.txt", "C:/evil.txt", "..\\evil.txt"]


@pytest.mark.parametrize("ending", ["tar.gz", "zip"])
@pytest.mark.parametrize("name", BAD_NAMES)
def test_members_that_lead_out_are_refused(
    script: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    ending: str,
    name: str,
) -> None:
    make = _zip if ending == "zip" else _tar
    archive = make(tmp_path / f"a.{ending}", {**WALKS, name: b"evil"})
    root = tmp_path / "deep" / "root"
    assert _get(script, root, "--archive", archive) == 2
    assert "leads out of the folder" in capsys.readouterr().err
    assert not list(tmp_path.rglob("evil*"))
    assert not (root / "KGBD").exists()


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_are_refused(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: bytes
) -> None:
    member = tarfile.TarInfo("Data/Person001/2.txt")
    member.type, member.linkname = kind, "/etc/passwd"
    archive = _tar(tmp_path / "a.tar.gz", WALKS, member)
    assert _get(script, tmp_path, "--archive", archive) == 2
    assert "link or device" in capsys.readouterr().err
    assert not (tmp_path / "KGBD").exists()


def test_links_in_a_zip_are_refused(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link = zipfile.ZipInfo("Data/Person001/2.txt")
    link.external_attr = 0o120777 << 16
    archive = _zip(tmp_path / "a.zip", WALKS)
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr(link, "/etc/passwd")
    assert _get(script, tmp_path, "--archive", archive) == 2
    assert "link or device" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.tar.xz", "a.tar.gz", "a.zip"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_damaged_archives_are_named(
    script: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    part: float,
) -> None:
    make = _zip if name.endswith("zip") else _tar
    archive = make(tmp_path / name, {k: bytes(range(256)) * 400 for k in WALKS})
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * part)])
    assert _get(script, tmp_path, "--archive", archive) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert name in error
    assert not (tmp_path / "KGBD").exists()


def test_flipped_bytes_never_make_a_traceback(script: ModuleType, tmp_path: Path) -> None:
    for name in ("a.tar.xz", "a.tar.gz", "a.zip"):
        make = _zip if name.endswith("zip") else _tar
        archive = make(tmp_path / name, WALKS)
        good = archive.read_bytes()
        for place in range(0, len(good), max(1, len(good) // 60)):
            broken = bytearray(good)
            broken[place] ^= 0x55
            archive.write_bytes(broken)
            assert _get(script, tmp_path / "root", "--archive", archive) in (0, 2)
            shutil.rmtree(tmp_path / "root", ignore_errors=True)


def test_file_that_is_no_archive(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.html").write_text("<html>404</html>")
    assert _get(script, tmp_path, "--archive", tmp_path / "page.html") == 2
    assert "page.html: is damaged or no .tar.xz" in capsys.readouterr().err
    assert _get(script, tmp_path, "--archive", tmp_path / "none.zip") == 2
    assert "none.zip: there is no such file" in capsys.readouterr().err


def test_endless_archive_is_stopped(
    script: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(script, "MOST_BYTES", 5)
    assert _get(script, tmp_path, "--archive", _tar(tmp_path / "a.tar.gz", WALKS)) == 2
    assert "not KGBD" in capsys.readouterr().err


def test_full_disk_is_a_message(
    script: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(script.shutil, "copyfileobj", full)
    assert _get(script, tmp_path, "--archive", _tar(tmp_path / "a.tar.gz", WALKS)) == 2
    assert "No space left on device; free some space" in capsys.readouterr().err
    assert not (tmp_path / "KGBD").exists()


def test_fetch_with_git(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []

    def run(command: list[str], **_: object) -> None:
        commands.append(command)
        for name, data in {**WALKS, **MORE}.items():
            path = Path(command[-1]) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    monkeypatch.setattr(script.subprocess, "run", run)
    assert _get(script, tmp_path) == 0
    assert commands[0][:5] == ["git", "clone", "--depth", "1", script.SOURCE]
    assert _made(tmp_path) == {"Person001/1.txt": b"one", "Person002/1.txt": b"two"}
    assert [p.name for p in (tmp_path / "KGBD").iterdir()] == [kgbd.FOLDER]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (subprocess.CalledProcessError(128, ["git"]), "check the network"),
        (FileNotFoundError("git"), "git is not installed"),
    ],
)
def test_fetch_that_fails_says_what_to_do(
    script: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
    words: str,
) -> None:
    def run(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(script.subprocess, "run", run)
    assert _get(script, tmp_path) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "--archive FILE" in error
    assert not (tmp_path / "KGBD").exists()


def test_script_runs_alone_from_any_directory(tmp_path: Path) -> None:
    archive = _tar(tmp_path / "a.tar.gz", WALKS)
    work = tmp_path / "else where"
    work.mkdir()
    words = [sys.executable, "-I", str(SCRIPT), "--archive", str(archive), "--raw_root", "."]
    done = subprocess.run(words, cwd=work, capture_output=True, text=True, check=False)
    assert done.returncode == 2  # two walks are not the dataset
    assert "where 164 and 822 are due" in done.stderr


@pytest.mark.realdata
@pytest.mark.slow
def test_real_archive(kgbd_archive: Path, tmp_path: Path) -> None:
    words = [sys.executable, str(SCRIPT), "--archive", str(kgbd_archive), "--raw_root", "."]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "the archive the project is tested with" in done.stdout
    assert "164 persons, 822 walks" in done.stdout
    assert len(_made(tmp_path)) == 822


def test_a_member_without_end_stops_before_the_disk_is_full(
    script: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(script, "MOST_BYTES", 3 << 20)
    written: list[int] = []
    unlink = script.shutil.rmtree

    def note(folder: Path, **how: bool) -> None:
        written.append(sum(p.stat().st_size for p in Path(folder).rglob("*.txt")))
        unlink(folder, **how)

    monkeypatch.setattr(script.shutil, "rmtree", note)
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("Data/Person001/1.txt", bytes(20 << 20))
    assert _get(script, tmp_path / "raw", "--archive", archive) == 2
    assert "unpacks to more than" in capsys.readouterr().err
    assert max(written) <= 5 << 20


def test_other_kinds_of_zip_are_refused(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_LZMA) as packed:
        packed.writestr("Data/Person001/1.txt", b"one")
    assert _get(script, tmp_path / "raw", "--archive", archive) == 2
    assert "another method" in capsys.readouterr().err
