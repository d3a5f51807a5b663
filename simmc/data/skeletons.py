"""Skeletons by joint name: the joints of each sensor in the order of its files.

Parts, edges and descriptor joints are looked up by name, so that KGBD's file order is no special
case. Kinect v1 and v2 share the names of joints 0 to 19, as the papers number both alike (v2:
hip_center = spine base, spine = spine mid, shoulder_center = neck).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from simmc.errors import UserError

Part = tuple[str, tuple[str, ...]]
Edge = tuple[str, str]
Level = Literal["component", "limb"]
# lines across the direction of walking, left end first
ACROSS = (("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"))
LEVELS: tuple[Level, ...] = ("component", "limb")


@dataclass(frozen=True)
class Skeleton:
    """The joints of one sensor in file order, its root, bones and body parts, all by joint name."""

    name: str
    joints: tuple[str, ...]
    root: str
    edges: tuple[Edge, ...] = ()
    # ten parts, coarser than joints (docs/data.md 3.2, "component")
    components: tuple[Part, ...] = ()
    limbs: tuple[Part, ...] = ()  # five parts (docs/data.md 3.2, "limb")

    @property
    def n_joints(self) -> int:
        """Number of joints J."""
        return len(self.joints)

    def index(self, name: str) -> int:
        """Index of a joint in file order; UserError with the list of names if there is none."""
        try:
            return self.joints.index(name)
        except ValueError:
            known = ", ".join(self.joints)
            raise UserError(f"{self.name} has no joint {name!r}; choose one of {known}") from None

    def indices(self, names: tuple[str, ...] | list[str]) -> np.ndarray:
        """Indices of several joints, (n,) int64, in the order of `names`."""
        return np.array([self.index(name) for name in names], dtype=np.int64)

    def table(self, level: Level) -> tuple[Part, ...]:
        """The parts of a level; empty if the skeleton names none."""
        return self.components if level == "component" else self.limbs

    def parts(self, level: Level) -> tuple[np.ndarray, ...]:
        """Joint indices of every part of a level, in the order of docs/data.md 3.2."""
        require_parts(self, level)
        return tuple(self.indices(names) for _, names in self.table(level))

    def same_body(self, other: Skeleton) -> bool:
        """Whether joints, root, bones and parts are the same; names may differ."""
        return replace(other, name=self.name) == self

    def edge_indices(self) -> np.ndarray:
        """Bones as pairs of joint indices, (E, 2) int64."""
        return np.array([(self.index(a), self.index(b)) for a, b in self.edges], dtype=np.int64)


def _sides(*names: str) -> tuple[str, ...]:
    return tuple(f"{side}_{name}" for side in ("left", "right") for name in names)


_V1_JOINTS = (
    *("hip_center", "spine", "shoulder_center", "head"),
    *_sides("shoulder", "elbow", "wrist", "hand"),
    *_sides("hip", "knee", "ankle", "foot"),
)
_V2_JOINTS = (
    *_V1_JOINTS,
    *("spine_shoulder", "left_hand_tip", "left_thumb", "right_hand_tip", "right_thumb"),
)
# KGBD files start at the head and go down in right-left pairs (docs/data.md 2.4).
_KGBD_JOINTS = (
    *("head", "shoulder_center"),
    *("right_shoulder", "left_shoulder", "right_elbow", "left_elbow"),
    *("right_wrist", "left_wrist", "right_hand", "left_hand", "spine", "hip_center"),
    *("right_hip", "left_hip", "right_knee", "left_knee"),
    *("right_ankle", "left_ankle", "right_foot", "left_foot"),
)
# OpenPose's 18 points without eyes and ears (docs/data.md 2.5).
_CASIA_JOINTS = (
    *("nose", "neck"),
    *("right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
)

# The parts of both Kinects: each sensor has some of these joints. They do not fit CASIA-B, where
# knees and elbows belong to the LOWER leg and arm: use `Skeleton.parts`.
COMPONENTS: tuple[Part, ...] = (
    ("left_upper_leg", ("left_hip", "left_knee")),
    ("left_lower_leg", ("left_ankle", "left_foot")),
    ("right_upper_leg", ("right_hip", "right_knee")),
    ("right_lower_leg", ("right_ankle", "right_foot")),
    ("torso", ("hip_center", "spine")),
    ("head", ("shoulder_center", "head", "spine_shoulder")),
    ("left_upper_arm", ("left_shoulder", "left_elbow")),
    ("left_lower_arm", ("left_wrist", "left_hand", "left_hand_tip", "left_thumb")),
    ("right_upper_arm", ("right_shoulder", "right_elbow")),
    ("right_lower_arm", ("right_wrist", "right_hand", "right_hand_tip", "right_thumb")),
)
LIMBS: tuple[Part, ...] = (
    ("left_leg", ("left_hip", "left_knee", "left_ankle", "left_foot")),
    ("right_leg", ("right_hip", "right_knee", "right_ankle", "right_foot")),
    ("torso", ("hip_center", "spine", "shoulder_center", "head", "spine_shoulder")),
    ("left_arm", ("left_shoulder", "left_elbow", *COMPONENTS[7][1])),
    ("right_arm", ("right_shoulder", "right_elbow", *COMPONENTS[9][1])),
)
_CASIA_COMPONENTS: tuple[Part, ...] = (
    ("left_upper_leg", ("left_hip",)),
    ("left_lower_leg", ("left_knee", "left_ankle")),
    ("right_upper_leg", ("right_hip",)),
    ("right_lower_leg", ("right_knee", "right_ankle")),
    ("torso", ("neck",)),
    ("head", ("nose",)),
    ("left_upper_arm", ("left_shoulder",)),
    ("left_lower_arm", ("left_elbow", "left_wrist")),
    ("right_upper_arm", ("right_shoulder",)),
    ("right_lower_arm", ("right_elbow", "right_wrist")),
)
_CASIA_LIMBS: tuple[Part, ...] = (
    ("left_leg", ("left_hip", "left_knee", "left_ankle")),
    ("right_leg", ("right_hip", "right_knee", "right_ankle")),
    ("torso", ("nose", "neck")),
    ("left_arm", ("left_shoulder", "left_elbow", "left_wrist")),
    ("right_arm", ("right_shoulder", "right_elbow", "right_wrist")),
)


def _chain(*names: str) -> tuple[Edge, ...]:
    return tuple(pairwise(names))


def _both(start: str, *names: str) -> tuple[Edge, ...]:
    return tuple(
        edge for s in ("right", "left") for edge in _chain(start, *(f"{s}_{n}" for n in names))
    )


_LEGS = _both("hip_center", "hip", "knee", "ankle", "foot")
_ARM = ("shoulder", "elbow", "wrist", "hand")
_V1_EDGES = (
    *(("head", "shoulder_center"), *_both("shoulder_center", *_ARM)),
    *(("shoulder_center", "spine"), ("spine", "hip_center"), *_LEGS),
)
_V2_EDGES = (
    *(("head", "shoulder_center"), ("shoulder_center", "spine_shoulder")),
    *_both("spine_shoulder", *_ARM),
    *(("spine_shoulder", "spine"), ("spine", "hip_center"), *_LEGS),
    *(("right_hand", "right_hand_tip"), ("right_wrist", "right_thumb")),
    *(("left_hand", "left_hand_tip"), ("left_wrist", "left_thumb")),
)
_CASIA_EDGES = (
    *(("nose", "neck"), *_both("neck", "shoulder", "elbow", "wrist")),
    *_both("neck", "hip", "knee", "ankle"),
)


def _present(parts: tuple[Part, ...], joints: tuple[str, ...]) -> tuple[Part, ...]:
    return tuple((part, tuple(n for n in names if n in joints)) for part, names in parts)


def _kinect(name: str, joints: tuple[str, ...], edges: tuple[Edge, ...]) -> Skeleton:
    parts, limbs = _present(COMPONENTS, joints), _present(LIMBS, joints)
    return Skeleton(name, joints, "hip_center", edges, parts, limbs)


KINECT_V1 = _kinect("Kinect v1", _V1_JOINTS, _V1_EDGES)
KINECT_V2 = _kinect("Kinect v2", _V2_JOINTS, _V2_EDGES)
KGBD_FILE = _kinect("KGBD file order", _KGBD_JOINTS, _V1_EDGES)
CASIA_14 = Skeleton(
    "CASIA-B 14", _CASIA_JOINTS, "nose", _CASIA_EDGES, _CASIA_COMPONENTS, _CASIA_LIMBS
)


def permutation(source: Skeleton, target: Skeleton, mirrored: bool = False) -> np.ndarray:
    """Source indices, (J,) int64, of the target's joints: ``frames[..., p, :]`` reorders frames.

    With `mirrored` the source's right side fills the target's left slots: KGBD as Hi-MPC and TranSG
    remap it (docs/data.md 2.4).
    """
    swap = {"left": "right", "right": "left"}

    def origin(name: str) -> str:
        side, _, rest = name.partition("_")
        return f"{swap[side]}_{rest}" if mirrored and side in swap else name

    return source.indices([origin(name) for name in target.joints])


# names of these parts' joints in other sensors and body models
_FACE = ("eye_inner", "eye", "eye_outer", "ear", "mouth")
_MORE = {
    "torso": (
        *("hip", "mid_hip", "pelvis", "spine_base", "spine_mid", "spine_navel", "spine_chest"),
        *("chest", "left_clavicle", "right_clavicle"),
    ),
    "head": ("neck", "nose", *_sides(*_FACE)),
} | {
    f"{side}_{part}": tuple(f"{side}_{name}" for name in names)
    for side in ("left", "right")
    for part, names in (
        ("lower_leg", ("heel", "big_toe", "small_toe", "foot_index")),
        ("lower_arm", ("pinky", "index")),
    )
}
_TRUNK = (*_MORE["torso"], *_MORE["head"])
# every part with all the joint names that belong to it
KNOWN: dict[Level, tuple[Part, ...]] = {
    "component": tuple((part, (*names, *_MORE.get(part, ()))) for part, names in COMPONENTS),
    "limb": tuple(
        (part, names + (_TRUNK if part == "torso" else _MORE[part.replace("_", "_lower_")]))
        for part, names in LIMBS
    ),
}


def with_parts(skeleton: Skeleton) -> Skeleton:
    """The skeleton; a level without parts gets the usual ones, if each of them has a joint."""
    components = skeleton.components or _by_name(skeleton, "component")
    limbs = skeleton.limbs or _by_name(skeleton, "limb")
    return replace(skeleton, components=components, limbs=limbs)


def require_parts(skeleton: Skeleton, level: Level) -> None:
    """UserError if a level has no parts, or one of them has no joint."""
    table = skeleton.table(level)
    if table and all(names for _, names in table):
        return
    if table:
        lacking = [part for part, names in table if not names]
    else:
        found = dict(_found(skeleton, level))
        lacking = [f"{p} ({' or '.join(names)})" for p, names in KNOWN[level] if not found[p]]
    raise UserError(
        f"the skeleton {skeleton.name!r} has no {level}s: no joint for {', '.join(lacking)}. Give "
        f"joints these names, or name the parts with Skeleton(..., {level}s=...), and write the "
        f"set again with write_dataset; or choose a method that needs no {level}s (docs/data.md 7)."
    )


def _found(skeleton: Skeleton, level: Level) -> tuple[Part, ...]:
    """The usual parts with the joints that the skeleton has of each."""
    found = {part: [n for n in names if n in skeleton.joints] for part, names in KNOWN[level]}
    if level == "component" and not found["torso"] and len(found["head"]) > 1:
        # without spine and hip centre the neck is the torso, as in CASIA-B's parts
        found["torso"] = [n for n in found["head"] if n in ("neck", "shoulder_center")]
        found["head"] = [n for n in found["head"] if n not in found["torso"]]
    return tuple((part, tuple(names)) for part, names in found.items())


def _by_name(skeleton: Skeleton, level: Level) -> tuple[Part, ...]:
    found = _found(skeleton, level)
    return found if all(names for _, names in found) else ()


# Skeletons of body trackers and pose estimators; parts follow from the names. Estimators know no
# joint of the trunk: MIDDLES are computed on import, so that every method has its parts.
MIDDLES = {"neck": ("left_shoulder", "right_shoulder"), "mid_hip": ("left_hip", "right_hip")}
_COCO_FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
_FEET = ("big_toe", "small_toe", "heel")
_OPENPOSE_TOP = (
    *("nose", "neck", "right_shoulder", "right_elbow", "right_wrist"),
    *("left_shoulder", "left_elbow", "left_wrist"),
)
_OPENPOSE_FACE = ("right_eye", "left_eye", "right_ear", "left_ear")
_LEG = ("hip", "knee", "ankle")
_RIGHT_LEG, _LEFT_LEG = (tuple(f"{side}_{n}" for n in _LEG) for side in ("right", "left"))
_AZURE_ARM = ("clavicle", "shoulder", "elbow", "wrist", "hand", "hand_tip", "thumb")


def _pairs(*names: str) -> tuple[str, ...]:
    return tuple(f"{side}_{name}" for name in names for side in ("left", "right"))


def _estimated(name: str, joints: tuple[str, ...], *more: Edge) -> Skeleton:
    """A skeleton of a pose estimator: joints of the file, then the missing ones of MIDDLES."""
    joints += tuple(middle for middle in MIDDLES if middle not in joints)
    edges = (
        *(("nose", "neck"), *_both("neck", "shoulder", "elbow", "wrist"), ("neck", "mid_hip")),
        *(*_both("mid_hip", *_LEG), *_both("nose", "eye", "ear"), *more),
    )
    return with_parts(Skeleton(name, joints, "mid_hip", edges))


_FEET_EDGES = tuple(
    (f"{side}_{a}", f"{side}_{b}")
    for side in ("right", "left")
    for a, b in (("ankle", "heel"), ("ankle", "big_toe"), ("big_toe", "small_toe"))
)
_COCO = (*_COCO_FACE, *_pairs("shoulder", "elbow", "wrist", *_LEG))
COCO_17 = _estimated("COCO 17", _COCO)
COCO_FEET = _estimated("COCO 17 and feet", (*_COCO, *_sides(*_FEET)), *_FEET_EDGES)
HALPE_26 = _estimated(
    "Halpe 26",
    (*_COCO, "head", "neck", "mid_hip", *_pairs(*_FEET)),
    *(("neck", "head"), *_FEET_EDGES),
)
OPENPOSE_18 = _estimated(
    "OpenPose COCO 18", (*_OPENPOSE_TOP, *_RIGHT_LEG, *_LEFT_LEG, *_OPENPOSE_FACE)
)
BODY_25 = _estimated(
    "OpenPose BODY_25",
    (
        *(*_OPENPOSE_TOP, "mid_hip", *_RIGHT_LEG, *_LEFT_LEG, *_OPENPOSE_FACE),
        *_sides(*_FEET),
    ),
    *_FEET_EDGES,
)
HUMAN_17 = with_parts(
    Skeleton(
        "Human3.6M 17",  # what 2D poses are lifted to
        (
            *("hip_center", *_RIGHT_LEG, *_LEFT_LEG, "spine", "chest", "neck", "head"),
            *_sides("shoulder", "elbow", "wrist"),
        ),
        "hip_center",
        (
            *_chain("hip_center", "spine", "chest", "neck", "head"),
            *(*_both("chest", "shoulder", "elbow", "wrist"), *_both("hip_center", *_LEG)),
        ),
    )
)
MEDIAPIPE_33 = _estimated(
    "MediaPipe Pose 33",
    (
        *("nose", *_sides("eye_inner", "eye", "eye_outer"), *_pairs("ear", "mouth")),
        *_pairs("shoulder", "elbow", "wrist", "pinky", "index", "thumb"),
        *_pairs(*_LEG, "heel", "foot_index"),
    ),
    *_both("nose", "eye_inner"),
    *_both("nose", "eye_outer"),
    *_both("nose", "mouth"),
    *(
        (f"{side}_{a}", f"{side}_{b}")
        for side in ("right", "left")
        for a, b in (
            *(("wrist", "pinky"), ("wrist", "index"), ("wrist", "thumb")),
            *(("ankle", "heel"), ("heel", "foot_index")),
        )
    ),
)
AZURE_KINECT = with_parts(
    Skeleton(
        "Azure Kinect",
        (
            *("pelvis", "spine_navel", "spine_chest", "neck", *_sides(*_AZURE_ARM)),
            *_sides(*_LEG, "foot"),
            *("head", "nose", "left_eye", "left_ear", "right_eye", "right_ear"),
        ),
        "pelvis",
        (
            *_chain("pelvis", "spine_navel", "spine_chest", "neck", "head", "nose"),
            *(*_both("nose", "eye", "ear"), *_both("spine_chest", *_AZURE_ARM[:-1])),
            *(("right_wrist", "right_thumb"), ("left_wrist", "left_thumb")),
            *_both("pelvis", *_LEG, "foot"),
        ),
    )
)
SKELETONS: dict[str, Skeleton] = {
    skeleton.name: skeleton
    for skeleton in (
        *(KINECT_V1, KINECT_V2, KGBD_FILE, CASIA_14, COCO_17, COCO_FEET, HALPE_26, OPENPOSE_18),
        *(BODY_25, HUMAN_17, MEDIAPIPE_33, AZURE_KINECT),
    )
}
