"""Prototypes: one vector for each cluster."""

import torch


def cluster_means(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean feature of every cluster (SimMC Eq. 4).

    Args:
        features: (N, H) float.
        labels: (N,) int64, 0 .. C-1, or -1 for outliers, which belong to no mean.

    Returns:
        (C, H) float, unnormalised; (0, H) where every label is -1.
    """
    inside = labels >= 0
    n_clusters = int(labels.max()) + 1 if len(labels) and bool(inside.any()) else 0
    members = labels[inside]
    sums = torch.zeros(n_clusters, features.shape[1], dtype=torch.float64, device=features.device)
    sums.index_add_(0, members, features[inside].double())
    counts = torch.bincount(members, minlength=n_clusters).clamp(min=1)
    return (sums / counts[:, None]).to(features.dtype)
