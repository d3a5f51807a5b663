"""Units, axes, frame rates and plane poses: what is converted, what is said."""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest

from simmc.data import conventions, store
from simmc.data.skeletons import KINECT_V1
from simmc.data.synthetic.walkers import generate
from simmc.data.windows import frames_in, windows_of
from simmc.errors import UserError

SPLITS = ("train", "probe", "gallery")


@pytest.fixture(scope="module")
def walkers() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Synthetic walkers of a Kinect v1, in metres with y up."""
    recordings = generate("BIWI", persons=3, size="tiny", seed=0)
    windows = [windows_of([r.frames], 6) for r in recordings]
    people = np.concatenate(
        [np.full(len(w), r.identity) for w, r in zip(windows, recordings, strict=True)]
    )
    return {split: (np.concatenate(windows), people) for split in SPLITS}


def changed(walkers, change, which=SPLITS):
    return {s: (change(w) if s in which else w, y) for s, (w, y) in walkers.items()}


def written(root: Path, sets, **how) -> tuple[np.ndarray, list[str], dict]:
    """The stored training windows, the warnings, and the manifest."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        folder = store.write_dataset(root, "Mine", sets, KINECT_V1, **how)
    stored = store.read_split(root, "Mine", 6, "train").windows
    manifest = json.loads((folder / "manifest.json").read_text())
    return stored, [str(one.message) for one in found], manifest


def z_up(windows: np.ndarray) -> np.ndarray:
    """The same bodies in coordinates with z up and y away from the viewer."""
    return np.stack([windows[..., 0], -windows[..., 2], windows[..., 1]], axis=-1)


@pytest.mark.parametrize("up", ["y", "-y", "z", "-z", "x", "-x"])
def test_the_axis_as_it_was_given(up):
    for axis in range(3):
        for sign in (-1, 1):
            name = conventions.given_axis(up, axis, sign)
            along = np.zeros(3)
            along["xyz".index(name[-1])] = -1 if name[0] == "-" else 1
            assert np.array_equal(conventions.y_up(along, up), sign * np.eye(3)[axis])


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (lambda w: w * 1000, {"unit": "mm"}),
        (lambda w: w * 100, {"unit": "cm"}),
        (z_up, {"up": "z"}),
        (lambda w: 1000 * z_up(w), {"unit": "mm", "up": "z"}),
        (lambda w: w * [1, -1, -1], {"up": "-y"}),
    ],
)
def test_what_is_declared_gives_the_same_windows_and_no_warning(tmp_path, walkers, change, how):
    stored, said, manifest = written(tmp_path, changed(walkers, change), **how)
    np.testing.assert_allclose(stored, walkers["train"][0], rtol=1e-12, atol=1e-12)
    assert not said
    assert manifest["given"]["unit"] == how.get("unit", "m")
    assert manifest["given"]["up"] == how.get("up", "y")


@pytest.mark.parametrize("up", conventions._TURNS)
def test_bringing_y_up_rotates_and_mirrors_nothing(up):
    turned = conventions.y_up(np.eye(3)[None, None], up)[0, 0]
    assert np.linalg.det(turned) == pytest.approx(1)
    pointing = np.zeros(3)
    pointing["xyz".index(up[-1])] = -1 if up[0] == "-" else 1
    assert conventions.y_up(pointing[None, None, None], up).ravel().tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("change", "which", "word"),
    [
        (lambda w: w * 100, SPLITS, "unit="),
        (lambda w: w / 100, SPLITS, "unit="),
        (z_up, SPLITS, "up="),
        (lambda w: w * [1, -1, -1], SPLITS, "up="),
        (lambda w: w * [-1, 1, 1], ("probe",), "mirror"),
    ],
)
def test_what_is_not_declared_is_said_and_not_changed(tmp_path, walkers, change, which, word):
    sets = changed(walkers, change, which)
    stored, said, _ = written(tmp_path, sets)
    assert len(said) == 1
    assert word in said[0]
    assert (stored == sets["train"][0]).all()


def test_good_windows_and_a_wholly_mirrored_set_are_not_remarked(tmp_path, walkers):
    assert not written(tmp_path, walkers)[1]
    assert not written(tmp_path, changed(walkers, lambda w: w * [-1, 1, 1]))[1]


def test_plane_poses_get_a_third_axis_and_a_plausible_height(tmp_path, walkers):
    sets = changed(walkers, lambda w: np.stack([300 + 90 * w[..., 0], 200 - 90 * w[..., 1]], -1))
    for windows, _ in sets.values():
        windows[0, 0, 5] = np.nan
    stored, said, manifest = written(tmp_path, sets, unit="px", up="-y")
    height = np.median(np.ptp(stored[..., 1], axis=2))
    assert height == pytest.approx(conventions.USUAL_HEIGHT, rel=1e-3)
    assert (stored[..., 2] == 0).all()
    assert manifest["given"]["dimensions"] == 2
    shape = stored[3] / manifest["given"]["scale"]
    expected = walkers["train"][0][3, ..., :2] * 90
    differences = shape[..., :2] - shape[:, :1, :2]
    np.testing.assert_allclose(differences, expected - expected[:, :1], atol=1e-9)
    assert not said


@pytest.mark.parametrize(
    "how", [{"unit": "inch"}, {"up": "w"}, {"frame_rate": 0}, {"frame_rate": math.nan}]
)
def test_unknown_conventions_are_refused(tmp_path, walkers, how):
    with pytest.raises(UserError, match=next(iter(how))):
        store.write_dataset(tmp_path, "Mine", walkers, KINECT_V1, **how)


def test_the_frame_rate_is_stored(tmp_path, walkers):
    assert written(tmp_path, walkers, frame_rate=15)[2]["frame_rate"] == 15
    assert written(tmp_path, walkers)[2]["frame_rate"] is None


@pytest.mark.parametrize(
    ("length", "rate", "frames"),
    [(6, None, 6), ("6", None, 6), ("0.2s", 30, 6), ("0.4 s", 15, 6), ("1.0s", 59.94, 60),
     ("0.001s", 30, 1)],
)  # fmt: skip
def test_lengths_in_frames_and_seconds(length, rate, frames):
    assert frames_in(length, rate) == frames


@pytest.mark.parametrize("length", ["six", "0", 0, "-1s", "nans", "infs", "1.5", "s", ""])
def test_other_lengths_are_refused(length):
    with pytest.raises(UserError, match="--length"):
        frames_in(length, 30)


def test_seconds_need_a_frame_rate():
    with pytest.raises(UserError, match="frame rate"):
        frames_in("1s", None)


def test_windows_cover_the_same_time_at_every_frame_rate():
    time = np.arange(0, 2, 1 / 60)
    frames = np.broadcast_to(time[:, None, None], (len(time), 4, 3))
    slow = windows_of([frames[::4]], "0.4s", frame_rate=15)
    fast = windows_of([frames], "0.4s", frame_rate=60)
    assert (slow.shape[1], fast.shape[1]) == (6, 24)
    assert (slow[:, 0] == fast[:, 0]).all()
