"""SimMC's losses as loops over Eq. 5 and 6, on plain numbers."""

import torch


def prototype_contrast(instances, labels, prototypes, temperature):
    """Mean over instances of -log softmax_c(u . p_c / tau)[y], sides normalised."""
    total = torch.zeros((), dtype=instances.dtype)
    for v, y in zip(instances, labels, strict=True):
        u = v / v.norm()
        scores = [torch.dot(u, p / p.norm()) / temperature for p in prototypes]
        denominator = torch.stack([s.exp() for s in scores]).sum()
        total = total - (scores[int(y)].exp() / denominator).log()
    return total / len(instances)


def intra_sequence_contrast(v1, v2, z1, z2):
    """Eq. 6 with alpha = beta = 0.5, mean over sequences."""
    total = torch.zeros((), dtype=v1.dtype)
    for a1, a2, b1, b2 in zip(v1.detach(), v2.detach(), z1, z2, strict=True):
        total = total - 0.5 * torch.dot(b1 / b1.norm(), a2 / a2.norm())
        total = total - 0.5 * torch.dot(b2 / b2.norm(), a1 / a1.norm())
    return total / len(v1)
