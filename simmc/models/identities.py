"""SimMC's encoder with a classifier of identities: the upper reference. Supervised."""

import torch
from torch import nn

from simmc.models.himpc import LevelNetwork
from simmc.models.simmc import dense_layer


class EncoderClassifier(nn.Module):
    """SimMC's encoder psi (Eq. 1 and 3) and, in training, a linear classifier behind it.

    Args:
        width: K, input values a frame (3 a joint, joint-major x y z).
        classes: C, identities of the training windows.
        hidden: H, embedding size.
        layers: D, hidden relu layers.
        generator: source of the initial weights, Glorot-uniform; the encoder's are those of
            `SimMCNetwork` from the same generator.
    """

    def __init__(
        self,
        width: int,
        classes: int,
        hidden: int = 256,
        layers: int = 1,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        # a level without heads is SimMC's encoder without its predictor, which nothing trains here
        self.encoder = LevelNetwork(width, hidden, layers, heads=0, generator=generator)
        self.classifier = dense_layer(hidden, classes, generator)

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, f, K) windows to (B, H): v, the mean over frames of the encoded frames."""
        return self.encoder.instances(inputs)

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """(B, H) features to (B, C) scores."""
        return self.classifier(features)
