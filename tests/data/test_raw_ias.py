"""IAS-Lab and BIWI: frames of one file each, the tracking filter, labels, every fault by file."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simmc.data.arrays import LIMIT_METRES
from simmc.data.raw import biwi, files, ias, text
from simmc.data.recordings import ReadOptions
from simmc.errors import UserError

BY_NAME = ReadOptions(ias_label_order="name")


def frame(value: float, lost: int | None = None, fields: str = ",320,240,{state},0") -> str:
    """Twenty lines as the camera's program writes them."""
    return "".join(
        f"{j},{value},{j / 8},2.5" + fields.format(state=0 if j == lost else 2) + "\n"
        for j in range(20)
    )


def put(root: Path, name: str, content: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def three_sets(root: Path, persons: tuple[str, ...] = ("ann", "bob")) -> Path:
    for part in ias.SETS:
        for number, person in enumerate(persons):
            for t in range(3):
                put(root, f"{part}/{person}/{t:06d}-a_{t}_skel.txt", frame(number + t / 4))
    return root


def fixed_walk(monkeypatch, orders: dict[str, list[str]]) -> None:
    """Makes `os.walk` list the folders of a set in a chosen order."""
    real = os.walk

    def walk(top, **how):
        for path, folders, names in real(top, **how):
            if Path(path).name in orders:
                folders.sort(key=orders[Path(path).name].index)
            yield path, folders, names

    monkeypatch.setattr(files.os, "walk", walk)


def test_hand_written_files_come_back(tmp_path):
    three_sets(tmp_path)
    put(tmp_path, "Training/ann/000001-b_rgb.txt", "no skeleton, no frame")
    found = ias.read(tmp_path, BY_NAME)
    assert [r.name for r in found] == [f"{s}/{p}" for s in ias.SETS for p in ("ann", "bob")]
    assert [r.role for r in found] == [s for s in ias.SETS for _ in range(2)]
    assert [r.identity for r in found] == [0, 1] * 3
    bob = found[1].frames
    assert bob.shape == (3, 20, 3) and bob.dtype == np.float64
    assert bob[:, :, 0].tolist() == [[1.0] * 20, [1.25] * 20, [1.5] * 20]
    assert bob[0, :, 1].tolist() == [j / 8 for j in range(20)]
    assert len(found[0].sha256) == 64 and found[0].sha256 != found[1].sha256


def test_a_frame_with_a_lost_joint_is_dropped_and_the_rest_closes_up(tmp_path):
    three_sets(tmp_path)
    put(tmp_path, "Training/ann/000001-a_1_skel.txt", frame(0.25, lost=19))
    found = ias.read(tmp_path, BY_NAME)
    assert found[0].frames[:, 0, 0].tolist() == [0.0, 0.5]
    assert [r.counts["lost_frames"] for r in found[:2]] == [1, 0]


def test_a_recording_may_lose_all_frames(tmp_path):
    three_sets(tmp_path)
    for t in range(3):
        put(tmp_path, f"Training/ann/{t:06d}-a_{t}_skel.txt", frame(0, lost=t))
    assert ias.read(tmp_path, BY_NAME)[0].frames.shape == (0, 20, 3)


def test_frames_are_sorted_as_text(tmp_path):
    three_sets(tmp_path, ("ann",))
    for t in (9, 10):
        put(tmp_path, f"Training/cid/{t}_skel.txt", frame(t))
    found = {r.name: r for r in ias.read(tmp_path, BY_NAME)}
    assert found["Training/cid"].frames[:, 0, 0].tolist() == [10, 9]


def test_walk_order_numbers_each_set_and_warns_of_differences(tmp_path, monkeypatch, caplog):
    three_sets(tmp_path)
    orders = {"Training": ["bob", "ann"], "TestingA": ["bob", "ann"], "TestingB": ["ann", "bob"]}
    fixed_walk(monkeypatch, orders)
    with caplog.at_level(logging.WARNING, "simmc"):
        found = ias.read(tmp_path, ReadOptions(ias_label_order="walk"))
    assert [r.name for r in found] == [f"{s}/{p}" for s, people in orders.items() for p in people]
    assert [r.identity for r in found] == [0, 1] * 3
    assert len(caplog.records) == 1
    message = caplog.records[0].getMessage()
    assert "TestingB" in message and "--ias_label_order name" in message


def test_name_order_is_blind_to_the_walk(tmp_path, monkeypatch, caplog):
    three_sets(tmp_path)
    before = [(r.name, r.identity) for r in ias.read(tmp_path, BY_NAME)]
    fixed_walk(monkeypatch, {part: ["bob", "ann"] for part in ias.SETS})
    assert [(r.name, r.identity) for r in ias.read(tmp_path, BY_NAME)] == before
    assert not caplog.records


def test_name_order_joins_the_takes_of_a_person(tmp_path):
    three_sets(tmp_path)
    for take in ("1", "2"):
        put(tmp_path, f"Training/aaron/{take}/0_skel.txt", frame(0))
    labels = {r.name: r.identity for r in ias.read(tmp_path, BY_NAME)}
    assert labels["Training/aaron/1"] == labels["Training/aaron/2"] == 0
    assert labels["Training/bob"] == labels["TestingB/bob"] == 2


def twice(text: str) -> str:
    """Every line doubled, in as many lines as before."""
    lines = text.splitlines()
    return "".join(f"{lines[place // 2]}\n" for place in range(len(lines)))


def swapped(text: str, one: int, other: int) -> str:
    lines = text.splitlines()
    lines[one], lines[other] = lines[other], lines[one]
    return "\n".join(lines)


def from_one(text: str) -> str:
    """The same joints, counted from 1."""
    rows = [line.partition(",") for line in text.splitlines()]
    return "".join(f"{int(joint) + 1},{rest}\n" for joint, _, rest in rows)


FAULTS = {
    "one line short": (frame(1).rsplit("\n", 2)[0] + "\n", "19 lines, expected 20"),
    "one line more": (frame(1) + frame(1).splitlines()[0], "21 lines, expected 20"),
    "empty": ("", "0 lines"),
    "missing columns": (frame(1, fields=""), "line 1: 4 fields, expected 8"),
    "word": (frame(1).replace("19,1,", "19,one,"), "line 20: 'one' is no finite number"),
    "nan state": (frame(1).replace(",240,2,0\n", ",240,nan,0\n", 1), "line 1: 'nan'"),
    "nan id": (frame(1).replace("3,1,", "nan,1,"), "line 4: 'nan'"),
    "underscore": (frame(1).replace("3,1,", "3,1_0,"), "line 4: '1_0'"),
    "far": (frame(1).replace("3,1,", "3,1e30,"), "line 4: '1e30' is no position"),
    "millimetres": (frame(1).replace(",2.5,", ",2500,"), "line 1: '2500' is no position"),
    "decimal commas": (frame(0.5).replace(".", ","), "line 1: 11 fields, expected 8"),
    "one field more": (frame(1).replace("2,0\n", "2,0,5\n", 1), "line 1: 9 fields, expected 8"),
    "reversed": ("\n".join(frame(1).splitlines()[::-1]), "line 1: joint id 19"),
    "doubled": (twice(frame(1)), "line 2: joint id 0"),
    "swapped": (swapped(frame(1), 3, 4), "line 4: joint id 4"),
    "other joints": (frame(1).replace("19,1,", "20,1,"), "line 20: joint id 20"),
    "from one": (from_one(frame(1)), "line 1: the joint ids"),
    "inf": (frame(1).replace("3,1,", "3,1e999,"), "line 4: '1e999'"),
    "hole": (frame(1).replace("3,1,", "3,,"), "line 4: ''"),
    "state": (frame(1).replace(",240,2,0\n", ",240,x,0\n", 1), "line 1: 'x'"),
    "bytes": ("\x00\ufffd" * 40, ", expected 20"),
}


@pytest.mark.parametrize("content, message", FAULTS.values(), ids=FAULTS)
def test_faults_name_the_file_and_the_next_step(tmp_path, content, message):
    three_sets(tmp_path)
    path = put(tmp_path, "TestingB/bob/000001-a_1_skel.txt", content)
    with pytest.raises(UserError) as error:
        ias.read(tmp_path, BY_NAME)
    assert str(path) in str(error.value) and message in str(error.value)
    assert "restore or remove" in str(error.value)


NAN = st.sampled_from(["nan", "NaN", "-nan", "-nan(ind)", "NAN"])


@given(words=st.lists(NAN, min_size=1, max_size=3), slow=st.booleans())
def test_nan_is_a_joint_that_was_not_seen(tmp_path_factory, words, slow):
    root = tmp_path_factory.mktemp("nan")
    lines = frame(1).splitlines()
    for joint, word in enumerate(words):
        lines[joint] = f"{joint},{word},0,2.5,0,0,2,0"
    path = put(root, "x", "\n\n".join(lines) if slow else "\n".join(lines))
    values = text.read_frames([path], ias.LAYOUT).coordinates
    assert np.isnan(values[0, :, 0]).tolist() == [j < len(words) for j in range(20)]


def test_the_first_field_may_be_a_person_s_number_or_count_from_one(tmp_path):
    three_sets(tmp_path)
    for t, person in enumerate((3, 3, 4)):
        rows = [line.partition(",")[2] for line in frame(t).splitlines()]
        put(
            tmp_path,
            f"Training/ann/{t:06d}-a_{t}_skel.txt",
            "".join(f"{person},{row}\n" for row in rows),
        )
        put(tmp_path, f"Training/bob/{t:06d}-a_{t}_skel.txt", from_one(frame(t)))
    ann, bob = ias.read(tmp_path, BY_NAME)[:2]
    assert ann.frames.tobytes() == bob.frames.tobytes()
    assert (ann.counts["unordered_frames"], bob.counts["unordered_frames"]) == (3, 0)


LINES = st.lists(st.integers(0, 19), min_size=20, max_size=20)


@given(order=LINES)
def test_no_order_but_the_published_one_is_read(tmp_path_factory, order):
    root = tmp_path_factory.mktemp("order")
    lines = frame(1).splitlines()
    path = put(root, "x", "\n".join(lines[joint] for joint in order))
    if order == list(range(20)):
        text.read_frames([path], ias.LAYOUT)
    elif len(set(order)) > 1:
        with pytest.raises(UserError, match="x, line "):
            text.read_frames([path], ias.LAYOUT)


@settings(max_examples=200)
@given(
    place=st.integers(0, len(frame(1)) - 1),
    length=st.integers(0, 3),
    patch=st.text(st.sampled_from("0123456789.,-+enaif _\n\r\t;x\0"), max_size=4),
)
def test_changed_bytes_give_the_same_in_both_ways_of_reading(
    tmp_path_factory, place, length, patch
):
    content = frame(1)[:place] + patch + frame(1)[place + length :]
    path = put(tmp_path_factory.mktemp("changed"), "x", "")
    path.write_bytes(content.encode())

    def read(slow: bool) -> object:
        with pytest.MonkeyPatch.context() as patched:
            if slow:
                patched.setattr(text, "_fast", lambda *_: None)
            try:
                found = text.read_frames([path], ias.LAYOUT)
            except UserError as error:
                assert str(path) in str(error)
                return None
        assert np.nanmax(np.abs(found.coordinates), initial=0) <= LIMIT_METRES
        return (found.coordinates.tobytes(), found.states.tobytes(), found.unordered)

    assert read(slow=False) == read(slow=True)


FOLDERS = {  # what is done to the three sets, and what the message names
    "empty": (lambda root: (root / "TestingA" / "cid").mkdir(), "TestingA/cid.*no frame"),
    "missing": (
        lambda root: (root / "TestingA").rename(root / "gone"),
        "TestingA: the folder is missing",
    ),
    "case": (lambda root: (root / "TestingB").rename(root / "testingb"), "TestingB: .*testingb"),
    "beside": (
        lambda root: put(root, "Training/0_skel.txt", frame(0)),
        r"Training/0_skel\.txt.*the folder (ann|bob)",
    ),
    "backup": (
        lambda root: put(root, "TestingA/bob/0_skel.txt.bak", frame(0)),
        r"0_skel\.txt\.bak",
    ),
    "pipe": (lambda root: os.mkfifo(root / "Training" / "ann" / "9_skel.txt"), r"9_skel\.txt"),
    "no text": (lambda root: (root / "Training" / os.fsdecode(b"\xff")).mkdir(), "UTF-8"),
    "stranger": (
        lambda root: put(root, "TestingA/eve/0_skel.txt", frame(0)),
        "TestingA/eve.*--ias_label_order walk",
    ),
}


@pytest.mark.parametrize("change, named", FOLDERS.values(), ids=FOLDERS)
def test_faults_of_folders_are_named(tmp_path, change, named):
    change(three_sets(tmp_path))
    with pytest.raises(UserError, match=named):
        ias.read(tmp_path, BY_NAME)


def test_frames_without_person_folders_are_refused(tmp_path):
    for part in ias.SETS:
        put(tmp_path, f"{part}/0_skel.txt", frame(0))
    with pytest.raises(UserError, match=r"Training.*give each person a folder"):
        ias.read(tmp_path)


def test_links_are_followed_once(tmp_path):
    three_sets(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "Training" / "bob").rename(tmp_path / "elsewhere" / "bob")
    (tmp_path / "Training" / "bob").symlink_to(tmp_path / "elsewhere" / "bob")
    assert len(ias.read(tmp_path)) == 6
    (tmp_path / "Training" / "cid").symlink_to(tmp_path / "Training" / "ann")
    with pytest.raises(UserError, match=r"Training/(cid|ann): the same folder as .*/(ann|cid)"):
        ias.read(tmp_path)
    (tmp_path / "Training" / "cid").unlink()
    (tmp_path / "Training" / "ann" / "loop").symlink_to(tmp_path / "Training")
    with pytest.raises(UserError, match=r"the same folder|beside the folder"):
        ias.read(tmp_path)


def test_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    three_sets(tmp_path)
    real = os.scandir

    def scandir(path):
        if Path(path).name == "bob":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UserError, match=r"bob: cannot be listed .Permission"):
        ias.read(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("\n", "\r\n"),
        lambda t: t.replace(",", " , "),
        lambda t: t.replace("\n", "\n\n"),
        lambda t: t.rstrip(),
        lambda t: t + " \n\n",
        lambda t: t.replace(",0\n", ",0,\n"),
        lambda t: t.replace(",2,0\n", ",2,0,\n", 1),
        lambda t: t.replace(",2,0\n", ",2,0,3,4,0.1,0.2,0.3,0.9\n"),
        lambda t: t.replace("\n", "\r\n").replace("0\r", "0,\r"),
    ],
    ids=[
        *("crlf", "spaces", "blank lines", "no last newline", "blank end", "commas at the end"),
        *("one comma", "orientations", "crlf and commas"),
    ],
)
def test_ways_of_writing_the_same(tmp_path, change):
    plain = put(tmp_path, "plain", frame(0.1))
    other = put(tmp_path, "other", "")
    other.write_bytes(change(frame(0.1)).encode())
    values = text.read_frames([plain, other, plain], ias.LAYOUT).coordinates
    np.testing.assert_array_equal(values[1], values[0])
    np.testing.assert_array_equal(values[2], values[0])
    alone = text.read_frames([other, other], ias.LAYOUT).coordinates
    np.testing.assert_array_equal(alone[1], values[0])


