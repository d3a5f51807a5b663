import os
import subprocess
import sys

import numpy as np
import pytest

from simmc import files
from simmc.data import specs, store
from simmc.errors import UserError
from tests.data.make import kgbd_file, kgbd_set

KGBD = specs.get("KGBD")


@pytest.mark.parametrize("split", ["train", "probe"])
def test_what_was_written_is_read(tmp_path, split):
    planes = kgbd_set(tmp_path, split)
    found = store.read_split(tmp_path, "KGBD", 6, split)
    assert (found.windows == np.moveaxis(planes, 0, -1).reshape(5, 6, 20, 3)).all()
    assert found.windows.dtype == np.float64
    assert found.labels.tolist() == [7, 3, 7, 7, 3]
    assert found.recording is not None
    assert found.recording.tolist() == list(range(5))
    assert len(found.take(found.labels == 3)) == 2


def test_layout_is_the_public_one(tmp_path):
    kgbd_set(tmp_path, "train")
    kgbd_set(tmp_path, "probe")
    names = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.npy")}
    what = ("ids", "frame_id", "recording")
    axes = [f"source_{axis}" for axis in "xyz"]
    assert names == {
        *(f"KGBD/6/train_npy_data/{name}_KGBD_6.npy" for name in (*what, *axes)),
        *(f"KGBD/6/test_npy_data/probe/{name}_KGBD_6.npy" for name in what),
        *(f"KGBD/6/test_npy_data/probe/t_{name}_KGBD_6.npy" for name in axes),
    }
    for axis in "xyz":
        plane = np.load(kgbd_file(tmp_path, axis), allow_pickle=False)
        assert (plane.dtype, plane.shape) == (np.float64, (30, 20))
        assert plane.flags.c_contiguous
    assert np.load(kgbd_file(tmp_path, "frame_id"), allow_pickle=False).dtype == np.int64


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
def test_folders(tmp_path, dataset, split, folder):
    spec = specs.KS20_CVE if dataset == "KS20_CVE" else specs.get(dataset)
    base = store.dataset_folder(tmp_path, spec, 40)
    assert store.split_folder(base, spec, split) == tmp_path / folder


def test_labels_come_from_ids_where_frame_id_is_missing(tmp_path):
    kgbd_set(tmp_path, recording=False)
    kgbd_file(tmp_path, "frame_id").unlink()
    found = store.read_split(tmp_path, KGBD, 6, "probe")
    assert found.labels.tolist() == [7, 3, 7, 7, 3]
    assert found.recording is None
    kgbd_file(tmp_path, "ids").unlink()
    with pytest.raises(UserError, match=r"ids_KGBD_6.npy.*missing"):
        store.read_split(tmp_path, KGBD, 6, "probe")


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
        ("recording", np.zeros(6, np.int64)),
        *(
            (what, np.array([1, 2, 3, 4, last], kind))
            for what in ("frame_id", "recording")
            for last, kind in (
                *(
                    (2**63, np.uint64),
                    (1e30, float),
                    (0.5, float),
                    (np.inf, float),
                    (np.nan, float),
                ),
                *((2.0**63, float), (10**30, object), (2**63, object), ("a", object), ("a", str)),
            )
        ),
        *((what, np.array([True] * 5)) for what in ("frame_id", "recording")),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, what, array):
    kgbd_set(tmp_path)
    np.save(kgbd_file(tmp_path, what), array, allow_pickle=True)
    name = what if what in ("frame_id", "recording") else f"t_source_{what}"
    with pytest.raises(UserError, match=f"{name}_KGBD_6.npy"):
        store.read_split(tmp_path, KGBD, 6, "probe")


@pytest.mark.parametrize("what", ["x", "z", "ids", "frame_id", "recording"])
def test_truncated_files_are_named(tmp_path, what):
    kgbd_set(tmp_path)
    if what == "ids":  # read where it alone has the labels
        kgbd_file(tmp_path, "frame_id").unlink()
    path = kgbd_file(tmp_path, what)
    data = path.read_bytes()
    for size in (0, 20, 128, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(UserError, match=path.name):
            store.read_split(tmp_path, KGBD, 6, "probe")


@pytest.mark.parametrize("what", ["x", "y", "z"])
def test_missing_files_are_named(tmp_path, what):
    kgbd_set(tmp_path)
    kgbd_file(tmp_path, what).unlink()
    with pytest.raises(UserError, match=f"t_source_{what}_KGBD_6.npy: the file is missing"):
        store.read_split(tmp_path, KGBD, 6, "probe")


def test_missing_set_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match=r"python Preprocess.py 8 --dataset KGBD"):
        store.read_split(tmp_path, KGBD, 8, "probe")
    with pytest.raises(UserError, match="--dataset KS20 --protocol CVE"):
        store.read_split(tmp_path, specs.KS20_CVE, 6, "90")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 99}'])
def test_damaged_manifest_is_named(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json"):
        store.read_manifest(tmp_path)


def test_no_manifest_is_fine(tmp_path):
    assert store.read_manifest(tmp_path) == (None, None)


def test_staged_folder_swaps_in_the_new_and_drops_the_old(tmp_path):
    target = tmp_path / "deep" / "set"
    for text in ("first", "second"):
        with files.staged_folder(target) as stage:
            (stage / "file").write_text(text)
    assert (target / "file").read_text() == "second"
    assert [p.name for p in target.parent.iterdir()] == ["set"]


def test_staged_folder_keeps_the_old_on_failure(tmp_path):
    target = tmp_path / "set"
    with files.staged_folder(target) as stage:
        (stage / "file").write_text("good")
    with pytest.raises(KeyboardInterrupt), files.staged_folder(target) as stage:
        (stage / "file").write_text("half")
        raise KeyboardInterrupt
    assert (target / "file").read_text() == "good"
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_killed_writer_leaves_the_previous_set(tmp_path):
    target = tmp_path / "set"
    with files.staged_folder(target) as stage:
        (stage / "file").write_text("good")
    script = (
        "import os, sys; from pathlib import Path; from simmc import files\n"
        "with files.staged_folder(Path(sys.argv[1])) as stage:\n"
        "    (stage / 'file').write_text('half'); os._exit(9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    assert killed.returncode == 9
    assert (target / "file").read_text() == "good"
    (part,) = tmp_path.glob(".set.*.part")
    os.utime(part, (0, 0))
    with files.staged_folder(target):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("name", ["set", "set[1]"])
def test_kill_between_the_renames_is_repaired(name, tmp_path):
    old = tmp_path / f".{name}.0123.old"
    old.mkdir()
    (old / "file").write_text("good")
    with pytest.raises(ValueError, match="stop"), files.staged_folder(tmp_path / name):
        raise ValueError("stop")
    assert (tmp_path / name / "file").read_text() == "good"


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="set"), files.staged_folder(tmp_path / "file" / "set"):
        pass
