"""Skeletons by joint name: the joints of each sensor in the order of its files.

Parts, edges and descriptor joints are looked up by name, so that KGBD's file order is no special
case. Kinect v1 and v2 share the names of joints 0 to 19, as the papers number both alike (v2:
hip_center = spine base, spine = spine mid, shoulder_center = neck).
"""

from __future__ import annotations

from collections.abc import Iterator
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
        return self.indices([joint for edge in self.edges for joint in edge]).reshape(-1, 2)


def _groups(text: str, sides: tuple[str, str] = ("left", "right")) -> Iterator[str]:
    """The groups of a text, which "|" divides; one with "*" twice, with each side in its place.

    "head | *hand *thumb" gives "head", "left_hand left_thumb" and "right_hand right_thumb".
    """
    for group in text.split("|"):
        yield from (group.replace("*", f"{side}_") for side in sides) if "*" in group else (group,)


def _joints(text: str) -> tuple[str, ...]:
    """The names in groups, left before right."""
    return tuple(" ".join(_groups(text)).split())


def bones_of(text: str) -> tuple[Edge, ...]:
    """Bones as pairs of names: the chain "a b c" gives (a, b) and (b, c).

    "|" and ";" end a chain. "neck head | neck *shoulder *elbow" has the right arm, then the left.
    """
    chains = ";".join(_groups(text, ("right", "left"))).split(";")
    return tuple(bone for chain in chains for bone in pairwise(chain.split()))


def _parts(text: str) -> tuple[Part, ...]:
    """Parts from "name: joint joint; name: joint" in groups, left before right."""
    parts = (part.split(":") for part in ";".join(_groups(text)).split(";"))
    return tuple((name.strip(), tuple(joints.split())) for name, joints in parts)


# Every part with the names of its joints in all sensors. They do not fit CASIA-B, where knees and
# elbows belong to the LOWER leg and arm: use `Skeleton.parts`.
_FOOT = "*ankle *foot *heel *big_toe *small_toe *foot_index"
_HAND = "*wrist *hand *hand_tip *thumb *pinky *index"
_TRUNK = (
    "hip mid_hip pelvis spine_base spine_mid spine_navel spine_chest chest left_clavicle "
    "right_clavicle"
)
_FACE = " ".join(_joints("neck nose | *eye_inner *eye *eye_outer *ear *mouth"))
KNOWN: dict[Level, tuple[Part, ...]] = {
    "component": _parts(
        f"*upper_leg: *hip *knee; *lower_leg: {_FOOT} |"
        f"torso: hip_center spine {_TRUNK} | head: shoulder_center head spine_shoulder {_FACE} |"
        f"*upper_arm: *shoulder *elbow; *lower_arm: {_HAND}"
    ),
    "limb": _parts(
        f"*leg: *hip *knee {_FOOT} |"
        f"torso: hip_center spine shoulder_center head spine_shoulder {_TRUNK} {_FACE} |"
        f"*arm: *shoulder *elbow {_HAND}"
    ),
}


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


def _skeleton(name: str, root: str, joints: str, bones: str) -> Skeleton:
    """A skeleton whose parts follow from the names of its joints."""
    return with_parts(Skeleton(name, _joints(joints), root, bones_of(bones)))


_LEG, _ARM = "*hip *knee *ankle", "*shoulder *elbow *wrist"
_KINECT = f"hip_center spine shoulder_center head | {_ARM} *hand | {_LEG} *foot"
_KINECT_BONES = (
    f"head shoulder_center | shoulder_center {_ARM} *hand |"
    f"shoulder_center spine hip_center | hip_center {_LEG} *foot"
)
KINECT_V1 = _skeleton("Kinect v1", "hip_center", _KINECT, _KINECT_BONES)
KINECT_V2 = _skeleton(
    "Kinect v2",
    "hip_center",
    f"{_KINECT} | spine_shoulder | *hand_tip *thumb",
    f"head shoulder_center spine_shoulder | spine_shoulder {_ARM} *hand |"
    f"spine_shoulder spine hip_center | hip_center {_LEG} *foot | *hand *hand_tip; *wrist *thumb",
)
KGBD_FILE = _skeleton(
    "KGBD file order",  # from the head down in right-left pairs (docs/data.md 2.4)
    "hip_center",
    "head shoulder_center right_shoulder left_shoulder right_elbow left_elbow "
    "right_wrist left_wrist right_hand left_hand spine hip_center "
    "right_hip left_hip right_knee left_knee right_ankle left_ankle right_foot left_foot",
    _KINECT_BONES,
)
_ARMS, _LEGS = (
    f"{text.replace('*', 'right_')} {text.replace('*', 'left_')}" for text in (_ARM, _LEG)
)
CASIA_14 = Skeleton(
    "CASIA-B 14",  # OpenPose's 18 points without eyes and ears (docs/data.md 2.5)
    _joints(f"nose neck {_ARMS} {_LEGS}"),
    "nose",
    bones_of(f"nose neck | neck {_ARM} | neck {_LEG}"),
    _parts(
        "*upper_leg: *hip; *lower_leg: *knee *ankle | torso: neck | head: nose |"
        "*upper_arm: *shoulder; *lower_arm: *elbow *wrist"
    ),
    _parts(f"*leg: {_LEG} | torso: nose neck | *arm: {_ARM}"),
)

