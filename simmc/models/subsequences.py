"""Subsequences of a window's frames, encoded together: what SSP and MSR learn from.

A pretext task encodes K subsequences of a window, each from an empty state. Where two begin with
the same frames, an LSTM is in the same state after them; so the subsequences are laid out as a
tree of shared beginnings, and each of its places is worked once. A step of the LSTM takes all
places of one depth, of all windows, in one product. Shape letters: B windows, f frames, K
subsequences, M places of the tree, H units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from simmc.models.lstm import LSTMLayer, StackedLSTM
from simmc.models.lstm_cell import cell, cell_back


@dataclass(frozen=True)
class Subsequences:
    """The tree; places are ordered by depth.

    Attributes:
        frames: (M,) int64, the frame of each place; or (M, B), where it is not the same in every
            window.
        parents: (M,) int64, the place before; 0 where there is none.
        depths: first place of each depth, then M.
        members: (M, K) float32, 1 where a subsequence has the place.
    """

    frames: torch.Tensor
    parents: torch.Tensor
    depths: tuple[int, ...]
    members: torch.Tensor

    def shares(self, *, of_length: bool) -> torch.Tensor:
        """(M,) float32 weights of the places in a mean over the subsequences.

        Args:
            of_length: a subsequence counts by the mean, not by the sum, over its places.
        """
        members = self.members / self.members.sum(0) if of_length else self.members
        return members.sum(1) / members.shape[1]

    def gather(self, values: torch.Tensor) -> torch.Tensor:
        """(f, B, w) values of frames to the (M, B, w) of the places."""
        if self.frames.ndim == 1:
            return values.index_select(0, self.frames)
        return values[self.frames, torch.arange(values.shape[1], device=values.device)]

    def to(self, device: torch.device) -> "Subsequences":
        """The same on a device."""
        frames, parents, members = (
            part.to(device) for part in (self.frames, self.parents, self.members)
        )
        return Subsequences(frames, parents, self.depths, members)


def subsequences(positions: Sequence[Sequence[int]]) -> Subsequences:
    """The tree of some sequences of frames, each given by its positions in the window."""
    places: dict[tuple[int, ...], list[int]] = {}
    for k, sequence in enumerate(positions):
        for length in range(1, len(sequence) + 1):
            places.setdefault(tuple(sequence[:length]), []).append(k)
    beginnings = sorted(places, key=len)
    index = {beginning: place for place, beginning in enumerate(beginnings)}
    members = torch.zeros(len(places), len(positions))
    for beginning, sequences in places.items():
        members[index[beginning], sequences] = 1
    return Subsequences(
        torch.tensor([beginning[-1] for beginning in beginnings]),
        torch.tensor([index.get(beginning[:-1], 0) for beginning in beginnings]),
        _depths([len(beginning) for beginning in beginnings]),
        members,
    )


def misplaced_subsequences(positions: Sequence[Sequence[int]], batch: int) -> Subsequences:
    """The sequences that an early public program of MG-SCR gathers (row G1 of docs/fidelity.md).

    Window b should get the k positions p. It gets p[(b k + i) // B] at place i, because positions
    are repeated one by one where windows are: almost always k times the same frame, chosen by the
    window's place in the batch.
    """
    places = sorted((i, k) for k, sequence in enumerate(positions) for i in range(len(sequence)))
    index = {place: m for m, place in enumerate(places)}
    windows = np.arange(batch)
    frames, members = [], torch.zeros(len(places), len(positions))
    for m, (i, k) in enumerate(places):
        length = len(positions[k])
        frames.append(np.asarray(positions[k])[(windows * length + i) // batch])
        members[m, k] = 1
    return Subsequences(
        torch.from_numpy(np.stack(frames)),
        torch.tensor([index.get((i - 1, k), 0) for i, k in places]),
        _depths([i + 1 for i, _ in places]),
        members,
    )


def prefixes(lstm: StackedLSTM, frames: torch.Tensor) -> torch.Tensor:
    """(B, f, H) outputs of one stack after the first 1, 2, ..., f of the (f, B, width) frames."""
    whole = subsequences([range(len(frames))]).to(frames.device)
    return encode(lstm, frames, whole).transpose(0, 1)


def encode(lstm: StackedLSTM, frames: torch.Tensor, tree: Subsequences) -> torch.Tensor:
    """Outputs of the top layer at every place.

    Args:
        lstm: one stack.
        frames: (f, B, width) float inputs.
        tree: which frames follow each other.

    Returns:
        (M, B, H).
    """
    first, *later = [layer for layer in lstm.layers if isinstance(layer, LSTMLayer)]
    # every frame is multiplied by the input weights once, wherever it occurs
    added = tree.gather(_products(first, frames))
    outputs = _TreeLayer.apply(added, first.recurrent[0], tree)
    for layer in later:
        outputs = _TreeLayer.apply(_products(layer, outputs), layer.recurrent[0], tree)
    return outputs


def _products(layer: LSTMLayer, inputs: torch.Tensor) -> torch.Tensor:
    """`layer.products` of the one stack: (n, B, width) to (n, B, 4 H)."""
    flat = torch.addmm(layer.bias[0] + layer.offset, inputs.flatten(0, 1), layer.kernel[0])
    return flat.unflatten(0, inputs.shape[:2])


class _TreeLayer(torch.autograd.Function):
    """The steps of one LSTM layer through a tree, depth by depth."""

    @staticmethod
    def forward(
        ctx: Any, added: torch.Tensor, recurrent: torch.Tensor, tree: Subsequences
    ) -> torch.Tensor:
        gates = added.detach()  # made for this call, so that it can be worked on in place
        outputs, memory, squashed = (_like(gates, gates.shape[-1] // 4) for _ in range(3))
        for depth, rows in enumerate(_rows(tree)):
            here, before = gates[rows].flatten(0, 1), torch.zeros_like(memory[rows])
            if depth:
                parents = tree.parents[rows]
                here.addmm_(outputs.index_select(0, parents).flatten(0, 1), recurrent)
                before = memory.index_select(0, parents)
            parts = (before, memory[rows], squashed[rows], outputs[rows])
            cell(here, *(part.flatten(0, 1) for part in parts))
        ctx.tree = tree
        ctx.save_for_backward(gates, memory, squashed, outputs, recurrent)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> tuple:
        tree: Subsequences = ctx.tree
        gates, memory, squashed, outputs, recurrent = ctx.saved_tensors
        dout = slope.clone(memory_format=torch.contiguous_format)
        dmemory, dgates = torch.zeros_like(memory), torch.empty_like(gates)
        depths = _rows(tree)
        for depth, rows in reversed(list(enumerate(depths))):
            parents = tree.parents[rows]
            before = memory.index_select(0, parents) if depth else torch.zeros_like(memory[rows])
            parts = (gates[rows], before, squashed[rows], dout[rows], dmemory[rows], dgates[rows])
            cell_back(*(part.flatten(0, 1) for part in parts))
            if depth:
                above = depths[depth - 1]
                back = (dgates[rows].flatten(0, 1) @ recurrent.T).view_as(before)
                dout[above].index_add_(0, parents - above.start, back)
                dmemory[above].index_add_(0, parents - above.start, dmemory[rows])
        later = slice(tree.depths[1], None)
        if tree.depths[1] == len(gates):
            return dgates, torch.zeros_like(recurrent), None
        multiplied = outputs.index_select(0, tree.parents[later]).flatten(0, 1)
        return dgates, multiplied.T @ dgates[later].flatten(0, 1), None


def _like(gates: torch.Tensor, width: int) -> torch.Tensor:
    return gates.new_empty(*gates.shape[:-1], width)


def _rows(tree: Subsequences) -> list[slice]:
    return [slice(a, b) for a, b in zip(tree.depths, tree.depths[1:], strict=False)]


def _depths(lengths: list[int]) -> tuple[int, ...]:
    """Where each depth begins among places ordered by it."""
    return tuple(np.searchsorted(lengths, np.arange(1, lengths[-1] + 2)).tolist())
