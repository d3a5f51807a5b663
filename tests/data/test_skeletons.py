import numpy as np
import pytest

from simmc.data import specs
from simmc.data.raw.kgbd import JOINT_NAMES
from simmc.data.skeletons import CASIA_14, KGBD_FILE, KINECT_V1, KINECT_V2, SKELETONS, permutation
from simmc.errors import UserError


def test_first_joints_of_the_files():
    assert KINECT_V1.joints[0] == KINECT_V2.joints[0] == "hip_center"
    assert (KGBD_FILE.joints[0], CASIA_14.joints[0]) == ("head", "nose")
    assert KINECT_V2.joints[:20] == KINECT_V1.joints


def test_names_in_kgbd_files():
    special = {"Shoulder-Center": "shoulder_center", "Hip-centro": "hip_center"}
    translated = [
        special.get(name) or "_".join(reversed(name.lower().split("-"))) for name in JOINT_NAMES
    ]
    assert tuple(translated) == KGBD_FILE.joints


def test_permutations_and_roots():
    public = [11, 10, 1, 0, 2, 4, 6, 8, 3, 5, 7, 9, 12, 14, 16, 18, 13, 15, 17, 19]
    assert permutation(KGBD_FILE, KINECT_V1, mirrored=True).tolist() == public
    there = permutation(KGBD_FILE, KINECT_V1)
    assert tuple(np.array(KGBD_FILE.joints)[there]) == KINECT_V1.joints
    assert there[permutation(KINECT_V1, KGBD_FILE)].tolist() == list(range(20))
    for skeleton in SKELETONS.values():
        assert len(set(skeleton.joints)) == skeleton.n_joints
        assert skeleton.joints[skeleton.index(skeleton.root)] == skeleton.root


def test_unknown_joint_names_the_choices():
    with pytest.raises(UserError, match=r"Kinect v1 has no joint 'tail'.*hip_center"):
        KINECT_V1.index("tail")


@pytest.mark.parametrize(
    ("word", "name"),
    [("CAISA_B", "CASIA_B"), ("casia_b", "CASIA_B"), ("kgbd", "KGBD"), ("IAS-Lab", "IAS")],
)
def test_datasets_by_alias(word, name):
    assert specs.get(word).name == name


def test_unknown_dataset_lists_the_known():
    with pytest.raises(UserError, match=r"--dataset KGBT.*IAS, BIWI, KGBD, KS20, CASIA_B"):
        specs.get("KGBT")


def test_galleries_are_test_splits():
    for spec in (*specs.DATASETS.values(), *specs.BY_VIEW.values()):
        for probe, gallery in spec.gallery_of.items():
            assert gallery in spec.test_splits
            assert probe.partition(".")[0] in spec.test_splits
