"""Mined cross-entropy over prototypes and its gradient, tile by tile.

The scores of a batch, B f M x C, are far larger than all else (74 MB for C = 1500). They are
made for a few windows at a time, which fit into the processor's cache, and are reduced to loss and
gradient at once. No score is stored for the backward pass.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

# Scores computed at a time: 4 MiB for a processor's cache; a GPU wants large products instead.
TILE = {"cpu": 1 << 20, "cuda": 1 << 26}


@dataclass(frozen=True)
class Mining:
    """How the frames of a window are weighted.

    Attributes:
        focus: 1 hard frames, -1 easy frames, 0 no mining: weight 1 for each.
        sharpness: factor of the scores in the weights.
        stop: no gradient through the weights.
    """

    focus: int = 1
    sharpness: float = 1.0
    stop: bool = False

    def __post_init__(self) -> None:
        if self.focus not in (-1, 0, 1):
            raise ValueError(f"focus must be 1 (hard), -1 (easy) or 0 (none), not {self.focus}")


@dataclass(frozen=True)
class Scores:
    """Scores (B, f, M, C) of each frame under each head for each cluster, as a product to be made.

    Attributes:
        left: (B, f M, h) float, then right is (C, h); or (B, f, h), then right is (M C, h). Either
            way the product has the layout of (B, f, M, C).
        right: the other side.
        length: f.
        heads: M.
    """

    left: torch.Tensor
    right: torch.Tensor
    length: int
    heads: int

    def tiles(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Places of some windows and their scores (n, f, M, C)."""
        windows, rows, _ = self.left.shape
        per_window = rows * len(self.right)  # f M C
        size = max(1, TILE.get(self.left.device.type, TILE["cuda"]) // max(1, per_window))
        for start in range(0, windows, size):
            here = slice(start, start + size)
            scores = self.left[here].flatten(0, 1) @ self.right.T
            yield here, scores.view(-1, self.length, self.heads, per_window // self.pairs)

    @property
    def pairs(self) -> int:
        """Frames of a window times heads, f M."""
        return self.length * self.heads


def mined_contrast(scores: Scores, labels: torch.Tensor, mining: Mining) -> torch.Tensor:
    """Weighted cross-entropies, summed over frames and heads, mean over windows.

    Args:
        scores: of B windows. Both sides get gradients if they ask for them.
        labels: (B,) int64 in 0 .. C-1.
        mining: how frames are weighted.

    Returns:
        Scalar.
    """
    return _MinedContrast.apply(
        scores.left, scores.right, scores.length, scores.heads, labels, mining
    )


def importance(scores: Scores, labels: torch.Tensor, mining: Mining) -> torch.Tensor:
    """Weights of the frames under each head, (B, f, M); arguments as `mined_contrast`."""
    return torch.cat([_weigh(tile, labels[here], mining)[0] for here, tile in scores.tiles()])


def _weigh(
    scores: torch.Tensor, labels: torch.Tensor, mining: Mining
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights of the frames (Eq. 8) with what their gradient needs.

    Returns:
        Weights (n, f, M); slopes (n, 1, M), the factor of the predicted cluster's score in their
        exponent; predicted clusters (n, M).
    """
    # Scores are linear in z, so those of the instance v are the mean over frames (Eq. 6).
    predicted = scores.sum(dim=1).argmax(dim=2)
    factor = mining.focus * mining.sharpness
    right = (predicted == labels[:, None])[:, None]
    slopes = torch.where(right, -factor, factor).to(scores.dtype)
    similar = scores.gather(3, _places(predicted, scores))[..., 0]
    return torch.softmax(slopes * similar, dim=1), slopes, predicted


def _places(clusters: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Index (n, f, M, 1) into scores of the clusters (n, M) or (n, 1) of each window."""
    return clusters[:, None, :, None].expand(*scores.shape[:3], 1)


class _MinedContrast(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        left: torch.Tensor,
        right: torch.Tensor,
        length: int,
        heads: int,
        labels: torch.Tensor,
        mining: Mining,
    ) -> torch.Tensor:
        total = left.new_zeros(())
        to_left = left.new_empty(left.shape) if ctx.needs_input_grad[0] else None
        to_right = torch.zeros_like(right) if ctx.needs_input_grad[1] else None
        for here, scores in Scores(left, right, length, heads).tiles():
            y = labels[here]
            # torch.exp takes ten times as long where it underflows, as here; torch.softmax does not
            slope = torch.softmax(scores, dim=3)  # becomes the slope of the loss by the scores
            own = scores.gather(3, _places(y[:, None], scores))[..., 0]
            entropy = scores.amax(dim=3) - slope.amax(dim=3).log() - own  # -log softmax[y]
            weights = torch.ones_like(entropy)
            if mining.focus != 0:
                weights, signs, predicted = _weigh(scores, y, mining)
            loss = (weights * entropy).sum(dim=1, keepdim=True)  # (n, 1, M)
            total += loss.sum()
            if to_left is None and to_right is None:
                continue
            weights = (weights / len(left))[..., None]
            slope *= weights
            slope.scatter_add_(3, _places(y[:, None], scores), -weights)
            if mining.focus != 0 and not mining.stop:
                # softmax over frames: d delta_t = delta_t (d a_t - sum over s of delta_s d a_s)
                pull = weights * (signs * (entropy - loss))[..., None]
                slope.scatter_add_(3, _places(predicted, scores), pull)
            flat = slope.view(-1, len(right))
            if to_left is not None:
                torch.mm(flat, right, out=to_left[here].view(-1, left.shape[2]))
            if to_right is not None:
                to_right.addmm_(flat.T, left[here].flatten(0, 1))
        ctx.save_for_backward(to_left, to_right)
        return total / len(left)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: torch.Tensor) -> Any:
        to_left, to_right = ctx.saved_tensors
        return (
            None if to_left is None else to_left * outer[0],
            None if to_right is None else to_right * outer[0],
            *(None,) * 4,
        )
