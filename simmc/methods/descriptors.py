"""Hand-crafted descriptors: body measures and poses, matched as they are (docs/descriptors.md).

D13 after Munaro et al. (2014), D16 after Pala et al. (2019), D_PG after PoseGait (Liao et al. 2020,
our own reading of it), and raw coordinates. All are defined by joint NAME; joint numbers exist in
`simmc.data.skeletons` alone. Shape letters: B windows, f frames, J joints.
"""

from collections.abc import Callable, Sequence

import torch

from simmc.data.skeletons import CASIA_14, Skeleton
from simmc.errors import UserError
from simmc.methods.matching import Encoder
from simmc.runs.runtime import few_threads

Pair = tuple[str, str]

# A point of the definitions is the mean of the first set of joints that the sensor has. Kinect's
# "shoulder_center" is joint 2: the neck of 25 joints, and what stands for it among 20.
_NECK = (("shoulder_center",), ("neck",))
_HEAD = (("head",), ("nose",))
POINTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "head": _HEAD,
    "nose": _HEAD,
    "neck": _NECK,
    "torso": (("spine",), ("neck", "neck", "left_hip", "right_hip")),  # neck and hip centre halved
    "hip_center": (("hip_center",), ("left_hip", "right_hip")),
    "mid_hip": (("left_hip", "right_hip"),),
    "left_foot": (("left_foot",), ("left_ankle",)),
    "right_foot": (("right_foot",), ("right_ankle",)),
}
D13_HEIGHTS = ("head", "neck")
D13_LENGTHS = (
    ("neck", "left_shoulder"),
    ("neck", "right_shoulder"),
    ("torso", "right_shoulder"),
    ("right_shoulder", "right_wrist"),  # right arm
    ("left_shoulder", "left_wrist"),
    ("right_hip", "right_knee"),  # right upper leg
    ("left_hip", "left_knee"),
    ("neck", "torso"),
    ("right_hip", "left_hip"),
)
D13_RATIOS = (  # of two of the lengths
    (("neck", "torso"), ("right_hip", "right_knee")),
    (("neck", "torso"), ("left_hip", "left_knee")),
)
D16_LENGTHS = (
    ("head", "neck"),
    ("torso", "neck"),
    ("torso", "hip_center"),
    ("neck", "right_shoulder"),
    ("right_shoulder", "right_elbow"),
    ("right_elbow", "right_wrist"),
    ("neck", "left_shoulder"),
    ("left_shoulder", "left_elbow"),
    ("left_elbow", "left_wrist"),
    ("right_hip", "hip_center"),
    ("right_hip", "right_knee"),
    ("right_knee", "right_foot"),  # to the foot, not the ankle
    ("left_hip", "hip_center"),
    ("left_hip", "left_knee"),
    ("left_knee", "left_foot"),
)
D16_HEIGHTS = ("head",)
POSE_GAIT = CASIA_14  # the 14 joints and 13 bones of D_PG
SHORTEST_LEG = 0.1  # metres; keeps the ratios of D13 finite
SMALLEST_BODY = 1e-3  # metres; the same for the scale of D_PG


def d13(frames: torch.Tensor, skeleton: Skeleton) -> torch.Tensor:
    """(..., J, 3) metres to (..., 13): two heights, nine lengths, two ratios, a frame each."""
    lengths = _lengths(frames, skeleton, D13_LENGTHS)
    of = dict(zip(D13_LENGTHS, lengths.unbind(-1), strict=True))
    ratios = [of[upper] / of[lower].clamp_min(SHORTEST_LEG) for upper, lower in D13_RATIOS]
    heights = _heights(frames, skeleton, D13_HEIGHTS)
    return torch.cat([heights, lengths, torch.stack(ratios, -1)], -1)


def d16(frames: torch.Tensor, skeleton: Skeleton) -> torch.Tensor:
    """(..., J, 3) metres to (..., 16): fifteen lengths, then the height of the head."""
    lengths = _lengths(frames, skeleton, D16_LENGTHS)
    return torch.cat([lengths, _heights(frames, skeleton, D16_HEIGHTS)], -1)


def pose_gait(windows: torch.Tensor, skeleton: Skeleton) -> torch.Tensor:
    """(..., f, J, 3) metres to (..., f, 81): pose 42, angle 13, limb 13, motion 13.

    Our definition: the papers name four groups and the sum 81, and nothing else. Positions are
    relative to the neck, in units of the distance from neck to mid-hip of the same frame.
    """
    neck, hip = _points(windows, skeleton, ("neck", "mid_hip")).unbind(-2)
    size = _norm(neck - hip).clamp_min(SMALLEST_BODY)[..., None, None]
    pose = (_points(windows, skeleton, POSE_GAIT.joints) - neck[..., None, :]) / size
    start, end = POSE_GAIT.edge_indices().T
    bones = pose[..., start, :] - pose[..., end, :]
    angle = torch.atan2(torch.hypot(bones[..., 0], bones[..., 2]), bones[..., 1])
    moving = POSE_GAIT.indices([name for name in POSE_GAIT.joints if name != "neck"])
    motion = _norm(pose.diff(dim=-3)[..., moving, :])
    motion = torch.cat([motion, torch.zeros_like(angle[..., :1, :])], -2)  # none at the end
    return torch.cat([pose.flatten(-2), angle, _norm(bones), motion], -1)


