"""Skeletons of custom sets: stored in the manifest, checked, and their parts found by name."""

import json
from pathlib import Path

import numpy as np
import pytest

from simmc.data import store
from simmc.data.body_levels import body_levels
from simmc.data.experiment.load import Request, load_experiment
from simmc.data.graph_levels import GRAPH_LEVELS, containing, skeleton_graph
from simmc.data.skeletons import (
    CASIA_14,
    KGBD_FILE,
    KINECT_V1,
    KINECT_V2,
    SKELETONS,
    Skeleton,
    with_parts,
)
from simmc.errors import UserError
from tests.data.test_custom import TRIPOD, own, stored


def roundtrip(root: Path, skeleton: Skeleton) -> Skeleton:
    store.write_dataset(root, "mine", own(skeleton.n_joints), skeleton)
    return store.find_spec(root, "mine", 8).skeleton


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=str)
def test_skeletons_of_the_table_come_back(tmp_path, skeleton):
    assert roundtrip(tmp_path, skeleton) == skeleton


def test_joints_count_and_not_the_name(tmp_path):
    back = Skeleton("Kinect v2", KINECT_V2.joints[::-1], "hip_center", KINECT_V2.edges)
    found = roundtrip(tmp_path, back)
    assert found.joints == KINECT_V2.joints[::-1]
    assert found.index("head") == 21
    more = Skeleton("Kinect v2", (*KINECT_V2.joints, *(f"extra_{i}" for i in range(7))), "head")
    assert roundtrip(tmp_path, more).joints == more.joints
    assert stored(tmp_path).shape[2] == 32


def test_joints_in_the_order_of_kgbd_are_read_by_name(tmp_path):
    store.write_dataset(tmp_path, "mine", own(20), KGBD_FILE)
    for order in ("raw", "mapped"):
        how = {"root": "none", "part_batches": "keep", "shuffle": False}
        request = Request(tmp_path, "mine", 8, "probe", kgbd_order=order, **how)
        found = load_experiment(request, rng=np.random.default_rng(0))
        assert found.skeleton.joints == KGBD_FILE.joints
        assert (found.train.windows == own(20)["train"][0].astype(np.float32)).all()


def test_a_manifest_with_the_name_alone_is_read(tmp_path):
    path = store.write_dataset(tmp_path, "mine", own(25), KINECT_V2) / "manifest.json"
    content = json.loads(path.read_text())
    without_bones = {key: content["skeleton"][key] for key in ("name", "joints", "root")}
    for stored_skeleton in ({"name": "Kinect v2"}, without_bones):
        path.write_text(json.dumps(content | {"skeleton": stored_skeleton}))
        assert store.find_spec(tmp_path, "mine", 8).skeleton == KINECT_V2


ONE = {"name": "x", "joints": ["a"], "root": "a"}


NO_SKELETONS = ({"name": "tripod"}, {}, [], ONE | {"joints": 3}, ONE | {"bones": [1]})


@pytest.mark.parametrize("stored_skeleton", [*NO_SKELETONS, ONE | {"limbs": [["l"]]}], ids=str)
def test_a_manifest_without_a_skeleton_is_named(tmp_path, stored_skeleton):
    path = store.write_dataset(tmp_path, "mine", own(), TRIPOD) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"skeleton": stored_skeleton}))
    with pytest.raises(UserError, match=r"manifest\.json"):
        store.find_spec(tmp_path, "mine", 8)


def test_parts_are_stored_and_read(tmp_path):
    components = (("upper", ("top",)), ("lower", ("left_leg", "right_leg")))
    limbs = (("all", TRIPOD.joints),)
    skeleton = Skeleton("tripod", TRIPOD.joints, "top", (), components, limbs)
    found = roundtrip(tmp_path, skeleton)
    assert found == skeleton
    levels = body_levels(own()["train"][0].astype(np.float32), found)
    assert [points.shape[2] for points in levels.values()] == [3, 2, 1]
    np.testing.assert_allclose(levels["limb"][:, :, 0], own()["train"][0].mean(2), rtol=1e-5)


@pytest.mark.parametrize("known", [KINECT_V1, KINECT_V2, CASIA_14], ids=str)
def test_parts_follow_from_the_usual_names(known):
    plain = Skeleton("mine", known.joints, known.root, known.edges)
    found = with_parts(plain)
    for level in ("component", "limb"):
        table, derived = dict(known.table(level)), dict(found.table(level))  # type: ignore[arg-type]
        if known is not CASIA_14:  # whose knees and elbows belong to the lower leg and arm
            assert {part: set(names) for part, names in derived.items()} == {
                part: set(names) for part, names in table.items()
            }
        assert list(derived) == list(table)
        containing(found, level)  # type: ignore[arg-type]
    for graph in GRAPH_LEVELS:
        skeleton_graph(found, graph)


@pytest.mark.parametrize(
    "parts",  # joints, root, bones, components, limbs
    [
        *((("a", "b", "a"), "a"), (("a", "b", "c"), "d")),
        *((("a", "b", "c"), "a", (bone,)) for bone in (("a", "d"), ("a", "a"))),
        *(
            (("a", "b", "c"), "a", (), (("p", ("d",)),)),
            (("a", "b", "c"), "a", (), (), (("p", ()),)),
        ),
    ],
    ids=str,
)
def test_skeletons_that_contradict_themselves_are_refused(tmp_path, parts):
    with pytest.raises(UserError):
        store.write_dataset(tmp_path, "mine", own(), Skeleton("x", *parts))
    assert not list(tmp_path.iterdir())


def test_levels_without_parts_give_no_empty_inputs():
    with pytest.raises(UserError, match="left_upper_leg"):
        body_levels(own()["train"][0], TRIPOD, ("component",))
