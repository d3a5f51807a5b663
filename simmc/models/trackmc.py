"""TrackMC's network: a frame-wise MLP whose units are averaged over the frames of a window."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import relu

POOLINGS = ("mean", "mean_std")
FLOOR = 1e-4  # of a variance: keeps the slope of its root finite where a unit does not move


class TrackEncoder(nn.Module):
    """An encoder of windows.

    Args:
        width: K, input values a frame.
        hidden: H, units of a layer, and features of a window.
        layers: D, relu layers before the pooling.
        pooling: "mean", or "mean_std": the units' deviation over the frames beside their mean,
            which keeps some of how the body moves.
        generator: source of the Glorot-uniform weights.
    """

    def __init__(
        self, width: int, hidden: int, layers: int, pooling: str, *, generator: torch.Generator
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, not {pooling!r}")
        self.spreads = pooling == "mean_std"
        sizes = [width] + [hidden] * layers
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.output = nn.Linear(hidden * (2 if self.spreads else 1), hidden)
        for layer in [*self.hidden, self.output]:
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)

    def forward(self, windows: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        """Features of windows.

        Args:
            windows: (B, f, K) float.
            weights: (B, f) float, shares of the frames, each row summing to 1; None: equal ones.

        Returns:
            (B, H) float.
        """
        h = windows
        for layer in self.hidden:
            h = relu(layer(h))
        if weights is None:
            weights = h.new_full(h.shape[:2], 1 / h.shape[1])
        mean = (weights[:, None] @ h)[:, 0]
        if not self.spreads:
            return self.output(mean)
        square = (weights[:, None] @ (h - mean[:, None]).square())[:, 0]
        return self.output(torch.cat([mean, (square + FLOOR).sqrt()], 1))
