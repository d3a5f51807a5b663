"""What MG-SCR and SM-SGE have in common: graphs of some levels, and heads that give skeletons back.

Shape letters: B windows, f frames, F = f B frames in all, first frames of all windows first;
J joints, n nodes of a level, H units.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.functional import relu

from simmc.data.graph_levels import GraphLevel, skeleton_graph
from simmc.data.skeletons import Skeleton
from simmc.models.graph_layers import StructuralRelations
from simmc.models.kernels.lanes import CHANNELS

Levels = Mapping[GraphLevel, torch.Tensor]


class SkeletonGraphs(nn.Module):
    """Positions and structural features of the nodes of some levels.

    Args:
        skeleton: names the joint axis.
        levels: from fine to coarse.
        generator: source of the initial weights.

    Attributes:
        sizes: n of each level.
    """

    means: torch.Tensor

    def __init__(
        self, skeleton: Skeleton, levels: Sequence[GraphLevel], *, generator: torch.Generator
    ) -> None:
        super().__init__()
        graphs = [skeleton_graph(skeleton, level) for level in levels]
        self.sizes: dict[GraphLevel, int] = {graph.level: graph.n_nodes for graph in graphs}
        means = np.concatenate([graph.means(skeleton.n_joints) for graph in graphs])
        self.register_buffer("means", torch.from_numpy(means).float(), persistent=False)
        self.relations = nn.ModuleDict(
            {
                graph.level: StructuralRelations(graph.adjacency(), generator=generator)
                for graph in graphs
            }
        )

    def positions(self, windows: torch.Tensor) -> Levels:
        """(B, f, 3 J) windows to (n, 3, F) positions of each level's nodes."""
        joints = windows.permute(2, 1, 0).reshape(self.means.shape[1], -1)  # (J, 3 F)
        nodes = (self.means @ joints).unflatten(1, (3, -1))
        return dict(zip(self.sizes, nodes.split(list(self.sizes.values())), strict=True))

    def forward(self, positions: Levels) -> Levels:
        """(n, 3, F) positions to (n, 8, F) structural features of each level."""
        return {level: self.relations[level](positions[level]) for level in self.sizes}


class SkeletonHeads(nn.Module):
    """Two layers for each kind of skeleton that is given back from an LSTM's output.

    Args:
        units: H, of the LSTM and of the layer between.
        widths: values of each kind of skeleton.
        generator: source of the initial weights, N(0, 1); biases start at 0.
    """

    def __init__(self, units: int, widths: Sequence[int], *, generator: torch.Generator) -> None:
        super().__init__()
        self.units = units
        # the first layers of all heads are one product
        self.hidden = nn.Linear(units, units * len(widths))
        self.outputs = nn.ModuleList(nn.Linear(units, width) for width in widths)
        for layer in (self.hidden, *self.outputs):
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)

    def forward(self, encoded: torch.Tensor) -> list[torch.Tensor]:
        """(..., H) to (..., width) of each kind."""
        parts = relu(self.hidden(encoded)).split(self.units, dim=-1)
        return [layer(part) for layer, part in zip(self.outputs, parts, strict=True)]


def by_frame(nodes: torch.Tensor, length: int) -> torch.Tensor:
    """(n, c, F) of nodes to (f, B, c n), node by node; a view."""
    return nodes.flatten(0, 1).T.unflatten(0, (length, -1))


def relation_weight(generator: torch.Generator) -> nn.Parameter:
    """An 8 x 8 matrix from N(0, 1), inputs x outputs."""
    return nn.Parameter(torch.randn(CHANNELS, CHANNELS, generator=generator))
