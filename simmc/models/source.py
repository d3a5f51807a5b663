"""The interface of a source network: frame features, pooled features and views to classify.

Shape letters: B windows, f frames, J joints, d and e features, v views.
"""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import nn


class SourceNetwork(nn.Module):
    """A trained network whose features are matched, fine-tuned by SimMC-UF or classified.

    Windows are (B, f, 3 J) float32, joint-major x y z, with the root and the joint order that the
    network was trained on.

    Attributes:
        KINDS: the pooled features, the one that tables show first.
        VIEWS: the ways of `views`, the usual one first.
    """

    KINDS: ClassVar[tuple[str, ...]]
    VIEWS: ClassVar[tuple[str, ...]]

    @abstractmethod
    def frames(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, f, d): a feature for each frame, the input of SimMC-UF."""

    @abstractmethod
    def pooled(self, windows: torch.Tensor, kind: str) -> torch.Tensor:
        """(B, e): one feature for a window; `kind` is one of KINDS."""

    @abstractmethod
    def views(self, windows: torch.Tensor, how: str) -> torch.Tensor:
        """(B, v, e): what a recognition head scores one by one; `how` is one of VIEWS."""
