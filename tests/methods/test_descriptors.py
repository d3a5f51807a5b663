import numpy as np
import pytest
import torch

from simmc.cli.descriptors import NAMES
from simmc.data.skeletons import CASIA_14, KGBD_FILE, KINECT_V1, KINECT_V2, Skeleton, permutation
from simmc.errors import UserError
from simmc.methods import descriptors
from simmc.methods.descriptors import DESCRIPTORS, d13, d16, encoder, pose_gait
from simmc.scoring.match import encode
from tests.reference import descriptors as literal

SENSORS = (KINECT_V1, KINECT_V2, CASIA_14)
BODY = ("D13", "D16", "D_PG")  # what ignores where a person stands
WIDTH = {"D13": 13, "D16": 16, "D_PG": 81}


def windows(skeleton, n=5, length=4, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(n, length, skeleton.n_joints, 3)))


def by_hand(name, window, skeleton):
    """Mean over the frames of a window, by the literal formulas."""
    frames = window.tolist()
    if name == "D_PG":
        return np.mean(literal.pose_gait(frames), axis=0)
    if skeleton is CASIA_14:
        frames = [literal.as_kinect(frame) for frame in frames]
    return np.mean([getattr(literal, name.lower())(frame) for frame in frames], axis=0)


def test_the_settings_know_every_descriptor():
    assert tuple(DESCRIPTORS) == NAMES


@pytest.mark.parametrize("name", BODY)
@pytest.mark.parametrize("skeleton", [KINECT_V1, KINECT_V2], ids=lambda s: s.name)
def test_by_name_is_by_kinect_number(name, skeleton):
    made = windows(skeleton)
    found = DESCRIPTORS[name](made, skeleton)
    assert found.shape == (5, WIDTH[name])
    expected = [by_hand(name, window, skeleton) for window in made]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(("name", "heights"), [("D13", [0, 1]), ("D16", [15])])
def test_casia_takes_means_where_a_joint_is_missing_and_heights_without_sign(name, heights):
    made = windows(CASIA_14)
    made[..., [10, 13], 1] -= 20  # ankles below everything
    found = DESCRIPTORS[name](made, CASIA_14)
    expected = [by_hand(name, window, CASIA_14) for window in made]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    turned = DESCRIPTORS[name](made * torch.tensor([1.0, -1.0, 1.0]), CASIA_14)
    assert (found[:, heights] > 10).all()
    torch.testing.assert_close(turned, found)


def test_the_pose_of_casia_needs_no_mapping():
    made = windows(CASIA_14)
    like_kinect = torch.zeros(5, 4, 20, 3, dtype=made.dtype)
    like_kinect[:, :, list(literal.POSE_GAIT)] = made
    torch.testing.assert_close(pose_gait(made, CASIA_14), pose_gait(like_kinect, KINECT_V1))


@pytest.mark.parametrize("name", BODY)
def test_kgbd_in_file_order_by_its_own_names_is_kgbd_mapped(name):
    """Names decide, wherever the joints lie; read as if it were Kinect the file gives others."""
    in_file = windows(KGBD_FILE)
    mapped = in_file[:, :, permutation(KGBD_FILE, KINECT_V1)]
    found = DESCRIPTORS[name](mapped, KINECT_V1)
    torch.testing.assert_close(found, DESCRIPTORS[name](in_file, KGBD_FILE), rtol=0, atol=0)
    assert not torch.allclose(found, DESCRIPTORS[name](in_file, KINECT_V1))


def test_kgbd_mirrored_exchanges_the_sides():
    in_file = windows(KGBD_FILE)
    mapped, mirrored = (
        d13(in_file[:, :, permutation(KGBD_FILE, KINECT_V1, mirrored=m)], KINECT_V1)
        for m in (False, True)
    )
    swapped = mapped[..., [0, 1, 3, 2, 4, 6, 5, 8, 7, 9, 10, 12, 11]]
    other = [i for i in range(13) if i != 4]  # torso to right shoulder has no partner
    torch.testing.assert_close(mirrored[..., other], swapped[..., other])


