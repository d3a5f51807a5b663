from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from simmc.data import specs, store
from simmc.data.skeletons import Skeleton
from simmc.errors import UserError

KGBD = specs.get("KGBD")
BASE = ("KGBD", "6")


def _write(root: Path, split: str = "probe", n: int = 5, recording: bool = True) -> np.ndarray:
    planes = np.random.default_rng(0).normal(size=(3, n * 6, 20))
    labels = np.array([7, 3, 7, 7, 3][:n])
    places = np.arange(n) if recording else None
    store.write_split(root.joinpath(*BASE), KGBD, 6, split, planes, labels, places)
    return planes


def _file(root: Path, what: str, split: str = "probe") -> Path:
    folder = store.split_folder(root.joinpath(*BASE), KGBD, split)
    return store.file_path(folder, KGBD, 6, split, what)


@pytest.mark.parametrize("split", ["train", "probe"])
def test_what_was_written_is_read(tmp_path: Path, split: str) -> None:
    planes = _write(tmp_path, split)
    found = store.read_split(tmp_path, "KGBD", 6, split)
    assert (found.windows == np.moveaxis(planes, 0, -1).reshape(5, 6, 20, 3)).all()
    assert found.windows.dtype == np.float64
    assert found.labels.tolist() == [7, 3, 7, 7, 3]
    assert found.recording is not None
    assert found.recording.tolist() == list(range(5))
    assert len(found.take(found.labels == 3)) == 2


def test_layout_is_the_public_one(tmp_path: Path) -> None:
    _write(tmp_path, "train")
    _write(tmp_path, "probe")
    names = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.npy")}
    what = ("ids", "frame_id", "recording")
    axes = [f"source_{axis}" for axis in "xyz"]
    assert names == {
        *(f"KGBD/6/train_npy_data/{name}_KGBD_6.npy" for name in (*what, *axes)),
        *(f"KGBD/6/test_npy_data/probe/{name}_KGBD_6.npy" for name in what),
        *(f"KGBD/6/test_npy_data/probe/t_{name}_KGBD_6.npy" for name in axes),
    }
    for axis in "xyz":
        plane = np.load(_file(tmp_path, axis), allow_pickle=False)
        assert (plane.dtype, plane.shape) == (np.float64, (30, 20))
        assert plane.flags.c_contiguous
    assert np.load(_file(tmp_path, "frame_id"), allow_pickle=False).dtype == np.int64


def test_public_programs_can_read_ids(tmp_path: Path) -> None:
    _write(tmp_path)
    ids = np.load(_file(tmp_path, "ids"), allow_pickle=True)  # as they do
    assert ids.shape == ()
    assert ids.item() == {3: [1, 4], 7: [0, 2, 3]}
    assert all(type(label) is int for label in ids.item())


@pytest.mark.parametrize(
    ("dataset", "split", "folder"),
    [
        ("CASIA_B", "train", "CASIA_B_match/40/CASIA_B_train_npy_data"),
        ("CASIA_B", "nm", "CASIA_B_match/40/CASIA_B_test_npy_data/nm"),
        ("IAS", "A", "IAS/40/test_npy_data/A"),
        ("KS20_CVE", "train/130", "KS20_CVE/40/train_npy_data/130"),
        ("KS20_CVE", "130", "KS20_CVE/40/test_npy_data/130"),
    ],
)
def test_folders(tmp_path: Path, dataset: str, split: str, folder: str) -> None:
    spec = specs.KS20_CVE if dataset == "KS20_CVE" else specs.get(dataset)
    base = store.dataset_folder(tmp_path, spec, 40)
    assert store.split_folder(base, spec, split) == tmp_path / folder


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
    _write(tmp_path)
    _save_object(_file(tmp_path, "frame_id"), [7, 3, np.int64(7), 7, 3], protocol)
    assert store.read_split(tmp_path, KGBD, 6, "probe").labels.tolist() == [7, 3, 7, 7, 3]


class _Harm:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickle_that_calls_something_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    _write(tmp_path)
    for what in ("ids", "frame_id"):
        _save_object(_file(tmp_path, what), {1: _Harm(tmp_path / "harm")}, protocol)
        with pytest.raises(UserError, match=rf"{what}_KGBD_6.npy.*asks for .*mkdir"):
            if what == "ids":
                store.read_ids(_file(tmp_path, what))
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
    _write(tmp_path)
    path = _file(tmp_path, what)
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


