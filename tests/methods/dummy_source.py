"""A source network that is small enough to work out by hand: two linear maps of a frame."""

from __future__ import annotations

import torch
from torch import nn

from simmc.models.source import SourceNetwork


class DummySource(SourceNetwork):
    """Frames times a matrix; prefixes are means of the first frames."""

    KINDS = ("mean", "last")
    VIEWS = ("ap", "sc", "prefix")

    def __init__(self, inputs: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(inputs, width, generator=generator))

    def frames(self, windows: torch.Tensor) -> torch.Tensor:
        return windows @ self.matrix

    def pooled(self, windows: torch.Tensor, kind: str) -> torch.Tensor:
        frames = self.frames(windows)
        return frames.mean(1) if kind == "mean" else frames[:, -1]

    def views(self, windows: torch.Tensor, how: str) -> torch.Tensor:
        frames = self.frames(windows)
        if how == "ap":
            return frames
        if how == "sc":
            return frames.flatten(1)[:, None]
        counts = torch.arange(1, frames.shape[1] + 1)[:, None]
        return frames.cumsum(1) / counts
