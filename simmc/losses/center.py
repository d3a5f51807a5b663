"""Centre loss (Wen et al., ECCV 2016, on face recognition), the second loss of PoseGait."""

import torch


def center_loss(
    features: torch.Tensor, labels: torch.Tensor, centers: torch.Tensor
) -> torch.Tensor:
    """Half the squared distance of each feature to the centre of its class (Eq. 2), batch mean.

    The paper adds up over the batch, and so it does with the cross-entropy beside it; both are
    means here, which leaves their ratio. Gradients reach the features only.

    Args:
        features: (B, d) float.
        labels: (B,) int64 in 0 .. C-1, identities.
        centers: (C, d) float, not trained by gradients: see `moved_centers`.

    Returns:
        Scalar loss.
    """
    return 0.5 * (features - centers.detach()[labels]).square().sum(1).mean()


@torch.no_grad()
def moved_centers(
    features: torch.Tensor, labels: torch.Tensor, centers: torch.Tensor, rate: float
) -> torch.Tensor:
    """The centres after a batch (Eq. 4): each moves towards the features of its class.

    c_j - rate * sum over the class of (c_j - x_i) / (1 + size of the class in the batch). The 1
    damps classes with few windows; a class without any stays where it is.

    Args:
        features: (B, d) float.
        labels: (B,) int64.
        centers: (C, d) float.
        rate: alpha in [0, 1].

    Returns:
        (C, d) float.
    """
    away = torch.zeros_like(centers).index_add_(0, labels, centers[labels] - features)
    ones = torch.ones_like(features[:, 0])  # bincount would make a GPU be waited for
    sizes = torch.zeros_like(centers[:, 0]).index_add_(0, labels, ones)
    return centers - rate * away / (1 + sizes)[:, None]
