"""Custom sets: windows, labels and recordings are stored and found, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simmc.data import store
from simmc.errors import UserError
from tests.data.test_custom import TRIPOD, own


def test_custom_data_are_written_and_found(tmp_path: Path) -> None:
    sets = own()
    folder = store.write_dataset(tmp_path, "mine", sets, TRIPOD)
    assert folder == tmp_path / "mine" / "8"
    spec = store.find_spec(tmp_path, "mine", 8)
    assert (spec.skeleton, spec.probes) == (TRIPOD, ("probe",))
    for split, (windows, labels) in sets.items():
        found = store.read_split(tmp_path, "mine", 8, split)
        assert (found.windows == windows).all()
        assert (found.labels == labels).all()


def test_missing_joints_are_filled_by_the_last_observation(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"probe": (np.zeros((4, 8, 2, 3)), np.zeros(4, int))}, "probe: windows of shape"),
        (
            {"probe": (np.zeros((4, 8, 3, 3)), np.zeros(5, int))},
            "probe: expected one integer for each",
        ),
        ({"probe": (np.zeros((4, 8, 3, 3)), np.zeros(4))}, "probe: expected one integer for each"),
        ({"probe": (np.full((4, 8, 3, 3), np.inf), np.zeros(4, int))}, "not finite"),
        ({"probe": (np.full((4, 8, 3, 3), np.nan), np.zeros(4, int))}, "window 0 has no joint"),
        ({"probe": (np.zeros((4, 6, 3, 3)), np.zeros(4, int))}, "one length"),
        ({"other": (np.zeros((4, 8, 3, 3)), np.zeros(4, int))}, "splits must be"),
    ],
)
def test_custom_data_that_do_not_fit_are_refused(tmp_path: Path, change: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        store.write_dataset(tmp_path, "mine", {**own(), **change}, TRIPOD)
    assert not (tmp_path / "mine").exists()


NUMBERS = {"train": [7, 7, 3, 900], "probe": [8, 8, 8, 8], "gallery": [-1, 1, -1, 1]}
RECORDINGS = {split: np.array(given) for split, given in NUMBERS.items()}


def by_recording() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    sets = own()
    return sets | {"probe": (sets["probe"][0], np.zeros(4, int))}


def test_custom_recordings_are_listed_and_found(tmp_path: Path) -> None:
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


def test_custom_recordings_may_be_known_of_some_splits(tmp_path: Path) -> None:
    train = {"train": RECORDINGS["train"]}
    store.write_dataset(tmp_path, "mine", own(), TRIPOD, recordings=train)
    assert store.read_split(tmp_path, "mine", 8, "train").recording is not None
    assert store.read_split(tmp_path, "mine", 8, "probe").recording is None


@pytest.mark.parametrize(
    ("recordings", "times", "words"),
    [
        ({"train": np.arange(5)}, {}, "train: expected one integer for each of the 4 windows"),
        ({"train": np.arange(4.0)}, {}, "train: expected one integer for each"),
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
def test_custom_recordings_that_do_not_fit_are_refused(
    tmp_path: Path, recordings: dict, times: dict, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        store.write_dataset(tmp_path, "mine", own(), TRIPOD, recordings=recordings, times=times)
    assert not (tmp_path / "mine").exists()
