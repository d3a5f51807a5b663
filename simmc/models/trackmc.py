"""TrackMC's network: a frame-wise MLP whose units are averaged over the frames of a window."""

import torch
from torch import nn

from simmc.models.simmc import ReluLayers, dense_layer

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
        self.hidden = ReluLayers(width, hidden, layers, generator=generator)
        self.output = dense_layer(hidden * (2 if self.spreads else 1), hidden, generator)

    def forward(self, windows: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        """Features of windows.

        Args:
            windows: (B, f, K) float.
            weights: (B, f) float, shares of the frames, each row summing to 1; None: equal ones.

        Returns:
            (B, H) float.
        """
        h = self.hidden(windows)
        if weights is None:
            weights = h.new_full(h.shape[:2], 1 / h.shape[1])
        mean = (weights[:, None] @ h)[:, 0]
        if not self.spreads:
            return self.output(mean)
        square = (weights[:, None] @ (h - mean[:, None]).square())[:, 0]
        return self.output(torch.cat([mean, (square + FLOOR).sqrt()], 1))
