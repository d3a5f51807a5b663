"""BIWI: IAS's line format, labels from folder names, first body only."""

import pytest

from simmc.data.raw import biwi
from simmc.data.recordings import ReadOptions
from simmc.errors import UserError
from tests.data.test_raw_ias import frame, put


def sets(root, persons=("002", "010", "007")):
    for part in biwi.SETS.values():
        for person in persons:
            put(root, f"{part}/{person}/000000-a_skel.txt", frame(int(person)))
    return root


def test_labels_are_the_numbers_of_the_folders_and_paths_give_the_order(tmp_path):
    found = biwi.read(sets(tmp_path))
    assert [r.identity for r in found] == [2, 7, 10] * 3
    assert [r.role for r in found] == [role for role in biwi.SETS for _ in range(3)]
    assert found[3].name == "Testing/Walking/002"
    assert found[4].frames[0, 0].tolist() == [7.0, 0.0, 2.5]
    walk = biwi.read(tmp_path, ReadOptions(ias_label_order="walk"))
    name = biwi.read(tmp_path, ReadOptions(ias_label_order="name"))
    assert [r.name for r in walk] == [r.name for r in name]


def test_only_the_first_body_counts(tmp_path):
    sets(tmp_path, ("001",))
    put(tmp_path, "Training/001/000001-a_skel.txt", frame(5) + frame(6, lost=3))
    put(tmp_path, "Training/001/000002-a_skel.txt", frame(7, lost=3) + frame(8))
    put(tmp_path, "Training/001/000003-a_skel.txt", frame(9) + "whatever\nelse")
    (found, *_) = biwi.read(tmp_path)
    assert found.frames[:, 0, 0].tolist() == [1, 5, 9]
    assert (found.counts["more_bodies"], found.counts["lost_frames"]) == (3, 1)


def test_a_folder_that_is_no_number(tmp_path):
    put(sets(tmp_path), "Training/ann/0_skel.txt", frame(0))
    with pytest.raises(UserError, match=r"Training/ann.*rename"):
        biwi.read(tmp_path)


@pytest.mark.parametrize("name", ["99999999999999999999", "\u0663", "1.5"])
def test_a_number_that_is_no_label(tmp_path, name):
    put(sets(tmp_path), f"Training/{name}/0_skel.txt", frame(0))
    with pytest.raises(UserError, match=r"up to nine digits"):
        biwi.read(tmp_path)


def test_frames_beside_a_folder(tmp_path):
    put(sets(tmp_path), "Training/002/007/0_skel.txt", frame(0))
    with pytest.raises(UserError, match=r"002/000000-a_skel\.txt: a frame beside the folder 007"):
        biwi.read(tmp_path)
    (tmp_path / "Training" / "002" / "000000-a_skel.txt").unlink()
    with pytest.raises(UserError, match=r"002/007: lies inside the folder of another person"):
        biwi.read(tmp_path)
