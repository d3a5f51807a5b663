"""Labels that the public programs store as pickled objects: read without running anything."""

import io
import os
import pickle
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from simmc.data import specs, store
from simmc.errors import UserError
from tests.data.make import kgbd_file, kgbd_set

KGBD = specs.get("KGBD")


def test_public_programs_can_read_ids(tmp_path):
    kgbd_set(tmp_path)
    ids = np.load(kgbd_file(tmp_path, "ids"), allow_pickle=True)  # as they do
    assert ids.shape == ()
    assert ids.item() == {3: [1, 4], 7: [0, 2, 3]}
    assert all(type(label) is int for label in ids.item())


def _save_object(path: Path, content: object, protocol: int) -> None:
    """An object array as `numpy.save` writes it, with the given pickle protocol."""
    array = np.empty((), dtype=object) if isinstance(content, dict) else np.array(content, object)
    if isinstance(content, dict):
        array[()] = content
    head = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(head, header)
    path.write_bytes(head.getvalue() + pickle.dumps(array, protocol=protocol))


@pytest.mark.parametrize("protocol", [0, 2, 3, 4])
@pytest.mark.parametrize("kind", [int, np.int64, np.int32])
def test_ids_of_other_numpy_and_python_versions(tmp_path, protocol, kind):
    path = tmp_path / "ids.npy"
    _save_object(path, {kind(3): [kind(1), kind(4)], kind(7): [kind(0)]}, protocol)
    if protocol == 2:  # as numpy 1 names its module
        path.write_bytes(path.read_bytes().replace(b"numpy._core", b"numpy.core"))
    assert store.read_ids(path) == {3: [1, 4], 7: [0]}


def test_ids_with_arrays_of_indices(tmp_path):
    path = tmp_path / "ids.npy"
    _save_object(path, {3: np.array([1, 4]), 7: np.array([0], dtype=">i4")}, 4)
    assert store.read_ids(path) == {3: [1, 4], 7: [0]}


@pytest.mark.parametrize("protocol", [0, 4])
def test_frame_id_of_objects(tmp_path, protocol):
    kgbd_set(tmp_path)
    _save_object(kgbd_file(tmp_path, "frame_id"), [7, 3, np.int64(7), 7, 3], protocol)
    assert store.read_split(tmp_path, KGBD, 6, "probe").labels.tolist() == [7, 3, 7, 7, 3]


class _Harm:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickle_that_calls_something_is_refused_and_not_run(tmp_path, protocol):
    kgbd_set(tmp_path)
    for what in ("ids", "frame_id"):
        _save_object(kgbd_file(tmp_path, what), {1: _Harm(tmp_path / "harm")}, protocol)
        with pytest.raises(UserError, match=rf"{what}_KGBD_6.npy.*asks for .*mkdir"):
            if what == "ids":
                store.read_ids(kgbd_file(tmp_path, what))
            else:
                store.read_split(tmp_path, KGBD, 6, "probe")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "content", [{1: {"a": "text"}}, {1: "text"}, {"x": [1]}, {1: [1.5]}, {1: [None]}, {1: (b"x",)}]
)
def test_ids_of_other_content_are_refused(tmp_path, content):
    path = tmp_path / "ids.npy"
    _save_object(path, content, 4)
    with pytest.raises(UserError, match=r"ids.npy"):
        store.read_ids(path)


@pytest.mark.parametrize(
    "ids",
    [
        *({1: [0, 1, 2, 3]}, {1: [0, 1, 2, 3, 9]}, {1: [-1, 1, 2, 3, 4]}),
        *({0: [0, 0], 1: [2, 3, 4]}, {0: [0, 1], 1: [1, 2, 3]}),  # a window twice
        {0: [0, 1], 2**63: [2, 3, 4]},
    ],
)
def test_ids_that_do_not_fit_the_windows(tmp_path, ids):
    kgbd_set(tmp_path)
    kgbd_file(tmp_path, "frame_id").unlink()
    _save_object(kgbd_file(tmp_path, "ids"), ids, 4)
    with pytest.raises(UserError, match=r"ids_KGBD_6.npy"):
        store.read_split(tmp_path, KGBD, 6, "probe")


