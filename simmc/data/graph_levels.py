"""Skeleton graphs at four levels of detail, by joint name (MG-SCR and SM-SGE, their section 3.1).

The position of a node is the mean of some joints: a joint, the middle of a bone, a component or a
limb.
Shape letters: n nodes, E edges, J joints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from simmc.data.skeletons import Skeleton, bones_of
from simmc.errors import UserError

GraphLevel = Literal["hyper_joint", "joint", "component", "limb"]
# from fine to coarse; the papers say hyper-joint, joint, part and body
GRAPH_LEVELS: tuple[GraphLevel, ...] = ("hyper_joint", "joint", "component", "limb")

_LINKS = {
    "component": bones_of("head torso | head *upper_arm *lower_arm | torso *upper_leg *lower_leg"),
    "limb": bones_of("torso *leg; torso *arm"),
}


@dataclass(frozen=True, eq=False)
class Graph:
    """One level of one skeleton."""

    level: GraphLevel
    members: tuple[np.ndarray, ...]  # joint indices of every node
    edges: np.ndarray  # (E, 2) int64, undirected, smaller node first

    @property
    def n_nodes(self) -> int:
        """Number of nodes n."""
        return len(self.members)

    def means(self, n_joints: int) -> np.ndarray:
        """(n, J) float64: `means @ joints` are the positions of the nodes."""
        found = np.zeros((self.n_nodes, n_joints))
        for node, joints in enumerate(self.members):
            found[node, joints] = 1 / len(joints)
        return found

    def adjacency(self) -> np.ndarray:
        """(n, n) bool, symmetric; every node is its own neighbour."""
        found = np.eye(self.n_nodes, dtype=bool)
        found[self.edges[:, 0], self.edges[:, 1]] = True
        found[self.edges[:, 1], self.edges[:, 0]] = True
        return found


def skeleton_graph(skeleton: Skeleton, level: GraphLevel) -> Graph:
    """The graph of one level.

    At the hyper-joint level joints keep their numbers, and a new node at the middle of each bone
    is linked to its two ends. New nodes are numbered from J in the order of the sorted bones.
    """
    if level == "component" or level == "limb":
        members = skeleton.parts(level)
        names = [name for name, _ in skeleton.table(level)]
        pairs = _LINKS[level]
        if lacking := sorted({name for pair in pairs for name in pair} - set(names)):
            raise UserError(
                f"the skeleton {skeleton.name!r} has no {level} {', '.join(lacking)}, which the "
                "graphs of MG-SCR and SM-SGE link; name its parts so (docs/data.md 3.2)"
            )
        links = [(names.index(a), names.index(b)) for a, b in pairs]
        return Graph(level, members, _ordered(np.array(links)))
    if not skeleton.edges:
        raise UserError(
            f"the skeleton {skeleton.name!r} has no bones, which the graphs of MG-SCR and SM-SGE "
            "need; name them with Skeleton(..., edges=...) and write the set again"
        )
    joints = tuple(np.array([j]) for j in range(skeleton.n_joints))
    bones = _ordered(skeleton.edge_indices())
    if level == "joint":
        return Graph(level, joints, bones)
    middles = np.arange(skeleton.n_joints, skeleton.n_joints + len(bones))
    halves = np.concatenate([np.stack([bones[:, end], middles], axis=1) for end in (0, 1)])
    return Graph(level, (*joints, *bones), _ordered(halves))


def containing(skeleton: Skeleton, level: Literal["component", "limb"]) -> np.ndarray:
    """(J,) int64: the part of each joint; UserError unless every joint is in exactly one."""
    parts = skeleton.parts(level)
    counts = np.bincount(np.concatenate(parts), minlength=skeleton.n_joints)
    if (counts != 1).any():
        joint, count = skeleton.joints[int((counts != 1).argmax())], counts[counts != 1][0]
        raise UserError(
            f"the skeleton {skeleton.name!r} has the joint {joint} in {count} {level}s, and MG-SCR "
            f"needs every joint in one; name them with Skeleton(..., {level}s=...) and write the "
            "set again"
        )
    part_of = np.repeat(np.arange(len(parts)), [len(joints) for joints in parts])
    return part_of[np.argsort(np.concatenate(parts))]


def _ordered(edges: np.ndarray) -> np.ndarray:
    """Edges with the smaller node first, sorted."""
    edges = np.sort(edges, axis=1)
    return edges[np.lexsort((edges[:, 1], edges[:, 0]))]
