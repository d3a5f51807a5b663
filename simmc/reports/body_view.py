"""Skeletons of three levels in a picture: the lines to draw, and the projection."""

from collections.abc import Mapping

import numpy as np

from simmc.data.skeletons import Skeleton

MOST, FEWER = 12, 8  # skeletons in a row: where all frames are drawn, and where not

_ARMS_AND_LEGS = tuple(f"{side}_%s{limb}" for side in ("left", "right") for limb in ("arm", "leg"))
# The torso is connected to head, arms and legs.
_COMPONENT_BONES = (
    ("torso", "head"),
    *(("torso", name % "upper_") for name in _ARMS_AND_LEGS),
    *((name % "upper_", name % "lower_") for name in _ARMS_AND_LEGS),
)
_LIMB_BONES = tuple(("torso", name % "") for name in _ARMS_AND_LEGS)


def level_bones(level: str, skeleton: Skeleton) -> np.ndarray:
    """Lines between the points of a level, (E, 2) int64: bones, or torso to parts.

    Empty for a skeleton without bones or with other parts.
    """
    if level == "joint":
        return skeleton.edge_indices().reshape(-1, 2)
    parts = skeleton.components if level == "component" else skeleton.limbs
    bones = _COMPONENT_BONES if level == "component" else _LIMB_BONES
    place = {name: i for i, (name, _) in enumerate(parts)}
    pairs = [(place[a], place[b]) for a, b in bones if a in place and b in place]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def shown_frames(length: int) -> np.ndarray:
    """Frames whose skeletons are drawn: all of a short window, else some, evenly spaced."""
    step = 1 if length <= MOST else -(-length // FEWER)
    return np.arange(step // 2, length, step)


def view(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Projection (3, 2) of a window: the view in which it is widest, head up.

    Args:
        joints: (f, J, 3) float, y the vertical.
        skeleton: names the joint axis.
    """
    flat = (joints - joints.mean(axis=1, keepdims=True))[..., [0, 2]].reshape(-1, 2)
    sideways = np.linalg.eigh(flat.T @ flat)[1][:, 1]
    sideways = sideways * np.sign(sideways[np.abs(sideways).argmax()])
    top = [i for i, name in enumerate(skeleton.joints) if name in ("head", "nose")]
    bottom = [i for i, name in enumerate(skeleton.joints) if name.endswith("_ankle")]
    height = joints[..., 1]
    # lifted skeletons of CASIA-B may hang head down
    fallen = top and bottom and height[:, top].mean() < height[:, bottom].mean()
    return np.array([[sideways[0], 0], [0, -1 if fallen else 1], [sideways[1], 0]])


def projected(sets: Mapping[str, np.ndarray], skeleton: Skeleton) -> dict[str, np.ndarray]:
    """Projected points: metres to the right of the middle and above the lowest joint.

    All frames and levels of a window are shifted by the same amount.

    Args:
        sets: name -> (f, n, 3) float, metres, y the vertical; "body" holds the joints.
        skeleton: names the joint axis of "body".

    Returns:
        name -> (f, n, 2) float.
    """
    seen = view(sets["body"], skeleton)
    body = sets["body"] @ seen
    low, high = body.min(axis=(0, 1)), body.max(axis=(0, 1))
    floor = np.array([(low[0] + high[0]) / 2, low[1]])
    return {name: points @ seen - floor for name, points in sets.items()}
