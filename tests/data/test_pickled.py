"""Labels that the public programs store as pickled objects: read without running anything."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from simmc.data import specs, store
from simmc.errors import UserError
from tests.data.make import kgbd_file, kgbd_set

KGBD = specs.get("KGBD")


def test_public_programs_can_read_ids(tmp_path: Path) -> None:
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
def test_ids_of_other_numpy_and_python_versions(tmp_path: Path, protocol: int, kind: type) -> None:
    path = tmp_path / "ids.npy"
    _save_object(path, {kind(3): [kind(1), kind(4)], kind(7): [kind(0)]}, protocol)
    if protocol == 2:  # as numpy 1 names its module
        path.write_bytes(path.read_bytes().replace(b"numpy._core", b"numpy.core"))
    assert store.read_ids(path) == {3: [1, 4], 7: [0]}


def test_ids_with_arrays_of_indices(tmp_path: Path) -> None:
    path = tmp_path / "ids.npy"
    _save_object(path, {3: np.array([1, 4]), 7: np.array([0], dtype=">i4")}, 4)
    assert store.read_ids(path) == {3: [1, 4], 7: [0]}


@pytest.mark.parametrize("protocol", [0, 4])
def test_frame_id_of_objects(tmp_path: Path, protocol: int) -> None:
    kgbd_set(tmp_path)
    _save_object(kgbd_file(tmp_path, "frame_id"), [7, 3, np.int64(7), 7, 3], protocol)
    assert store.read_split(tmp_path, KGBD, 6, "probe").labels.tolist() == [7, 3, 7, 7, 3]


class _Harm:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickle_that_calls_something_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
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
def test_ids_of_other_content_are_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "ids.npy"
    _save_object(path, content, 4)
    with pytest.raises(UserError, match=r"ids.npy"):
        store.read_ids(path)


@pytest.mark.filterwarnings("ignore:Reading .npy:UserWarning")
@pytest.mark.parametrize("what", ["ids", "frame_id", "x"])
def test_damaged_bytes_are_an_error_or_harmless(tmp_path: Path, what: str) -> None:
    kgbd_set(tmp_path)
    path = kgbd_file(tmp_path, what)
    good = path.read_bytes()
    rng = np.random.default_rng(0)

    def read() -> None:
        if what == "ids":
            store.read_ids(path)
        else:
            store.read_split(tmp_path, KGBD, 6, "probe")

    for place in rng.integers(0, min(len(good), 400), 300):
        broken = bytearray(good)
        broken[place] ^= int(rng.integers(1, 256))
        path.write_bytes(broken)
        try:
            read()
        except UserError as error:
            assert path.name in str(error)
    for size in range(0, len(good) - 1, 1 + len(good) // 300):
        path.write_bytes(good[:size])
        with pytest.raises(UserError, match=path.name):
            read()


@pytest.mark.parametrize("ids", [{1: [0, 1, 2, 3]}, {1: [0, 1, 2, 3, 9]}, {1: [-1, 1, 2, 3, 4]}])
def test_ids_that_do_not_fit_the_windows(tmp_path: Path, ids: dict[int, list[int]]) -> None:
    kgbd_set(tmp_path)
    kgbd_file(tmp_path, "frame_id").unlink()
    _save_object(kgbd_file(tmp_path, "ids"), ids, 4)
    with pytest.raises(UserError, match=r"ids_KGBD_6.npy"):
        store.read_split(tmp_path, KGBD, 6, "probe")


def test_labels_that_look_like_pickles_in_the_coordinates_are_refused(tmp_path: Path) -> None:
    kgbd_set(tmp_path)
    _save_object(kgbd_file(tmp_path, "x"), [_Harm(tmp_path / "harm")], 4)
    with pytest.raises(UserError, match=r"t_source_x_KGBD_6.npy"):
        store.read_split(tmp_path, KGBD, 6, "probe")
    assert not (tmp_path / "harm").exists()
