"""scripts/get_kgbd.py: real KGBD from an archive or with git; bad archives harm nothing."""

import importlib.util
import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from simmc.data.raw import kgbd
from tests.conftest import ROOT

SCRIPT = ROOT / "scripts" / "get_kgbd.py"
WALKS = {"Data/Person001/1.txt": b"one", "Data/Person002/1.txt": b"two"}
MORE = {"README.md": b"read me", "GenderBMIData/person-data.csv": b"1;2"}
BOTH = {"Person001/1.txt": b"one", "Person002/1.txt": b"two"}  # as they are unpacked


@pytest.fixture
def script(monkeypatch):
    """The script as a module that is content with two walks."""
    spec = importlib.util.spec_from_file_location("get_kgbd", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PERSONS", 2)
    monkeypatch.setattr(module, "WALKS", 2)
    return module


def packed(path, files, *members, method=zipfile.ZIP_STORED):
    """Writes an archive of the kind that its name says; `members` are links and devices."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
            for member in members:
                archive.writestr(member, "/etc/passwd")
        return path
    with tarfile.open(path, f"w:{path.suffix[1:]}") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for member in members:
            archive.addfile(member)
    return path


def made(root):
    folder = root / "KGBD" / kgbd.FOLDER
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.txt")}


def get(script, root, archive=None):
    words = [] if archive is None else ["--archive", str(archive)]
    return script.main(["--raw_root", str(root), *words])


@pytest.fixture
def refused(script, tmp_path, capsys):
    """An archive that must be refused with a message that holds all the words; nothing is left."""

    def check(archive, *said, root=tmp_path / "raw"):
        assert get(script, root, archive) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and "Traceback" not in error
        assert all(text in error for text in said), error
        assert not (root / "KGBD").exists()

    return check


@pytest.mark.parametrize("name", ["a b.tar.xz", "a b.tar.gz", "a b.zip"])
def test_archive_is_unpacked_into_place(script, tmp_path, capsys, name):
    root = tmp_path / "raw data"
    assert get(script, root, packed(tmp_path / name, {**WALKS, **MORE})) == 0
    assert made(root) == BOTH
    assert [p.name for p in (root / "KGBD").iterdir()] == [kgbd.FOLDER]
    out = capsys.readouterr().out
    assert "not known here" in out and "2 persons, 2 walks" in out
    # again: says so and does nothing, whatever the archive
    assert get(script, root, tmp_path / "none") == 0
    assert "already complete" in capsys.readouterr().out


def test_names_of_an_archive_from_the_web_page(script, tmp_path):
    files = {f"KinectGait-master/{name}": data for name, data in WALKS.items()}
    assert get(script, tmp_path, packed(tmp_path / "a.zip", files)) == 0
    assert made(tmp_path) == BOTH


def test_incomplete_archive_keeps_what_is_there(script, tmp_path, capsys):
    old = tmp_path / "KGBD" / kgbd.FOLDER / "Person001" / "1.txt"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    archive = packed(tmp_path / "a.tar.gz", dict(list(WALKS.items())[:1]))
    assert get(script, tmp_path, archive) == 2
    assert "persons: 1, expected 2; walks: 1, expected 2." in capsys.readouterr().err
    assert made(tmp_path) == {"Person001/1.txt": b"old"}
    assert get(script, tmp_path, packed(tmp_path / "b.tar.gz", WALKS)) == 0
    assert made(tmp_path) == BOTH


BAD_NAMES = ["../evil.txt", "Data/../../evil.txt", "/evil.txt", "C:/evil.txt", "..\\evil.txt"]


@pytest.mark.parametrize("ending", ["tar.gz", "zip"])
@pytest.mark.parametrize("name", BAD_NAMES)
def test_members_that_lead_out_are_refused(tmp_path, refused, ending, name):
    archive = packed(tmp_path / f"a.{ending}", {**WALKS, name: b"evil"})
    refused(archive, "leads out of the folder", root=tmp_path / "deep" / "root")
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("kind", ["SYMTYPE", "LNKTYPE", "CHRTYPE", "BLKTYPE", "FIFOTYPE", "zip"])
def test_links_and_devices_are_refused(tmp_path, refused, kind):
    if kind == "zip":
        member, archive = zipfile.ZipInfo("Data/Person001/2.txt"), tmp_path / "a.zip"
        member.external_attr = 0o120777 << 16
    else:
        member, archive = tarfile.TarInfo("Data/Person001/2.txt"), tmp_path / "a.tar.gz"
        member.type, member.linkname = getattr(tarfile, kind), "/etc/passwd"
    refused(packed(archive, WALKS, member), "link or device")


@pytest.mark.parametrize("name", ["a.tar.xz", "a.tar.gz", "a.zip"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_truncated_archives_are_named(tmp_path, refused, name, part):
    archive = packed(tmp_path / name, {k: bytes(range(256)) * 400 for k in WALKS})
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * part)])
    refused(archive, name, "is damaged", "fetch it again")


def test_a_zip_that_points_before_its_beginning(tmp_path, refused):
    """The system refuses the place with an error number, as a full disk does."""
    archive = packed(tmp_path / "a.zip", WALKS)
    data = archive.read_bytes()
    at = data.index(b"PK\x01\x02") - 2  # less than the list of members says
    archive.write_bytes(data[2:at] + data[at:])
    refused(archive, "a.zip", "is damaged")


def test_files_that_are_no_archive(tmp_path, refused):
    (tmp_path / "page.html").write_text("<html>404</html>")
    refused(tmp_path / "page.html", "page.html: is damaged or no .tar.xz")
    refused(tmp_path / "none.zip", "none.zip: there is no such file")
    files = {"Data/Person001/1.txt": b"one"}
    refused(packed(tmp_path / "a.zip", files, method=zipfile.ZIP_LZMA), "another method")


def test_endless_archive_is_stopped(script, tmp_path, refused, monkeypatch):
    monkeypatch.setattr(script, "MOST_BYTES", 5)
    refused(packed(tmp_path / "a.tar.gz", WALKS), "not KGBD")


def test_a_member_without_end_stops_before_the_disk_is_full(script, tmp_path, refused, monkeypatch):
    monkeypatch.setattr(script, "MOST_BYTES", 3 << 20)
    written, remove = [], script.shutil.rmtree

    def note(folder, **how):
        written.append(sum(p.stat().st_size for p in Path(folder).rglob("*.txt")))
        remove(folder, **how)

    monkeypatch.setattr(script.shutil, "rmtree", note)
    files = {"Data/Person001/1.txt": bytes(20 << 20)}
    refused(packed(tmp_path / "a.zip", files, method=zipfile.ZIP_DEFLATED), "unpacks to more than")
    assert max(written) <= 5 << 20


def raises(error):
    def function(*_args, **_kwargs):
        raise error

    return function


def test_full_disk_is_a_message(tmp_path, refused, monkeypatch):
    real, full = Path.open, raises(OSError(28, "No space left on device"))
    monkeypatch.setattr(Path, "open", lambda p, how="r": (full if "w" in how else real)(p, how))
    refused(packed(tmp_path / "a.tar.gz", WALKS), "No space left on device", "free some space")


def test_fetch_with_git(script, tmp_path, monkeypatch):
    commands = []

    def run(command, **_):
        commands.append(command)
        for name, data in {**WALKS, **MORE}.items():
            path = Path(command[-1]) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    monkeypatch.setattr(script.subprocess, "run", run)
    assert get(script, tmp_path) == 0
    assert commands[0][:5] == ["git", "clone", "--depth", "1", script.SOURCE]
    assert made(tmp_path) == BOTH
    assert [p.name for p in (tmp_path / "KGBD").iterdir()] == [kgbd.FOLDER]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (subprocess.CalledProcessError(128, ["git"]), "check the network"),
        (FileNotFoundError("git"), "git is not installed"),
    ],
)
def test_fetch_that_fails_says_what_to_do(script, refused, monkeypatch, error, said):
    monkeypatch.setattr(script.subprocess, "run", raises(error))
    refused(None, said, "--archive FILE")


def test_script_runs_alone_from_any_directory(tmp_path):
    archive = packed(tmp_path / "a.tar.gz", WALKS)
    work = tmp_path / "else where"
    work.mkdir()
    words = [sys.executable, "-I", str(SCRIPT), "--archive", str(archive), "--raw_root", "."]
    done = subprocess.run(words, cwd=work, capture_output=True, text=True, check=False)
    assert done.returncode == 2  # two walks are not the dataset
    assert "expected 164; walks: 2, expected 822" in done.stderr


@pytest.mark.realdata
@pytest.mark.slow
def test_real_archive(kgbd_archive, tmp_path):
    words = [sys.executable, str(SCRIPT), "--archive", str(kgbd_archive), "--raw_root", "."]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "the archive the project is tested with" in done.stdout
    assert "164 persons, 822 walks" in done.stdout
    assert len(made(tmp_path)) == 822
