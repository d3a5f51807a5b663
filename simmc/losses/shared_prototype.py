"""Instance-prototype contrast with targets that a whole track shares (TrackMC)."""

import torch
from torch.nn.functional import log_softmax, normalize


def shared_prototype_contrast(
    instances: torch.Tensor,
    clusters: torch.Tensor,
    shares: torch.Tensor,
    prototypes: torch.Tensor,
    temperature: float,
    silent: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean over instances of -sum_j share_j log softmax_c(u . p_c / tau)[cluster_j].

    With one cluster of share 1 for every instance it is SimMC's MPC (Eq. 5). Windows of one track
    have the same shares, so that clusters which divide a track attract each other.

    Args:
        instances: (B, H) float, features.
        clusters: (B, m) int64 in 0 .. C-1; an entry that does not count repeats another.
        shares: (B, m) float, rows sum to 1; 0 where an entry does not count.
        prototypes: (C, H) float, constants of the epoch.
        temperature: tau > 0.
        silent: (B, s) int64, clusters that do not repel an instance: its softmax leaves them out,
            unless they are its own.

    Returns:
        Scalar loss.
    """
    u = normalize(instances, dim=1)
    p = normalize(prototypes.detach(), dim=1)
    scores = u @ p.T / temperature
    if silent is not None:
        left_out = torch.zeros_like(scores, dtype=torch.bool)
        left_out.scatter_(1, silent, True).scatter_(1, clusters, False)
        scores = scores.masked_fill(left_out, -torch.inf)
    likely = log_softmax(scores, dim=1)
    return -(shares * likely.gather(1, clusters)).sum(1).mean()