@given(numbers=st.lists(st.floats(-1000, 1000), min_size=60, max_size=60))
def test_numbers_are_those_of_float(tmp_path_factory, numbers):
    root = tmp_path_factory.mktemp("numbers")
    texts = [f"{n!r}" for n in numbers]
    rows = [",".join([f"{i // 3}", *texts[i : i + 3]]) for i in range(0, 60, 3)]
    path = put(root, "x", "\n".join(rows))
    values = text.read_frames([path], text.Layout(20, (4,))).coordinates
    assert values.ravel().tobytes() == np.array([float(t) for t in texts]).tobytes()


# BIWI: the same line format, labels from folder names, first body only


def sets(root, persons=("002", "010", "007")):
    for part in biwi.SETS.values():
        for person in persons:
            put(root, f"{part}/{person}/000000-a_skel.txt", frame(int(person)))
    return root


def test_labels_are_the_numbers_of_the_folders_and_paths_give_the_order(tmp_path):
    found = biwi.read(sets(tmp_path))
    assert [r.identity for r in found] == [2, 7, 10] * 3
    assert [r.role for r in found] == [role for role in biwi.SETS for _ in range(3)]
    assert found[3].name == "Testing/Walking/002"
    assert found[4].frames[0, 0].tolist() == [7.0, 0.0, 2.5]
    walk = biwi.read(tmp_path, ReadOptions(ias_label_order="walk"))
    name = biwi.read(tmp_path, ReadOptions(ias_label_order="name"))
    assert [r.name for r in walk] == [r.name for r in name]


def test_only_the_first_body_counts(tmp_path):
    sets(tmp_path, ("001",))
    put(tmp_path, "Training/001/000001-a_skel.txt", frame(5) + frame(6, lost=3))
    put(tmp_path, "Training/001/000002-a_skel.txt", frame(7, lost=3) + frame(8))
    put(tmp_path, "Training/001/000003-a_skel.txt", frame(9) + "whatever\nelse")
    (found, *_) = biwi.read(tmp_path)
    assert found.frames[:, 0, 0].tolist() == [1, 5, 9]
    assert (found.counts["more_bodies"], found.counts["lost_frames"]) == (3, 1)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        *((f"Training/{name}", name) for name in ("ann", "99999999999999999999", "\u0663", "1.5")),
        ("Training/002/007", r"002/000000-a_skel\.txt: .*the folder 007"),
        ("Training/012/007", "012/007"),
    ],
)
def test_faults_of_biwi_s_folders_are_named(tmp_path, name, named):
    put(sets(tmp_path), f"{name}/0_skel.txt", frame(0))
    with pytest.raises(UserError, match=named):
        biwi.read(tmp_path)
