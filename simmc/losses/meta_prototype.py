"""Hi-MPC's losses at one body level: meta-prototype contrast and hard skeleton mining (Eq. 5-9).

Each head H^m maps instances, frames and prototypes alike: the score of frame z for cluster c is
(z H^m) . (p_c H^m) / tau. Prototypes are constants of an epoch, but p_c H^m is not: the heads get
their gradient from both sides. Nothing is normalised. Shape letters: B windows, f frames, h
embedding, M heads, C clusters; M = 0 means one head that changes nothing.
"""

from typing import Literal

import torch

from simmc.losses.hard_mining import Mining, Scores, importance, mined_contrast

Reduction = Literal["mean", "sum"]


def meta_prototype_contrast(
    instances: torch.Tensor,
    labels: torch.Tensor,
    prototypes: torch.Tensor,
    heads: torch.Tensor,
    temperature: float,
    *,
    reduction: Reduction = "mean",
) -> torch.Tensor:
    """Mean over windows of -log softmax_c((v H^m) . (p_c H^m) / tau)[y], over the heads (Eq. 5).

    Args:
        instances: (B, h) float, v.
        labels: (B,) int64 in 0 .. C-1, pseudo labels.
        prototypes: (C, h) float; all of them are in the softmax. No gradient reaches them.
        heads: (M, h, h) float, inputs x outputs.
        temperature: tau > 0; the paper takes sqrt(h).
        reduction: mean over the heads (Eq. 5), or their sum.

    Returns:
        Scalar loss.
    """
    scores = _scores(instances[:, None], prototypes, heads, temperature)
    return _reduce(mined_contrast(scores, labels, Mining(focus=0)), scores, reduction)


def hard_skeleton_contrast(
    frames: torch.Tensor,
    labels: torch.Tensor,
    prototypes: torch.Tensor,
    heads: torch.Tensor,
    temperature: float,
    *,
    focus: int = 1,
    weights_over_temperature: bool = True,
    stop_weights: bool = False,
    reduction: Reduction = "mean",
) -> torch.Tensor:
    """Mean over windows of the frames' contrasts, weighted by their importance (Eq. 6-9).

    A head predicts the cluster with the highest score of v, the mean frame. Where that is the
    pseudo label, the frames least similar to it weigh most (hard positives), else the frames most
    similar to it (hard negatives): `frame_importance`.

    Args:
        frames: (B, f, h) float, z.
        labels: (B,) int64 in 0 .. C-1, pseudo labels.
        prototypes: (C, h) float; all of them are in the softmax. No gradient reaches them.
        heads: (M, h, h) float, inputs x outputs.
        temperature: tau > 0; the paper takes sqrt(h).
        focus: 1 mines hard frames, -1 easy ones; 0 adds up the frames with weight 1 each, as the
            public program does without mining (neither Eq. 5 nor Eq. 9).
        weights_over_temperature: weights from scores divided by tau, as in the public program, or
            not, as Eq. 7 and 8 have it.
        stop_weights: cut the gradient through the weights; the public program lets it pass.
        reduction: mean over the heads, or their sum, as the public program at the joint level.

    Returns:
        Scalar loss.
    """
    mining = Mining(focus, 1.0 if weights_over_temperature else temperature, stop_weights)
    scores = _scores(frames, prototypes, heads, temperature)
    return _reduce(mined_contrast(scores, labels, mining), scores, reduction)


@torch.no_grad()
def frame_importance(
    frames: torch.Tensor,
    labels: torch.Tensor,
    prototypes: torch.Tensor,
    heads: torch.Tensor,
    temperature: float,
    *,
    focus: int = 1,
    weights_over_temperature: bool = True,
) -> torch.Tensor:
    """Importance delta of each frame (Eq. 8), mean over the heads, for plots as Figure 7.

    The public program draws the softmax over clusters there, which is something else.

    Args:
        frames: (B, f, h) float, z.
        labels: (B,) int64 in 0 .. C-1, pseudo labels.
        prototypes: (C, h) float.
        heads: (M, h, h) float.
        temperature: tau > 0.
        focus: 1 or -1, as in training.
        weights_over_temperature: as in training.

    Returns:
        (B, f) float; each row sums to 1.
    """
    if focus == 0:
        raise ValueError("without mining (focus 0) frames have no importance")
    mining = Mining(focus, 1.0 if weights_over_temperature else temperature)
    scores = _scores(frames, prototypes, heads, temperature)
    return importance(scores, labels, mining).mean(dim=2)


def _scores(
    frames: torch.Tensor, prototypes: torch.Tensor, heads: torch.Tensor, temperature: float
) -> Scores:
    """(z H^m) . (p_c H^m) / tau for all frames, heads and clusters, as one product not yet made.

    It equals (z A^m) . p_c and z . (p_c A^m) with A^m = H^m (H^m)^T / tau. Either way one side
    stays as it is for all heads. Where that is the prototypes, which are constant, a step needs
    two products of B f M x h x C in place of three; but to map frames costs more than to map few
    prototypes.
    """
    batch, length, hidden = frames.shape
    p = prototypes.detach()
    if len(heads) == 0:
        return Scores(frames / temperature, p, length, 1)
    count = len(heads)
    metrics = heads @ heads.transpose(1, 2) / temperature  # (M, h, h), symmetric
    rows = batch * length
    # products of a step in units of h M: with frames mapped, and with prototypes mapped
    if 3 * rows * hidden + 2 * rows * len(p) < 2 * len(p) * hidden + 3 * rows * len(p):
        side_by_side = metrics.transpose(0, 1).reshape(hidden, -1)  # (h, M h): one product for all
        mapped = frames.reshape(rows, hidden) @ side_by_side
        return Scores(mapped.view(batch, length * count, hidden), p, length, count)
    return Scores(frames, (p @ metrics).flatten(0, 1), length, count)


def _reduce(total: torch.Tensor, scores: Scores, reduction: Reduction) -> torch.Tensor:
    return total / scores.heads if reduction == "mean" else total
