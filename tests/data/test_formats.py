"""Readers of the formats of motion capture, body trackers and pose estimators."""

import json
import struct
import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from simmc.data.body_levels import body_levels
from simmc.data.graph_levels import GRAPH_LEVELS, containing, skeleton_graph
from simmc.data.importing import bvh, c3d, kinect, ntu, pose_json, recording, tracks
from simmc.data.importing.formats import FORMATS, format_of
from simmc.data.skeletons import BODY_25, COCO_17, HALPE_26, KINECT_V2, SKELETONS, require_parts
from simmc.errors import UserError
from simmc.methods import descriptors
from tests.conftest import shared_file
from tests.data import formats as make

# BVH


def positions(text: str) -> np.ndarray:
    """Positions (F, J, 3) of a BVH file, frame by frame and joint by joint, by scipy."""
    head, _, tail = text.partition("MOTION")
    joints, stack, width = [], [], 0
    for line in head.splitlines():
        match line.split():
            case ["ROOT" | "JOINT" | "End", *_]:
                joints.append({"parent": stack[-1] if stack else None, "channels": [], "at": width})
            case ["{"]:
                stack.append(len(joints) - 1)
            case ["}"]:
                stack.pop()
            case ["OFFSET", *numbers]:
                joints[stack[-1]]["offset"] = np.array(numbers, float)
            case ["CHANNELS", count, *names]:
                joints[stack[-1]] |= {"channels": names, "at": width}
                width += int(count)
    rows = [line.split() for line in tail.splitlines()[3:] if line.strip()]
    made = np.zeros((len(rows), len(joints), 3))
    for f, row in enumerate(np.array(rows, float)):
        turns = []
        for j, joint in enumerate(joints):
            values = dict(zip(joint["channels"], row[joint["at"] :], strict=False))
            local = joint["offset"].copy()
            for axis, letter in enumerate("XYZ"):
                local[axis] = values.get(f"{letter}position", local[axis])
            order = [name[0] for name in values if name.endswith("rotation")]
            angles = [values[f"{letter}rotation"] for letter in order]
            turn = Rotation.identity()
            if order:
                turn = Rotation.from_euler("".join(order), angles, degrees=True)
            parent = joint["parent"]
            if parent is not None:
                local = made[f, parent] + turns[parent].apply(local)
                turn = turns[parent] * turn
            made[f, j] = local
            turns.append(turn)
    return made


def test_bvh_positions_are_those_of_scipy_rotations():
    data = make.bvh()
    (body,) = bvh.read("a/walk.bvh", data)
    np.testing.assert_allclose(body.xyz, positions(data.decode()), atol=1e-12)
    assert body.joints == ("Hips", "Chest", "Chest_end", "Leg", "Toe", "Toe_end")
    assert body.bones == (
        *(("Hips", "Chest"), ("Chest", "Chest_end"), ("Hips", "Leg"), ("Leg", "Toe")),
        ("Toe", "Toe_end"),
    )
    np.testing.assert_allclose(body.times, [0, 0.04, 0.08])


def test_bvh_bones_keep_their_lengths_where_joints_only_turn():
    motion = np.random.default_rng(1).uniform(-180, 180, size=(3, make.CHANNELS))
    (body,) = bvh.read("walk.bvh", make.bvh(motion))
    lengths = {
        (a, b): np.linalg.norm(
            body.xyz[:, body.joints.index(a)] - body.xyz[:, body.joints.index(b)], axis=1
        )
        for a, b in body.bones
    }
    for bone in (("Hips", "Chest"), ("Leg", "Toe"), ("Toe", "Toe_end")):
        np.testing.assert_allclose(lengths[bone], lengths[bone][0])
    assert np.ptp(lengths["Hips", "Leg"]) > 1  # it has a position channel


