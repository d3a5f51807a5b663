"""Imports as a whole: additions, interruption, archives, faulty files."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import simmc
from simmc.cli.import_data import report
from simmc.data import store
from simmc.data.importing import importer
from simmc.data.importing.description import Description
from simmc.data.importing.formats import read_bodies
from simmc.data.importing.guess import guessed
from simmc.data.importing.importer import Request, import_items, notes_of
from simmc.data.importing.source_files import items
from simmc.errors import UserError
from tests.conftest import ROOT, contents
from tests.data.imports import content, csv_text, frames, load, make


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
    mine, hand = contents(out / "6"), contents(tmp_path / "hand" / "Mine" / "6")
    arrays = {name for name in mine if name.endswith(".npy")}
    assert arrays == {name for name in hand if name.endswith(".npy")} and len(arrays) == 18
    assert all(mine[name] == hand[name] for name in arrays)
    assert content(out)["persons"] == {"0": 0, "1": 1, "2": 2}


def test_importing_again_adds_and_leaves_the_old_alone(tmp_path):
    source, out = make(tmp_path / "raw"), tmp_path / "Mine"
    load(source, out)
    before, old = contents(out), content(out)["recordings"]
    assert load(source, out).added == [] and contents(out) == before
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
    before = contents(out)
    (entry,) = [e for e in load(source, out).entries if e["fault"]]
    assert entry["path"] == "person0/walk1.csv" and "changed" in entry["fault"]
    assert contents(out) == before
    with pytest.raises(UserError, match="unit"):
        load(source, out, unit="cm")


def test_nothing_is_added_to_a_damaged_dataset(tmp_path):
    """Its values would get valid checksums."""
    source, out = make(tmp_path / "raw"), tmp_path / "Mine"
    load(source, out)
    make(source, walks=4)
    manifest = out / "6" / "manifest.json"
    whole = content(out)
    for key in ("persons", "given", "frame_rate", "skeleton", "counts", "recordings", "files"):
        manifest.write_text(json.dumps({name: whole[name] for name in whole if name != key}))
        with pytest.raises(UserError, match=f"manifest.json: lacks {key}"):
            load(source, out)
    manifest.write_text(json.dumps(whole))
    name = next(name for name in whole["files"] if "source_x" in name)
    array = np.load(out / "6" / name)
    array[0, 0] += 1
    np.save(out / "6" / name, array)
    with pytest.raises(UserError, match="is not the file"):
        load(source, out)


STOPPED = """
import signal, sys, time
from pathlib import Path
from simmc.data.importing import work
from simmc.data.importing.description import Description
from simmc.data.importing.formats import read_bodies
from simmc.data.importing.guess import guessed
from simmc.data.importing.importer import Request, import_items, notes_of
from simmc.data.importing.source_files import items
work._SYNC_SECONDS = 0.0
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
told = Description(path="person{person}/*.csv")
def slowly(them):
    for item in them:
        yield item
        print("one", flush=True); time.sleep(0.02)
