"""`dataset.toml`: patterns of paths, wrong keys, and the guess."""

from __future__ import annotations

import pytest

from simmc import cli
from simmc.data.importing.description import described, path_pattern
from simmc.data.importing.guess import guessed, path_of
from simmc.data.importing.joint_names import skeleton_of
from simmc.errors import UserError
from tests.data.imports import content, make


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


@pytest.mark.parametrize(
    "wrong",
    [
        {"unitt": "m"},
        {"unit": "inch"},
        {"unit": 3},
        {"joints": ["a", "a"]},
        {"joints": "a"},
        {"joints": [""]},
        {"bones": [["a"]]},
        {"skip_frames": [1]},
        {"delimiter": "ab"},
        {"skip_frames": [1, -1]},
        {"axes": "fj"},
        {"frame_rate": -1},
        {"split": [{"to": "test"}]},
        {"split": [{"to": "train", "person": "("}]},
        {"columns": {"Person": "a"}},
        {"min_frames": True},
    ],
)
def test_wrong_keys_are_named(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        described(wrong, "dataset.toml")


def test_a_guess_can_be_used_at_once(tmp_path):
    source, out = make(tmp_path / "raw"), tmp_path / "Mine"
    text, doubts = guessed(source)
    (source / "dataset.toml").write_text(text)
    assert cli.run("import", [str(source), "--out", str(out), "--page", "0"]) == 0
    assert content(out)["persons"] == {"0": 0, "1": 1, "2": 2} and doubts >= 1


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


def test_a_hip_without_a_side_is_the_root_and_has_one_bone_to_the_spine():
    skeleton, guessed_bones = skeleton_of(("hip", "spine", "neck"), "")
    assert guessed_bones and skeleton.root == "hip"
    assert skeleton.edges == (("hip", "spine"), ("spine", "neck"))
