"""Subsequences of a window's frames, encoded together, for SSP (MG-SCR) and MSR (SM-SGE).

A pretext task encodes K subsequences of a window, each from an empty state. Where two begin with
the same frames, an LSTM is in the same state after them; so the subsequences are laid out as a
tree of shared beginnings, and each of its places is computed once. A step of the LSTM takes all
places of one depth, of all windows, in one product. Shape letters: B windows, f frames, K
subsequences, M places of the tree, H units.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from simmc.models.lstm import LSTMLayer, StackedLSTM


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
        """The same on a device; a GPU is not waited for."""
        frames, parents, members = (
            part.to(device, non_blocking=True) for part in (self.frames, self.parents, self.members)
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
    first, *later = lstm.stack()
    # every frame is multiplied by the input weights once, however often it occurs
    outputs = _through_tree(first, tree.gather(first.products(frames[None])[0]), tree)
    for layer in later:
        outputs = _through_tree(layer, layer.products(outputs[None])[0], tree)
    return outputs


def _through_tree(layer: LSTMLayer, added: torch.Tensor, tree: Subsequences) -> torch.Tensor:
    """(M, B, H) outputs of a layer, depth by depth, from (M, B, 4 H) products of its inputs."""
    outputs: list[torch.Tensor] = []
    h = c = None
    starts = tree.depths
    for depth, gates in enumerate(added.split(np.diff(starts).tolist())):
        if h is not None and c is not None:
            parents = tree.parents[starts[depth] : starts[depth + 1]] - starts[depth - 1]
            h, c = (part.index_select(0, parents).flatten(0, 1)[None] for part in (h, c))
        h, c = layer.step(gates.flatten(0, 1)[None], h, c)
        h, c = (part[0].unflatten(0, gates.shape[:2]) for part in (h, c))
        outputs.append(h)
    return torch.cat(outputs)


def _depths(lengths: list[int]) -> tuple[int, ...]:
    """Where each depth begins among places ordered by it."""
    return tuple(np.searchsorted(lengths, np.arange(1, lengths[-1] + 2)).tolist())
