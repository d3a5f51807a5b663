"""Joint names of many programs in the spelling of this project, and skeletons of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from simmc.data.skeletons import SKELETONS, Skeleton
from simmc.errors import UserError

_SIDES = {"l": "left", "left": "left", "r": "right", "right": "right"}
# names of sensors and body models that mean a joint of ours
_SAME = {
    "hip_centre": "hip_center",
    "hip_centro": "hip_center",
    "center_hip": "hip_center",
    "spine_base": "hip_center",
    "spine_mid": "spine",
    "shoulder_centre": "shoulder_center",
    "center_shoulder": "shoulder_center",
    "handtip": "hand_tip",
    "midhip": "mid_hip",
}
_KINECT_V2 = {"neck": "shoulder_center"}  # Kinect v2's neck is v1's shoulder centre
# joint -> the first of these that the skeleton has is joined to it by a bone
_TOWARDS = {
    "spine": ("hip_center", "mid_hip", "pelvis", "hips", "hip"),
    "chest": ("spine", "hip_center", "mid_hip", "pelvis", "hips", "hip"),
    "neck": ("spine_shoulder", "chest", "spine", "hip_center", "mid_hip", "pelvis", "hips", "hip"),
    "nose": ("neck", "shoulder_center", "head"),
    "head": ("neck", "shoulder_center", "chest", "spine", "hip_center", "hips", "hip"),
    "eye": ("nose", "head", "neck"),
    "ear": ("eye", "nose", "head"),
    "shoulder": ("neck", "shoulder_center", "spine_shoulder", "chest", "spine", "other"),
    "elbow": ("shoulder",),
    "wrist": ("elbow", "shoulder"),
    "hand": ("wrist", "elbow"),
    "hand_tip": ("hand", "wrist"),
    "thumb": ("wrist", "hand"),
    "hip": ("hip_center", "mid_hip", "pelvis", "hips", "hip", "spine", "shoulder", "neck"),
    "knee": ("hip",),
    "ankle": ("knee", "hip"),
    "heel": ("ankle",),
    "foot": ("ankle", "knee"),
    "toe": ("foot", "ankle"),
}
_ROOTS = ("hip_center", "mid_hip", "pelvis", "hips", "hip", "root", "spine_base", "spine", "neck")


def spelled(name: str) -> str:
    """A joint's name in small letters with `_`, its side first: "ShoulderLeft", "left_shoulder"."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name.strip())
    words = [word for word in re.split(r"[^0-9a-zA-Z]+", text.lower()) if word]
    side = next((w for w in (*words[:1], *words[-1:]) if w in _SIDES), "") if words[1:] else ""
    if side:
        words.remove(side)
        words = [_SIDES[side], *words]
    found = "_".join(words)
    rest = found.removeprefix("left_").removeprefix("right_")
    return found.removesuffix(rest) + _SAME.get(rest, rest) if rest else found


def spelled_joints(names: Sequence[str]) -> tuple[str, ...]:
    """The names of a body's joints in our spelling; as they are where two would be the same."""
    found = tuple(map(spelled, names))
    if "spine_shoulder" in found and "neck" in found:
        found = tuple(_KINECT_V2.get(name, name) for name in found)
    if len(set(found)) < len(found) or not all(found):
        return tuple(names)
    return found


def known_sensor(name: str, where: str) -> Skeleton:
    """The skeleton of a sensor; UserError with the list otherwise."""
    wanted = {key.casefold().replace(" ", ""): skeleton for key, skeleton in SKELETONS.items()}
    found = wanted.get(name.casefold().replace(" ", "").replace("_", ""))
    if found is None:
        raise UserError(f"{where}: sensor {name!r} is not known; one of {', '.join(SKELETONS)}")
    return found


def skeleton_of(joints: Sequence[str], name: str) -> tuple[Skeleton, bool]:
    """A skeleton with these joints in this order; and whether its bones follow from their names.

    If they are the joints of a known sensor, in any order, it has the sensor's root and bones.
    """
    for known in SKELETONS.values():
        if known.joints == tuple(joints):
            return known, False
    for known in SKELETONS.values():
        if set(known.joints) == set(joints) and len(known.joints) == len(joints):
            return Skeleton(name, tuple(joints), known.root, known.edges), False
    found = tuple(filter(None, (_bone(joint, joints) for joint in joints)))
    root = next((root for root in _ROOTS if root in joints), joints[0])
    # "hip" without a side is the root, and also a joint that a bone leads to
    bones = tuple(b for b in found if b[1] != root or b[::-1] not in found)
    return Skeleton(name, tuple(joints), root, bones), bool(bones)


def _bone(joint: str, joints: Sequence[str]) -> tuple[str, str] | None:
    side, _, rest = joint.partition("_")
    if side not in ("left", "right"):
        side, rest = "", joint
    for towards in _TOWARDS.get(rest, ()):
        for other in (f"{side}_{towards}" if side else towards, towards):
            if other in joints and other != joint:
                return other, joint
    return None
