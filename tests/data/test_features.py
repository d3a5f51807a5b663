from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from simmc.data import preprocess, specs, store
from simmc.data.experiment.experiment import Experiment, Features
from simmc.data.experiment.load import Request, load_experiment, load_stored
from simmc.data.features import FeatureFiles, closer_neighbours, read_imported
from simmc.data.specs import splits_of
from simmc.data.store import StoredSplit
from simmc.errors import UserError
from tests.data import make

KGBD = specs.get("KGBD")
WIDTH = 7


def walking(stored: StoredSplit, seed: int = 0) -> np.ndarray:
    """(N, 6, 7) features that change slowly within a recording, as those of walks do."""
    rng = np.random.default_rng(seed)
    base = np.cumsum(rng.normal(size=(len(stored), 1, WIDTH)), axis=0)
    return (base + 0.1 * rng.normal(size=(len(stored), 6, WIDTH))).astype(np.float32)


def written(
    kgbd_root: Path, home: Path, name: str = "SGELA"
) -> tuple[FeatureFiles, dict[str, np.ndarray]]:
    """Features of all splits below `home`, as the export writes them."""
    files, made, entries = FeatureFiles(home, KGBD, 6, name, remedy="make them"), {}, {}
    for split in splits_of(KGBD, "probe"):
        stored = store.read_split(kgbd_root, KGBD, 6, split)
        made[split] = walking(stored)
        entries[split] = files.write_split(split, stored, np.array_split(made[split], 3))
    files.write_manifest({"made_by": "a test", "labels": ""}, entries)
    return files, made


def load(root: Path, features: Features | None = None) -> Experiment:
    request = Request(
        *(root, "KGBD", 6, "probe"), batch_size=4, class_sampling="off", part_batches="keep"
    )
    return load_experiment(request, np.random.default_rng(3), features)


def read_all(root: Path, files: FeatureFiles) -> Experiment:
    about = files.read_manifest()
    return load(root, lambda split, stored: files.read_split(split, stored, about))


def test_features_replace_the_windows(kgbd_root: Path, tmp_path: Path) -> None:
    files, made = written(kgbd_root, tmp_path)
    data, usual = read_all(kgbd_root, files), load(kgbd_root)
    for split in ("train", "probe", "gallery"):
        found, other = getattr(data, split), getattr(usual, split)
        assert (found.identity == other.identity).all()
        assert (found.recording == other.recording).all()
        assert found.windows.dtype == np.float32
        # the same windows in the same order: find each by its coordinates
        stored, _ = load_stored(kgbd_root, KGBD, 6, split, kgbd_order="raw", root="first")
        place = {window.tobytes(): i for i, window in enumerate(stored.windows)}
        order = [place[window.tobytes()] for window in other.windows]
        assert (found.windows == made[split][order]).all()


def test_the_layout_and_the_manifest(kgbd_root: Path, tmp_path: Path) -> None:
    files, made = written(kgbd_root, tmp_path)
    names = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert names == {
        "KGBD/6/frames_SGELA.json",
        "KGBD/6/train_npy_data/frames_SGELA_KGBD_6.npy",
        "KGBD/6/test_npy_data/gallery/frames_SGELA_KGBD_6.npy",
        "KGBD/6/test_npy_data/probe/frames_SGELA_KGBD_6.npy",
    }
    array = np.load(files.path("probe"), allow_pickle=False)
    assert array.dtype == np.float32 and (array == made["probe"]).all()
    about = files.read_manifest()
    assert about["splits"]["probe"]["windows"] == len(array)
    assert about["splits"]["probe"]["shape"] == [6, WIDTH]


def swapped(array: np.ndarray) -> np.ndarray:
    return array[[1, 0, *range(2, len(array))]]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (swapped, "moved"),
        (lambda array: array[:-1], "windows of"),
        (lambda array: array[:, :5], "windows of"),
        (lambda array: array + np.float32(1e-6), "changed"),
        (lambda array: array.astype(np.int64), "floats"),
        (lambda array: np.concatenate([array, array[:1]]), "windows of"),
    ],
)
def test_a_file_that_is_not_the_one_written_is_refused(spoil, message, kgbd_root, tmp_path) -> None:
    files, made = written(kgbd_root, tmp_path)
    np.save(files.path("probe"), spoil(made["probe"]))
    with pytest.raises(UserError, match=message) as caught:
        read_all(kgbd_root, files)
    assert str(files.path("probe")) in str(caught.value)


