"""Imports as a whole: additions, interruption, archives, faulty files."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import simmc
from simmc.data import store
from simmc.data.importing.description import Description
from simmc.data.importing.importer import Request, import_items
from simmc.data.importing.source_files import items
from simmc.errors import UserError
from tests.conftest import ROOT
from tests.data.imports import bytes_of, content, csv_text, frames, load, make


def test_an_import_is_a_dataset_of_write_dataset(tmp_path):
    """The same windows by hand, written with write_dataset, give the same arrays."""
    out = tmp_path / "Datasets" / "Mine"
    load(make(tmp_path / "raw"), out)
    listed = content(out)["recordings"]
    splits, numbers = {}, {}
    for split in ("train", "gallery", "probe"):
        of = [n for n, entry in enumerate(listed) if entry["split"] == split]
        who = [listed[n]["name"].replace("person", "").replace(".csv", "") for n in of]
        ids = [tuple(map(int, name.split("/walk"))) for name in who]
        cut = [simmc.windows_of([frames(100 * person + walk)], 6) for person, walk in ids]
        labels = np.repeat([person for person, _ in ids], [len(w) for w in cut])
        splits[split] = np.concatenate(cut), labels
        numbers[split] = np.repeat(of, [len(w) for w in cut])
    skeleton = store.find_spec(out.parent, "Mine", 6).skeleton
    simmc.write_dataset(tmp_path / "hand", "Mine", splits, skeleton, recordings=numbers)
    mine, hand = bytes_of(out / "6"), bytes_of(tmp_path / "hand" / "Mine" / "6")
    arrays = {name for name in mine if name.endswith(".npy")}
    assert arrays == {name for name in hand if name.endswith(".npy")} and len(arrays) == 18
    assert all(mine[name] == hand[name] for name in arrays)
    assert content(out)["persons"] == {"0": 0, "1": 1, "2": 2}


def test_importing_again_adds_and_leaves_the_old_alone(tmp_path):
    source, out = make(tmp_path / "raw"), tmp_path / "Mine"
    load(source, out)
    before, old = bytes_of(out), content(out)["recordings"]
    assert load(source, out).added == [] and bytes_of(out) == before
    make(source, persons=4, walks=2, first=4)
    windows = {s: store.read_split(tmp_path, "Mine", 6, s).windows for s in ("train", "probe")}
    found = load(source, out)
    assert len(found.added) == 8 and content(out)["recordings"][: len(old)] == old
    for split, array in windows.items():
        assert np.array_equal(
            store.read_split(tmp_path, "Mine", 6, split).windows[: len(array)], array
        )
    assert {r["split"] for r in content(out)["recordings"] if r["identity"] == 0} == {
        *("train", "gallery", "probe")
    }
    changed = source / "person0" / "walk1.csv"
    changed.write_text(csv_text(frames(999)))
    before = bytes_of(out)
    (entry,) = [e for e in load(source, out).entries if e["fault"]]
    assert entry["path"] == "person0/walk1.csv" and "changed" in entry["fault"]
    assert bytes_of(out) == before
    with pytest.raises(UserError, match="unit"):
        load(source, out, unit="cm")


KILLED = """
import sys, time
from pathlib import Path
from simmc.data.importing import work
from simmc.data.importing.description import Description
from simmc.data.importing.importer import Request, import_items
from simmc.data.importing.source_files import items
work._SYNC_SECONDS = 0.0
told = Description(path="person{person}/*.csv")
def slowly(them):
    for item in them:
        yield item
        print("one", flush=True); time.sleep(0.02)
import_items(items(Path(sys.argv[1]), told), Request(Path(sys.argv[2]), 6, told), slowly)
print("done", flush=True)
"""


def test_a_killed_import_goes_on_with_the_same_bytes(tmp_path):
    source = make(tmp_path / "raw", persons=5, walks=4)
    load(source, tmp_path / "whole" / "Mine")
    out = tmp_path / "killed" / "Mine"
    for number in (3, 8):
        command = [sys.executable, "-c", KILLED, str(source), str(out)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            for _ in range(number):
                assert process.stdout.readline() == "one\n"
            process.send_signal(signal.SIGKILL)
        assert not (out / "6").exists()
    lines = (out / ".6.import" / "files.jsonl").read_bytes()
    assert lines.count(b"\n") > 8  # the second run went on where the first was killed
    (out / ".6.import" / "files.jsonl").write_bytes(lines + b'{"path": "cut sho')
    load(source, out)
    assert bytes_of(out) == bytes_of(tmp_path / "whole" / "Mine")


def archive(path: Path, files: dict[str, str], link: str = "") -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as found:
            for name, text in files.items():
                found.writestr(name, text)
        return path
    with tarfile.open(path, "w:xz", encoding="latin-1") as found:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            found.addfile(info, io.BytesIO(text.encode()))
        if link:
            info = tarfile.TarInfo("person9/link.csv")
            info.type, info.linkname = tarfile.SYMTYPE, link
            found.addfile(info)
    return path


@pytest.mark.parametrize("ending", ["zip", "tar.xz"])
def test_archives_are_read_in_place_and_unsafe_names_left_out(tmp_path, ending):
    good = {
        f"top/person{p}/walk{w}.csv": csv_text(frames(10 * p + w))
        for p in (1, 2)
        for w in (1, 2, 3)
    }
    windows = {
        "top\\person3\\walk1.csv": csv_text(frames(31)),
        "top/person3/w\xe4.csv": csv_text(frames(33)),
    }
    bad = {
        "../person4/walk1.csv": "",
        "/person4/w.csv": "",
        "C:/person4/w.csv": "",
        "a/../b.csv": "",
    }
    source = archive(tmp_path / f"a.{ending}", good | windows | bad, link="/etc/passwd")
    before = set(tmp_path.rglob("*"))
    found = load(source, tmp_path / "out" / "Mine")
    made = {entry["name"] for entry in found.manifest["recordings"]}
    assert made >= set(good) and len(made) == 8
    assert all("\\" not in name or "\\x" in name for name in made)
    faults = {entry["path"] for entry in found.entries if entry["fault"]}
    assert faults >= {"../person4/walk1.csv", "/person4/w.csv", "C:/person4/w.csv"}
    assert {p for p in set(tmp_path.rglob("*")) - before if "out" not in p.parts} == set()
    damaged = tmp_path / f"b.{ending}"
    damaged.write_bytes(source.read_bytes()[:-200])
    with pytest.raises(UserError):
        load(damaged, tmp_path / "out" / "Other")


def test_faulty_files_are_left_out_and_named(tmp_path):
    source, out = make(tmp_path / "raw"), tmp_path / "Mine"
    (source / "person0" / "walk9.csv").write_text("no,table\nat,all")
    (source / "person1" / "notes.docx").write_text("x")
    (source / "person1" / "other.csv").write_text("a_x,a_y,a_z\n1,2,3")
    load(source, out)
    left = content(out)["imported"]["left_out"]
    assert set(left) == {"person0/walk9.csv", "person1/notes.docx", "person1/other.csv"}
    with pytest.raises(UserError, match="no recording"):
        load(source, tmp_path / "None", files="*.docx")
    if os.geteuid():  # root may read and write everything
        source.chmod(0o500)
    load(source, tmp_path / "again")


def test_two_imports_at_once_are_refused(tmp_path):
    source, out = make(tmp_path / "raw"), tmp_path / "Mine"
    told = Description()

    def other(them):
        with pytest.raises(UserError, match="another import"):
            load(source, out)
        return them

    import_items(items(source, told), Request(out, 6, told), other)
    assert (out / "6").is_dir()
