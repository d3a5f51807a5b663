"""Instance-prototype contrast (SimMC's MPC, Eq. 5)."""

import torch
from torch.nn.functional import cross_entropy, normalize


def prototype_contrast(
    instances: torch.Tensor,
    labels: torch.Tensor,
    prototypes: torch.Tensor,
    temperature: float,
    *,
    zero_label_guard: bool = False,
) -> torch.Tensor:
    """Mean over instances of -log softmax_c(u . p_c / tau)[y], both sides of unit length.

    The paper does not mention the normalisation; the public program does it, and a temperature
    near 0.07 presupposes it. Gradients reach the instances only.

    Args:
        instances: (B, H) float, features of one view.
        labels: (B,) int64 in 0 .. C-1, pseudo labels.
        prototypes: (C, H) float, constants of the epoch.
        temperature: tau > 0.
        zero_label_guard: as the public program, drop the term of a batch whose labels sum to 0,
            that is, which holds nothing but cluster 0 (quirk Q10).

    Returns:
        Scalar loss.
    """
    u = normalize(instances, dim=1)
    p = normalize(prototypes.detach(), dim=1)
    loss = cross_entropy(u @ p.T / temperature, labels)
    if zero_label_guard:  # without asking for the sum: a GPU would be waited for at every step
        loss = torch.where(labels.sum() == 0, torch.zeros_like(loss), loss)
    return loss