def test_windows_that_have_changed_since_are_noticed(kgbd_root: Path, tmp_path: Path) -> None:
    files, _ = written(kgbd_root, tmp_path)
    other = tmp_path / "other"
    make.kgbd_raw(other, {1: 5, 2: 4, 5: 5, 9: 3}, seed=1)
    preprocess.preprocess(other, other, ["KGBD"], 6)
    with pytest.raises(UserError, match="other windows"):
        read_all(other, files)


def test_missing_features_name_the_command(kgbd_root: Path, tmp_path: Path) -> None:
    files = FeatureFiles(tmp_path, KGBD, 6, "SGELA", remedy="make them with simmc")
    with pytest.raises(UserError, match="Make them with simmc"):
        files.read_manifest()
    written(kgbd_root, tmp_path)
    files.path("train").unlink()
    with pytest.raises(UserError, match="the file is missing; make them"):
        read_all(kgbd_root, files)
    files.manifest.write_text("{")
    with pytest.raises(UserError, match=files.manifest.name):
        read_all(kgbd_root, files)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_values_that_are_not_finite_are_not_written(kgbd_root, tmp_path, value: float) -> None:
    files = FeatureFiles(tmp_path, KGBD, 6, "SGELA")
    stored = store.read_split(kgbd_root, KGBD, 6, "probe")
    made = walking(stored).astype(np.float64)
    made[-1, 0, 0] = value
    with pytest.raises(UserError, match="not finite"):
        files.write_split("probe", stored, [made])
    assert not files.path("probe").exists()


