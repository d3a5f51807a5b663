"""The attention of a trained AGE or SGELA, as in Figure 4 of the SGELA paper."""

import numpy as np
import torch

from simmc.models.sgela import AXES, GaitNetwork

ENCODE_BATCH = 1024  # windows decoded at once


@torch.no_grad()
def mean_alignments(network: GaitNetwork, windows: torch.Tensor) -> np.ndarray:
    """Mean alignment scores a_t(j) over windows, (T, 3, f, f) float64: task, axis, step, frame.

    Args:
        network: with attention.
        windows: (N, f, 3 J), one or more.
    """
    network.eval()
    length = windows.shape[1]
    total = torch.zeros(AXES * network.tasks, length, length, dtype=torch.float64)
    for part in windows.split(ENCODE_BATCH):
        total += network.decode(part).alignments.double().sum(dim=2).cpu()
    return (total / len(windows)).unflatten(0, (network.tasks, AXES)).numpy()
