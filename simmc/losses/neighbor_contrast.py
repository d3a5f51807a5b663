"""Locality-aware contrast of neighbouring windows (SGELA's L_C, Eq. 14 and Algorithm 1)."""

import torch
from torch.nn.functional import cross_entropy, normalize


def neighbor_contrast(
    representations: torch.Tensor,
    temperature: float,
    interval: int = 1,
    *,
    same_window: str = "negative",
) -> torch.Tensor:
    """InfoNCE over a run of consecutive windows; positives stand `interval` places apart.

    The two views are windows 1 .. n - i and windows i + 1 .. n. Each of the 2 (n - i) vectors is
    drawn to its partner in the other view, by cosine / tau against all others. A window in the
    middle is in both views, and to the copy of itself it has similarity 1.

    Args:
        representations: (n, e) float z, or (m, n, e) of m models, each contrasted on its own.
        temperature: tau > 0.
        interval: i (Table 6; paper: 1).
        same_window: "negative": the copy counts as a negative, as in Algorithm 1 and the public
            program; "out": it counts as nothing.

    Returns:
        Scalar loss: the mean over the vectors, summed over models; 0 where n <= interval.
    """
    if same_window not in ("negative", "out"):
        raise ValueError(f"same_window must be negative or out, not {same_window!r}")
    windows = representations.shape[-2]
    pairs = windows - interval
    if pairs < 1:
        return representations.new_zeros(())
    place = torch.arange(windows, device=representations.device)
    shown = torch.cat([place[:pairs], place[interval:]])
    left_out = torch.eye(2 * pairs, dtype=torch.bool, device=shown.device)
    if same_window == "out":
        left_out = shown[:, None] == shown
    unit = normalize(representations, dim=-1)[..., shown, :]
    scores = (unit @ unit.mT / temperature).masked_fill(left_out, -torch.inf)
    partner = torch.arange(2 * pairs, device=shown.device).roll(pairs)
    flat = scores.reshape(-1, 2 * pairs)
    models = len(flat) // (2 * pairs)
    return cross_entropy(flat, partner.repeat(models)) * models
