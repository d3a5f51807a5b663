"""Losses of pretext tasks on subsequences: sparse sequential prediction, skeleton reconstruction.

Subsequences share places (`simmc.models.subsequences`); the weights of the places turn a sum over
them into the mean over subsequences. Shape letters: M places, B windows, w values of a skeleton.
"""

import torch


def sparse_prediction(
    predicted: torch.Tensor, targets: torch.Tensor, shares: torch.Tensor
) -> torch.Tensor:
    """Half the squared errors, summed over windows and places, mean over subsequences (MG-SCR).

    Args:
        predicted: (M, B, w) float.
        targets: (M, B, w) float: the skeletons of one frame later.
        shares: (M,) float, for each place the share of the subsequences that have it.
    """
    return (predicted - targets).square().sum(dim=(1, 2)) @ shares.to(predicted.dtype) / 2


def scale_reconstruction(
    recovered: torch.Tensor, targets: torch.Tensor, shares: torch.Tensor
) -> torch.Tensor:
    """Mean absolute error of a subsequence, mean over subsequences (SM-SGE, MSR).

    Args:
        recovered: (M, B, w) float.
        targets: (M, B, w) float: the skeletons themselves.
        shares: (M,) float, for each place the mean over subsequences of 1 / length, or 0 where
            a subsequence has not the place.
    """
    return (recovered - targets).abs().mean(dim=(1, 2)) @ shares.to(recovered.dtype)