@pytest.mark.parametrize(
    "name",
    [
        "bvh_test1.bvh",
        pytest.param("cmu_12_01_walk.bvh", marks=pytest.mark.slow),
        "rotation_first_root.bvh",
        "standard_skeleton.bvh",
    ],
)
@pytest.mark.realdata
def test_bvh_of_other_programs(name):
    data = shared_file(f"formats/{name}").read_bytes()
    (body,) = bvh.read(name, data)
    np.testing.assert_allclose(body.xyz, positions(data.decode()), atol=1e-10)
    if name != "rotation_first_root.bvh":  # the usual names
        assert {"left_hip", "right_knee", "left_shoulder", "right_wrist"} <= set(body.joints)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Frames: 3", "Frames: 999999999999"),
        ("Frames: 3", "Frames: 2"),
        ("Frames: 3", "Frames: x"),
        ("CHANNELS 1 Yrotation", "CHANNELS 1 Wrotation"),
        ("CHANNELS 4", "CHANNELS 9"),
        ("OFFSET 0 -7 0", "OFFSET 0 nan 0"),
        ("End Site\n    {", "End Site\n    "),
        ("MOTION", ""),
        ("HIERARCHY", ""),
        ("ROOT Hips\n{", "ROOT Hips\n{" + "JOINT x {OFFSET 0 0 0" * 2000),
    ],
)
def test_damaged_bvh_is_refused(old, new):
    text = make.bvh().decode()
    assert old in text
    with pytest.raises(UserError, match=r"walk\.bvh"):
        bvh.read("walk.bvh", text.replace(old, new).encode())


# C3D


@pytest.mark.parametrize("processor", [84, 85, 86])
@pytest.mark.parametrize("scale", [-1.0, 0.2])
def test_c3d_markers(processor, scale):
    xyz = make.walk(5, 3) * 1000
    xyz[2, 1] = np.nan
    (body,) = c3d.read("a.c3d", make.c3d(xyz, ["A:LASI", "RASI", "C7"], processor, scale))
    np.testing.assert_allclose(body.xyz, xyz / 1000, atol=1.01e-4 if scale > 0 else 1e-6)
    assert body.joints == ("LASI", "RASI", "C7")
    assert (body.metres, body.up) == (True, "z")
    np.testing.assert_allclose(body.times, np.arange(5) / 50)


def test_c3d_of_the_usual_library(tmp_path):
    ezc3d = pytest.importorskip("ezc3d")
    if "faiss" in sys.modules:
        pytest.skip("faiss is loaded, and two libraries made by SWIG disturb each other")
    made = ezc3d.c3d()
    points = np.ones((4, 300, 6))  # more labels than one parameter holds
    points[:3] = np.random.default_rng(0).normal(size=(3, 300, 6)) * 1000
    points[:3, 4, 2] = np.nan
    names = [f"M{place}" for place in range(300)]
    about = {"LABELS": tuple(names), "UNITS": ["mm"], "RATE": [60.0]}
    for key, value in about.items():
        made["parameters"]["POINT"][key]["value"] = value
    made["parameters"]["ANALOG"]["RATE"]["value"] = [120.0]
    made["parameters"]["ANALOG"]["LABELS"]["value"] = ("force",)
    made["data"]["points"], made["data"]["analogs"] = points, np.ones((1, 1, 12))
    made.write(str(tmp_path / "a.c3d"))
    (body,) = c3d.read("a.c3d", (tmp_path / "a.c3d").read_bytes())
    back = ezc3d.c3d(str(tmp_path / "a.c3d"))["data"]["points"][:3].transpose(2, 1, 0)
    np.testing.assert_allclose(body.xyz, back / 1000, atol=1e-9)
    assert list(body.joints) == names


def test_damaged_c3d_is_refused():
    data = make.c3d(make.walk(5, 3), ["a", "b", "c"])
    # the last frame is lost; more frames, or markers, than the file has; another format
    more = data[:8] + struct.pack("<H", 60000) + data[10:]
    wide = data[:2] + struct.pack("<H", 65535) + data[4:]
    for wrong in (data[:-40], more, wide, b"", b"\0" * 2000, data[:700]):
        with pytest.raises(UserError, match=r"a\.c3d"):
            c3d.read("a.c3d", wrong)


# body trackers


def test_ntu_bodies_by_id():
    one, two = make.walk(40, 25), make.walk(40, 25, seed=1)
    one[3, 7] = np.nan
    data = make.ntu({"72": one, "99": two}, absent={"99": {0, 1, *range(5, 37)}, "72": {10}})
    found = ntu.read("x/S001C002P003R002A013.skeleton", data)
    assert [len(body.xyz) for body in found] == [40, 3, 3]  # 32 frames away: a new recording
    expected = one.copy()
    expected[10] = np.nan
    np.testing.assert_array_equal(found[0].xyz, expected)
    np.testing.assert_array_equal(found[1].xyz, two[2:5])
    np.testing.assert_allclose(found[2].times, np.arange(37, 40) / 30)
    assert [body.name.rpartition("skeleton")[2] for body in found] == ["", "#2", "#3"]
    about = {"session": "S001", "camera": "C002", "repetition": "002", "action": "013"}
    assert found[0].fields == about
    assert found[0].joints == KINECT_V2.joints
    (alone,) = ntu.read("S001C002P003R002A013.skeleton", make.ntu({"72": one}))
    assert alone.fields["person"] == "P003"
    for wrong in (data[:-60], b"2\n" + data.partition(b"\n")[2], b"", b"3\n-1", b"1\n1e9\n"):
        with pytest.raises(UserError, match="skeleton"):
            ntu.read("x.skeleton", wrong)


