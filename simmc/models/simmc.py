"""SimMC's frame masks (Eq. 2), and its network: a frame-wise MLP and a linear predictor."""

from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn.functional import relu


def draw_masks(
    rng: np.random.Generator,
    windows: int,
    length: int,
    dropped: tuple[int, ...],
    *,
    group: int = 1,
) -> np.ndarray:
    """Keep-masks M(f, x) (Eq. 2) for every window and view: weights of the frames that sum to 1.

    In each mask x frame positions, uniform and without replacement, are dropped and the f - x
    others share the weight (the 1 / (f - x) of Eq. 3).

    Args:
        rng: source of the draws.
        windows: N.
        length: f.
        dropped: x of each of the q views, 0 <= x < f.
        group: this many consecutive windows share their masks: 1 draws for every window (the
            paper), the batch size draws once a batch (the public program, quirk Q2).

    Returns:
        (N, q, f) float32.
    """
    groups = -(-windows // group)
    order = rng.random((groups, len(dropped), length)).argsort(axis=2)
    x = np.asarray(dropped)[None, :, None]
    weights = np.where(order >= x, 1.0 / (length - x), 0.0).astype(np.float32)
    return np.repeat(weights, group, axis=0)[:windows]


def dense_layer(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """An untrained linear layer: Glorot-uniform weights, biases 0."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


class ReluLayers(nn.ModuleList):
    """D relu layers of H units, which (..., K) values of a frame go through one after the other."""

    def __init__(self, width: int, hidden: int, layers: int, *, generator: torch.Generator) -> None:
        sizes = [width] + [hidden] * layers
        super().__init__(dense_layer(a, b, generator) for a, b in pairwise(sizes))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(..., K) to (..., H)."""
        for layer in self:
            frames = relu(layer(frames))
        return frames


class SimMCNetwork(nn.Module):
    """Encoder psi and predictor F_c.

    Args:
        width: K, input values a frame (3 a joint, joint-major x y z).
        hidden: H, embedding size.
        layers: D, hidden relu layers.
        generator: source of the initial weights: Glorot-uniform for the encoder, N(0, 1) for the
            predictor. The cosine removes that scale, but Adam's step depends on it.
    """

    def __init__(
        self, width: int, hidden: int = 256, layers: int = 1, *, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.hidden = ReluLayers(width, hidden, layers, generator=generator)
        self.output = dense_layer(hidden, hidden, generator)
        self.predictor = nn.Linear(hidden, hidden)
        nn.init.normal_(self.predictor.weight, generator=generator)
        nn.init.zeros_(self.predictor.bias)

    def forward(self, windows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Weighted means over frames of the encoded frames (Eq. 1 and 3).

        The last layer is affine and the weights sum to 1, so the mean is taken before it: the
        same value for a fraction f of the work.

        Args:
            windows: (B, f, K) float.
            weights: (B, q, f) float, q weightings of the frames, each summing to 1.

        Returns:
            (B, q, H) float features v.
        """
        return self.output(weights @ self.hidden(windows))

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Map (..., H) features into the contrasting space, z = F_c(v)."""
        return self.predictor(features)


def count_parameters(network: nn.Module) -> int:
    """Trainable numbers in a network."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def training_flops(
    width: int, hidden: int, layers: int, *, views: int = 2, batch: int = 256, length: int = 6
) -> int:
    """Floating-point operations of one training step, counted as the papers report them.

    A profiler's count over the dense layers, forward and backward: 3 * 2 B m n operations for an
    m x n layer over B rows. The encoder sees every frame of the batch, the predictor one feature
    for each view of a window. 0.98e9 for KS20 (75 inputs, reported 0.99 GFLOP).
    """
    sizes = [width] + [hidden] * (layers + 1)
    encoder = sum(m * n for m, n in pairwise(sizes)) * batch * length
    return 6 * (encoder + views * batch * hidden * hidden)
