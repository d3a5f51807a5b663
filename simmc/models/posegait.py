"""The PoseGait CNN (Liao et al., Pattern Recognition 2020), as far as public sources go.

The papers that print rows of PoseGait do not publish the network behind them. The layers are those
of the authors' public program, which reads another input (2D poses, 126 values by 17 frames).
OURS, because windows of 4 to 12 frames leave no other way or nothing is said: padding of 1 at every
convolution (the program pads those of its residual pairs only and would run out of frames), and
Glorot-uniform initial weights. docs/supervised.md lists what is known and what is not.
"""

import torch
from torch import nn
from torch.nn.functional import max_pool2d

from simmc.models.simmc import dense_layer

FEATURES = 512  # of the fully connected layer


class PoseGaitNetwork(nn.Module):
    """Convolutions over the image features x frames, one fully connected layer, a classifier.

    Args:
        rows: features a frame, 81 for D_PG.
        length: f, frames of a window, 4 or more.
        classes: C, identities of the training windows.
        dropout: share of the last image's units that a training step drops.
        generator: source of the initial weights, then of the units dropped in training.

    Attributes:
        centers: (C, 512) float buffer, the centres of the centre loss; they begin at 0.
    """

    centers: torch.Tensor

    def __init__(
        self,
        rows: int,
        length: int,
        classes: int,
        dropout: float = 0.5,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.dropout, self.generator = dropout, generator
        self.first = nn.Sequential(_convolution(1, 32), _convolution(32, 64))
        self.shared = _convolution(64, 64)
        self.second = _convolution(64, 128)
        self.pair = nn.Sequential(_convolution(128, 128), _convolution(128, 128))
        self.fully = nn.Linear(128 * (rows // 4) * (length // 4), FEATURES)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight, generator=generator)
        nn.init.zeros_(self.fully.bias)
        self.classifier = dense_layer(FEATURES, classes, generator)
        self.register_buffer("centers", torch.zeros(classes, FEATURES))

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, f, rows) descriptors by frame to (B, 512); in training with dropped units."""
        x = inputs.transpose(1, 2)[:, None]  # (B, 1, rows, f)
        x = max_pool2d(self.first(x), 2)
        x = x + self.shared(self.shared(x))  # one convolution, twice, as in the public program
        x = max_pool2d(self.second(x), 2)
        x = (x + self.pair(x)).flatten(1)
        if self.training and self.dropout > 0:
            # drawn on the CPU, so that every device drops the same ones
            kept = torch.rand(x.shape, generator=self.generator) >= self.dropout
            x = x * kept.to(x.device, non_blocking=True) / (1 - self.dropout)
        return self.fully(x)

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """(B, 512) features to (B, C) scores."""
        return self.classifier(features)


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    """3 x 3 without bias, batch normalisation, relu."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )
