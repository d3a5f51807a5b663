"""Agreement of two subsequences of one sequence (SimMC's MIC, Eq. 6)."""

import torch
from torch.nn.functional import cosine_similarity


def intra_sequence_contrast(
    v1: torch.Tensor, v2: torch.Tensor, z1: torch.Tensor, z2: torch.Tensor
) -> torch.Tensor:
    """-1/2 cos(z1, stop(v2)) - 1/2 cos(z2, stop(v1)), mean over the batch.

    Args:
        v1: (B, H) float, features of the first subsequence; no gradient reaches them here.
        v2: (B, H) float, the same of the second subsequence of the same windows.
        z1: (B, H) float, prediction of v1.
        z2: (B, H) float, prediction of v2.

    Returns:
        Scalar loss in [-1, 1].
    """
    first = cosine_similarity(z1, v2.detach(), dim=1).mean()
    second = cosine_similarity(z2, v1.detach(), dim=1).mean()
    return -0.5 * first - 0.5 * second