def test_azure_kinect_bodies():
    one, two = make.walk(3, 32), make.walk(3, 32, seed=1)
    found = kinect.read_azure_kinect("a.json", make.azure({1: one, 4: two}))
    for body, xyz in zip(found, (one, two), strict=True):
        np.testing.assert_allclose(body.xyz, xyz, atol=1e-12)
        np.testing.assert_allclose(body.times, np.arange(3) * 0.033333 + 1e-4)
    content = json.loads(make.azure({1: one}))
    content["frames"][1]["bodies"][0]["joint_confidence"] = [0, *[2] * 31]
    (body,) = kinect.read_azure_kinect("a.json", json.dumps(content).encode())
    assert np.argwhere(np.isnan(body.xyz).any(2)).tolist() == [[1, 0]]


def test_kinect_v2_in_two_spellings():
    xyz = make.walk(4, 25)
    (listed,) = kinect.read_kinect_v2("a.json", make.kinect_v2_list(xyz))
    np.testing.assert_array_equal(listed.xyz, xyz)
    np.testing.assert_allclose(listed.times, np.arange(4) * 0.033)
    xyz[1, 20] = np.nan
    (named,) = kinect.read_kinect_v2("a.json", make.kinect_v2(xyz))
    np.testing.assert_array_equal(named.xyz, xyz)
    np.testing.assert_allclose(named.times, np.arange(4) / 30, atol=1e-6)
    assert named.joints == listed.joints == KINECT_V2.joints
    assert KINECT_V2.joints[7] == "left_hand" and KINECT_V2.joints[24] == "right_thumb"


# pose estimators


def flat(joints: int, frames: int = 1, seed: int = 0, at: float = 0) -> np.ndarray:
    """x, y, confidence (F, J, 3) in pixels."""
    made = make.walk(frames, joints, seed) * 100 + (at, 0, 0)
    made[..., 2] = 0.8
    return made


def test_openpose_frames_are_joined():
    one, two = flat(25, 6), flat(25, 6, seed=1, at=900)
    one[2, 4, 2] = 0
    people = [[one[f], two[f]] if f % 2 else [two[f], one[f]] for f in range(6)]
    people[3] = [two[3]]
    frames = []
    for f in (0, 1, 2, 3, 5):  # the fourth file is missing
        path = f"p/walk_{f:012d}_keypoints.json"
        assert pose_json.frame_of(path) == ("p/walk", f)
        frames.append((f, path, make.openpose(people[f])))
    found = pose_json.join_openpose("p/walk", frames)
    assert [body.name for body in found] == ["p/walk", "p/walk#2"]
    for body, xyc, lost in zip(found, (two, one), ([4], [3, 4]), strict=True):
        expected = xyc[..., :2].copy()
        expected[xyc[..., 2] == 0] = np.nan
        expected[lost] = np.nan
        np.testing.assert_allclose(body.xyz[..., :2], expected)
        assert body.joints == BODY_25.joints and body.flat
    assert pose_json.frame_of("p/0012.json") == ("p", 12)
    assert pose_json.read_openpose("a_0.json", make.openpose([])) == []
    with pytest.raises(UserError, match="no body"):
        pose_json.join_openpose("a", [(0, "a_0.json", make.openpose([]))])
    for wrong in (b"{}", b'{"people": 1}'):
        with pytest.raises(UserError, match="list of people"):
            pose_json.read_openpose("a_0.json", wrong)


