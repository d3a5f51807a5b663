"""Skeletons at three levels: joints, body components, limbs (Hi-MPC section 3.1)."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from simmc.data.skeletons import Skeleton

BodyLevel = Literal["joint", "component", "limb"]
BODY_LEVELS: tuple[BodyLevel, ...] = ("joint", "component", "limb")  # l = 1, 2, 3 of the paper


def body_levels(
    windows: np.ndarray, skeleton: Skeleton, levels: Sequence[BodyLevel] = BODY_LEVELS
) -> dict[BodyLevel, np.ndarray]:
    """Windows at the chosen levels; the position of a part is the mean of its joints.

    Args:
        windows: (N, f, J, 3) float32, metres.
        skeleton: names the joint axis; that of the windows (`Experiment.skeleton`).
        levels: of joint, component and limb.

    Returns:
        For each level (N, f, n, 3) float32, points in the order of docs/data.md 3.2: n = J joints
        (the windows themselves, not a copy), 10 components, 5 limbs.
    """
    if windows.ndim != 4 or windows.shape[2:] != (skeleton.n_joints, 3):
        raise ValueError(
            f"windows must be (N, f, {skeleton.n_joints}, 3) for {skeleton.name}, "
            f"not {windows.shape}"
        )
    return {level: _at_level(windows, skeleton, level) for level in levels}


def _at_level(windows: np.ndarray, skeleton: Skeleton, level: BodyLevel) -> np.ndarray:
    if level == "joint":
        return windows
    parts = skeleton.parts(level)
    found = np.empty((*windows.shape[:2], len(parts), 3), dtype=windows.dtype)
    for place, joints in enumerate(parts):
        found[:, :, place] = windows[:, :, joints].mean(axis=2, dtype=np.float64)
    return found
