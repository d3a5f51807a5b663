"""CASIA-B: three ways to write a video, two ways to name it."""

import json
import pickle
import struct

import numpy as np
import pytest

from simmc.data.raw import casia_b, write
from simmc.data.recordings import Recording
from simmc.data.synthetic import walkers
from simmc.errors import UserError
from tests.data.test_raw_ias import put

FRAMES = np.random.default_rng(0).normal(size=(3, 14, 3))


def save(root, name, frames=FRAMES):
    path = put(root, name, "")
    np.save(path, frames, allow_pickle=True)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "001-nm-01-090.npy",
        "001/nm-01/090.npy",
        "001/001-nm-01-090.npy",
        "set1/001-nm-01-090.npy",
        "001/nm-01-090.npy",
    ],
)
def test_flat_names_and_folders(tmp_path, name):
    save(tmp_path, name)
    (found,) = casia_b.read(tmp_path)
    assert (found.name, found.identity, found.role) == (name, 1, "nm")
    attributes = {"subject": "001", "condition": "nm", "take": "01", "view": "090"}
    assert found.attributes == attributes
    assert found.frames.tobytes() == FRAMES.tobytes()


def test_order_is_by_subject_condition_take_and_view(tmp_path):
    names = ["002-bg-01-000", "001-nm-02-000", "001-nm-01-180", "001-nm-01-018", "001-cl-02-090"]
    for name in names:
        save(tmp_path, f"{name}.npy")
    put(tmp_path, "README.txt", "notes are left alone")
    assert [r.name.removesuffix(".npy") for r in casia_b.read(tmp_path)] == sorted(names)


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_hand_written_csv(tmp_path, head, mark):
    header = ",".join(f"{axis}{j}" for j in range(14) for axis in "xyz") + "\n"
    rows = "".join(",".join(map(repr, frame.ravel().tolist())) + "\r\n" for frame in FRAMES)
    path = put(tmp_path, "001-nm-01-090.csv", "")
    path.write_bytes((mark + header * head + rows + "\n").encode())
    assert casia_b.read(tmp_path)[0].frames.tobytes() == FRAMES.tobytes()


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"fps": 25, "frames": x}])
def test_hand_written_json(tmp_path, wrap):
    put(tmp_path, "124/cl-02/180.json", json.dumps(wrap(FRAMES.tolist())))
    (found,) = casia_b.read(tmp_path)
    assert (found.identity, found.role) == (124, "cl")
    assert found.frames.tobytes() == FRAMES.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.int64, ">f8"])
def test_other_numbers_become_float64(tmp_path, dtype):
    save(tmp_path, "001-nm-01-090.npy", (FRAMES * 10).astype(dtype))
    frames = casia_b.read(tmp_path)[0].frames
    assert frames.dtype == np.float64 and frames.dtype.isnative
    np.testing.assert_array_equal(frames, (FRAMES * 10).astype(dtype).astype(np.float64))


@pytest.mark.parametrize("kind", ["npy", "json", "csv"])
def test_round_trip(tmp_path, kind):
    made = walkers.generate("CASIA_B", persons=2, size="tiny")
    write.write_casia_b(tmp_path, made, kind)
    found = casia_b.read(tmp_path)
    assert len(found) == 2 * 10 * 2
    for before, after in zip(made, found, strict=True):
        assert after.name == before.name.replace(".npy", f".{kind}")
        assert (after.identity, after.role) == (before.identity, before.role)
        assert after.attributes == before.attributes
        assert after.frames.tobytes() == before.frames.tobytes()


@pytest.mark.parametrize(
    "name",
    ["1-nm-01-090.npy", "001-xx-01-090.npy", "001-nm-01-091.npy", "whatever.json", "090.csv"],
)
def test_names_that_fit_no_rule(tmp_path, name):
    path = save(tmp_path, name)
    with pytest.raises(UserError) as error:
        casia_b.read(tmp_path)
    assert str(path) in str(error.value) and "rename" in str(error.value)


def bad_npy(array):
    def make(path):
        np.save(path, array, allow_pickle=True)

    return make


def bad_text(text):
    return lambda path: path.write_text(text)


def npy_header(shape):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    data = b"\x93NUMPY\x02\0" + struct.pack("<I", len(header)) + header
    return lambda path: path.write_bytes(data)