def test_labels_that_look_like_pickles_in_the_coordinates_are_refused(tmp_path):
    kgbd_set(tmp_path)
    _save_object(kgbd_file(tmp_path, "x"), [_Harm(tmp_path / "harm")], 4)
    with pytest.raises(UserError, match=r"t_source_x_KGBD_6.npy"):
        store.read_split(tmp_path, KGBD, 6, "probe")
    assert not (tmp_path / "harm").exists()


def _stream(path: Path, body: bytes, shape: tuple[int, ...] = ()) -> int:
    """An object array whose pickle is `body`; the size of the file."""
    head = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, header)
    path.write_bytes(head.getvalue() + body)
    return path.stat().st_size


def _text(words: str) -> bytes:
    return b"X" + struct.pack("<I", len(words)) + words.encode()


NUMPY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tX\x01\x00\x00\x00btR"
DTYPE = b"cnumpy\ndtype\n(X\x02\x00\x00\x00i8K\x00K\x01tR"
ENCODE = b"c_codecs\nencode\n"
BOMBS = {
    "memo": b"\x80\x02}r" + struct.pack("<I", 2**27) + b".",
    "memo, text": b"}p%d\n." % 10**18,
    "lists in lists": b"\x80\x02]q\x00K\x01a"
    + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(60))
    + b".",
    "itself": b"\x80\x02]q\x00h\x00a.",
    "deep": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**36) + b".",
    "bytes": b"\x80\x05\x8e" + struct.pack("<Q", 2**36) + b".",
    "string": b"T" + struct.pack("<I", 2**31 - 1) + b".",
    "frame": b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b".",
    "an empty array of many": b"\x80\x02(" + NUMPY + b"(K\x01\x8a\x06\0\0\0\0\0\x01K\x00\x86"
    + DTYPE + b"\x89C\x00tbl.",
    "text, encoded again and again": b"\x80\x02(" + _text("x" * 10**5) + b"q\x01"
    + (ENCODE + b"h\x01\x85R") * 5000 + b"l.",
    "keys of one hash": b"\x80\x02}("
    + b"".join(b"\x8a\x20" + (i * (2**61 - 1)).to_bytes(32, "little") + b"K\x00"
               for i in range(20_000)) + b"u.",
    "many flags": b"\x80\x02((" + b"K\x00" * 10**5 + b"tq\x01"
    + b"cnumpy\ndtype\nh\x01R" * 5000 + b"l.",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_memory_and_time_are_bounded_by_the_size_of_the_file(tmp_path, name):
    path = tmp_path / "ids.npy"
    size = _stream(path, BOMBS[name])
    tracemalloc.start()
    began = time.process_time()
    try:
        assert store.read_ids(path) == {}
    except UserError as error:
        assert "ids.npy" in str(error) and len(str(error)) < 500
    seconds, (_, most) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10**6 + 100 * size
    assert seconds < 5


def test_what_is_admitted_cannot_be_changed(tmp_path):
    path = tmp_path / "ids.npy"
    state = b"N}" + _text("__defaults__") + b"(K\x01tsa"
    for name in (b"c_codecs\nencode\n", b"cnumpy.core.multiarray\nscalar\n", b"cnumpy\ndtype\n"):
        _stream(path, b"\x80\x02" + name + state.replace(b"a", b"") + b"\x86b.")
        with pytest.raises(UserError, match=r"ids.npy"):
            store.read_ids(path)


@pytest.mark.parametrize("text", ["\ud800", "a\nb", "x" * 10**5])
def test_names_in_messages_can_be_printed(tmp_path, text):
    path = tmp_path / "ids.npy"
    words = text.encode("utf-8", "surrogatepass")
    name = b"\x80\x04X" + struct.pack("<I", len(words)) + words
    _stream(path, name + _text("y") + b"\x93.")
    with pytest.raises(UserError, match=r"ids.npy") as caught:
        store.read_ids(path)
    str(caught.value).encode()
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)