def test_values_that_are_not_finite_are_not_learned(kgbd_root, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("simmc.data.features.require_finite", lambda *_: None)  # as before
    files, entries = FeatureFiles(tmp_path, KGBD, 6, "SGELA"), {}
    for split in splits_of(KGBD, "probe"):
        stored = store.read_split(kgbd_root, KGBD, 6, split)
        made = walking(stored)
        made[-1, 0, 0] = np.nan
        entries[split] = files.write_split(split, stored, [made])
    files.write_manifest({"made_by": "SGELA", "labels": ""}, entries)
    with pytest.raises(UserError, match="not finite"):
        read_all(kgbd_root, files)


def test_other_numbers_of_rows_than_windows_are_a_fault(kgbd_root: Path, tmp_path: Path) -> None:
    files = FeatureFiles(tmp_path, KGBD, 6, "SGELA")
    stored = store.read_split(kgbd_root, KGBD, 6, "probe")
    with pytest.raises(ValueError, match="features for"):
        files.write_split("probe", stored, [walking(stored)[:-1]])
    with pytest.raises(ValueError, match="after"):
        files.write_split("probe", stored, [walking(stored)[:2], walking(stored)[2:, :3]])
    assert not files.path("probe").exists()


def test_the_splits_of_two_views() -> None:
    assert splits_of(KGBD, "probe") == ["train", "gallery", "probe"]
    assert splits_of(specs.KS20_CVE, "0.90") == ["train/30", "train/130", "train/180", "0", "90"]
    assert splits_of(specs.CASIA_CVE, "90.90") == ["train/72", "train/108", "90"]
    assert splits_of(specs.CASIA_CVE, "180.180") == ["train/162", "180"]
    assert splits_of(specs.KS20_CVE, "90.90") == [
        *("train/0", "train/30", "train/130", "train/180"),
        "90",
    ]


# features made elsewhere


def many(recordings: int = 12, each: int = 60) -> StoredSplit:
    """A split of three persons with four long recordings each."""
    labels = np.repeat(np.arange(recordings) // 4, each)
    recording = np.repeat(np.arange(recordings), each)
    plane = np.zeros((len(labels), 6, 20))
    return StoredSplit((plane, plane, plane), labels, recording, Path("windows"))


def elsewhere(home: Path, stored: StoredSplit, features: np.ndarray, labels=None) -> FeatureFiles:
    """A file of the probe's features as another program could have written it."""
    files = FeatureFiles(home, KGBD, 6, "SM-SGE")
    path = files.path("probe")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, features)
    folder = store.split_folder(files.base, KGBD, "probe")
    np.save(
        store.file_path(folder, KGBD, 6, "probe", "frame_id"),
        stored.labels if labels is None else labels,
    )
    return files


def read_probe(home: Path, stored: StoredSplit, files: FeatureFiles) -> np.ndarray:
    return read_imported(home, files, "probe", stored)


def test_features_made_elsewhere_are_read_in_either_shape(tmp_path: Path) -> None:
    stored = many()
    features = walking(stored)
    for shape in (features.shape, (-1, WIDTH)):
        files = elsewhere(tmp_path, stored, features.reshape(shape))
        assert (read_probe(tmp_path, stored, files) == features).all()


def test_windows_in_another_order_are_refused(tmp_path: Path) -> None:
    stored = many()
    features = walking(stored)
    order = np.random.default_rng(1).permutation(len(stored))
    with pytest.raises(UserError, match="belongs to person"):
        files = elsewhere(tmp_path, stored, features[order], stored.labels[order])
        read_probe(tmp_path, stored, files)
    # shuffled within each person, so that the labels do not tell
    order = order[np.argsort(stored.labels[order], kind="stable")]
    assert (stored.labels[order] == stored.labels).all()
    with pytest.raises(UserError, match="not in the order"):
        read_probe(tmp_path, stored, elsewhere(tmp_path, stored, features[order]))


def test_missing_windows_are_refused(tmp_path: Path) -> None:
    stored = many()
    with pytest.raises(UserError, match="missing or too many"):
        read_probe(tmp_path, stored, elsewhere(tmp_path, stored, walking(stored)[:-1]))


def test_neighbours_of_ordered_and_shuffled_features() -> None:
    stored = many()
    features = walking(stored)
    ordered, pairs = closer_neighbours(features, stored)
    shuffled, _ = closer_neighbours(np.random.default_rng(2).permutation(features), stored)
    constant, _ = closer_neighbours(np.zeros_like(features), stored)
    assert pairs > 500
    assert ordered > 0.8
    assert abs(shuffled - 0.5) < 0.1
    assert constant == 0.5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_features_made_elsewhere_that_are_not_finite(tmp_path: Path, value: float) -> None:
    stored = many()
    features = walking(stored).astype(np.float64)
    features[5, 2, 1] = value
    files = elsewhere(tmp_path, stored, features)
    with pytest.raises(UserError, match=rf"{files.path('probe').name}.*not finite"):
        read_probe(tmp_path, stored, files)


GOOD = {"windows": 5, "shape": [6, 7], "sha256": "a", "order": "b"}
ABOUT = {"schema": 1, "made_by": "SGELA", "labels": "", "splits": {"probe": GOOD}}


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "1", "[" * 10**5, b"\xff", '{"schema": 1}'),
        *(json.dumps({**ABOUT, k: v}) for k in ABOUT for v in (None, [3], {"a": 1}, True)),
        json.dumps({**ABOUT, "schema": 2}),
        *(
            json.dumps({**ABOUT, "splits": {"probe": {**GOOD, key: value}}})
            for key in GOOD
            for value in (None, {"a": 1}, 10**30, ["x"])
        ),
    ],
    ids=lambda content: str(content)[:60],
)  # fmt: skip
def test_a_damaged_manifest_is_named(tmp_path: Path, content: str | bytes) -> None:
    files = FeatureFiles(tmp_path, KGBD, 6, "SGELA")
    files.base.mkdir(parents=True)
    files.manifest.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=files.manifest.name):
        files.read_manifest()
    files.manifest.write_text(json.dumps(ABOUT))
    assert files.read_manifest()["splits"] == {"probe": GOOD}
