"""MG-SCR: multi-level graph encoding with structural-collaborative relation learning (IJCAI 2021).

Shape letters: B windows, f frames, F = f B, J joints, H units.
"""

import torch

from simmc.data.graph_levels import GraphLevel, containing
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
from simmc.models.subsequences import encode, misplaced_subsequences, prefixes

LEVELS: tuple[GraphLevel, ...] = ("joint", "component", "limb")
LAYERS = 2


class MGSCRNetwork(SourceNetwork):
    """Graphs of joints, components and limbs, fused at the joints, and an LSTM over frames.

    Args:
        skeleton: names the joint axis.
        units: H of the LSTM's layers.
        fusion: lambda, weight of the coarse levels at each joint.
        last_frame: whether the longest prefix of `views` is the whole window (row G4 of
            docs/fidelity.md).
        batch: windows of the batches in which `views` misplaces frames; None: it does not (G1).
        generator: source of the initial weights.
    """

    KINDS = ("mean", "lstm", "prefix")
    VIEWS = ("prefix",)
    components: torch.Tensor
    limbs: torch.Tensor

    def __init__(
        self,
        skeleton: Skeleton,
        units: int = 128,
        fusion: float = 0.3,
        *,
        last_frame: bool = False,
        batch: int | None = None,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.fusion, self.last_frame, self.batch = fusion, last_frame, batch
        self.graphs = SkeletonGraphs(skeleton, LEVELS, generator=generator)
        self.to_component = relation_weight(generator)  # W_12
        self.to_limb = relation_weight(generator)  # W_23
        for name, level in (("components", "component"), ("limbs", "limb")):
            holder = torch.from_numpy(containing(skeleton, level))  # type: ignore[arg-type]
            self.register_buffer(name, holder, persistent=False)
        width = CHANNELS * skeleton.n_joints
        self.encoder = StackedLSTM(1, width, units, LAYERS, generator=generator, spread=None)
        self.predictor = SkeletonHeads(units, [3 * skeleton.n_joints], generator=generator)

    def fused(self, structural: Levels) -> torch.Tensor:
        """Cross-level relation and fusion (Eq. 6-9): (n, 8, F) of the levels to (J, 8, F)."""
        joints, parts, limbs = (structural[level] for level in LEVELS)
        related_parts = parts + self.to_component.T @ collaborative_relation(parts, joints)
        related_limbs = limbs + self.to_limb.T @ collaborative_relation(limbs, parts)
        coarse = related_parts.index_select(0, self.components) + related_limbs.index_select(
            0, self.limbs
        )
        return torch.add(joints, coarse, alpha=self.fusion)

    def by_frame(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, f, 3 J) windows to (f, B, 8 J) frame features."""
        nodes = self.fused(self.graphs(self.graphs.positions(windows)))
        return by_frame(nodes, windows.shape[1])

    def frames(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, f, 8 J): the fused features of the joints."""
        return self.by_frame(windows).transpose(0, 1)

    def prefixes(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, f, H) outputs of the LSTM after 1, 2, ..., f frames."""
        return prefixes(self.encoder, self.by_frame(windows))

    def pooled(self, windows: torch.Tensor, kind: str) -> torch.Tensor:
        """(B, 8 J) mean of the frames; (B, H) last output, or mean of the prefixes' outputs."""
        if kind == "mean":
            return self.by_frame(windows).mean(0)
        if kind == "lstm":
            return self.prefixes(windows)[:, -1]
        return self.views(windows).mean(1)

    def views(self, windows: torch.Tensor, how: str = "prefix") -> torch.Tensor:
        """(B, v, H) outputs after the first 1 to v frames, v = f - 1, or f with `last_frame`."""
        count = windows.shape[1] if self.last_frame else windows.shape[1] - 1
        if self.batch is None:
            return self.prefixes(windows)[:, :count]
        return torch.cat([self._misplaced(part, count) for part in windows.split(self.batch)])

    def _misplaced(self, windows: torch.Tensor, count: int) -> torch.Tensor:
        """`views` as an early public program computes it, with the windows of a batch mixed up."""
        positions = [list(range(k)) for k in range(1, count + 1)]
        tree = misplaced_subsequences(positions, len(windows))
        last = [int(tree.members[:, k].nonzero()[-1]) for k in range(count)]
        outputs = encode(self.encoder, self.by_frame(windows), tree.to(windows.device))
        return torch.stack([outputs[place] for place in last], dim=1)
