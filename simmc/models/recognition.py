"""A recognition head on a source network: two layers from features to scores of identities."""

import torch
from torch import nn
from torch.nn.functional import relu

from simmc.models.source import SourceNetwork


class RecognitionNetwork(nn.Module):
    """A source network and a head; the sources' programs start its weights from N(0, 1).

    Args:
        source: gives the features.
        how: which of its views the head judges.
        width: e, values of a view.
        hidden: units between; 0: as many as `width`.
        classes: C, identities.
        generator: source of the initial weights.
        frozen: whether the source network stays as it is.
    """

    def __init__(
        self,
        source: SourceNetwork,
        how: str,
        width: int,
        hidden: int,
        classes: int,
        *,
        generator: torch.Generator,
        frozen: bool,
    ) -> None:
        super().__init__()
        self.source, self.how = source.requires_grad_(not frozen), how
        self.first = nn.Linear(width, hidden or width)
        self.second = nn.Linear(hidden or width, classes)
        for layer in (self.first, self.second):
            nn.init.normal_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)

    def judge(self, views: torch.Tensor) -> torch.Tensor:
        """(..., e) features to (..., C) scores."""
        return self.second(relu(self.first(views)))

    def views(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, f, 3 J) windows to (B, v, e) features to judge."""
        return self.source.views(windows, self.how)
