"""`dataset.toml`: patterns of paths, wrong keys, and the guess."""

import numpy as np
import pytest

import simmc
from simmc.data import store
from simmc.data.importing.clean import cleaned, filled, resampled, smoothed
from simmc.data.importing.description import Description, described, path_pattern
from simmc.data.importing.guess import guessed, path_of
from simmc.data.importing.joint_names import skeleton_of
from simmc.data.importing.recording import Body
from simmc.errors import UserError
from tests.data import formats
from tests.data.imports import JOINTS, content, frames


def test_patterns_of_paths():
    for pattern, path, expected in (
        ("{person}/{session}_{camera}.csv", "top/ann/day1_2.csv", ("ann", "day1", "2")),
        ("P{person}S{session}C{camera}*.csv", "P01S2C3R4.csv", ("01", "2", "3")),
        (
            r"(?P<person>\d+)-(?P<session>.*)-(?P<camera>\w+)\.csv$",
            "a/7-x-y-z.csv",
            ("7", "x-y", "z"),
        ),
    ):
        found = path_pattern(pattern, "t").search(path)
        assert (found["person"], found["session"], found["camera"]) == expected
    for wrong in ("{person", "{a}{a}", "{P}", "(?P<a"):
        with pytest.raises(UserError, match="path"):
            path_pattern(wrong, "t")


