import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simmc.data import windows
from simmc.data.raw import kgbd
from simmc.data.specs import KINECT_LENGTHS
from simmc.errors import UserError
from tests.data import make

GOOD = make.kgbd_text(np.random.default_rng(0).normal(size=(2, 20, 3)))


def _file(root: Path, text: str | bytes) -> Path:
    path = root / "KGBD" / kgbd.FOLDER / "Person007" / "1.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_walks_come_by_person_and_number_with_their_values(tmp_path):
    written = make.kgbd_raw(tmp_path, {100: 3, 9: 11})
    (tmp_path / "KGBD" / kgbd.FOLDER / "Person009" / "notes.txt").write_text("not a walk")
    (tmp_path / "KGBD" / kgbd.FOLDER / "Readme.txt").write_text("not a person")
    found = kgbd.read(tmp_path / "KGBD")
    assert [walk.name.rpartition("raw dataset/")[2] for walk in found] == [
        *(f"Person009/{walk}.txt" for walk in range(1, 12)),
        *(f"Person100/{walk}.txt" for walk in range(1, 4)),
    ]
    assert [walk.identity for walk in found] == [9] * 11 + [100] * 3
    for walk in found:
        assert walk.frames.dtype == np.float64
        assert walk.frames.tobytes() == written[walk.name].tobytes()
        data = (tmp_path / "KGBD" / walk.name).read_bytes()
        assert walk.sha256 == hashlib.sha256(data).hexdigest()


NUMBERS = (
    *("0.1", "-0.0284509432", "1E-05", "2.2250738585072014e-308", "4.9e-324", "-0.0", "7"),
    *("9.9e2", "8.41e-17", "0.30000000000000004", "123.45678912345678", "-999.99999999999994"),
    "1000",
)


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_are_read_as_python_reads_them(tmp_path, number):
    name, _, y, z = GOOD.splitlines()[0].split(";")
    _file(tmp_path, f"{name};{number};{y};{z}\r\n" + GOOD.partition("\r\n")[2])
    value = kgbd.read(tmp_path / "KGBD")[0].frames[0, 0, 0]
    assert value.hex() == float(number).hex()


def test_unix_line_ends_and_a_last_line_without_end(tmp_path):
    _file(tmp_path, GOOD.replace("\r\n", "\n").rstrip())
    assert kgbd.read(tmp_path / "KGBD")[0].frames.shape == (2, 20, 3)


def _edit(line: int, old: str, new: str) -> str:
    lines = GOOD.splitlines()
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        (GOOD[: GOOD.rindex("Foot-Left")], "ends inside a frame .39 lines"),
        (GOOD[:-40], r"line 40: [23] fields|line 40: joint|line 40: ''|ends inside a frame"),
        (_edit(25, "Elbow-Right", "Elbow-Left"), "line 25: joint 'Elbow-Left', expected"),
        (_edit(3, ";", ","), "line 3: 3 fields"),
        (_edit(3, ";", ";1.0;"), "line 3: 5 fields"),
        (_edit(21, "Head;", "Head;inf"), "line 21: 'inf.*' is no finite number"),
        ("\n".join(GOOD.splitlines()[1:]) + "\n", "line 1: joint 'Shoulder-Center'"),
        (b"\xff\xfe\x00\x01" * 50, "line 1"),
        ("<html>404</html>\n", "line 1: 1 field,"),
    ],
)
def test_faults_name_file_and_line(tmp_path, text, words):
    path = _file(tmp_path, text)
    with pytest.raises(UserError, match=words) as caught:
        kgbd.read(tmp_path / "KGBD")
    assert str(path) in str(caught.value)


def _line_8(root: Path, value: str) -> None:
    lines = GOOD.splitlines()
    lines[7] = f"{lines[7].rpartition(';')[0]};{value}"
    _file(root, "\n".join(lines) + "\n")


NO_NUMBERS = ("inf", "-inf", "", "NULL", "NA", "null", "abc", "1e999", "0x1p3", "1_0", "0,5")


@pytest.mark.parametrize("value", [*NO_NUMBERS, "1e30", "-2500", "1000.5"])
def test_no_finite_numbers_and_no_positions(tmp_path, value):
    _line_8(tmp_path, value)
    with pytest.raises(UserError, match=rf"1\.txt, line 8: '{value}'"):
        kgbd.read(tmp_path / "KGBD")


@pytest.mark.parametrize("value", ["nan", "NaN", "-nan(ind)"])
def test_nan_is_a_joint_that_was_not_seen(tmp_path, value):
    _line_8(tmp_path, value)
    frames = kgbd.read(tmp_path / "KGBD")[0].frames
    assert np.argwhere(np.isnan(frames)).tolist() == [[0, 7, 2]]


@given(order=st.lists(st.integers(0, 39), min_size=40, max_size=40) | st.permutations(range(40)))
def test_no_order_of_lines_but_the_published_one(tmp_path_factory, order):
    root = tmp_path_factory.mktemp("order")
    lines = GOOD.splitlines()
    path = _file(root, "\n".join(lines[place] for place in order))
    if [place % 20 for place in order] == [*range(20)] * 2:
        assert len(kgbd.read(root / "KGBD")[0].frames) == 2
        return
    with pytest.raises(UserError, match="line ") as caught:
        kgbd.read(root / "KGBD")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("folder", ["Person99999999999999999999", "Person0000000001"])
def test_a_person_s_number_that_does_not_fit(tmp_path, folder):
    make.kgbd_raw(tmp_path, {1: 3})
    people = tmp_path / "KGBD" / kgbd.FOLDER
    (people / "Person001").rename(people / folder)
    with pytest.raises(UserError, match=f"{folder}.*nine digits"):
        kgbd.read(tmp_path / "KGBD")


@pytest.mark.parametrize("copy", ["Person001/01.txt", "Person1/1.txt"])
def test_two_files_of_one_walk(tmp_path, copy):
    make.kgbd_raw(tmp_path, {1: 3})
    path = tmp_path / "KGBD" / kgbd.FOLDER / copy
    path.parent.mkdir(exist_ok=True)
    path.write_text(GOOD)
    with pytest.raises(UserError, match="the same number as"):
        kgbd.read(tmp_path / "KGBD")


def test_folder_without_persons_says_how_to_get_them(tmp_path):
    with pytest.raises(UserError, match=r"kinect gait raw dataset.*scripts/get_kgbd.py"):
        kgbd.read(tmp_path / "KGBD")


@pytest.mark.realdata
def test_real_values_are_read_as_python_reads_them(kgbd_slice):
    for walk in kgbd.read(kgbd_slice / "KGBD")[::20]:
        lines = (kgbd_slice / "KGBD" / walk.name).read_text().splitlines()
        expected = np.array([[float(v) for v in line.split(";")[1:]] for line in lines])
        assert walk.frames.tobytes() == expected.tobytes()


@pytest.mark.realdata
def test_whole_dataset_has_the_published_counts(kgbd_full):
    walks = kgbd.read(kgbd_full / "KGBD")
    lengths = np.array([len(walk.frames) for walk in walks])
    assert len(walks) == 822
    assert len({walk.identity for walk in walks}) == 164
    assert lengths.sum() == 491_747
    assert (lengths.min(), lengths.max()) == (208, 1711)
    cut = lengths - 20
    assert cut.sum() == 475_307
    assert (cut // 6).sum() == 78_879
    for length in KINECT_LENGTHS:
        assert len(windows.plan(cut.tolist(), length, "plain")) == (cut // length).sum()