import_items(items(Path(sys.argv[1]), told), Request(Path(sys.argv[2]), 6, told), slowly)
print("done", flush=True)
"""


def test_a_stopped_import_goes_on_with_the_same_bytes(tmp_path):
    source = make(tmp_path / "raw", persons=5, walks=4)
    load(source, tmp_path / "whole" / "Mine")
    out = tmp_path / "killed" / "Mine"
    for number, stop in ((3, signal.SIGKILL), (8, signal.SIGINT)):
        command = [sys.executable, "-c", STOPPED, str(source), str(out)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, **pipes, text=True, cwd=ROOT) as process:
            for _ in range(number):
                assert process.stdout.readline() == "one\n"
            process.send_signal(stop)
        assert not (out / "6").exists()
    lines = (out / ".6.import" / "files.jsonl").read_bytes()
    assert lines.count(b"\n") > 8  # the second run went on where the first was stopped
    (out / ".6.import" / "files.jsonl").write_bytes(lines + b'{"path": "cut sho')
    load(source, out)
    assert contents(out) == contents(tmp_path / "whole" / "Mine")


def stopped_after(source: Path, out: Path, number: int) -> None:
    def few(them):
        yield from islice(them, number)
        raise KeyboardInterrupt

    told = Description(path="person{person}/*.csv")
    with pytest.raises(KeyboardInterrupt):
        import_items(items(source, told), Request(out, 6, told), few)


@pytest.mark.parametrize("change", ["reordered", "removed"])
def test_files_that_change_before_an_import_goes_on_count_as_they_are(tmp_path, change):
    """The joints of all files follow from the first one."""
    source, out = make(tmp_path / "raw"), tmp_path / "goes on" / "Mine"
    first, reverse = source / "person0" / "a.csv", slice(None, None, -1)
    text = csv_text(frames(0)).splitlines()
    first.write_text("\n".join(",".join(line.split(",")[3:]) for line in text))  # a joint less
    stopped_after(source, out, 5)
    if change == "removed":
        first.unlink()
    else:
        cells = np.array([line.split(",") for line in text]).reshape(len(text), -1, 3)
        rows = cells[:, reverse].reshape(len(text), -1)
        first.write_text("\n".join(map(",".join, rows)))
    load(source, out)
    load(source, tmp_path / "whole" / "Mine")
    assert contents(out) == contents(tmp_path / "whole" / "Mine")
    assert len(content(out)["skeleton"]["joints"]) == 5


def test_an_import_begun_with_other_entries_is_not_continued(tmp_path, monkeypatch):
    source, out = make(tmp_path / "raw"), tmp_path / "old" / "Mine"
    monkeypatch.setattr(importer, "_in_metres", lambda body, told: body.xyz + 1)
    monkeypatch.setattr(importer, "_ENTRIES", importer._ENTRIES - 1)
    stopped_after(source, out, 5)
    monkeypatch.undo()
    load(source, out)
    load(source, tmp_path / "whole" / "Mine")
    assert contents(out) == contents(tmp_path / "whole" / "Mine")


def test_files_left_out_because_of_the_first_come_in_without_it(tmp_path):
    source, out = make(tmp_path / "raw"), tmp_path / "Mine"
    first = source / "person0" / "a.csv"
    first.write_text("p_x,p_y,p_z,q_x,q_y,q_z\n" + "1,2,3,4,5,6\n" * 20)
    with pytest.raises(UserError, match="no joint 'p'"):
        load(source, out)
    first.unlink()
    assert len(load(source, out).added) == 9


@pytest.mark.parametrize("room", [0, 1, 2, 3, 5, 20])
def test_a_full_disk_leaves_the_dataset_and_the_next_import_goes_on(tmp_path, monkeypatch, room):
    """The disk is full after `room` files were forced to it."""
    source, out = make(tmp_path / "raw"), tmp_path / "full" / "Mine"
    load(source, out)
    load(source, tmp_path / "whole" / "Mine")
    before = contents(out)
    make(source, walks=5)
    left, fsync = iter(range(room)), os.fsync

    def force(handle):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", force)
        with pytest.raises(UserError, match="No space left"):
            load(source, out)
    there = contents(out)
    assert {name: there[name] for name in before} == before
    assert {name.split("/")[0] for name in there} <= {"6", ".6.import", ".6.import.lock"}
    load(source, out)
    load(source, tmp_path / "whole" / "Mine")
    assert contents(out) == contents(tmp_path / "whole" / "Mine")


def test_nothing_is_written_into_the_source(tmp_path):
    source = make(tmp_path / "raw")
    paths = [source, *source.rglob("*")]
    for path in paths:
        path.chmod(0o500 if path.is_dir() else 0o400)
    before = [(path, path.stat()) for path in paths]
    guessed(source)
    load(source, tmp_path / "Mine")
    load(source, tmp_path / "Mine")
    after = [(path, path.stat()) for path in [source, *source.rglob("*")]]
    assert [(p, s.st_mtime_ns, s.st_ctime_ns) for p, s in after] == [
        (p, s.st_mtime_ns, s.st_ctime_ns) for p, s in before
    ]
    for path in paths:
        path.chmod(0o700)  # pytest removes it


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
    lines = report(load(source, tmp_path / "Again"), "")
    (line,) = [line for line in lines if "no reader" in line]
    assert line.startswith("1 file has no reader: 1 .docx; files are read that end in .csv, .tsv")
    assert line.endswith(".bvh, .c3d, .skeleton")
    with pytest.raises(UserError, match=r"notes.docx: no reader .*; known are .csv"):
        read_bodies("notes.docx", b"x", Description())
    with pytest.raises(UserError, match="no recording"):
        load(source, tmp_path / "None", files="*.docx")


def test_the_unit_in_the_names_of_columns_gives_metres(tmp_path):
    source, in_mm = make(tmp_path / "raw"), tmp_path / "mm"
    for path in source.rglob("*.csv"):
        other = in_mm / path.relative_to(source)
        other.parent.mkdir(parents=True, exist_ok=True)
        head, _, _ = path.read_text().partition("\n")
        xyz = 1000 * frames(100 * int(path.parent.name[6:]) + int(path.stem[4:]))
        rows = [",".join(map(repr, row)) for row in xyz.reshape(len(xyz), -1).tolist()]
        other.write_text("\n".join([head.replace(",", "_mm,") + "_mm", *rows]))
    load(source, tmp_path / "A")
    found = load(in_mm, tmp_path / "B")
    for split in ("train", "gallery", "probe"):
        a, b = (store.read_split(tmp_path, name, 6, split).windows for name in "AB")
        assert np.allclose(a, b, rtol=0, atol=1e-12)
    ((note, count),) = notes_of(found.entries)
    assert note.startswith("the unit is mm") and count == 9


def test_a_faulty_second_body_leaves_the_whole_file_out(tmp_path):
    """Its joints are not those that the other files must have."""
    source, out = make(tmp_path / "raw"), tmp_path / "Mine"
    bodies = {"one": np.ones((20, 4, 3)), "two": np.full((20, 4, 3), 5000.0)}
    np.savez(source / "person0" / "a.npz", **bodies)
    found = load(source, out, path="person{person}/*.*")
    (entry,) = [entry for entry in found.entries if entry["fault"]]
    assert entry["path"] == "person0/a.npz" and entry["bodies"] == []
    assert entry["fault"].startswith("a coordinate of 5000 m")
    assert len(found.added) == 9 and len(content(out)["skeleton"]["joints"]) == 5


def test_a_faulty_frame_of_a_recording_is_named_by_its_file(tmp_path):
    source = make(tmp_path / "raw")
    for frame, text in enumerate(('{"people": []}', '{"people": 1}')):
        (source / "person0" / f"walk_{frame:012d}_keypoints.json").write_text(text)
    found = load(source, tmp_path / "Mine", path="person{person}/*")
    (entry,) = [entry for entry in found.entries if entry["fault"]]
    assert entry["path"] == "person0/walk"
    assert entry["fault"].startswith("person0/walk_000000000001_keypoints.json: expected")


def test_two_imports_at_once_are_refused(tmp_path):
    source, out = make(tmp_path / "raw"), tmp_path / "Mine"
    told = Description()

    def other(them):
        with pytest.raises(UserError, match="another import"):
            load(source, out)
        return them

    import_items(items(source, told), Request(out, 6, told), other)
    assert (out / "6").is_dir()


def test_a_damaged_frame_is_named_by_its_whole_name(tmp_path):
    """The name of its recording is the beginning of its own."""
    people = [{"person_id": [-1], "pose_keypoints_2d": [1.0, 2.0, 0.5] * 25}]
    for place in range(2):
        path = tmp_path / "raw" / f"walk_{place:012d}_keypoints.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"version": 1.3, "people": people}))
    path.write_text(path.read_text().replace('"version"', '"version', 1))
    with pytest.raises(UserError, match=rf"walk: {path.name}: not valid JSON"):
        load(tmp_path / "raw", tmp_path / "Mine", path="")


def test_recordings_without_a_window_are_named(tmp_path):
    """With the folder of the dataset."""
    with pytest.raises(UserError, match=r"Mine, train: .*\(person0/walk1\.csv.*--length"):
        load(make(tmp_path / "raw"), tmp_path / "Mine", length=21)
    (tmp_path / "few" / "person0").mkdir(parents=True)
    for walk, n in (("a", 5), ("b", 20)):
        (tmp_path / "few" / "person0" / f"{walk}.csv").write_text(csv_text(frames(1, n)))
    with pytest.raises(UserError, match=r"Few, gallery: no recording.*\(person0/a\.csv\)"):
        load(tmp_path / "few", tmp_path / "Few")
