"""Losses: pure functions of tensors, one idea a file."""

from simmc.losses.intra_sequence import intra_sequence_contrast
from simmc.losses.prototype import prototype_contrast

__all__ = ["intra_sequence_contrast", "prototype_contrast"]
