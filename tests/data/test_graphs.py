"""Graphs against the numeric tables of the public programs."""

import numpy as np
import pytest

from simmc.data.body_levels import body_levels
from simmc.data.graph_levels import GRAPH_LEVELS, containing, skeleton_graph
from simmc.data.skeletons import CASIA_14, KGBD_FILE, KINECT_V1, KINECT_V2, SKELETONS, permutation

BOTH = "8-9 9-10 10-11 4-5 5-6 6-7 1-0 0-16 0-12 16-17 17-18 18-19 12-13 13-14 14-15"
JOINT = {
    KINECT_V1: f"{BOTH} 3-2 2-8 2-4 2-1",
    KINECT_V2: f"{BOTH} 3-2 2-20 20-8 20-4 20-1 11-23 10-24 7-21 6-22",
    CASIA_14: "0-1 1-2 2-3 3-4 1-5 5-6 6-7 1-8 8-9 9-10 1-11 11-12 12-13",
}
COMPONENT = "5-6 5-8 6-7 8-9 5-4 4-2 4-0 2-3 0-1"
LIMB = "2-0 2-1 2-3 2-4"
every_skeleton = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)


def table(text):
    return {tuple(sorted(map(int, pair.split("-")))) for pair in text.split()}


def edges(skeleton, level):
    return set(map(tuple, skeleton_graph(skeleton, level).edges.tolist()))


@pytest.mark.parametrize("skeleton", JOINT, ids=lambda s: s.name)
def test_edges_are_those_of_the_tables(skeleton):
    assert edges(skeleton, "joint") == table(JOINT[skeleton])
    assert edges(skeleton, "component") == table(COMPONENT)
    assert edges(skeleton, "limb") == table(LIMB)


@every_skeleton
def test_sizes(skeleton):
    joints = skeleton.n_joints
    sizes = [skeleton_graph(skeleton, level).n_nodes for level in GRAPH_LEVELS]
    assert sizes == [2 * joints - 1, joints, 10, 5]
    assert [len(edges(skeleton, level)) for level in GRAPH_LEVELS] == [
        *(2 * (joints - 1), joints - 1, 9, 4)
    ]


@every_skeleton
def test_new_nodes_are_numbered_as_in_a_scan_of_the_adjacency_matrix(skeleton):
    joint, hyper = (skeleton_graph(skeleton, level) for level in ("joint", "hyper_joint"))
    left = joint.adjacency() & ~np.eye(skeleton.n_joints, dtype=bool)
    wanted = np.eye(hyper.n_nodes, dtype=bool)
    node = skeleton.n_joints
    for i in range(skeleton.n_joints):
        for j in range(skeleton.n_joints):
            if left[i, j]:
                left[i, j] = left[j, i] = False
                for end in (i, j):
                    wanted[end, node] = wanted[node, end] = True
                assert set(hyper.members[node]) == {i, j}
                node += 1
    assert node == hyper.n_nodes
    assert np.array_equal(hyper.adjacency(), wanted)


@every_skeleton
def test_positions(skeleton):
    frame = np.random.default_rng(0).normal(size=(1, 1, skeleton.n_joints, 3))
    levels = body_levels(frame, skeleton)
    for level, wanted in levels.items():
        means = skeleton_graph(skeleton, level).means(skeleton.n_joints)
        np.testing.assert_allclose(means @ frame[0, 0], wanted[0, 0])
    hyper = skeleton_graph(skeleton, "hyper_joint").means(skeleton.n_joints) @ frame[0, 0]
    np.testing.assert_array_equal(hyper[: skeleton.n_joints], frame[0, 0])
    bones = skeleton_graph(skeleton, "joint").edges
    np.testing.assert_allclose(
        hyper[skeleton.n_joints :], (frame[0, 0][bones[:, 0]] + frame[0, 0][bones[:, 1]]) / 2
    )


@every_skeleton
@pytest.mark.parametrize("level", ["component", "limb"])
def test_every_joint_is_in_one_part(skeleton, level):
    members = skeleton_graph(skeleton, level).members
    assert sorted(np.concatenate(members)) == list(range(skeleton.n_joints))
    for joint, part in enumerate(containing(skeleton, level)):
        assert joint in members[part]


def test_the_order_of_kgbd_s_files_is_the_same_graph_under_other_numbers():
    place = permutation(KGBD_FILE, KINECT_V1)  # file index of each Kinect joint
    for level in GRAPH_LEVELS:
        mapped, own = (skeleton_graph(s, level).adjacency() for s in (KINECT_V1, KGBD_FILE))
        if level == "joint":
            assert np.array_equal(own[np.ix_(place, place)], mapped)
        assert own.sum() == mapped.sum()
