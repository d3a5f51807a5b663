"""KS20: file names, order of time as text and as number, body numbers, MATLAB files."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat
from scipy.sparse import csr_array

from simmc.data import splits
from simmc.data.raw import ks20, mat, write
from simmc.data.recordings import ReadOptions
from simmc.data.synthetic import walkers
from simmc.errors import UserError
from tests.data.test_raw_ias import put

TEXT, NUMBER = ReadOptions(ks20_time="text"), ReadOptions(ks20_time="number")


def frame(value: float) -> str:
    return "".join(f"{j},{value},{j / 8},2.5\n" for j in range(25))


@pytest.fixture
def views(tmp_path):
    """A raw root with one frame in every view."""
    for view in ks20.VIEWS:
        put(tmp_path, f"{view}/gc1_body1_5.txt", frame(5))
    return tmp_path


def test_hand_written_files_come_back(views):
    put(views, "frontal/gc3_body24_7", frame(7))  # without an ending
    put(views, "frontal/gc2_body9_7.csv", frame(8))
    put(views, "frontal/.hidden", "")
    found = [r for r in ks20.read(views) if r.role == "frontal"]
    assert [(r.name, r.identity) for r in found] == [
        ("frontal/gc1_body1", 0),
        ("frontal/gc2_body9", 6),
        ("frontal/gc3_body24", 19),
    ]
    assert found[2].attributes == {"view": "frontal", "setting": "gc3", "body": "24"}
    assert found[2].frames.shape == (1, 25, 3)
    assert found[2].frames[0, 8].tolist() == [7, 1, 2.5]


def test_views_and_recordings_follow_the_file_names(views):
    for body in (2, 9, 11, 24):
        put(views, f"frontal/gc1_body{body}_5.txt", frame(0))
    put(views, "frontal/gc2_body1_5.txt", frame(0))
    found = ks20.read(views)
    assert [r.role for r in found[-4:]] == sorted(ks20.VIEWS)[1:]
    names = sorted(path.name for path in (views / "frontal").iterdir())
    in_files = list(dict.fromkeys(name.rpartition("_")[0] for name in names))
    assert [r.name.partition("/")[2] for r in found[:6]] == in_files
    assert in_files[4] == "gc1_body9"  # last in its setting, which makes it slip


@pytest.mark.parametrize(
    "options, times",
    [(None, [10, 100, 8.5, 9]), (TEXT, [10, 100, 8.5, 9]), (NUMBER, [8.5, 9, 10, 100])],
)
def test_time_as_text_and_as_number(views, options, times):
    for time in (100, 9, 8.5, 10):
        put(views, f"frontal/gc2_body3_{time}.txt", frame(time))
    found = {r.name: r for r in ks20.read(views, options)}
    assert found["frontal/gc2_body3"].frames[:, 0, 0].tolist() == times


@pytest.mark.parametrize(
    "name, message",
    [
        ("gc1_body5_10.txt", "no body 5, only 1, 2, 3, 4, 7"),
        ("gc4_body1_10.txt", "not named like"),
        ("gc1_body1_noon.txt", "not named like"),
        ("notes.txt", "not named like"),
        ("gc1_body1.mat", "holds the same recording"),
    ],
)
def test_names_that_fit_no_rule(views, name, message):
    put(views, f"frontal/{name}", frame(0))
    with pytest.raises(UserError) as error:
        ks20.read(views)
    assert f"{views}/frontal/" in str(error.value)
    assert name in str(error.value) and message in str(error.value)


@pytest.mark.parametrize(
    "content, message",
    [
        (frame(1).rsplit("\n", 2)[0], "24 lines, expected 25"),
        (frame(1).replace(",2.5\n", "\n"), "line 1: 3 fields, expected 4"),
        (frame(1).replace(",2.5\n", ",2.5,0\n"), "line 1: 5 fields, expected 4"),
        ("\n".join(frame(1).splitlines()[::-1]), "line 1: joint id 24"),
        ("".join(f"3,{line.partition(',')[2]}\n" for line in frame(1).split()), "joint id 3"),
    ],
    ids=["short", "columns", "more columns", "reversed", "one id"],
)
def test_faults_name_the_file(views, content, message):
    """The faults of lines are those of IAS, whose reader it is."""
    path = put(views, "left_lateral/gc3_body12_10.txt", content)
    with pytest.raises(UserError) as error:
        ks20.read(views)
    assert str(path) in str(error.value) and message in str(error.value)


def test_missing_and_empty_views(views):
    (views / "frontal" / "gc1_body1_5.txt").unlink()
    with pytest.raises(UserError, match="frontal: holds no file"):
        ks20.read(views)
    (views / "frontal").rmdir()
    with pytest.raises(UserError, match=r"frontal: cannot be listed.*one view of KS20"):
        ks20.read(views)


@pytest.mark.parametrize("options", [TEXT, NUMBER])
@pytest.mark.parametrize("kind", ["txt", "mat"])
def test_round_trip(tmp_path, options, kind):
    made = walkers.generate("KS20", size="tiny", seed=3)
    times = {r.name: 950 + 33 * np.arange(len(r.frames)) for r in made}  # from three digits to four
    write.write_ks20(tmp_path, made, times, kind=kind)
    found = ks20.read(tmp_path, options)
    assert [r.name for r in found] == [r.name for r in made]
    for before, after in zip(made, found, strict=True):
        stamps = times[before.name].tolist()
        order = np.argsort([str(t) for t in stamps], kind="stable") if options is TEXT else ...
        assert after.frames.tobytes() == before.frames[order].tobytes()
        assert (after.identity, after.role) == (before.identity, before.role)
        assert after.attributes == before.attributes


def one_mat(views, compressed=False, **entries):
    path = views / "frontal" / "gc1_body1.mat"
    (views / "frontal" / "gc1_body1_5.txt").unlink()
    savemat(path, entries, do_compression=compressed)
    return path


@pytest.mark.parametrize("shape", [(6, 25, 3), (6, 75), (1, 25, 3)])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i1", "u2", "i8"])
@pytest.mark.parametrize("compressed", [False, True])
def test_matlab_arrays_of_both_shapes_and_any_name(views, shape, dtype, compressed):
    array = np.abs(np.random.default_rng(0).normal(scale=50, size=shape)).clip(0, 99).astype(dtype)
    others = {
        "fps": 30.0,
        "label": "someone",
        "other": np.zeros((4, 4)),
        "info": {"a": [1, "b"], "s": np.ones((2, 75))},
        "cells": np.array([1, "x", 3.5], dtype=object),
        "wave": np.ones((6, 75)) * 1j,
        "sparse": csr_array(np.eye(75)),
    }
    path = one_mat(views, compressed, **others, joints3d=array)
    np.testing.assert_array_equal(loadmat(path)["joints3d"], array)
    frames = ks20.read(views)[0].frames
    np.testing.assert_array_equal(frames, array.reshape(-1, 25, 3).astype(np.float64))


def test_a_flat_matlab_array_goes_joint_by_joint_and_is_counted(views):
    flat = np.arange(150.0).reshape(2, 75)
    one_mat(views, skeleton=flat)
    found = ks20.read(views)[0]
    assert found.frames[1, 1].tolist() == flat[1, 3:6].tolist()
    assert found.counts == {"flat_arrays": 1}


def test_matlab_nan_is_a_joint_that_was_not_seen(views):
    array = np.ones((5, 25, 3))
    array[2, 3, 1] = np.nan
    one_mat(views, skeleton=array)
    np.testing.assert_array_equal(ks20.read(views)[0].frames, array)


@pytest.mark.parametrize("levels", [1, 2, 1100])
def test_a_matlab_file_that_claims_more_than_it_holds(views, levels, monkeypatch):
    """Zeros that take a thousandth of their size, in one element or packed again and again."""
    monkeypatch.setattr(mat, "_MOST_BYTES", 1 << 20)
    path = one_mat(views, skeleton=np.zeros((5, 75)))
    head = path.read_bytes()[:128]
    packed = zlib.compress(bytes(3 << 20)) if levels < 1100 else b""
    for _ in range(levels - 1):
        packed = zlib.compress(struct.pack("<II", 15, len(packed)) + packed)
    path.write_bytes(head + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(UserError, match=r"gc1_body1\.mat"):
        ks20.read(views)


@pytest.mark.parametrize("name", ["gc1_body1_5.csv", "gc1_body1_5.0.txt", "gc1_body1_05"])
def test_two_frames_of_one_time(views, name):
    put(views, f"frontal/{name}", frame(0))
    with pytest.raises(UserError, match=r"frontal/gc1_body1_.*has the same time"):
        ks20.read(views)


@pytest.mark.parametrize(
    "entries, message",
    [
        ({"skeleton": np.zeros((5, 20, 3))}, "exactly one array"),
        ({"a": np.zeros((5, 75)), "b": np.zeros((5, 75))}, "exactly one array"),
        ({"skeleton": np.array([{"x": 1}], dtype=object)}, "exactly one array"),
        ({}, "found nothing"),
        ({"skeleton": np.full((5, 75), np.inf)}, "not finite"),
        ({"skeleton": np.full((5, 75), 1e30)}, "metres"),
        ({"skeleton": np.zeros((5, 75)), "time": np.arange(4)}, "one number for each frame"),
    ],
    ids=["joints", "two", "object", "nothing", "inf", "far", "time"],
)
def test_matlab_faults_name_the_file(views, entries, message):
    path = one_mat(views, **entries)
    with pytest.raises(UserError) as error:
        ks20.read(views)
    assert str(path) in str(error.value) and message in str(error.value)


@pytest.mark.parametrize(
    "head",
    [
        b"MATLAB 7.3 MAT-file, Platform: GLNXA64",
        b"\x89HDF\r\n\x1a\n",
        b"\0" * 512 + b"\x89HDF\r\n\x1a\n",
    ],
)
def test_matlab_7_3_and_4_are_refused_with_the_way_out(views, head):
    path = one_mat(views, skeleton=np.zeros((5, 75)))
    path.write_bytes(head + b"\0" * 200)
    with pytest.raises(UserError, match=r"gc1_body1\.mat.*7\.3.*'-v7'"):
        ks20.read(views)
    savemat(path, {"skeleton": np.zeros((5, 75))}, format="4")
    with pytest.raises(UserError, match=r"gc1_body1\.mat: .*version 5 to 7.*'-v7'"):
        ks20.read(views)


def test_matlab_numbers_stored_small_and_in_the_other_byte_order(tmp_path):
    """MATLAB stores whole doubles as small integers; some machines wrote big-endian files."""
    values = np.arange(150).reshape(2, 75)

    def element(kind: int, content: bytes) -> bytes:
        return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)

    inside = (
        element(6, struct.pack(">II", 6, 0))
        + element(5, struct.pack(">ii", 2, 75))
        + struct.pack(">HH4s", 4, 1, b"walk")  # a name so short that it sits in its own tag
        + element(2, values.astype("u1").tobytes(order="F"))
    )
    path = tmp_path / "x.mat"
    path.write_bytes(b"MATLAB 5.0".ljust(124) + b"\x01\x00MI" + element(14, inside))
    found = mat.read_frames(path, 25)
    assert found.times is None and found.frames.dtype == np.float64
    np.testing.assert_array_equal(found.frames.reshape(2, 75), values)
    np.testing.assert_array_equal(loadmat(path)["walk"], values)


@pytest.mark.parametrize("compressed", [False, True])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=3))
def test_damaged_matlab_files_never_do_worse_than_an_error(tmp_path, compressed, damage):
    path = tmp_path / "x.mat"
    entries = {"skeleton": np.random.default_rng(0).normal(size=(5, 75)), "time": np.arange(5)}
    savemat(path, entries, do_compression=compressed)
    data = bytearray(path.read_bytes())
    for place, byte in damage:
        data[int(place * len(data))] = byte
    path.write_bytes(data)
    try:
        frames = mat.read_frames(path, 25).frames
    except UserError as error:
        assert str(path) in str(error)
    else:
        assert frames.shape[1:] == (25, 3)


@pytest.mark.parametrize("size", [0, 3, 100, 130, 400, 2000])
def test_matlab_files_cut_short(views, size):
    path = one_mat(views, skeleton=np.random.default_rng(0).normal(size=(5, 75)))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match=r"gc1_body1\.mat"):
        ks20.read(views)


def test_the_person_that_slips_is_label_6(tmp_path):
    """In the released order body9 is last of each setting; only its roles differ by the switch."""
    made = walkers.generate("KS20", size="tiny", persons=20)
    write.write_ks20(tmp_path, made)
    found = ks20.read(tmp_path)
    roles = {}
    for choice in ("slip", "own"):
        options = ReadOptions(ks20_roles=choice)
        assigned = splits.assign("KS20", found, np.random.default_rng(0), options)
        roles[choice] = {p: split for split, places in assigned.items() for p in places}
    differing = {
        found[p].identity for p in range(len(found)) if roles["slip"].get(p) != roles["own"][p]
    }
    assert differing == {6}
    lost = [found[p].name for p in range(len(found)) if p not in roles["slip"]]
    assert lost == [f"{view}/gc3_body9" for view in ks20.VIEWS]
