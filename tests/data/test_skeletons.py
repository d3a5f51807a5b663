from __future__ import annotations

import numpy as np
import pytest

from simmc.data import specs
from simmc.data.raw.kgbd import JOINT_NAMES
from simmc.data.skeletons import (
    CASIA_14,
    KGBD_FILE,
    KINECT_V1,
    KINECT_V2,
    SKELETONS,
    Level,
    Skeleton,
    permutation,
)
from simmc.errors import UserError

# docs/data.md 3.2, as printed
COMPONENTS = {
    "Kinect v1": "12,13 14,15 16,17 18,19 0,1 2,3 4,5 6,7 8,9 10,11",
    "Kinect v2": "12,13 14,15 16,17 18,19 0,1 2,3,20 4,5 6,7,21,22 8,9 10,11,23,24",
    "CASIA-B 14": "11 12,13 8 9,10 1 0 5 6,7 2 3,4",
}
LIMBS = {
    "Kinect v1": "12,13,14,15 16,17,18,19 0,1,2,3 4,5,6,7 8,9,10,11",
    "Kinect v2": "12,13,14,15 16,17,18,19 0,1,2,3,20 4,5,6,7,21,22 8,9,10,11,23,24",
    "CASIA-B 14": "11,12,13 8,9,10 0,1 5,6,7 2,3,4",
}
# as the public graph models list them
EDGES = {
    "Kinect v1": "3-2 2-8 8-9 9-10 10-11 2-4 4-5 5-6 6-7 2-1 1-0 0-16 0-12 16-17 17-18 18-19 12-13 "
    "13-14 14-15",
    "Kinect v2": "3-2 2-20 20-8 8-9 9-10 10-11 20-4 4-5 5-6 6-7 20-1 1-0 0-16 0-12 16-17 17-18 "
    "18-19 12-13 13-14 14-15 11-23 10-24 7-21 6-22",
    "CASIA-B 14": "0-1 1-2 2-3 3-4 1-5 5-6 6-7 1-8 8-9 9-10 1-11 11-12 12-13",
}


@pytest.mark.parametrize("name", COMPONENTS)
@pytest.mark.parametrize(("level", "table"), [("component", COMPONENTS), ("limb", LIMBS)])
def test_parts_are_those_of_the_table(name: str, level: Level, table: dict[str, str]) -> None:
    parts = SKELETONS[name].parts(level)
    assert [",".join(map(str, part)) for part in parts] == table[name].split()


@pytest.mark.parametrize("name", EDGES)
def test_edges_are_those_of_the_graph_models(name: str) -> None:
    expected = {frozenset(map(int, edge.split("-"))) for edge in EDGES[name].split()}
    found = SKELETONS[name].edge_indices()
    assert {frozenset(edge) for edge in found.tolist()} == expected
    assert len(found) == SKELETONS[name].n_joints - 1  # a tree


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)
def test_parts_cover_every_joint_once_and_roots_exist(skeleton: Skeleton) -> None:
    for level in ("component", "limb"):
        joints = np.concatenate(skeleton.parts(level))  # type: ignore[arg-type]
        assert sorted(joints) == list(range(skeleton.n_joints))
    assert len(set(skeleton.joints)) == skeleton.n_joints
    assert skeleton.joints[skeleton.index(skeleton.root)] == skeleton.root


def test_first_joints_of_the_files() -> None:
    assert KINECT_V1.joints[0] == KINECT_V2.joints[0] == "hip_center"
    assert (KGBD_FILE.joints[0], CASIA_14.joints[0]) == ("head", "nose")
    assert KINECT_V2.joints[:20] == KINECT_V1.joints


def test_kgbd_names_stand_for_the_names_in_its_files() -> None:
    special = {"Shoulder-Center": "shoulder_center", "Hip-centro": "hip_center"}
    translated = [
        special.get(name) or "_".join(reversed(name.lower().split("-"))) for name in JOINT_NAMES
    ]
    assert tuple(translated) == KGBD_FILE.joints


def test_mirrored_permutation_is_the_public_one() -> None:
    public = [11, 10, 1, 0, 2, 4, 6, 8, 3, 5, 7, 9, 12, 14, 16, 18, 13, 15, 17, 19]
    assert permutation(KGBD_FILE, KINECT_V1, mirrored=True).tolist() == public


def test_permutation_brings_names_into_place_and_back() -> None:
    there = permutation(KGBD_FILE, KINECT_V1)
    back = permutation(KINECT_V1, KGBD_FILE)
    assert tuple(np.array(KGBD_FILE.joints)[there]) == KINECT_V1.joints
    assert there[back].tolist() == list(range(20))


def test_unknown_joint_names_the_choices() -> None:
    with pytest.raises(UserError, match=r"Kinect v1 has no joint 'tail'.*hip_center"):
        KINECT_V1.index("tail")


@pytest.mark.parametrize(
    ("word", "name"),
    [("CAISA_B", "CASIA_B"), ("casia_b", "CASIA_B"), ("kgbd", "KGBD"), ("IAS-Lab", "IAS")],
)
def test_datasets_by_alias(word: str, name: str) -> None:
    assert specs.get(word).name == name


def test_unknown_dataset_lists_the_known() -> None:
    with pytest.raises(UserError, match=r"--dataset KGBT.*IAS, BIWI, KGBD, KS20, CASIA_B"):
        specs.get("KGBT")


def test_galleries_are_test_splits() -> None:
    for spec in (*specs.DATASETS.values(), *specs.BY_VIEW.values()):
        for probe, gallery in spec.gallery_of.items():
            assert gallery in spec.test_splits
            assert probe.partition(".")[0] in spec.test_splits