def test_faulty_entries_are_named_with_the_first_place_and_their_number():
    one, other = flat(25, 4), flat(18, 4)
    files = [(f, f"a_{f}", make.openpose([one[f]])) for f in range(4)]
    files[1] = (1, "a_1", make.openpose([one[1], other[1]]))
    message = r"a_1, person 2: 18 keypoints in 2D, and 25 in 2D elsewhere: .* keypoints; divide"
    with pytest.raises(UserError, match=message):
        pose_json.join_openpose("a", files)
    files[2] = (2, "a_2", make.openpose([other[2]]))
    with pytest.raises(UserError, match=r"a_1, person 2: .*the first of 2 entries"):
        pose_json.join_openpose("a", files)
    points = flat(17, 4).reshape(4, -1).tolist()

    def read(*about: dict) -> list[recording.Body]:
        entries = [{"keypoints": points[0], **entry} for entry in about]
        return pose_json.read_keypoints("a.json", json.dumps(entries).encode())

    bare = {"image_id": 3}
    with pytest.raises(UserError, match=r"entry 2: there is no 'image_id' .the first of 2 entries"):
        read(bare, {}, {})
    numbered = [{"image_id": 1, "track_id": n} for n in (7, 8, 7, 7)]
    with pytest.raises(UserError, match=r"entry 3: body 7 occurs twice .*the first of 2 entries"):
        read(*numbered)
    (body, *_) = read(numbered[0], {"image_id": 2}, bare)
    note = "a.json, entry 2: the body has no number (the first of 2 entries); none is used"
    assert note in body.notes


def test_two_frames_far_apart_cost_no_memory():
    frames = [(n, "a", make.openpose([flat(25)[0]])) for n in (0, 10**17)]
    assert [len(body.xyz) for body in pose_json.join_openpose("a", frames)] == [1, 1]


@pytest.mark.parametrize(("count", "skeleton"), [(17, COCO_17), (26, HALPE_26), (136, HALPE_26)])
def test_alphapose(count, skeleton):
    one, two = flat(count, 4), flat(count, 4, seed=1)
    frames = [{3: one[f], 5: two[f]} for f in range(4)]
    found = pose_json.read_keypoints("a.json", make.alphapose(frames))
    kept = min(count, 26)
    for body, xyc in zip(found, (one, two), strict=True):
        np.testing.assert_allclose(body.xyz[:, :kept, :2], xyc[:, :kept, :2])
        assert body.joints == skeleton.joints
    if count == 17:
        np.testing.assert_allclose(found[0].xyz[:, 18, :2], one[:, 11:13, :2].mean(1))


def test_coco_annotations_are_followed_by_position():
    one, two = flat(17, 4), flat(17, 4, seed=1, at=500)
    entries = [
        {"image_id": 10 + f, "keypoints": body[f].ravel().tolist(), "category_id": 1}
        for f in range(4)
        for body in ((one, two) if f % 2 else (two, one))
    ]
    data = json.dumps({"images": [], "annotations": entries}).encode()
    found = pose_json.read_keypoints("a.json", data)
    assert [len(body.xyz) for body in found] == [4, 4]
    np.testing.assert_allclose(found[1].xyz[:, :17, :2], one[..., :2])


def test_mmpose_lifted():
    xyz = make.walk(3, 17)
    (body,) = pose_json.read_keypoints("a.json", make.mmpose(xyz, ["root", "right_hip"]))
    np.testing.assert_array_equal(body.xyz, xyz)
    assert body.joints[:2] == ("hip_center", "right_hip") and not body.flat
    (body,) = pose_json.read_keypoints("a.json", make.mmpose(xyz[..., :2], ["nose"]))
    assert body.joints == COCO_17.joints and body.flat
    unnamed = "the file does not name its keypoints: they are taken for COCO's"
    for names, seen, noted in (([], xyz, True), (["nose"], xyz, False), ([], xyz[..., :2], False)):
        (body,) = pose_json.read_keypoints("a.json", make.mmpose(seen, names))
        assert (unnamed in body.notes) == noted and body.up == ("-y" if body.flat else "")
    with pytest.raises(UserError, match="pelvis"):
        pose_json.read_keypoints("a.json", make.mmpose(xyz, ["pelvis"]))


def test_mediapipe():
    xyz, visible = make.walk(3, 33), np.ones((3, 33))
    visible[1, 5] = 0
    (body,) = pose_json.read_mediapipe("a.json", make.mediapipe(xyz, visible=visible))
    expected = xyz.copy()
    expected[1, 5] = np.nan
    np.testing.assert_array_equal(body.xyz[:, :33], expected)
    np.testing.assert_allclose(body.times, [0, 0.04, 0.08])
    assert body.metres and not body.flat and body.up == "-y"
    (body,) = pose_json.read_mediapipe("a.json", make.mediapipe(xyz, world=False))
    np.testing.assert_array_equal(body.xyz[:, :33, :2], xyz[..., :2])
    assert body.flat and not body.xyz[..., 2].any()


# all