WRONG = (
    *({"unitt": "m"}, {"unit": "inch"}, {"unit": 3}, {"axes": "fj"}, {"frame_rate": -1}),
    *({"joints": ["a", "a"]}, {"joints": "a"}, {"joints": [""]}, {"bones": [["a"]]}),
    *({"skip_frames": [1]}, {"skip_frames": [1, -1]}, {"delimiter": "ab"}, {"min_frames": True}),
    *({"split": [{"to": "test"}]}, {"split": [{"to": "train", "person": "("}]}),
    {"columns": {"Person": "a"}},
)


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_wrong_keys_are_named(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        described(wrong, "dataset.toml")


def test_patterns_follow_from_paths():
    for paths, expected in (
        (
            ["S001C002P003R001A005.json", "S002C001P007R002A005.json"],
            "S{session}C{camera}P{person}R*A005.json",
        ),
        (["ann/walk1.csv", "ben/walk2.csv"], "{person}/walk*.csv"),
        (["top/x/sub01/cam1.npy", "top/x/sub02/cam2.npy"], "sub{person}/cam{camera}.npy"),
    ):
        assert path_of(paths)[0] == expected


def test_an_empty_folder_is_refused_with_what_can_be_read(tmp_path):
    with pytest.raises(UserError, match="no file that can be imported was found; known are CSV"):
        guessed(tmp_path)


def test_frames_without_people_are_no_fault(tmp_path):
    """A camera that starts before the walker."""
    person = np.hstack([formats.walk(1, 25)[0, :, :2] * 100, np.ones((25, 1))])
    for frame in range(30):
        bodies = [person] if frame > 24 else []
        (tmp_path / f"walk_{frame:012d}_keypoints.json").write_bytes(formats.openpose(bodies))
    text, _ = guessed(tmp_path)
    assert (
        'sensor = "OpenPose BODY_25"' in text
        and "(5 opened)" in text
        and "not readable" not in text
    )
    for frame in range(25, 30):
        (tmp_path / f"walk_{frame:012d}_keypoints.json").unlink()
    with pytest.raises(UserError, match="no body is seen in its 25 files"):
        guessed(tmp_path)


def test_a_hip_without_a_side_is_the_root_and_has_one_bone_to_the_spine():
    skeleton, guessed_bones = skeleton_of(("hip", "spine", "neck"), "")
    assert guessed_bones and skeleton.root == "hip"
    assert skeleton.edges == (("hip", "spine"), ("spine", "neck"))


def test_gaps_up_to_the_limit_are_filled_on_a_straight_line():
    line = np.arange(20.0)[:, None, None] * np.ones((1, 2, 3))
    holes = line.copy()
    holes[3:5, 0], holes[8:12, 0], holes[:2, 1] = np.nan, np.nan, np.nan
    found = filled(holes, np.isnan(holes).any(2), 2)
    assert np.allclose(found[3:5, 0], line[3:5, 0])
    assert np.isnan(found[8:12, 0]).all() and np.isnan(found[:2, 1]).all()
    assert np.array_equal(found[12:], line[12:])


def test_resampling_is_exact_on_straight_lines_and_leaves_holes():
    times = np.array([0, 0.1, 0.2, 0.3, 0.9, 1.0])
    xyz = times[:, None, None] * np.ones((1, 1, 3))
    found, at = resampled(xyz, times, 20, longest=0.25)
    assert len(at) == 21 and np.allclose(np.diff(at), 0.05)
    hole = (at > 0.3 + 1e-9) & (at < 0.9 - 1e-9)
    assert np.isnan(found[hole]).all() and np.allclose(found[~hole][:, 0, 0], at[~hole])


def test_smoothing_removes_fast_waves_and_keeps_slow_ones_and_holes():
    t = np.arange(300) / 30
    slow, fast = 2 + np.sin(2 * np.pi * t), np.sin(2 * np.pi * 12 * t)
    xyz = np.repeat((slow + fast)[:, None, None], 3, axis=2)
    xyz[150] = np.nan
    found = smoothed(xyz, 30, 5)
    inner = np.r_[20:130, 170:280]
    assert np.abs(found[inner, 0, 0] - slow[inner]).max() < 0.1
    assert np.isnan(found[150]).all() and np.isfinite(found).sum() == 299 * 3
    body = Body("w", xyz, ("a",))
    with pytest.raises(UserError, match="frame rate"):
        cleaned(body, Description(smooth=5))
    assert np.array_equal(cleaned(body, Description())[0].xyz, xyz, equal_nan=True)


class Frame:
    """What pandas and polars frames share."""

    def __init__(self, table) -> None:
        self.table = table

    def __arrow_c_stream__(self, schema=None):
        return self.table.__arrow_c_stream__(schema)


def test_lists_of_arrays_and_frames(tmp_path):
    pa = pytest.importorskip("pyarrow")
    xyz = [frames(n, 13 + n) for n in range(9)]
    who = ["ann", "ben", "ida"] * 3
    arrays = {"joints": JOINTS, "person": who, "recording": [f"r{n}" for n in range(9)]}
    simmc.import_recordings(xyz, tmp_path / "Arrays", **arrays)
    names = [f"{joint}_{axis}" for joint in JOINTS for axis in "xyz"]
    tables = [
        Frame(
            pa.table(
                {"subject": [w] * len(x), **dict(zip(names, x.reshape(-1, 15).T, strict=True))}
            )
        )
        for x, w in zip(xyz, who, strict=True)
    ]
    simmc.import_recordings(
        tables, tmp_path / "Tables", person="subject", recording=arrays["recording"]
    )
    for split in ("train", "gallery", "probe"):
        a, b = (store.read_split(tmp_path, n, 6, split) for n in ("Arrays", "Tables"))
        assert np.array_equal(a.windows, b.windows) and np.array_equal(a.labels, b.labels)
    assert content(tmp_path / "Arrays")["persons"] == {"ann": 0, "ben": 1, "ida": 2}
    with pytest.raises(UserError, match="2 values for 9"):
        simmc.import_recordings(xyz, tmp_path / "X", person=["a", "b"])
    with pytest.raises(UserError, match="array of numbers"):
        simmc.import_recordings([*xyz, "text"], tmp_path / "X")


def test_what_is_given_for_a_recording_replaces_what_its_table_says(tmp_path):
    pa = pytest.importorskip("pyarrow")
    names = [f"{joint}_{axis}" for joint in JOINTS for axis in "xyz"]
    tables = [
        pa.table({"subject": ["x"] * 20, "gait": ["slow"] * 20}
                 | dict(zip(names, frames(n).reshape(20, 15).T, strict=True)))
        for n in range(9)
    ]  # fmt: skip
    who = [None, "", "ann", "ann", "ann", "ben", "ben", "ben", 7]
    simmc.import_recordings(tables, tmp_path / "Mine", person=who, columns={"gait": "gait"})
    found = [r["attributes"] for r in content(tmp_path / "Mine")["recordings"]]
    expected = [None, None, "ann", "ann", "ann", "ben", "ben", "ben", "7"]
    assert [about.get("person") for about in found] == expected
    assert {about["gait"] for about in found} == {"slow"}


def test_labels_below_zero_where_nobody_is_known(tmp_path):
    simmc.import_recordings([frames(n) for n in range(6)], tmp_path / "Mine", joints=JOINTS)
    for split in ("train", "gallery", "probe"):
        assert (store.read_split(tmp_path, "Mine", 6, split).labels == -1).all()


def test_units_axes_and_pixels(tmp_path):
    xyz = [frames(n) for n in range(9)]
    turned = [1000 * np.stack([x[..., 0], -x[..., 2], x[..., 1]], -1) for x in xyz]
    one = simmc.import_recordings(xyz, tmp_path / "A", joints=JOINTS)
    two = simmc.import_recordings(turned, tmp_path / "B", joints=JOINTS, unit="mm", up="z")
    for split in ("train", "gallery", "probe"):
        a, b = (store.read_split(tmp_path, n, 6, split).windows for n in "AB")
        assert np.allclose(a, b, atol=1e-12)
    pixels = [300 * x[..., :2] * (1, -1) for x in xyz]
    simmc.import_recordings(pixels, tmp_path / "C", joints=JOINTS, unit="px", up="-y")
    high = np.ptp(store.read_split(tmp_path, "C", 6, "train").windows[..., 1], axis=-1)
    assert 1.4 < np.median(high) < 2 and content(tmp_path / "C")["given"]["dimensions"] == 2
    assert one.name == two.name == "6"
