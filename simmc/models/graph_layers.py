"""Graph layers of MG-SCR and SM-SGE: relations inside a level and between levels.

Frames come last, (n, 8, F), so that each channel of a node is one long row. The tensor operations
define what is computed; on a CPU, compiled loops compute the same 4 to 8 times faster in float32.
Shape letters: n and m nodes, E edges, P heads, F = frames of all windows of a batch.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.functional import elu, leaky_relu

from simmc.compiled import over_rows
from simmc.models.kernels.collaborative import collaborative, collaborative_back
from simmc.models.kernels.lanes import CHANNELS, LANES
from simmc.models.kernels.structural import SLOPE, structural, structural_back

HEADS = 8
BLOCK = 4 * LANES  # frames that a thread takes at a time


class StructuralRelations(nn.Module):
    """The structural relation layer of one level (MG-SCR 3.2, SM-SGE 3.2.1).

    A node's position is lifted to 8 channels. Head p: u_i = W x_i; e_ij = LeakyReLU(a1.u_i + b1 +
    a2.u_j + b2); weights are the softmax of e_ij over the neighbours j of i, itself among them;
    y_i = ELU(weighted sum of u_j + b). The output is the mean of the heads.

    Args:
        adjacency: (n, n) bool, with the diagonal.
        generator: source of the initial weights: N(0, 1) for the lift, Glorot-uniform for the
            heads; biases start at 0.

    Attributes:
        lift: (8, 3); lift_bias: (8,).
        kernels: (P, 8, 8), outputs x inputs.
        own_scores: (P, 8), a1; other_scores: (P, 8), a2; score_biases: (P, 2), b1 and b2.
        biases: (P, 8), b.
        edges: (2, E) int64 buffer, i and j of every pair of neighbours, in the order of i.
    """

    edges: torch.Tensor

    def __init__(self, adjacency: np.ndarray, *, generator: torch.Generator) -> None:
        super().__init__()
        self.lift = nn.Parameter(torch.empty(CHANNELS, 3))
        self.lift_bias = nn.Parameter(torch.zeros(CHANNELS))
        self.kernels = nn.Parameter(torch.empty(HEADS, CHANNELS, CHANNELS))
        self.own_scores = nn.Parameter(torch.empty(HEADS, CHANNELS))
        self.other_scores = nn.Parameter(torch.empty(HEADS, CHANNELS))
        self.score_biases = nn.Parameter(torch.zeros(HEADS, 2))
        self.biases = nn.Parameter(torch.zeros(HEADS, CHANNELS))
        nn.init.normal_(self.lift, generator=generator)
        for weight, fans in (
            (self.kernels, 2 * CHANNELS),
            (self.own_scores, CHANNELS + 1),
            (self.other_scores, CHANNELS + 1),
        ):
            spread = (6 / fans) ** 0.5
            nn.init.uniform_(weight, -spread, spread, generator=generator)
        nodes, neighbours = map(np.ascontiguousarray, np.nonzero(adjacency))
        edges = torch.from_numpy(np.stack([nodes, neighbours]))
        self.register_buffer("edges", edges, persistent=False)
        # the same for the compiled loops: where the neighbours of each node begin, and all of them
        self._links = np.searchsorted(nodes, np.arange(len(adjacency) + 1)), neighbours

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        """(n, 3, F) positions to (n, 8, F) structural features; no gradient to positions."""
        nodes = len(self._links[0]) - 1
        if positions.ndim != 3 or positions.shape[:2] != (nodes, 3):
            raise ValueError(f"{nodes} nodes, but positions {tuple(positions.shape)}")
        weights = (
            *(self.lift, self.lift_bias, self.kernels),
            *(self.own_scores, self.other_scores, self.score_biases, self.biases),
        )
        if _by_loops(positions):
            return _Structural.apply(positions, self._links, *weights)
        return structural_relations(positions, self.edges, *weights)


def structural_relations(
    positions: torch.Tensor,
    edges: torch.Tensor,
    lift: torch.Tensor,
    lift_bias: torch.Tensor,
    kernels: torch.Tensor,
    own_scores: torch.Tensor,
    other_scores: torch.Tensor,
    score_biases: torch.Tensor,
    biases: torch.Tensor,
) -> torch.Tensor:
    """What `StructuralRelations` computes, for `edges` (2, E) that list pairs of neighbours."""
    node, neighbour = edges
    h = lift @ positions + lift_bias[:, None]
    u = torch.einsum("pcd,ndf->npcf", kernels, h)
    own = torch.einsum("pc,npcf->npf", own_scores, u) + score_biases[:, :1]
    other = torch.einsum("pc,npcf->npf", other_scores, u) + score_biases[:, 1:]
    scores = leaky_relu(own[node] + other[neighbour], float(SLOPE))  # (E, P, F)
    # softmax over the edges of each node
    places = node[:, None, None].expand_as(scores)
    highest = torch.zeros_like(own).scatter_reduce(
        0, places, scores.detach(), "amax", include_self=False
    )
    weights = (scores - highest[node]).exp()
    weights = weights / torch.zeros_like(own).index_add(0, node, weights)[node]
    read = weights[:, :, None] * u[neighbour]
    y = torch.zeros_like(u).index_add(0, node, read) + biases[:, :, None]
    return elu(y).mean(dim=1)


def collaborative_relation(target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Sum over source nodes weighted by the softmax of their products with the target node.

    MG-SCR Eq. 6-7, SM-SGE Eq. 4-5.

    Args:
        target: (n, 8, F) features of the level that is updated.
        source: (m, 8, F) features of the level that is read.

    Returns:
        (n, 8, F).
    """
    alike = target.ndim == source.ndim == 3 and target.shape[1:] == source.shape[1:]
    if not alike or target.shape[1] != CHANNELS:
        raise ValueError(f"levels of shapes {tuple(target.shape)} and {tuple(source.shape)}")
    if _by_loops(target) and _by_loops(source):
        return _Collaborative.apply(target, source)
    weights = torch.einsum("icf,jcf->ijf", target, source).softmax(dim=1)
    return torch.einsum("ijf,jcf->icf", weights, source)


