from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simmc.data import preprocess, store
from simmc.data.experiment.experiment import Experiment
from simmc.data.experiment.load import Request, load_experiment
from simmc.data.experiment.sampling import class_sample
from simmc.data.raw import kgbd
from simmc.data.recordings import Recording
from simmc.data.skeletons import KGBD_FILE, KINECT_V1, Skeleton
from simmc.errors import UserError
from tests.data import make
from tests.reference import sampling as reference

PUBLIC_ORDER = [11, 10, 1, 0, 2, 4, 6, 8, 3, 5, 7, 9, 12, 14, 16, 18, 13, 15, 17, 19]


def _rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture(scope="module")
def other_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Preprocessed KS20 (both protocols) and CASIA-B of synthetic recordings."""
    root = tmp_path_factory.mktemp("other")
    with pytest.MonkeyPatch.context() as patch:
        make.read_by_name(patch, root, {"KS20": make.ks20(), "CASIA_B": make.casia()})
        preprocess.preprocess(root, root / "out", ["KS20"], 6)
        preprocess.preprocess(root, root / "out", ["KS20"], 6, protocol="CVE")
        preprocess.preprocess(root, root / "out", ["CASIA_B"], 40)
    return root / "out"


def _load(
    data_root: Path, dataset: str = "KGBD", probe: str = "probe", seed: int = 5, **more: Any
) -> Experiment:
    settings = {"part_batches": "keep", "batch_size": 16, **more}
    length = 40 if dataset == "CASIA_B" else 6
    request = Request(data_root, dataset, length, probe, **settings)
    return load_experiment(request, np.random.default_rng(seed))


def _raw_windows(root: Path, split: str) -> np.ndarray:
    return store.read_split(root, "KGBD", 6, split).windows


def test_test_sets_keep_file_order_and_lose_the_head(kgbd_root):
    found = _load(kgbd_root)
    raw = _raw_windows(kgbd_root, "gallery")
    assert found.gallery.windows.dtype == np.float32
    assert (found.gallery.windows == (raw - raw[:, :, :1]).astype(np.float32)).all()
    assert (found.gallery.windows[:, :, 0] == 0).all()
    labels = store.read_split(kgbd_root, "KGBD", 6, "gallery").labels
    assert found.identities == found.test_identities == [1, 2, 5, 9]
    assert (np.array(found.identities)[found.gallery.identity] == labels).all()


@pytest.mark.parametrize(
    ("kgbd_order", "root", "root_in_file", "order"),
    [
        ("raw", "first", 0, None),
        ("raw", "sensor", 11, None),
        ("raw", "none", None, None),
        ("raw", "left_foot", 19, None),
        ("mirrored", "first", 0, PUBLIC_ORDER),  # Hi-MPC: minus the head, then permuted
        ("mirrored", "none", None, PUBLIC_ORDER),
        ("mirrored", "left_foot", 18, PUBLIC_ORDER),
        ("mapped", "first", 0, "names"),
        ("mapped", "sensor", 11, "names"),
        ("mapped", "head", 0, "names"),
    ],
)
def test_joint_order_and_root(kgbd_root, kgbd_order, root, root_in_file, order):
    found = _load(kgbd_root, kgbd_order=kgbd_order, root=root)
    expected = _raw_windows(kgbd_root, "probe")
    if root_in_file is not None:
        expected = expected - expected[:, :, [root_in_file]]
    if order == "names":
        order = [KGBD_FILE.joints.index(name) for name in KINECT_V1.joints]
    if order is not None:
        expected = expected[:, :, order]
    assert (found.probe.windows == expected.astype(np.float32)).all()
    assert found.skeleton == KINECT_V1  # raw order too is read by Kinect's names, as released


def test_training_set_is_a_permutation_of_the_files(kgbd_root):
    found = _load(kgbd_root)
    stored = store.read_split(kgbd_root, "KGBD", 6, "train")
    order = np.arange(len(stored))
    rng = _rng()
    rng.permutation(len(stored))  # the first of the two loads
    order = order[rng.permutation(len(stored))]
    raw = stored.windows[order]
    assert (found.train.windows == (raw - raw[:, :, :1]).astype(np.float32)).all()
    assert (np.array(found.identities)[found.train.identity] == stored.labels[order]).all()
    assert stored.recording is not None
    assert found.train.recording is not None
    assert (found.train.recording == stored.recording[order]).all()


def test_recordings_lead_back_to_the_files(kgbd_root):
    found = _load(kgbd_root)
    walks = {walk.name: walk for walk in kgbd.read(kgbd_root / "KGBD")}
    assert found.probe.recording is not None
    for window, place in zip(found.probe.windows, found.probe.recording, strict=True):
        entry = found.recordings[place]
        frames = walks[entry["name"]].frames[10:-10]
        relative = (frames - frames[:, :1]).astype(np.float32)
        assert any((relative[i : i + 6] == window).all() for i in range(0, len(frames), 6))
        assert entry["split"] == "probe"
        assert entry["sha256"] == walks[entry["name"]].sha256


def test_seed_alone_decides_the_order(kgbd_root):
    first, again = _load(kgbd_root), _load(kgbd_root)
    other = _load(kgbd_root, seed=6)
    assert (first.train.windows == again.train.windows).all()
    assert (first.train.windows != other.train.windows).any()
    once = _load(kgbd_root, double_load="off")
    assert (first.train.windows != once.train.windows).any()
    plain = _load(kgbd_root, shuffle=False)
    assert (np.diff(plain.train.identity) >= 0).all()


def test_part_batches(kgbd_root):
    kept, dropped = _load(kgbd_root), _load(kgbd_root, part_batches="drop")
    for name in ("train", "probe", "gallery"):
        all_of, whole = getattr(kept, name), getattr(dropped, name)
        assert len(whole) == len(all_of) - len(all_of) % 16
        assert (whole.windows == all_of.windows[: len(whole)]).all()
        assert len(whole.windows) == len(whole.identity) == len(whole.recording)


def test_less_than_one_batch_names_the_flags(kgbd_root):
    with pytest.raises(UserError, match=r"--batch_size 256.*--part_batches keep"):
        _load(kgbd_root, part_batches="drop", batch_size=256)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(5, 40), st.integers(0, 3))
def test_class_sampling_is_the_released_rule(labels, batch, seed):
    if len(labels) < batch:
        with pytest.raises(UserError, match="--class_sampling off"):
            class_sample(np.array(labels), batch, np.random.default_rng(seed))
        return
    found = class_sample(np.array(labels), batch, np.random.default_rng(seed)).tolist()
    # the reference marks a draw by its class; what was drawn must be windows of that class
    slow = reference.class_sample(labels, batch, lambda own, b: [-1 - labels[own[0]]] * b)
    assert len(found) == len(slow)
    for index, expected in zip(found, slow, strict=True):
        assert index == expected if expected >= 0 else labels[index] == -1 - expected


def test_class_sampling_draws_every_window_of_a_class():
    labels = np.array([0] * 3 + [1] * 500)
    found = class_sample(labels, 256, np.random.default_rng(0))
    assert len(found) == 2 * (503 // 256) * 2 * 128
    drawn = found[np.isin(found, [0, 1, 2])]
    assert len(drawn) == 2 * 128
    assert np.bincount(drawn).min() > 50  # of 256 draws, 85 expected each


def test_more_classes_than_batch_size():
    with pytest.raises(UserError, match="--batch_size 2"):
        class_sample(np.arange(3), 2, np.random.default_rng(0))


def test_class_sampling_is_for_all_datasets_but_kgbd(kgbd_root, other_root):
    stored = len(store.read_split(kgbd_root, "KGBD", 6, "train"))
    assert len(_load(kgbd_root).train) == stored
    assert len(_load(kgbd_root, class_sampling="all").train) == 2 * (stored // 16) * 16
    stored = len(store.read_split(other_root, "KS20", 6, "train"))
    persons = len(_load(other_root, "KS20").identities)
    sampled = 2 * (stored // 16) * persons * (16 // persons)
    assert len(_load(other_root, "KS20").train) == sampled
    assert len(_load(other_root, "KS20", class_sampling="off").train) == stored


def test_casia_same_condition_is_one_list_with_its_own_identities(other_root):
    same = _load(other_root, "CASIA_B", "nm.nm")
    assert same.same_windows
    assert same.probe is same.gallery
    assert not set(same.identities) & set(same.test_identities)
    assert same.test_identities == sorted(same.test_identities)
    cross = _load(other_root, "CASIA_B", "cl.nm")
    assert not cross.same_windows
    assert (cross.gallery.windows == same.gallery.windows).all()
    assert {cross.recordings[i]["role"] for i in cross.probe.recording} == {"cl"}  # type: ignore[union-attr]
    assert same.train.windows.shape[1:] == (40, 14, 3)
    assert (same.train.windows[:, :, 0] == 0).all()  # the nose


def test_ks20_cross_view(other_root):
    found = _load(other_root, "KS20", "30.130")

    def views(split: object) -> set[str]:
        return {found.recordings[i]["role"] for i in split.recording}  # type: ignore[attr-defined]

    assert views(found.probe) == {"left_diagonal"}
    assert views(found.gallery) == {"right_diagonal"}
    assert views(found.train) == {"left_lateral", "frontal", "right_lateral"}
    assert not found.same_windows
    # all recordings of a view, windowed without overlap: persons p have 30 + p frames
    assert len(found.probe) == 3 * 4 * 5


def test_ks20_cross_view_diagonal(other_root):
    same = _load(other_root, "KS20", "90.90")
    assert same.same_windows
    assert len({same.recordings[i]["role"] for i in same.train.recording}) == 4  # type: ignore[union-attr]
    by_setting = _load(other_root, "KS20", "90.90", cve_diagonal="settings")

    def settings(split: object) -> set[str]:
        places = split.recording  # type: ignore[attr-defined]
        return {by_setting.recordings[i]["attributes"]["setting"] for i in places}

    assert not by_setting.same_windows
    assert settings(by_setting.probe) == {"gc1"}
    assert settings(by_setting.gallery) == {"gc2", "gc3"}
    assert len(by_setting.probe) + len(by_setting.gallery) == len(same.probe)


@pytest.mark.parametrize(
    ("dataset", "probe", "words"),
    [
        ("KGBD", "A", r"--probe A: KGBD has the probes probe"),
        ("KS20", "0.45", r"--probe 0.45: KS20 has the probes 0.0"),
        ("KS20", "A", r"--probe A: .* views in degrees"),
        ("CASIA_B", "nm", r"--probe_type nm: CASIA_B has the probes nm.nm"),
    ],
)
def test_unknown_probe_is_named(other_root, dataset, probe, words):
    with pytest.raises(UserError, match=words):
        _load(other_root, dataset, probe)


@pytest.mark.parametrize(
    ("flag", "value"), [("kgbd_order", "sorted"), ("root", "tail")], ids=["order", "root"]
)
def test_unknown_values_are_named(kgbd_root, flag, value):
    with pytest.raises(UserError, match=f"--{flag} {value}"):
        _load(kgbd_root, **{flag: value})


def test_missing_length_says_what_to_run(kgbd_root):
    with pytest.raises(UserError, match=r"python Preprocess.py 8 --dataset KGBD"):
        load_experiment(Request(kgbd_root, "KGBD", 8, "probe"), rng=_rng())


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, -1001.0])
def test_values_that_are_no_positions_name_the_folder(tmp_path, value):
    make.kgbd_raw(tmp_path, {1: 3, 2: 3})
    preprocess.preprocess(tmp_path, tmp_path, ["KGBD"], 6)
    make.without_checksums(tmp_path / "KGBD" / "6")
    path = make.kgbd_file(tmp_path, "y", "gallery")
    plane = np.load(path)
    plane[3, 4] = value
    np.save(path, plane)
    with pytest.raises(UserError, match=r"gallery, y coordinates: .*index \(0, 3, 4\)"):
        _load(tmp_path)


def test_custom_data_load_like_any_dataset(tmp_path):
    rng = np.random.default_rng(0)
    skeleton = Skeleton("tripod", ("top", "left_leg", "right_leg"), "left_leg", (), (), ())
    labels = {"train": [0, 0, 0, 0], "probe": [8, 4, 4, 8], "gallery": [4, 8, 8, 4]}
    sets = {s: (rng.normal(size=(4, 6, 3, 3)), np.array(v)) for s, v in labels.items()}
    store.write_dataset(tmp_path, "mine", sets, skeleton)
    found = _load(tmp_path, "mine", root="sensor", class_sampling="off")
    assert found.skeleton == skeleton
    assert found.identities == [0]  # nobody knows who is who in training
    assert found.test_identities == [4, 8]
    assert found.probe.identity.tolist() == [1, 0, 0, 1]
    windows = sets["probe"][0]
    assert (found.probe.windows == (windows - windows[:, :, 1:2]).astype(np.float32)).all()
    assert found.checksum is not None


def test_public_files_without_manifest_and_recordings(kgbd_root, tmp_path):
    for path in kgbd_root.glob("KGBD/6/**/*.npy"):
        if not path.name.startswith("recording"):
            target = tmp_path / path.relative_to(kgbd_root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    found, known = _load(tmp_path), _load(kgbd_root)
    assert (found.train.windows == known.train.windows).all()
    assert found.train.recording is None
    assert (found.recordings, found.checksum) == ([], None)


def test_casia_by_view_learns_the_views_beside(tmp_path, monkeypatch):
    made = [
        Recording(
            f"{subject:03d}-nm-01-{view:03d}.npy",
            subject,
            np.full((70, 14, 3), view + 0.01 * subject) + np.arange(14)[:, None] ** 2,
            "nm",
            {"view": f"{view:03d}"},
        )
        for subject in (3, 8)
        for view in range(0, 181, 18)
    ]
    make.read_by_name(monkeypatch, tmp_path, {"CASIA_B": made})
    done = preprocess.preprocess(tmp_path, tmp_path, ["CASIA_B"], 40, protocol="CVE").done[0]
    assert done.folder == tmp_path / "CASIA_B_CVE" / "40"
    data = _load(tmp_path, "CASIA_B", "90.90", root="none", class_sampling="off")
    views = {
        name: sorted({*np.floor(split.windows[:, 0, 0, 0])})
        for name, split in (("train", data.train), ("probe", data.probe))
    }
    assert views == {"train": [72, 108], "probe": [90]}
    assert data.same_windows and data.identities == data.test_identities == [3, 8]
    names = {data.recordings[place]["attributes"]["view"] for place in data.train.recording}
    assert names == {"072", "108"}
