"""SM-SGE: self-supervised multi-scale skeleton graph encoding (ACM Multimedia 2021).

Shape letters: B windows, f frames, F = f B, n nodes of a level, H units.
"""

import torch
from torch import nn

from simmc.data.graph_levels import GRAPH_LEVELS, GraphLevel
from simmc.data.skeletons import Skeleton
from simmc.models.graph_layers import collaborative_relation
from simmc.models.kernels.lanes import CHANNELS
from simmc.models.lstm import StackedLSTM
from simmc.models.skeleton_graphs import (
    Levels,
    SkeletonGraphs,
    SkeletonHeads,
    by_frame,
    relation_weight,
)
from simmc.models.source import SourceNetwork
from simmc.models.subsequences import prefixes

LAYERS = 2


class SMSGENetwork(SourceNetwork):
    """Graphs of four levels, coarse ones feeding finer ones, each with an LSTM over frames.

    Args:
        skeleton: names the joint axis.
        units: H of the LSTMs' layers.
        empty_frame: whether `views` ends with a prefix of f + 1 frames, of which the last is
            empty (row G8 of docs/fidelity.md).
        generator: source of the initial weights.
    """

    KINDS = ("mean", "lstm", "prefix")
    VIEWS = ("prefix",)

    def __init__(
        self,
        skeleton: Skeleton,
        units: int = 256,
        *,
        empty_frame: bool = False,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.empty_frame = empty_frame
        self.graphs = SkeletonGraphs(skeleton, GRAPH_LEVELS, generator=generator)
        self.collaborations = nn.ParameterDict(
            {
                f"{target}_from_{source}": relation_weight(generator)
                for target in GRAPH_LEVELS
                for source in coarser(target)
            }
        )
        sizes = self.graphs.sizes
        self.encoders = nn.ModuleDict(
            {
                level: StackedLSTM(1, CHANNELS * n, units, LAYERS, generator=generator, spread=None)
                for level, n in sizes.items()
            }
        )
        self.heads = nn.ModuleDict(
            {
                level: SkeletonHeads(
                    units, [3 * sizes[target] for target in coarser(level)], generator=generator
                )
                for level in sizes
            }
        )

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those that the losses of several levels reach: all of the graphs'."""
        return [*self.graphs.parameters(), *self.collaborations.parameters()]

    def collaborating(self, structural: Levels) -> Levels:
        """Multi-scale relations (Eq. 4-6): a level reads itself and all coarser ones."""
        related = {}
        for target in GRAPH_LEVELS:
            related[target] = structural[target]
            for source in coarser(target):
                read = collaborative_relation(structural[target], structural[source])
                weight = self.collaborations[f"{target}_from_{source}"]
                related[target] = related[target] + weight.T @ read
        return related

    def by_frame(self, windows: torch.Tensor) -> Levels:
        """(B, f, 3 J) windows to (f, B, 8 n) frame features of each level."""
        related = self.collaborating(self.graphs(self.graphs.positions(windows)))
        return {level: by_frame(nodes, windows.shape[1]) for level, nodes in related.items()}

    def frames(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, f, 8 (I + J + P + B)): the features of all nodes, hyper-joints first."""
        return torch.cat(list(self.by_frame(windows).values()), dim=2).transpose(0, 1)

    def prefixes(self, windows: torch.Tensor, *, empty_frame: bool = False) -> torch.Tensor:
        """(B, f, 4 H) outputs of the four LSTMs after 1, 2, ..., f frames, or f + 1."""
        found = []
        for level, inputs in self.by_frame(windows).items():
            if empty_frame:
                inputs = torch.cat([inputs, torch.zeros_like(inputs[:1])])
            found.append(prefixes(self.encoders[level], inputs))  # type: ignore[arg-type]
        return torch.cat(found, dim=2)

    def pooled(self, windows: torch.Tensor, kind: str) -> torch.Tensor:
        """(B, d) mean of the frames; (B, 4 H) last outputs, or mean of the prefixes' outputs."""
        if kind == "mean":
            return torch.cat([part.mean(0) for part in self.by_frame(windows).values()], dim=1)
        if kind == "lstm":
            return self.prefixes(windows)[:, -1]
        return self.views(windows).mean(1)

    def views(self, windows: torch.Tensor, how: str = "prefix") -> torch.Tensor:
        """(B, v, 4 H) outputs after the first 1 to v frames, v = f or with `empty_frame` f + 1."""
        return self.prefixes(windows, empty_frame=self.empty_frame)


def coarser(level: GraphLevel) -> tuple[GraphLevel, ...]:
    """The level itself and all coarser ones: those that it reads and reconstructs."""
    return GRAPH_LEVELS[GRAPH_LEVELS.index(level) :]
