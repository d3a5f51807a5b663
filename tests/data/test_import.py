"""Imports as a whole: splits, additions, interruption, archives, cleaning."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

import simmc
from simmc.data import store
from simmc.data.importing.assign import Known, Rule, by_chance, by_rules
from simmc.data.importing.clean import cleaned, filled, resampled, smoothed
from simmc.data.importing.description import Description, described, path_pattern
from simmc.data.importing.guess import guessed, path_of
from simmc.data.importing.importer import Request, import_items
from simmc.data.importing.joint_names import skeleton_of
from simmc.data.importing.recording import Body
from simmc.data.importing.source_files import items
from simmc.errors import UserError
from tests.conftest import ROOT

JOINTS = ("hip_center", "neck", "head", "left_foot", "right_foot")
HEIGHT = np.array([0.9, 1.4, 1.6, 0.1, 0.1])


def frames(seed: int, n: int = 20) -> np.ndarray:
    """(n, 5, 3) metres, y up."""
    found = np.random.default_rng(seed).normal(scale=0.05, size=(n, 5, 3))
    found[..., 1] += HEIGHT
    return found.round(6)


def csv_text(xyz: np.ndarray) -> str:
    names = ",".join(f"{joint}_{axis}" for joint in JOINTS for axis in "xyz")
    rows = [",".join(map(repr, row)) for row in xyz.reshape(len(xyz), -1).tolist()]
    return "\n".join([names, *rows])


def make(folder: Path, persons: int = 3, walks: int = 3, first: int = 1) -> Path:
    for person in range(persons):
        for walk in range(first, first + walks):
            path = folder / f"person{person}" / f"walk{walk}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(csv_text(frames(100 * person + walk)))
    return folder


def load(source: Path, out: Path, length: int = 6, rule: Rule | None = None, **told):
    told = {"path": "person{person}/*.csv", **told}
    found = described(told, "dataset.toml")
    return import_items(items(source, found), Request(out, length, found, rule or Rule()))


def bytes_of(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def content(out: Path, length: int = 6) -> dict:
    return json.loads((out / str(length) / "manifest.json").read_text())


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


# Splits


def known(persons, walks, sessions=1) -> list[Known]:
    return [
        Known(f"{p}/{w}", None if p is None else str(p), f"s{w % sessions}", f"c{w}", {})
        for p in persons
        for w in range(walks)
    ]


@pytest.mark.parametrize("unit", ["recording", "session", "camera"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_units_are_never_divided_and_every_person_is_in_all_splits(unit, share):
    recordings = known(range(6), 8, sessions=4)
    split = by_chance(recordings, Rule(unit, hold_out=share, seed=3))
    for person in range(6):
        mine = [(r, s) for r, s in zip(recordings, split, strict=True) if r.person == str(person)]
        assert {s for _, s in mine} == {"train", "gallery", "probe"}
        if unit != "recording":
            by_unit = {getattr(r, unit): set() for r, _ in mine}
            for r, s in mine:
                by_unit[getattr(r, unit)].add(s)
            assert all(len(found) == 1 for found in by_unit.values())
    held = sum(s != "train" for s in split) / len(split)
    assert abs(held - share) <= 0.26
    assert split == by_chance(recordings, Rule(unit, hold_out=share, seed=3))
    other = by_chance(recordings, Rule(unit, hold_out=share, seed=4))
    assert split != other


def test_persons_apart_persons_unknown_and_copies():
    recordings = known(range(10), 2)
    split = by_chance(recordings, Rule(person_disjoint=True))
    where = {
        r.person: {s for q, s in zip(recordings, split, strict=True) if q.person == r.person}
        for r in recordings
    }
    assert sorted(map(tuple, map(sorted, where.values()))).count(("train",)) == 5
    assert sum(found == {"gallery", "probe"} for found in where.values()) == 5
    assert set(by_chance(known([None], 9), Rule())) == {"train", "gallery", "probe"}
    with pytest.raises(UserError, match="person"):
        by_chance(known([None], 9), Rule(person_disjoint=True))
    copies = [Known(f"w{n}", "a", None, None, {}, copy_of="w0" if n < 4 else "") for n in range(8)]
    for seed in range(5):
        assert len(set(by_chance(copies, Rule(seed=seed))[:4])) == 1
    nothing = by_chance(known(range(3), 3), Rule("none"))
    assert sorted(nothing)[:2] == ["gallery", "probe"] and nothing.count("train") == 7


def test_rules_and_split_files(tmp_path):
    rules = [{"to": "train", "gait": "a.*"}, {"to": "probe", "person": "[12]"}]
    told = described({"split": rules}, "t")
    about = [
        Known("w", p, None, None, {"gait": g}) for p, g in (("1", "ab"), ("2", "b"), ("3", "b"))
    ]
    assert by_rules(about, told) == ["train", "probe", "none"]
    with pytest.raises(UserError, match="gait"):
        by_rules([Known("w", "1", None, None, {})], told)
    source = make(tmp_path / "raw")
    rows = [
        f"person{p}/walk{w}.csv,{s}"
        for p in range(3)
        for w, s in ((1, "train"), (2, "probe"), (3, "gallery"))
    ]
    (tmp_path / "split.csv").write_text("\n".join(["recording,split", *rows]))
    load(source, tmp_path / "Mine", split_file=str(tmp_path / "split.csv"))
    assert [f"{r['name']},{r['split']}" for r in content(tmp_path / "Mine")["recordings"]] == rows


# Cleaning


def test_gaps_up_to_the_limit_are_filled_on_a_straight_line():
    line = np.arange(20.0)[:, None, None] * np.ones((1, 2, 3))
    holes = line.copy()
    holes[3:5, 0], holes[8:12, 0], holes[:2, 1] = np.nan, np.nan, np.nan
    found = filled(holes, np.isnan(holes).any(2), 2)
    assert np.allclose(found[3:5, 0], line[3:5, 0])
    assert np.isnan(found[8:12, 0]).all() and np.isnan(found[:2, 1]).all()
    assert np.array_equal(found[12:], line[12:])


def test_resampling_is_exact_on_straight_lines_and_leaves_holes():
    times = np.array([0, 0.1, 0.2, 0.3, 0.9, 1.0])
    xyz = times[:, None, None] * np.ones((1, 1, 3))
    found, at = resampled(xyz, times, 20, longest=0.25)
    assert len(at) == 21 and np.allclose(np.diff(at), 0.05)
    hole = (at > 0.3 + 1e-9) & (at < 0.9 - 1e-9)
    assert np.isnan(found[hole]).all() and np.allclose(found[~hole][:, 0, 0], at[~hole])


def test_smoothing_removes_fast_waves_and_keeps_slow_ones_and_holes():
    t = np.arange(300) / 30
    slow, fast = 2 + np.sin(2 * np.pi * t), np.sin(2 * np.pi * 12 * t)
    xyz = np.repeat((slow + fast)[:, None, None], 3, axis=2)
    xyz[150] = np.nan
    found = smoothed(xyz, 30, 5)
    inner = np.r_[20:130, 170:280]
    assert np.abs(found[inner, 0, 0] - slow[inner]).max() < 0.1
    assert np.isnan(found[150]).all() and np.isfinite(found).sum() == 299 * 3
    body = Body("w", xyz, ("a",))
    with pytest.raises(UserError, match="frame rate"):
        cleaned(body, Description(smooth=5))
    assert np.array_equal(cleaned(body, Description())[0].xyz, xyz, equal_nan=True)


def test_units_axes_and_pixels(tmp_path):
    xyz = [frames(n) for n in range(9)]
    turned = [1000 * np.stack([x[..., 0], -x[..., 2], x[..., 1]], -1) for x in xyz]
    one = simmc.import_recordings(xyz, tmp_path / "A", joints=JOINTS)
    two = simmc.import_recordings(turned, tmp_path / "B", joints=JOINTS, unit="mm", up="z")
    for split in ("train", "gallery", "probe"):
        a, b = (store.read_split(tmp_path, n, 6, split).windows for n in "AB")
        assert np.allclose(a, b, atol=1e-12)
    pixels = [300 * x[..., :2] * (1, -1) for x in xyz]
    simmc.import_recordings(pixels, tmp_path / "C", joints=JOINTS, unit="px", up="-y")
    high = np.ptp(store.read_split(tmp_path, "C", 6, "train").windows[..., 1], axis=-1)
    assert 1.4 < np.median(high) < 2 and content(tmp_path / "C")["given"]["dimensions"] == 2
    assert one.name == two.name == "6"


# From Python


class Frame:
    """What pandas and polars frames share."""

    def __init__(self, table) -> None:
        self.table = table

    def __arrow_c_stream__(self, schema=None):
        return self.table.__arrow_c_stream__(schema)


def test_lists_of_arrays_and_frames(tmp_path):
    pa = pytest.importorskip("pyarrow")
    xyz = [frames(n, 13 + n) for n in range(9)]
    who = ["ann", "ben", "ida"] * 3
    arrays = {"joints": JOINTS, "person": who, "recording": [f"r{n}" for n in range(9)]}
    simmc.import_recordings(xyz, tmp_path / "Arrays", **arrays)
    names = [f"{joint}_{axis}" for joint in JOINTS for axis in "xyz"]
    tables = [
        Frame(
            pa.table(
                {"subject": [w] * len(x), **dict(zip(names, x.reshape(-1, 15).T, strict=True))}
            )
        )
        for x, w in zip(xyz, who, strict=True)
    ]
    simmc.import_recordings(
        tables, tmp_path / "Tables", person="subject", recording=arrays["recording"]
    )
    for split in ("train", "gallery", "probe"):
        a, b = (store.read_split(tmp_path, n, 6, split) for n in ("Arrays", "Tables"))
        assert np.array_equal(a.windows, b.windows) and np.array_equal(a.labels, b.labels)
    assert content(tmp_path / "Arrays")["persons"] == {"ann": 0, "ben": 1, "ida": 2}
    with pytest.raises(UserError, match="2 values for 9"):
        simmc.import_recordings(xyz, tmp_path / "X", person=["a", "b"])
    with pytest.raises(UserError, match="array of numbers"):
        simmc.import_recordings([*xyz, "text"], tmp_path / "X")


def test_labels_below_zero_where_nobody_is_known(tmp_path):
    simmc.import_recordings([frames(n) for n in range(6)], tmp_path / "Mine", joints=JOINTS)
    for split in ("train", "gallery", "probe"):
        assert (store.read_split(tmp_path, "Mine", 6, split).labels == -1).all()


# Descriptions


def test_patterns_of_paths():
    for pattern, path, expected in (
        ("{person}/{session}_{camera}.csv", "top/ann/day1_2.csv", ("ann", "day1", "2")),
        ("P{person}S{session}C{camera}*.csv", "P01S2C3R4.csv", ("01", "2", "3")),
        (
            r"(?P<person>\d+)-(?P<session>.*)-(?P<camera>\w+)\.csv$",
            "a/7-x-y-z.csv",
            ("7", "x-y", "z"),
        ),
    ):
        found = path_pattern(pattern, "t").search(path)
        assert (found["person"], found["session"], found["camera"]) == expected
    for wrong in ("{person", "{a}{a}", "{P}", "(?P<a"):
        with pytest.raises(UserError, match="path"):
            path_pattern(wrong, "t")


@pytest.mark.parametrize(
    "wrong",
    [
        {"unitt": "m"},
        {"unit": "inch"},
        {"unit": 3},
        {"joints": ["a", "a"]},
        {"joints": "a"},
        {"skip_frames": [1, -1]},
        {"axes": "fj"},
        {"frame_rate": -1},
        {"split": [{"to": "test"}]},
        {"split": [{"to": "train", "person": "("}]},
        {"columns": {"Person": "a"}},
        {"min_frames": True},
    ],
)
def test_wrong_keys_are_named(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        described(wrong, "dataset.toml")


def test_a_guess_can_be_used_at_once(tmp_path):
    source, out = make(tmp_path / "raw"), tmp_path / "Mine"
    text, doubts = guessed(source)
    (source / "dataset.toml").write_text(text)
    script = [
        sys.executable,
        "-m",
        "simmc",
        "import",
        str(source),
        "--out",
        str(out),
        "--page",
        "0",
    ]
    done = subprocess.run(script, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert content(out)["persons"] == {"0": 0, "1": 1, "2": 2} and doubts >= 1
    for paths, expected in (
        (
            ["S001C002P003R001A005.json", "S002C001P007R002A005.json"],
            "S{session}C{camera}P{person}R*A005.json",
        ),
        (["ann/walk1.csv", "ben/walk2.csv"], "{person}/walk*.csv"),
        (["top/x/sub01/cam1.npy", "top/x/sub02/cam2.npy"], "sub{person}/cam{camera}.npy"),
    ):
        assert path_of(paths)[0] == expected


def test_two_imports_at_once_are_refused(tmp_path):
    source, out = make(tmp_path / "raw"), tmp_path / "Mine"
    told = Description()

    def other(them):
        with pytest.raises(UserError, match="another import"):
            load(source, out)
        return them

    import_items(items(source, told), Request(out, 6, told), other)
    assert (out / "6").is_dir() and time.time() > 0


def test_a_hip_without_a_side_is_the_root_and_has_one_bone_to_the_spine():
    skeleton, guessed_bones = skeleton_of(("hip", "spine", "neck"), "")
    assert guessed_bones and skeleton.root == "hip"
    assert skeleton.edges == (("hip", "spine"), ("spine", "neck"))


def test_an_empty_folder_is_refused_with_what_can_be_read(tmp_path):
    with pytest.raises(UserError, match="no file that can be imported was found; known are CSV"):
        guessed(tmp_path)
