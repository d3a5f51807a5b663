"""What `write_dataset` refuses, takes as not seen, keeps, and reads back."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from simmc.data import specs, store
from simmc.data.skeletons import Skeleton
from simmc.errors import UserError

TRIPOD = Skeleton("tripod", ("top", "left_leg", "right_leg"), "top")
Sets = dict[str, tuple[np.ndarray, np.ndarray]]


def own(joints: int = 3, n: int = 4) -> Sets:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    return {s: (rng.normal(size=(n, 8, joints, 3)), labels) for s in ("train", "probe", "gallery")}


def with_windows(windows: np.ndarray) -> Sets:
    return own() | {"train": (windows, np.arange(len(windows)) % 2)}


def stored(root: Path, split: str = "train") -> np.ndarray:
    return store.read_split(root, "mine", 8, split).windows


def manifest(root: Path) -> dict:
    return json.loads((root / "mine" / "8" / "manifest.json").read_text())


# What is stored


def test_custom_data_are_written_and_found(tmp_path):
    sets = own()
    folder = store.write_dataset(tmp_path, "mine", sets, TRIPOD)
    assert folder == tmp_path / "mine" / "8"
    spec = store.find_spec(tmp_path, "mine", 8)
    assert (spec.skeleton, spec.probes) == (TRIPOD, ("probe",))
    for split, (windows, labels) in sets.items():
        found = store.read_split(tmp_path, "mine", 8, split)
        assert (found.windows == windows).all()
        assert (found.labels == labels).all()


def test_missing_joints_are_filled_by_the_last_observation(tmp_path):
    sets = own()
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


NUMBERS = {"train": [7, 7, 3, 900], "probe": [8, 8, 8, 8], "gallery": [-1, 1, -1, 1]}
RECORDINGS = {split: np.array(given) for split, given in NUMBERS.items()}


def by_recording() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    sets = own()
    return sets | {"probe": (sets["probe"][0], np.zeros(4, int))}


def test_custom_recordings_are_listed_and_found(tmp_path):
    folder = store.write_dataset(
        tmp_path,
        "mine",
        by_recording(),
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
    for split, numbers in NUMBERS.items():
        found = store.read_split(tmp_path, "mine", 8, split)
        assert found.recording is not None
        assert [listed[place]["name"] for place in found.recording] == list(map(str, numbers))
        assert {listed[place]["split"] for place in found.recording} == {split}


def test_custom_recordings_may_be_known_of_some_splits(tmp_path):
    train = {"train": RECORDINGS["train"]}
    store.write_dataset(tmp_path, "mine", own(), TRIPOD, recordings=train)
    assert store.read_split(tmp_path, "mine", 8, "train").recording is not None
    assert store.read_split(tmp_path, "mine", 8, "probe").recording is None


# Joints that were not seen


def lost(fill: float, share: float = 0.08) -> tuple[np.ndarray, int]:
    windows = own()["train"][0].copy()
    where = np.random.default_rng(1).random(windows.shape[:3]) < share
    where[2, 3] = True  # a whole frame
    windows[where] = fill
    return windows, int(where.sum())


def test_zeros_are_joints_that_were_not_seen(tmp_path):
    zeros, count = lost(0.0)
    with pytest.warns(UserWarning, match=rf"mine: {count} of .*\(0, 0, 0\).*1 frames"):
        store.write_dataset(tmp_path / "zeros", "mine", with_windows(zeros), TRIPOD)
    store.write_dataset(tmp_path / "nan", "mine", with_windows(lost(np.nan)[0]), TRIPOD)
    assert (stored(tmp_path / "zeros") == stored(tmp_path / "nan")).all()
    counts = manifest(tmp_path / "zeros")["counts"]["train"]
    assert (counts["zero_joints"], counts["zero_frames"]) == (count, 1)
    assert manifest(tmp_path / "nan")["counts"]["train"]["unseen_joints"] == count


def test_zeros_may_be_positions(tmp_path):
    zeros, count = lost(0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.write_dataset(tmp_path, "mine", with_windows(zeros), TRIPOD, zeros="position")
    assert (stored(tmp_path) == zeros).all()
    assert manifest(tmp_path)["zeros"] == "position"
    assert manifest(tmp_path)["counts"]["train"]["zero_joints"] == count


def test_the_user_s_arrays_are_not_changed(tmp_path):
    zeros, _ = lost(0.0)
    before = zeros.copy()
    with pytest.warns(UserWarning):
        store.write_dataset(tmp_path, "mine", with_windows(zeros), TRIPOD)
    assert (zeros == before).all()


def test_one_coordinate_at_zero_is_a_position(tmp_path):
    windows = own()["train"][0].copy()
    windows[..., 0] = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.write_dataset(tmp_path, "mine", with_windows(windows), TRIPOD)
    assert (stored(tmp_path) == windows).all()


@pytest.mark.parametrize("lost_frames", [False, True])
def test_a_joint_that_is_always_at_zero_is_refused(tmp_path, lost_frames):
    """The root of relative coordinates: as a lost joint it would be put somewhere else."""
    sets = {s: (windows - windows[:, :, :1], labels) for s, (windows, labels) in own().items()}
    if lost_frames:
        sets["train"][0][0, 0] = np.nan
    with pytest.raises(UserError, match=r'joint top .*zeros="position"'):
        store.write_dataset(tmp_path, "mine", sets, TRIPOD)
    assert not (tmp_path / "mine").exists()
    store.write_dataset(tmp_path, "mine", sets, TRIPOD, zeros="position")
    assert (stored(tmp_path)[1:, :, 0] == 0).all()


def test_a_window_of_zeros_has_no_joint(tmp_path):
    windows = own()["train"][0].copy()
    windows[1] = 0.0
    with pytest.raises(UserError, match="train: window 1 has no joint"):
        store.write_dataset(tmp_path, "mine", with_windows(windows), TRIPOD)


def test_masked_joints_were_not_seen(tmp_path):
    windows, _ = lost(np.nan)
    masked = np.ma.masked_invalid(windows).copy()
    masked.data[masked.mask] = -999.0
    store.write_dataset(tmp_path / "masked", "mine", with_windows(masked), TRIPOD)
    store.write_dataset(tmp_path / "nan", "mine", with_windows(windows), TRIPOD)
    assert (stored(tmp_path / "masked") == stored(tmp_path / "nan")).all()
    listed = with_windows(masked) | {"train": (list(masked), np.arange(4) % 2)}
    store.write_dataset(tmp_path / "list", "mine", listed, TRIPOD)
    assert (stored(tmp_path / "list") == stored(tmp_path / "nan")).all()


# Values that are none

RAGGED = [np.zeros((8, 3, 3)), np.zeros((6, 3, 3))]
GOOD = own()["train"][0]
NO_WINDOWS = (
    *(GOOD.astype(object), GOOD.astype(str), GOOD.astype(complex), GOOD > 0, RAGGED, None),
    *(np.array([*RAGGED, None], dtype=object)[:2], GOOD[:, :0], GOOD[:, :, :2], GOOD[:, :6]),
    *(GOOD * 1e200, np.full((4, 8, 3, 3), 1e6), np.full((4, 8, 3, 3), np.inf)),
    np.full((4, 8, 3, 3), np.nan),
)
NO_LABELS = (
    *([2**63, 0, 0, 1], [2**64, 0, 0, 1], np.array([2**63, 0, 0, 1], np.uint64), [-1, 2**63, 0, 1]),
    *(np.ma.array([0, 0, 1, 1], mask=[0, 1, 0, 0]), [0, [1], 0, 1], ["0", "0", "1", "1"], None),
    *(np.zeros(5, int), np.zeros(4)),
)
FOUR = np.arange(4)


@pytest.mark.parametrize(
    ("change", "how", "named"),
    [
        *(({"train": (windows, FOUR % 2)}, {}, "mine.*train|one length") for windows in NO_WINDOWS),
        *(({"train": (GOOD, labels)}, {}, "mine, train") for labels in NO_LABELS),
        *(({}, {"recordings": {"train": labels}}, "mine, train") for labels in NO_LABELS),
        ({"train": GOOD}, {}, "mine, train"),
        ({"other": (GOOD, FOUR)}, {}, "splits"),
        ({}, {"recordings": {"test": FOUR}}, "test"),
        ({}, {"recordings": {"probe": FOUR, "train": FOUR + 3}}, "recording 3 .*probe.*train"),
        ({}, {"recordings": {"probe": np.array([5, 5, 6, 6])}}, "recording 5 .*0 and 1"),
        ({}, {"recordings": {"train": FOUR}, "times": {4: (0, 1)}}, "recording 4"),
        ({}, {"times": {0: (0, 1)}}, "recording 0"),
        *(
            ({}, {"recordings": {"train": FOUR}, "times": {0: times}}, "recording 0")
            for times in ((1, 1), (0, np.nan), 5.0)
        ),
    ],
)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_what_is_no_data_is_refused(tmp_path, change, how, named):
    with pytest.raises(UserError, match=named):
        store.write_dataset(tmp_path, "mine", {**own(), **change}, TRIPOD, **how)
    assert not (tmp_path / "mine").exists()


def test_the_largest_labels_are_kept(tmp_path):
    labels = np.array([2**63 - 1, 0, -(2**63), 0])
    store.write_dataset(tmp_path, "mine", own() | {"probe": (GOOD, labels)}, TRIPOD)
    assert (store.read_split(tmp_path, "mine", 8, "probe").labels == labels).all()


# Names and folders

TAKEN = [name for spec in (*specs.DATASETS.values(), *specs.BY_VIEW.values())
         for name in (spec.name, spec.folder, *spec.aliases)]  # fmt: skip


@pytest.mark.parametrize("name", sorted({*TAKEN, *map(str.upper, TAKEN), *map(str.lower, TAKEN)}))
def test_no_set_takes_the_name_of_a_dataset_of_the_table(tmp_path, name):
    with pytest.raises(UserError, match="taken"):
        store.write_dataset(tmp_path, name, own(), TRIPOD)
    assert not list(tmp_path.iterdir())


BAD_NAMES = ["", ".", "..", "../out", "a/b", "a\\b", "/x", "cam.1", "a\0b", "a\nb", " a", "a ",
             "-a", "con", "NUL", "com1", "a" * 65, "a:b", "a*", None, 3]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_are_no_folders_are_refused(tmp_path, name):
    root = tmp_path / "sets"
    with pytest.raises(UserError, match="cannot be the name of the dataset"):
        store.write_dataset(root, name, own(), TRIPOD)
    sets = own()
    sets = {"train": sets["train"], name: sets["probe"], "gallery": sets["gallery"]}
    with pytest.raises(UserError, match="cannot be the name of a split"):
        store.write_dataset(root, "mine", sets, TRIPOD, {name: "gallery"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("splits", [("Train", "gallery"), ("Gallery", "gallery")])
def test_splits_that_differ_in_case_alone_are_refused(tmp_path, splits):
    probe, gallery = splits
    sets = own()
    sets = {"train": sets["train"], probe: sets["probe"], gallery: sets["gallery"]}
    with pytest.raises(UserError, match="case"):
        store.write_dataset(tmp_path, "mine", sets, TRIPOD, {probe: gallery})


def test_usual_names_are_taken(tmp_path):
    sets = own()
    sets = {"train": sets["train"], "cam 1": sets["probe"], "cam-2_b": sets["gallery"]}
    store.write_dataset(tmp_path, "Größe 2", sets, TRIPOD, {"cam 1": "cam-2_b"})
    assert len(store.read_split(tmp_path, "Größe 2", 8, "cam-2_b")) == 4


def test_a_stored_split_may_have_any_name_that_the_disk_takes(tmp_path):
    path = store.write_dataset(tmp_path, "mine", own(), TRIPOD) / "manifest.json"
    content = manifest(tmp_path)
    for length in (100, 300):  # earlier versions wrote the first
        name = length * "a"
        content["gallery_of"] = {"probe": name}
        path.write_text(json.dumps(content))
        assert store.find_spec(tmp_path, "mine", 8).test_splits == ("probe", name)
        with pytest.raises(UserError, match=r"aaa: (does not exist|cannot be read).*write_dataset"):
            stored(tmp_path, name)


def test_a_stored_split_with_a_dot_is_named(tmp_path):
    path = store.write_dataset(tmp_path, "mine", own(), TRIPOD) / "manifest.json"
    content = json.loads(path.read_text()) | {"gallery_of": {"cam.1": "gallery"}}
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"manifest.json: the split 'cam.1'"):
        store.find_spec(tmp_path, "mine", 8)


@pytest.mark.parametrize("name", ["", ".", "..", "../out", "../sets/mine"])
def test_no_set_is_looked_for_outside_the_data_root(tmp_path, name):
    store.write_dataset(tmp_path / "sets", "mine", own(), TRIPOD)
    store.write_dataset(tmp_path, "out", own(), TRIPOD)
    with pytest.raises(UserError, match="no such dataset"):
        store.find_spec(tmp_path / "sets", name, 8)


@pytest.mark.parametrize(
    "content",
    [None, {"schema": 1, "dataset": "other"}, {"schema": 1, "dataset": "mine", "protocol": "x"}],
)
def test_a_folder_that_is_no_earlier_version_is_left_alone(tmp_path, content):
    folder = tmp_path / "mine" / "8"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("kept")
    if content:
        (folder / "manifest.json").write_text(json.dumps(content))
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(UserError, match="left alone"):
        store.write_dataset(tmp_path, "mine", own(), TRIPOD)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_an_earlier_version_is_replaced_and_other_files_are_kept(tmp_path):
    folder = store.write_dataset(tmp_path, "mine", own(), TRIPOD)
    features = folder / "train_npy_data" / "frames_AGE_mine_8.npy"
    for path in (features, folder / "frames_AGE.json"):
        path.write_text("features")
    (folder / "link").symlink_to("frames_AGE.json")
    renamed = {("test" if s == "probe" else s): pair for s, pair in own().items()}
    store.write_dataset(tmp_path, "mine", renamed, TRIPOD, {"test": "gallery"})
    assert features.read_text() == "features"
    assert (folder / "frames_AGE.json").read_text() == "features"
    assert (folder / "link").readlink() == Path("frames_AGE.json")
    assert not (folder / "test_npy_data" / "probe").exists()
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["8"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed_and_stays(tmp_path, there):
    real, root = tmp_path / "disk" / "windows", tmp_path / "sets"
    link = root / "mine" / "8"
    link.parent.mkdir(parents=True)
    if there:
        store.write_dataset(tmp_path / "made", "mine", own(), TRIPOD)
        real.parent.mkdir()
        (tmp_path / "made" / "mine" / "8").rename(real)
    link.symlink_to(real, target_is_directory=True)
    changed = own() | {"train": (GOOD + 1, np.arange(4) % 2)}
    store.write_dataset(root, "mine", changed, TRIPOD)
    assert link.is_symlink()
    assert link.resolve() == real
    assert (stored(root) == GOOD + 1).all()
    assert [path.name for path in real.parent.iterdir()] == ["windows"]
