"""Locality-aware attention (SGELA's mask l_t and loss L_A, Eq. 5 to 7)."""

import torch


def locality_mask(length: int, reach: float) -> torch.Tensor:
    """Mask l_t(j) = exp(-(j - p_t)^2 / (2 sigma^2)) around the frame that step t decodes (Eq. 5).

    Args:
        length: f. Step t decodes frame p_t = f - t + 1, both counted from 1.
        reach: D; sigma = D / 2. Outside the window [p_t - D, p_t + D] the mask is 0; at D = f, the
            released value, every frame lies inside.

    Returns:
        (f, f) float64: step, frame.
    """
    frame = torch.arange(1, length + 1, dtype=torch.float64)
    distance = frame - frame.flip(0)[:, None]
    mask = torch.exp(-distance.square() / (2 * (reach / 2) ** 2))
    return torch.where(distance.abs() <= reach, mask, 0.0)


def locality_alignment(alignments: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Half the sum of (a_t(j) - l_t(j) a_t(j))^2 (Eq. 7), with the public program's factor 1/2.

    Both a's are the network's: the gradient flows through both, so that attention far from p_t is
    penalised for what it is.

    Args:
        alignments: (..., f, B, f) float, a_t(j): step, window, frame.
        mask: (f, f), l_t(j).

    Returns:
        Scalar loss, the sum over everything.
    """
    return 0.5 * (alignments * (1 - mask)[:, None]).square().sum()
