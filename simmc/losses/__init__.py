"""Losses: pure functions of tensors, one idea a file."""

from simmc.losses.center import center_loss, moved_centers
from simmc.losses.intra_sequence import intra_sequence_contrast
from simmc.losses.meta_prototype import (
    frame_importance,
    hard_skeleton_contrast,
    meta_prototype_contrast,
)
from simmc.losses.prototype import prototype_contrast

__all__ = [
    "center_loss",
    "frame_importance",
    "hard_skeleton_contrast",
    "intra_sequence_contrast",
    "meta_prototype_contrast",
    "moved_centers",
    "prototype_contrast",
]
