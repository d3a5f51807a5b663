"""Losses: pure functions of tensors, one idea a file."""

from simmc.losses.center import center_loss, moved_centers
from simmc.losses.locality import locality_alignment, locality_mask
from simmc.losses.meta_prototype import (
    frame_importance,
    hard_skeleton_contrast,
    meta_prototype_contrast,
)
from simmc.losses.mic import intra_sequence_contrast
from simmc.losses.mpc import prototype_contrast
from simmc.losses.neighbor_contrast import neighbor_contrast
from simmc.losses.reconstruction import reconstruction
from simmc.losses.shared_prototype import shared_prototype_contrast
from simmc.losses.sparse_prediction import scale_reconstruction, sparse_prediction

__all__ = [
    "center_loss",
    "frame_importance",
    "hard_skeleton_contrast",
    "intra_sequence_contrast",
    "locality_alignment",
    "locality_mask",
    "meta_prototype_contrast",
    "moved_centers",
    "neighbor_contrast",
    "prototype_contrast",
    "reconstruction",
    "scale_reconstruction",
    "shared_prototype_contrast",
    "sparse_prediction",
]