def raw_flat(windows: torch.Tensor, skeleton: Skeleton) -> torch.Tensor:
    """(B, f, J, 3) to (B, 3 f J): the coordinates of all frames side by side."""
    return windows.flatten(1)


def raw_mean(windows: torch.Tensor, skeleton: Skeleton) -> torch.Tensor:
    """(B, f, J, 3) to (B, 3 J): the mean coordinates of a window."""
    return windows.flatten(2).mean(1)


# name -> (B, f, J, 3) windows to (B, d) features; what is worked out by frame is averaged over f
DESCRIPTORS: dict[str, Callable[[torch.Tensor, Skeleton], torch.Tensor]] = {
    "D13": lambda windows, skeleton: d13(windows, skeleton).mean(1),
    "D16": lambda windows, skeleton: d16(windows, skeleton).mean(1),
    "D_PG": lambda windows, skeleton: pose_gait(windows, skeleton).mean(1),
    "raw_flat": raw_flat,
    "raw_mean": raw_mean,
}


def lacking(name: str, skeleton: Skeleton) -> str:
    """Which joints a descriptor needs that the skeleton lacks, as a sentence; "" if it has all."""
    try:
        DESCRIPTORS[name](torch.zeros(1, 2, skeleton.n_joints, 3), skeleton)
    except UserError as error:
        return str(error)
    return ""


def encoder(name: str, skeleton: Skeleton) -> Encoder:
    """A descriptor in the place of a network, for `simmc.methods.matching.encode` and `match`.

    Args:
        name: key of `DESCRIPTORS`.
        skeleton: the names by which the joint axis is read.

    Returns:
        (B, f, 3 J) float32 windows and their weights, which count for nothing (whole windows have
        equal ones), to (B, 1, d) float32; arithmetic in float64.
    """
    describe = DESCRIPTORS[name]

    def apply(windows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        with few_threads(1):
            whole = windows.unflatten(2, (skeleton.n_joints, 3)).double()
            return describe(whole, skeleton).float()[:, None]

    return apply


def _points(frames: torch.Tensor, skeleton: Skeleton, names: Sequence[str]) -> torch.Tensor:
    """(..., n, 3) of n points: joints, or the mean of those that stand for one on this sensor."""
    chosen = [_joints_of(skeleton, name) for name in names]
    if all(len(joints) == 1 for joints in chosen):
        return frames[..., skeleton.indices([joint for (joint,) in chosen]), :]
    means = [frames[..., skeleton.indices(joints), :].mean(-2) for joints in chosen]
    return torch.stack(means, -2)


def _joints_of(skeleton: Skeleton, name: str) -> tuple[str, ...]:
    choices = POINTS.get(name, ((name,),))
    for joints in choices:
        if set(joints) <= set(skeleton.joints):
            return joints
    wanted = " or ".join(" and ".join(dict.fromkeys(joints)) for joints in choices)
    raise UserError(
        f"this descriptor needs the joint {wanted}; {skeleton.name} has "
        f"{', '.join(skeleton.joints)}. Give the joints these names, or choose what takes any "
        "skeleton: --descriptor raw_flat or raw_mean, or --model encoder."
    )


def _lengths(frames: torch.Tensor, skeleton: Skeleton, pairs: Sequence[Pair]) -> torch.Tensor:
    """(..., n) distances between the points of each pair."""
    one, other = (_points(frames, skeleton, side) for side in zip(*pairs, strict=True))
    return _norm(one - other)


def _heights(frames: torch.Tensor, skeleton: Skeleton, names: Sequence[str]) -> torch.Tensor:
    """(..., n) heights above the mean of both feet; y is up.

    CASIA-B's lifted skeletons may hang head down, so their heights go without sign.
    """
    ground = _points(frames, skeleton, ("left_foot", "right_foot"))[..., 1].mean(-1, keepdim=True)
    heights = _points(frames, skeleton, names)[..., 1] - ground
    return heights.abs() if skeleton == CASIA_14 else heights


def _norm(vectors: torch.Tensor) -> torch.Tensor:
    """(..., 3) to (...): lengths; several times faster than torch's own on so short an axis."""
    return (vectors * vectors).sum(-1).sqrt()
