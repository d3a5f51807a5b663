"""Hi-MPC's network: an encoder and meta-transformation heads for each body level (3.2 and 3.4)."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import nn

from simmc.models.simmc import ReluLayers, dense_layer


class LevelNetwork(nn.Module):
    """Frame-wise encoder psi of one level, and its M heads, shared by instances and prototypes.

    Args:
        width: K, input values a frame (3 a point, point-major x y z).
        hidden: h, embedding size.
        layers: D, hidden relu layers.
        heads: M, matrices h x h; 0 for none: instances and prototypes are contrasted as they are.
        generator: source of the initial weights: Glorot-uniform for the encoder, N(0, 1) for the
            heads, so that H H^T is about h times the identity.

    Attributes:
        heads: (M, h, h) float, inputs x outputs: `v @ heads[m]` is the m-th meta-instance.
    """

    def __init__(
        self,
        width: int,
        hidden: int = 256,
        layers: int = 1,
        heads: int = 8,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.hidden = ReluLayers(width, hidden, layers, generator=generator)
        self.output = dense_layer(hidden if layers else width, hidden, generator)
        self.heads = nn.Parameter(torch.empty(heads, hidden, hidden))
        nn.init.normal_(self.heads, generator=generator)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Encode each frame: (B, f, K) windows to (B, f, h) frames z."""
        return self.output(self.hidden(windows))

    def instances(self, windows: torch.Tensor) -> torch.Tensor:
        """Mean over frames of the encoded frames (Eq. 1): (B, f, K) windows to (B, h) instances v.

        The last layer is affine, so the mean is taken before it: the same value for less work.
        """
        return self.output(self.hidden(windows).mean(dim=1))

    def represent(self, instances: torch.Tensor) -> torch.Tensor:
        """Mean of the meta-instances (Eq. 10), that is v times the mean head: (B, h) to (B, h)."""
        if len(self.heads) == 0:
            return instances
        return instances @ self.heads.mean(dim=0)


class HierarchicalNetwork(nn.Module):
    """One independent `LevelNetwork` for each body level, by the level's name.

    Args:
        widths: K of each level; the order is that of the representation. Paper: joint, component,
            limb, as `simmc.data.body_levels.body_levels` gives them.
        hidden: h.
        layers: D.
        heads: M.
        generator: source of the initial weights.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        hidden: int = 256,
        layers: int = 1,
        heads: int = 8,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleDict(
            {
                name: LevelNetwork(width, hidden, layers, heads, generator=generator)
                for name, width in widths.items()
            }
        )

    def __getitem__(self, level: str) -> LevelNetwork:
        """The network of one level."""
        return cast(LevelNetwork, self.levels[level])

    def instances(self, windows: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """(B, f, K) windows of each level to its (B, h) instances v^l."""
        return {name: self[name].instances(windows[name]) for name in self.levels}

    def represent(self, instances: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(B, h) of each level to (B, n h) V = [V^1; V^2; V^3] (MSMR, Eq. 10), not normalised."""
        return torch.cat([self[name].represent(instances[name]) for name in self.levels], dim=1)


def hierarchical_flops(
    widths: Sequence[int],
    hidden: int = 256,
    layers: int = 1,
    heads: int = 8,
    *,
    mining: bool = True,
    batch: int = 256,
    length: int = 6,
) -> int:
    """Floating-point operations of one training step, counted as the papers report them.

    As `simmc.models.simmc.training_flops`: 3 * 2 B m n for an m x n layer over B rows. Encoders
    see every frame of the batch; heads every frame with hard skeleton mining, else one instance a
    window. Products with prototypes are left out: a profiler does not know their number.
    """
    rows = batch * length
    encoders = sum(m * n for w in widths for m, n in pairwise([w] + [hidden] * (layers + 1)))
    mapped = len(widths) * heads * hidden * hidden
    return 6 * (encoders * rows + mapped * (rows if mining else batch))
