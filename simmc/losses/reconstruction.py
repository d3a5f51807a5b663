"""Reconstruction of skeletons (SGELA's L_S, Eq. 3)."""

import torch


def reconstruction(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Half the sum of squared errors.

    The paper sums over frames and joints and calls it a mean; the public program also sums over
    windows, and halves. The size of the sum decides what the other losses weigh.

    Args:
        outputs: (..., f, B, J) float, made by the decoder.
        targets: the same shape.

    Returns:
        Scalar loss, the sum over everything.
    """
    return 0.5 * (outputs - targets).square().sum()