def test_labels_come_from_ids_where_frame_id_is_missing(tmp_path: Path) -> None:
    _write(tmp_path, recording=False)
    _file(tmp_path, "frame_id").unlink()
    found = store.read_split(tmp_path, KGBD, 6, "probe")
    assert found.labels.tolist() == [7, 3, 7, 7, 3]
    assert found.recording is None


@pytest.mark.parametrize("ids", [{1: [0, 1, 2, 3]}, {1: [0, 1, 2, 3, 9]}, {1: [-1, 1, 2, 3, 4]}])
def test_ids_that_do_not_fit_the_windows(tmp_path: Path, ids: dict[int, list[int]]) -> None:
    _write(tmp_path)
    _file(tmp_path, "frame_id").unlink()
    _save_object(_file(tmp_path, "ids"), ids, 4)
    with pytest.raises(UserError, match=r"ids_KGBD_6.npy"):
        store.read_split(tmp_path, KGBD, 6, "probe")


def _replace(root: Path, what: str, array: np.ndarray) -> None:
    np.save(_file(root, what), array)


@pytest.mark.parametrize(
    ("what", "array"),
    [
        ("x", np.zeros((30, 25))),  # another sensor
        ("x", np.zeros((31, 20))),  # no whole number of windows
        ("x", np.zeros(600)),
        ("x", np.zeros((30, 20), dtype=np.int64)),
        ("x", np.zeros((0, 20))),
        ("y", np.zeros((24, 20))),
        ("frame_id", np.zeros(4, np.int64)),
        ("frame_id", np.zeros(30, np.int64)),
        ("frame_id", np.array([0.5] * 5)),
        ("frame_id", np.array([np.nan] * 5)),
        ("frame_id", np.array(["a"] * 5)),
        ("recording", np.zeros(6, np.int64)),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, what: str, array: np.ndarray) -> None:
    _write(tmp_path)
    _replace(tmp_path, what, array)
    name = what if what in ("frame_id", "recording") else f"t_source_{what}"
    with pytest.raises(UserError, match=f"{name}_KGBD_6.npy"):
        store.read_split(tmp_path, KGBD, 6, "probe")


@pytest.mark.parametrize("what", ["x", "z", "frame_id", "recording"])
@pytest.mark.parametrize("left", [0, 20, 128, -1])
def test_truncated_files_are_named(tmp_path: Path, what: str, left: int) -> None:
    _write(tmp_path)
    path = _file(tmp_path, what)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(UserError, match=path.name):
        store.read_split(tmp_path, KGBD, 6, "probe")


@pytest.mark.parametrize("what", ["x", "y", "z"])
def test_missing_files_are_named(tmp_path: Path, what: str) -> None:
    _write(tmp_path)
    _file(tmp_path, what).unlink()
    with pytest.raises(UserError, match=f"t_source_{what}_KGBD_6.npy: the file is missing"):
        store.read_split(tmp_path, KGBD, 6, "probe")


def test_missing_set_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"python Preprocess.py 8 --dataset KGBD"):
        store.read_split(tmp_path, KGBD, 8, "probe")
    with pytest.raises(UserError, match="--dataset KS20 --protocol CVE"):
        store.read_split(tmp_path, specs.KS20_CVE, 6, "90")


def test_labels_that_look_like_pickles_in_the_coordinates_are_refused(tmp_path: Path) -> None:
    _write(tmp_path)
    _save_object(_file(tmp_path, "x"), [_Harm(tmp_path / "harm")], 4)
    with pytest.raises(UserError, match=r"t_source_x_KGBD_6.npy"):
        store.read_split(tmp_path, KGBD, 6, "probe")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 99}'])
def test_damaged_manifest_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json"):
        store.read_manifest(tmp_path)


def test_no_manifest_is_fine(tmp_path: Path) -> None:
    assert store.read_manifest(tmp_path) == (None, None)