class _Structural(torch.autograd.Function):
    """`structural_relations` by compiled loops."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        positions: torch.Tensor,
        links: tuple[np.ndarray, np.ndarray],
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        ctx.links = links  # type: ignore[attr-defined]
        ctx.save_for_backward(positions, *weights)
        out = positions.new_empty(len(positions), CHANNELS, positions.shape[2])
        given = [_array(positions), *links, *map(_array, weights), _array(out)]
        _over_frames(lambda begin, end: structural(*given, begin, end), positions)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, slope: torch.Tensor) -> tuple[Any, ...]:
        positions, *weights = ctx.saved_tensors  # type: ignore[attr-defined]
        given = [
            _array(positions),
            *ctx.links,  # type: ignore[attr-defined]
            *map(_array, weights),
            _array(slope),
        ]

        def work(begin: int, end: int) -> list[np.ndarray]:
            slopes = [np.zeros(w.shape, np.float32) for w in weights]
            structural_back(*given, begin, end, *slopes)
            return slopes

        # added in the order of the blocks, so that the threads leave no trace
        blocks = zip(*_over_frames(work, positions), strict=True)
        return None, None, *(torch.from_numpy(np.sum(parts, axis=0)) for parts in blocks)


class _Collaborative(torch.autograd.Function):
    """`collaborative_relation` by compiled loops."""

    @staticmethod
    def forward(ctx: FunctionCtx, target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(target, source)
        out = torch.empty_like(target, memory_format=torch.contiguous_format)
        given = [_array(target), _array(source), _array(out)]
        _over_frames(lambda begin, end: collaborative(*given, begin, end), target)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, slope: torch.Tensor) -> tuple[Any, ...]:
        saved = ctx.saved_tensors  # type: ignore[attr-defined]
        made = [torch.empty_like(t, memory_format=torch.contiguous_format) for t in saved]
        given = [_array(t) for t in (*saved, slope, *made)]
        _over_frames(lambda begin, end: collaborative_back(*given, begin, end), slope)
        return tuple(made)


def _by_loops(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _over_frames(work: Callable[[int, int], object], tensor: torch.Tensor) -> list[Any]:
    return over_rows(work, tensor.shape[2], torch.get_num_threads(), BLOCK)