def test_crossing_people_keep_their_tracks():
    """Two people walk towards and past each other; the nearest poses are theirs."""
    steps = np.linspace(0, 4, 40)
    bodies = make.walk(1, 14, seed=3)[0], make.walk(1, 14, seed=4)[0]
    moved = [
        body + np.outer(at, (1, 0, 0))[:, None]
        for body, at in zip(bodies, (steps, 4 - steps), strict=True)
    ]
    rng = np.random.default_rng(0)
    frames = [(f, [moved[who][f] for who in rng.permutation(2)]) for f in range(len(steps))]
    found = tracks.by_position(frames, "a")
    assert [len(track.frames) for track in found] == [40, 40]
    for track in found:
        whole = np.array(track.poses)
        assert any(np.array_equal(whole, person) for person in moved)


def test_a_body_of_which_little_is_seen_goes_on():
    whole = make.walk(5, 14)
    whole[2, 2:] = np.nan  # two joints
    whole[3, :12] = np.nan  # two others
    (track,) = tracks.by_position([(f, [pose]) for f, pose in enumerate(whole)], "a")
    assert track.frames == [0, 1, 2, 3, 4]


def test_the_largest_body_is_near_and_seen_for_long():
    small, large = make.walk(9, 25), np.pad(make.walk(5, 25, 2) * 9, ((2, 2), (0, 0), (0, 0)))
    found = ntu.read("a.skeleton", make.ntu({"1": small, "2": large}, absent={"2": {0, 1, 7, 8}}))
    np.testing.assert_array_equal(tracks.largest(found).xyz, large[2:7])
    short = ntu.read("a.skeleton", make.ntu({"1": small, "2": small[::-1]}, absent={"1": {0, 1}}))
    np.testing.assert_array_equal(tracks.largest(short).xyz, small[::-1])


def test_every_format_is_recognised_by_its_beginning():
    xyz = make.walk(2, 33)
    files = {
        "a.BVH": (make.bvh(), "BVH"),
        "a.c3d": (make.c3d(xyz, [str(n) for n in range(33)]), "C3D"),
        "a.skeleton": (make.ntu({"1": xyz[:, :25]}), "NTU RGB+D"),
        "azure.json": (make.azure({1: xyz[:, :32]}), "Azure Kinect"),
        "k.json": (make.kinect_v2(xyz[:, :25]), "Kinect v2"),
        "l.json": (make.kinect_v2_list(xyz[:, :25]), "Kinect v2"),
        "o.json": (make.openpose([flat(25)[0]]), "OpenPose"),
        "e.json": (make.openpose([]), "OpenPose"),
        "c.json": (make.alphapose([{1: flat(17)[0]}]), "COCO keypoints"),
        "mm.json": (make.mmpose(xyz[:, :17], ["root"]), "COCO keypoints"),
        "mp.json": (make.mediapipe(xyz), "MediaPipe Pose"),
    }
    for path, (data, name) in files.items():
        form = format_of(path, data[:4096])
        assert form is not None and form.name == name
        for body in form.read(path, data) if path != "e.json" else []:  # it holds no body
            assert body.xyz.dtype == np.float64 and body.xyz.shape[1:] == (len(body.joints), 3)
    assert {name for _, name in files.values()} == {form.name for form in FORMATS}
    assert format_of("a.json", b'{"frames": [[[0, 0, 0]]]}') is None


@pytest.mark.parametrize("name", SKELETONS)
def test_known_skeletons_are_whole(name):
    """Every method runs on them: parts, and bones that join all joints to one tree."""
    skeleton = SKELETONS[name]
    for level in ("component", "limb"):
        require_parts(skeleton, level)
        held = sorted(joint for _, joints in skeleton.table(level) for joint in joints)
        assert held == sorted(skeleton.joints)  # each in one part
    reached = {skeleton.root}
    for _ in skeleton.joints:
        reached |= {b for edge in skeleton.edges for a, b in (edge, edge[::-1]) if a in reached}
    assert reached == set(skeleton.joints)
    assert len(skeleton.edges) == skeleton.n_joints - 1
    windows = make.walk(6, skeleton.n_joints).astype(np.float32)[None]
    for found in body_levels(windows, skeleton).values():
        assert np.isfinite(found).all()
    for level in GRAPH_LEVELS:
        assert skeleton_graph(skeleton, level).n_nodes > 4
    for level in ("component", "limb"):
        assert (containing(skeleton, level) >= 0).all()
    for descriptor in ("D13", "D16", "D_PG"):
        assert descriptors.lacking(descriptor, skeleton) == ""