def test_staged_folder_swaps_in_the_new_and_drops_the_old(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "set"
    for text in ("first", "second"):
        with store.staged_folder(target) as stage:
            (stage / "file").write_text(text)
    assert (target / "file").read_text() == "second"
    assert [p.name for p in target.parent.iterdir()] == ["set"]


def test_staged_folder_keeps_the_old_on_failure(tmp_path: Path) -> None:
    target = tmp_path / "set"
    with store.staged_folder(target) as stage:
        (stage / "file").write_text("good")
    with pytest.raises(KeyboardInterrupt), store.staged_folder(target) as stage:
        (stage / "file").write_text("half")
        raise KeyboardInterrupt
    assert (target / "file").read_text() == "good"
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_killed_writer_leaves_the_previous_set(tmp_path: Path) -> None:
    target = tmp_path / "set"
    with store.staged_folder(target) as stage:
        (stage / "file").write_text("good")
    script = (
        "import os, sys; from pathlib import Path; from simmc.data import store\n"
        "with store.staged_folder(Path(sys.argv[1])) as stage:\n"
        "    (stage / 'file').write_text('half'); os._exit(9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    assert killed.returncode == 9
    assert (target / "file").read_text() == "good"
    (part,) = tmp_path.glob(".set.*.part")
    os.utime(part, (0, 0))
    with store.staged_folder(target):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_kill_between_the_renames_is_mended(tmp_path: Path) -> None:
    old = tmp_path / ".set.0123.old"
    old.mkdir()
    (old / "file").write_text("good")
    with pytest.raises(ValueError, match="stop"), store.staged_folder(tmp_path / "set"):
        raise ValueError("stop")
    assert (tmp_path / "set" / "file").read_text() == "good"


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="set"), store.staged_folder(tmp_path / "file" / "set"):
        pass


TRIPOD = Skeleton("tripod", ("top", "left_leg", "right_leg"), "top", (), (), ())


def _own(n: int = 4) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    splits = ("train", "probe", "gallery")
    return {s: (rng.normal(size=(n, 8, 3, 3)), np.arange(n) % 2) for s in splits}


def test_own_data_are_written_and_found(tmp_path: Path) -> None:
    sets = _own()
    folder = store.write_dataset(tmp_path, "mine", sets, TRIPOD)
    assert folder == tmp_path / "mine" / "8"
    spec = store.find_spec(tmp_path, "mine", 8)
    assert (spec.skeleton, spec.probes) == (TRIPOD, ("probe",))
    for split, (windows, labels) in sets.items():
        found = store.read_split(tmp_path, "mine", 8, split)
        assert (found.windows == windows).all()
        assert (found.labels == labels).all()


def test_joints_that_were_not_seen_stand_where_they_were_seen_last(tmp_path: Path) -> None:
    sets = _own()
    windows = sets["train"][0].copy()
    windows[0, :3, 1] = np.nan  # seen from frame 3 on
    windows[0, 6:, 1, 0] = np.nan  # one coordinate is enough
    windows[1, :, 2] = np.nan  # never
    store.write_dataset(tmp_path, "mine", sets | {"train": (windows, sets["train"][1])}, TRIPOD)
    found = store.read_split(tmp_path, "mine", 8, "train").windows
    wanted = sets["train"][0].copy()
    wanted[0, :3, 1] = wanted[0, 3, 1]
    wanted[0, 6:, 1] = wanted[0, 5, 1]
    wanted[1, :, 2] = wanted[1, :, :2].mean(1)
    np.testing.assert_allclose(found, wanted, rtol=1e-15)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"probe": (np.zeros((4, 8, 2, 3)), np.zeros(4, int))}, "probe: windows of shape"),
        ({"probe": (np.zeros((4, 8, 3, 3)), np.zeros(5, int))}, "probe: one integer label"),
        ({"probe": (np.zeros((4, 8, 3, 3)), np.zeros(4))}, "probe: one integer label"),
        ({"probe": (np.full((4, 8, 3, 3), np.inf), np.zeros(4, int))}, "not finite"),
        ({"probe": (np.full((4, 8, 3, 3), np.nan), np.zeros(4, int))}, "window 0 has no joint"),
        ({"probe": (np.zeros((4, 6, 3, 3)), np.zeros(4, int))}, "one length"),
        ({"other": (np.zeros((4, 8, 3, 3)), np.zeros(4, int))}, "splits must be"),
    ],
)
def test_own_data_that_do_not_fit_are_refused(tmp_path: Path, change: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        store.write_dataset(tmp_path, "mine", {**_own(), **change}, TRIPOD)
    assert not (tmp_path / "mine").exists()


NUMBERS = {"train": [7, 7, 3, 900], "probe": [8, 8, 8, 8], "gallery": [-1, 1, -1, 1]}
RECORDINGS = {split: np.array(own) for split, own in NUMBERS.items()}


def _own_by_recording() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    sets = _own()
    return sets | {"probe": (sets["probe"][0], np.zeros(4, int))}


def test_own_recordings_are_listed_and_found(tmp_path: Path) -> None:
    folder = store.write_dataset(
        tmp_path,
        "mine",
        _own_by_recording(),
        TRIPOD,
        recordings=RECORDINGS,
        times={7: (0.5, 2), 900: (1.25, 3.0)},
    )
    manifest, _ = store.read_manifest(folder)
    assert manifest is not None
    listed = manifest["recordings"]
    assert [r["name"] for r in listed] == ["-1", "1", "3", "7", "8", "900"]
    assert [r["identity"] for r in listed] == [0, 1, 0, None, 0, 1]  # 7 shows two, to learn from
    assert listed[3]["attributes"] == {"start": "0.5", "end": "2.0"}
    assert [bool(r["attributes"]) for r in listed] == [False, False, False, True, False, True]
    for split, own in NUMBERS.items():
        found = store.read_split(tmp_path, "mine", 8, split)
        assert found.recording is not None
        assert [listed[place]["name"] for place in found.recording] == list(map(str, own))
        assert {listed[place]["split"] for place in found.recording} == {split}


def test_own_recordings_may_be_known_of_some_splits(tmp_path: Path) -> None:
    train = {"train": RECORDINGS["train"]}
    store.write_dataset(tmp_path, "mine", _own(), TRIPOD, recordings=train)
    assert store.read_split(tmp_path, "mine", 8, "train").recording is not None
    assert store.read_split(tmp_path, "mine", 8, "probe").recording is None


@pytest.mark.parametrize(
    ("recordings", "times", "words"),
    [
        ({"train": np.arange(5)}, {}, "train: one integer for each of the 4 windows"),
        ({"train": np.arange(4.0)}, {}, "train: one integer for each"),
        ({"test": np.arange(4)}, {}, "recordings of test, which is no split"),
        ({"probe": np.arange(4), "train": np.arange(3, 7)}, {}, "recording 3 is in probe and in t"),
        ({"probe": np.array([5, 5, 6, 6])}, {}, "recording 5 shows the identities 0 and 1"),
        ({"train": np.arange(4)}, {4: (0, 1)}, "times of recording 4, which no window"),
        ({}, {0: (0, 1)}, "times of recording 0, which no window"),
        ({"train": np.arange(4)}, {0: (1, 1)}, "recording 0 has the times .*the start before"),
        ({"train": np.arange(4)}, {0: (0, np.nan)}, "recording 0 has the times"),
        ({"train": np.arange(4)}, {0: 5.0}, "recording 0 has the times 5.0"),
    ],
)
def test_own_recordings_that_do_not_fit_are_refused(
    tmp_path: Path, recordings: dict, times: dict, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        store.write_dataset(tmp_path, "mine", _own(), TRIPOD, recordings=recordings, times=times)
    assert not (tmp_path / "mine").exists()


def test_own_bones_are_kept(tmp_path: Path) -> None:
    bones = (("top", "left_leg"), ("top", "right_leg"))
    skeleton = Skeleton("tripod", TRIPOD.joints, "top", bones, (), ())
    store.write_dataset(tmp_path, "mine", _own(), skeleton)
    assert store.find_spec(tmp_path, "mine", 8).skeleton == skeleton
    wrong = Skeleton("tripod", TRIPOD.joints, "top", (("top", "tail"),), (), ())
    with pytest.raises(UserError, match="no joint 'tail'"):
        store.write_dataset(tmp_path, "mine", _own(), wrong)


def test_own_data_may_not_take_a_known_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="kgbd: the name is taken"):
        store.write_dataset(tmp_path, "kgbd", _own(), TRIPOD)


def test_unknown_dataset_without_manifest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such dataset.*or your own with a .*mine/8/manifest"):
        store.find_spec(tmp_path, "mine", 8)
