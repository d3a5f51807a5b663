"""The centre loss of Wen et al. (2016), Eq. 2 and 4, as loops."""

import torch


def center_loss(features, labels, centers):
    """Half of |x_i - c_{y_i}|^2, mean over the batch."""
    total = torch.zeros((), dtype=features.dtype)
    for x, y in zip(features, labels.tolist(), strict=True):
        difference = x - centers[y]
        total = total + 0.5 * torch.dot(difference, difference)
    return total / len(features)


def moved_centers(features, labels, centers, rate):
    """c_j - rate * sum_{y_i = j} (c_j - x_i) / (1 + n_j)."""
    moved = []
    for j, c in enumerate(centers):
        members = [x for x, y in zip(features, labels.tolist(), strict=True) if y == j]
        away = sum((c - x for x in members), torch.zeros_like(c))
        moved.append(c - rate * away / (1 + len(members)))
    return torch.stack(moved)
