"""Sets that are not what their manifest describes, and manifests that describe nothing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simmc.data import specs, store
from simmc.data.experiment.experiment import Experiment
from simmc.data.experiment.load import Request, load_experiment
from simmc.data.manifest import NAME, checksums
from simmc.data.skeletons import KINECT_V1, Skeleton
from simmc.errors import UserError
from tests.data.make import without_checksums

OWN = Skeleton("mine", KINECT_V1.joints, KINECT_V1.root, KINECT_V1.edges, (), ())
SPLITS = ("train", "probe", "gallery")
SPEC = specs.DatasetSpec("Mine", OWN, ("probe", "gallery"), {"probe": "gallery"})


def write(root: Path, seed: int = 0) -> Path:
    """A small set of two persons, with recordings; its folder."""
    rng = np.random.default_rng(seed)
    labels = np.array([4, 4, 9, 9, 9])
    splits = {name: (rng.normal(size=(5, 6, 20, 3)), labels) for name in SPLITS}
    places = {name: np.array([0, 0, 1, 1, 1]) + 2 * i for i, name in enumerate(SPLITS)}
    return store.write_dataset(root, "Mine", splits, OWN, recordings=places)


def load(root: Path) -> Experiment:
    return load_experiment(
        Request(root, "Mine", 6, "probe", class_sampling="off", part_batches="keep"),
        rng=np.random.default_rng(0),
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own")
    write(root)
    return root


@pytest.fixture
def base(written: Path, tmp_path: Path) -> Path:
    """The folder of a copy of the set, to be damaged."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return tmp_path / "Mine" / "6"


def root_of(base: Path) -> Path:
    return base.parent.parent


def file_of(base: Path, split: str, what: str) -> Path:
    return store.file_path(store.split_folder(base, SPEC, split), SPEC, 6, split, what)


def content_of(base: Path) -> dict[str, Any]:
    return json.loads((base / NAME).read_text(encoding="utf-8"))


def change_manifest(base: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = content_of(base)
    change(content)
    (base / NAME).write_text(json.dumps(content), encoding="utf-8")


def test_the_manifest_has_the_checksum_of_every_array(base):
    files = content_of(base)["files"]
    arrays = sorted(base.rglob("*.npy"))
    assert sorted(files) == [path.relative_to(base).as_posix() for path in arrays]
    assert list(files.values()) == [files[name] for name in sorted(files)] == checksums(arrays)
    assert load(root_of(base)).checked


def test_the_same_values_have_the_same_manifest_and_others_another(base, tmp_path):
    same, other = tmp_path / "same", tmp_path / "other"
    write(same)
    write(other, seed=1)
    sums = [load(root).checksum for root in (root_of(base), same, other)]
    assert sums[0] == sums[1] != sums[2]


@pytest.mark.parametrize("what", ["x", "y", "z", "frame_id", "recording"])
@pytest.mark.parametrize("split", SPLITS)
def test_values_that_were_moved_are_refused(base, split, what):
    path = file_of(base, split, what)
    np.save(path, np.roll(np.load(path), 2, axis=0))
    with pytest.raises(UserError, match=rf"{path.name}: is not the file"):
        load(root_of(base))


def test_ids_that_were_changed_are_refused_where_they_are_read(base):
    file_of(base, "probe", "frame_id").unlink()
    assert load(root_of(base)).probe.identity.tolist() == [0, 0, 1, 1, 1]
    ids = np.empty((), dtype=object)
    ids[()] = {9: [0, 1], 4: [2, 3, 4]}
    np.save(file_of(base, "probe", "ids"), ids, allow_pickle=True)
    with pytest.raises(UserError, match=r"ids_Mine_6.npy: is not the file"):
        load(root_of(base))


def test_a_recording_file_that_is_listed_is_due(base):
    file_of(base, "train", "recording").unlink()
    with pytest.raises(UserError, match=r"recording_Mine_6.npy"):
        load(root_of(base))


def test_a_file_that_is_not_listed_is_refused(base):
    name = file_of(base, "train", "recording").relative_to(base).as_posix()
    change_manifest(base, lambda content: content["files"].pop(name))
    with pytest.raises(UserError, match=r"recording_Mine_6.npy: is not the file"):
        load(root_of(base))


@pytest.mark.parametrize("split", SPLITS)
def test_counts_are_checked_in_manifests_without_checksums(base, split):
    without_checksums(base)
    for what, rows in (("x", 24), ("y", 24), ("z", 24), ("frame_id", 4), ("recording", 4)):
        path = file_of(base, split, what)
        np.save(path, np.load(path)[:rows])
    with pytest.raises(UserError, match=rf"manifest.json: counts 5 windows in {split}.*hold 4"):
        load(root_of(base))


def test_sets_without_checksums_load_and_say_so(base, capsys):
    from simmc.cli import console

    console.Console().data(load(root_of(base)))
    assert "cannot be checked" not in capsys.readouterr().out
    without_checksums(base)
    data = load(root_of(base))
    assert data.checksum and not data.checked
    console.Console().data(data)
    assert "cannot be checked: manifest.json" in capsys.readouterr().out


@pytest.mark.parametrize("number", [-1, 6, 7, 2**31, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("listed", [True, False])
def test_recordings_that_are_not_there(base, number, listed):
    if listed:
        without_checksums(base)
    else:
        (base / NAME).unlink()
    path = file_of(base, "gallery", "recording")
    np.save(path, np.array([4, 4, 5, 5, number]))
    root = root_of(base)
    if not listed and 0 <= number < 2**31:
        assert store.read_split(root, SPEC, 6, "gallery").recording is not None
        return
    with pytest.raises(UserError, match=rf"recording_Mine_6.npy: refers to recording {number}"):
        store.read_split(root, SPEC, 6, "gallery")


def test_integers_of_every_type_that_fit(base):
    (base / NAME).unlink()
    for kind in (np.uint64, np.int8, np.float32, np.float64, object):
        path = file_of(base, "probe", "frame_id")
        np.save(path, np.array([4, 4, 9, 9, 9], dtype=kind), allow_pickle=True)
        found = store.read_split(root_of(base), SPEC, 6, "probe").labels
        assert found.dtype == np.int64 and found.tolist() == [4, 4, 9, 9, 9]


@pytest.mark.parametrize("what", ["x", "frame_id"])
def test_an_array_that_only_announces_its_size(base, what):
    (base / NAME).unlink()
    path = file_of(base, "probe", what)
    with path.open("wb") as file:
        head = {"descr": "<f8", "fortran_order": False, "shape": (6 * 2**36, 20)}
        np.lib.format.write_array_header_1_0(file, head)
    with pytest.raises(UserError, match=path.name):
        store.read_split(root_of(base), SPEC, 6, "probe")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_set_with_damaged_bytes_is_refused(base, data):
    """Whatever byte of an array that is read is another: it is not what the manifest describes."""
    split, what = data.draw(st.sampled_from(SPLITS)), data.draw(st.sampled_from("xyz"))
    path = file_of(base, split, data.draw(st.sampled_from([what, "frame_id", "recording"])))
    intact = path.read_bytes()
    place = data.draw(st.integers(0, len(intact) - 1) | st.integers(0, 130))
    spoiled = bytearray(intact)
    spoiled[place] ^= data.draw(st.integers(1, 255))
    try:
        path.write_bytes(spoiled)
        with pytest.raises(UserError, match=path.name):
            load(root_of(base))
    finally:
        path.write_bytes(intact)