@pytest.mark.parametrize("name", BODY)
@pytest.mark.parametrize("skeleton", SENSORS, ids=lambda s: s.name)
def test_where_a_person_stands_does_not_matter(name, skeleton):
    made = windows(skeleton)
    steps = torch.from_numpy(np.random.default_rng(1).normal(size=(5, 4, 1, 3)))  # another a frame
    found = DESCRIPTORS[name](made + steps, skeleton)
    torch.testing.assert_close(found, DESCRIPTORS[name](made, skeleton))


@pytest.mark.parametrize("skeleton", SENSORS, ids=lambda s: s.name)
def test_turning_about_the_vertical_changes_no_length_and_no_height(skeleton):
    made = windows(skeleton)
    turn = torch.tensor([[0.6, 0, -0.8], [0, 1, 0], [0.8, 0, 0.6]], dtype=made.dtype)
    for describe in (d13, d16):
        torch.testing.assert_close(describe(made @ turn, skeleton), describe(made, skeleton))


def test_the_parts_of_d_pg():
    made = windows(KINECT_V1, length=3)
    found = pose_gait(made, KINECT_V1)
    assert found.shape == (5, 3, 81)
    pose, angle, limb, motion = found.split([42, 13, 13, 13], -1)
    assert (pose[..., 3:6] == 0).all()  # the neck
    assert ((angle >= 0) & (angle <= np.pi)).all()
    middle = (pose.unflatten(-1, (14, 3))[..., [8, 11], :]).mean(-2)
    torch.testing.assert_close(middle.norm(dim=-1), torch.ones(5, 3, dtype=middle.dtype))
    assert (limb > 0).all()
    assert (motion[:, :-1] > 0).all() and (motion[:, -1] == 0).all()
    torch.testing.assert_close(pose_gait(3 * made, KINECT_V1), found)  # size does not matter


def test_who_stands_still_has_no_motion():
    still = windows(KINECT_V1)[:, :1].expand(-1, 4, -1, -1)
    assert (pose_gait(still, KINECT_V1)[..., -13:] == 0).all()


def test_a_body_without_extent_gives_numbers():
    nobody = torch.zeros(2, 4, 20, 3, dtype=torch.float64)
    for name in BODY:
        assert torch.isfinite(DESCRIPTORS[name](nobody, KINECT_V1)).all()


def test_a_short_leg_counts_as_ten_centimetres():
    frame = torch.zeros(20, 3, dtype=torch.float64)
    frame[KINECT_V1.index("shoulder_center"), 1] = 0.5
    frame[KINECT_V1.index("right_knee"), 0] = 0.25
    assert d13(frame, KINECT_V1)[-2:].tolist() == [2.0, 5.0]


@pytest.mark.parametrize("name", BODY)
def test_a_skeleton_of_the_user_s_own_may_lack_joints(name):
    mine = Skeleton("mine", ("hip", "head", "left_foot", "right_foot"), "hip", (), (), ())
    with pytest.raises(UserError, match=r"joint .*; mine has hip, head.*--descriptor raw_flat"):
        DESCRIPTORS[name](windows(mine), mine)
    for raw in ("raw_flat", "raw_mean"):
        assert DESCRIPTORS[raw](windows(mine), mine).shape[0] == 5


def test_raw_coordinates():
    made = windows(KINECT_V1)
    flat = DESCRIPTORS["raw_flat"](made, KINECT_V1)
    assert flat.shape == (5, 4 * 60)
    assert flat[2, 60 + 3 * 7 + 1] == made[2, 1, 7, 1]
    mean = DESCRIPTORS["raw_mean"](made, KINECT_V1)
    torch.testing.assert_close(mean, made.mean(1).flatten(1))


@pytest.mark.parametrize("name", NAMES)
def test_in_the_place_of_a_network(name, monkeypatch):
    made = windows(KINECT_V1, n=7).float()
    monkeypatch.setattr("simmc.scoring.match.ENCODE_BATCH", 3)
    found = encode(encoder(name, KINECT_V1), made.flatten(2))
    assert found.dtype == torch.float32 and found.shape[:2] == (7, 1)
    expected = descriptors.DESCRIPTORS[name](made.double(), KINECT_V1).float()
    torch.testing.assert_close(found[:, 0], expected, rtol=0, atol=0)