# Skeletons of body trackers and pose estimators. Estimators know no joint of the trunk: MIDDLES are
# computed on import, so that every method has its parts.
MIDDLES = {"neck": ("left_shoulder", "right_shoulder"), "mid_hip": ("left_hip", "right_hip")}


def _estimated(name: str, joints: str, bones: str = "") -> Skeleton:
    """A skeleton of a pose estimator: joints of the file, then the missing ones of MIDDLES."""
    lacking = [middle for middle in MIDDLES if middle not in _joints(joints)]
    trunk = f"nose neck | neck {_ARM} | neck mid_hip | mid_hip {_LEG} | nose *eye *ear"
    return _skeleton(name, "mid_hip", " | ".join([joints, *lacking]), f"{trunk} | {bones}")


_FEET = "*ankle *heel; *ankle *big_toe *small_toe"
_ARM_PAIRS, _LEG_PAIRS = "*shoulder | *elbow | *wrist", "*hip | *knee | *ankle"
_COCO = f"nose | *eye | *ear | {_ARM_PAIRS} | {_LEG_PAIRS}"
COCO_17 = _estimated("COCO 17", _COCO)
COCO_FEET = _estimated("COCO 17 and feet", f"{_COCO} | *big_toe *small_toe *heel", _FEET)
HALPE_26 = _estimated(
    "Halpe 26",
    f"{_COCO} | head neck mid_hip | *big_toe | *small_toe | *heel",
    f"neck head | {_FEET}",
)
_FACE_18 = "right_eye left_eye right_ear left_ear"
OPENPOSE_18 = _estimated("OpenPose COCO 18", f"nose neck {_ARMS} {_LEGS} {_FACE_18}")
BODY_25 = _estimated(
    "OpenPose BODY_25",
    f"nose neck {_ARMS} mid_hip {_LEGS} {_FACE_18} | *big_toe *small_toe *heel",
    _FEET,
)
MEDIAPIPE_33 = _estimated(
    "MediaPipe Pose 33",
    f"nose | *eye_inner *eye *eye_outer | *ear | *mouth | {_ARM_PAIRS} | *pinky | *index | *thumb |"
    f"{_LEG_PAIRS} | *heel | *foot_index",
    "nose *eye_inner | nose *eye_outer | nose *mouth |"
    "*wrist *pinky; *wrist *index; *wrist *thumb; *ankle *heel *foot_index",
)
HUMAN_17 = _skeleton(
    "Human3.6M 17",  # what 2D poses are lifted to
    "hip_center",
    f"hip_center {_LEGS} spine chest neck head | {_ARM}",
    f"hip_center spine chest neck head | chest {_ARM} | hip_center {_LEG}",
)
AZURE_KINECT = _skeleton(
    "Azure Kinect",
    "pelvis",
    f"pelvis spine_navel spine_chest neck | *clavicle {_ARM} *hand *hand_tip *thumb |"
    f"{_LEG} *foot | head nose left_eye left_ear right_eye right_ear",
    "pelvis spine_navel spine_chest neck head nose | nose *eye *ear |"
    f"spine_chest *clavicle {_ARM} *hand *hand_tip | *wrist *thumb | pelvis {_LEG} *foot",
)
SKELETONS = {
    skeleton.name: skeleton
    for skeleton in (
        *(KINECT_V1, KINECT_V2, KGBD_FILE, CASIA_14, COCO_17, COCO_FEET, HALPE_26, OPENPOSE_18),
        *(BODY_25, HUMAN_17, MEDIAPIPE_33, AZURE_KINECT),
    )
}