BAD = {
    "joints": ("npy", bad_npy(np.zeros((3, 20, 3)))),
    "flat": ("npy", bad_npy(np.zeros((3, 42)))),
    "complex": ("npy", bad_npy(np.zeros((3, 14, 3), complex))),
    "texts": ("npy", bad_npy(np.full((3, 14, 3), "1"))),
    "inf": ("npy", bad_npy(np.full((3, 14, 3), np.inf))),
    "far": ("npy", bad_npy(np.full((3, 14, 3), 1e30))),
    "half floats of infinity": ("npy", bad_npy(np.full((3, 14, 3), np.inf, "f2"))),
    "header of the largest array": ("npy", npy_header(f"({2**40}, 14, 3)")),
    "header of a negative array": ("npy", npy_header("(-1, 14, 3)")),
    "header of no shape": ("npy", npy_header("(3, (14, 3")),
    "header of a huge integer": ("npy", npy_header(f"({10**400}, 14, 3)")),
    "deep header": ("npy", npy_header("(" * 3000)),
    "more behind": ("npy", lambda path: (np.save(path, FRAMES), path.open("ab").write(b"x"))),
    "pickle": ("npy", bad_npy(np.array({"frames": 1}, dtype=object))),
    "bare pickle": ("npy", lambda path: path.write_bytes(pickle.dumps([1]))),
    "archive": ("npy", lambda path: np.savez(path.open("wb"), x=np.zeros((3, 14, 3)))),
    "cut short": (
        "npy",
        lambda path: (np.save(path, FRAMES), path.write_bytes(path.read_bytes()[:300])),
    ),
    "empty": ("npy", lambda path: path.write_bytes(b"")),
    "no json": ("json", bad_text("[[[1, 2, 3")),
    "no frames": ("json", bad_text('{"poses": []}')),
    "ragged": ("json", bad_text("[[[1, 2, 3]], [[1, 2]]]")),
    "words": ("json", bad_text(json.dumps([[["a", 0, 0]] * 14]))),
    "json inf": ("json", bad_text(json.dumps([[[float("inf"), 0, 0]] * 14]))),
    "json huge": ("json", bad_text(json.dumps([[[10**400, 0, 0]] * 14]))),
    "json bool": ("json", bad_text(json.dumps([[[True, 0, 0]] * 14]))),
    "json long text": ("json", bad_text(json.dumps([[["x" * 10**6, *[0] * 10**5]]]))),
    "json deep": ("json", bad_text("[" * 90 + "]" * 90)),
    "json bytes": ("json", lambda path: path.write_bytes(b'"\xff"')),
    "json digits": ("json", bad_text("9" * 5000)),
    "number": ("json", bad_text("3")),
    "nested": ("json", bad_text("[" * 100_000)),
    "columns": ("csv", bad_text("1,2,3\n")),
    "csv word": ("csv", bad_text(",".join(["1"] * 41 + ["x"]) + "\n")),
    "csv inf": ("csv", bad_text(",".join(["1"] * 41 + ["inf"]) + "\n")),
    "csv nul": ("csv", bad_text(",".join(["1"] * 42) + "\n\0\n")),
    "csv long cell": ("csv", bad_text('"' + "1" * 200_000)),
    "csv far": ("csv", bad_text(",".join(["1"] * 41 + ["1e30"]) + "\n")),
    "csv underscore": ("csv", bad_text(",".join(["1"] * 41 + ["1_0"]) + "\n")),
    "csv bytes": ("csv", lambda path: path.write_bytes(b"\xff\xfe\x00" * 9)),
}


@pytest.mark.parametrize("kind, make", BAD.values(), ids=BAD)
def test_faults_name_the_file(tmp_path, kind, make):
    path = tmp_path / f"001-nm-01-090.{kind}"
    make(path)
    with pytest.raises(UserError) as error:
        casia_b.read(tmp_path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("kind", ["npy", "json", "csv", "null"])
def test_nan_is_a_joint_that_was_not_seen(tmp_path, kind):
    frames = FRAMES.copy()
    frames[1, 2, 0] = np.nan
    path = tmp_path / f"001-nm-01-090.{'json' if kind == 'null' else kind}"
    if kind == "null":
        path.write_text(json.dumps(frames.tolist()).replace("NaN", "null"))
    else:
        write.write_casia_b(tmp_path, [Recording("001-nm-01-090", 1, frames)], kind)
    np.testing.assert_array_equal(casia_b.read(tmp_path)[0].frames, frames)


def test_the_same_video_twice(tmp_path):
    save(tmp_path, "001-nm-01-090.npy")
    save(tmp_path, "001/nm-01/090.npy")
    with pytest.raises(UserError, match="the same video"):
        casia_b.read(tmp_path)


def test_nothing_there(tmp_path):
    with pytest.raises(UserError, match="holds no video"):
        casia_b.read(tmp_path)
    with pytest.raises(UserError, match="folder is missing"):
        casia_b.read(tmp_path / "gone")
