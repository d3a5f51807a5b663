"""AGE's and SGELA's network: encoder, decoder and attention (paper sections 3.1 to 3.3).

One independent model for each coordinate, or for each pretext task and coordinate. All run in one
batched pass, which equals training them one by one.
Shape letters: m models, f frames, B windows, J joints, H units.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from simmc.models.lstm import StackedLSTM, product

ATTENTIONS = ("none", "basic", "masked", "locality")
LAYERS = 2
OUTPUT_SD = 0.1


@dataclass(frozen=True)
class GaitShape:
    """The shape and the operations of the models.

    Attributes:
        joints: J.
        hidden: H (paper: K = 256).
        attention: none (the states h_t in place of contexts), basic, masked (the locality mask
            scales what is read, MBAS), or locality (as basic; a loss teaches locality, LAS).
        projected: the released form: keys are projected and there is no tanh; else Eq. 4 and 9.
        fed: whether the decoder is fed skeletons (Eq. 2); the released one is fed zeros.
        contrast_length: f where there is a contrasting head, which depends on it; 0: no head.
    """

    joints: int
    hidden: int = 256
    attention: str = "locality"
    projected: bool = True
    fed: bool = False
    contrast_length: int = 0


class Decoded(NamedTuple):
    """Output of the models for a batch.

    Attributes:
        outputs: (m, f, B, J), the decoded skeletons (Eq. 10).
        alignments: (m, f, B, f), a_t(j): step t, window, frame j (Eq. 4); (m, f, B, 0) with
            attention none.
        contexts: (m, f, B, H), c_t (Eq. 8), or h_t with attention none.
    """

    outputs: torch.Tensor
    alignments: torch.Tensor
    contexts: torch.Tensor


class GaitModels(nn.Module):
    """Encoder GE, decoder GD, attention and contrasting head of several models.

    Args:
        models: m.
        shape: of each.
        generator: source of the initial weights: uniform(-0.1, 0.1) for the LSTMs, Glorot-uniform
            for the attention, truncated normal for the output, N(0, 1) for the contrasting head.

    Attributes:
        keys: (m, H, H), W_m, if keys are projected.
        attend: (m, 2 H, H), W_att, for [decoder output; context].
        output: (m, H, J), W_F; output_bias: (m, J).
    """

    def __init__(self, models: int, shape: GaitShape, *, generator: torch.Generator) -> None:
        super().__init__()
        self.shape = shape
        hidden, attends = shape.hidden, shape.attention != "none"
        # The released decoder's input has J columns more, for skeletons that are always zero: they
        # do nothing, so they are not here. `stored_parameters` counts them.
        width = shape.joints * shape.fed + hidden * attends
        self.encoder = StackedLSTM(models, shape.joints, hidden, LAYERS, generator=generator)
        self.decoder = StackedLSTM(models, width, hidden, LAYERS, generator=generator)
        if attends and shape.projected:
            self.keys = _glorot(models, hidden, hidden, generator)
        if attends:
            self.attend = _glorot(models, 2 * hidden, hidden, generator)
        self.output = nn.Parameter(torch.empty(models, hidden, shape.joints))
        two = 2 * OUTPUT_SD
        nn.init.trunc_normal_(self.output, 0, OUTPUT_SD, -two, two, generator=generator)
        self.output_bias = nn.Parameter(torch.zeros(models, shape.joints))
        if shape.contrast_length:
            self.head = ContrastHead(models, shape.contrast_length, hidden, generator=generator)

    def forward(
        self,
        frames: torch.Tensor,
        mask: torch.Tensor | None = None,
        taught: torch.Tensor | None = None,
        teacher: torch.Tensor | None = None,
    ) -> Decoded:
        """Encode and decode.

        Args:
            frames: (m, f, B, J) one coordinate of each joint.
            mask: (m, f, f), l_t(j), needed for attention masked.
            taught: (m, 1, 1) bool, models whose decoder is fed the frames of `teacher` in place of
                what it made itself; None: none.
            teacher: (m, f, B, J) true outputs.
        """
        m, f, b, _ = frames.shape
        states, final = self.encoder(frames)
        reader = None
        if self.shape.attention != "none":
            masked = mask if self.shape.attention == "masked" else None
            reader = _Reader(states, getattr(self, "keys", None), masked)
        steps = self.decoder.begin(final)
        fed: list[torch.Tensor] = []  # the previous skeleton, and the attentional vector; first, 0
        outputs, alignments, contexts = [], [], []
        for t in range(f):
            decoded = steps.step(torch.cat(fed, dim=2) if fed else None)
            fed = []
            if reader is not None:
                alignment, context = reader(decoded)
                alignments.append(alignment)
                contexts.append(context)
                decoded = product(torch.cat([decoded, context], dim=2), self.attend)
                if not self.shape.projected:
                    decoded = decoded.tanh()
                fed.append(decoded)
            made = torch.baddbmm(self.output_bias[:, None], decoded, self.output)
            outputs.append(made)
            if self.shape.fed:
                if taught is not None and teacher is not None:
                    made = torch.where(taught, teacher[:, t], made)
                fed.insert(0, made)
        return Decoded(
            torch.stack(outputs, dim=1),
            torch.stack(alignments, dim=1) if alignments else frames.new_zeros(m, f, b, 0),
            torch.stack(contexts, dim=1) if contexts else states,
        )


class ContrastHead(nn.Module):
    """f_C, which maps V = [c_1; ...; c_f] into the contrasting space (Eq. 13; biases as released).

    Args:
        models: m.
        length: f.
        hidden: H.
        generator: source of the weights, N(0, 1).
    """

    def __init__(
        self, models: int, length: int, hidden: int, *, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.empty(models, length * hidden, hidden))
        self.second = nn.Parameter(torch.empty(models, hidden, hidden))
        for weight in (self.first, self.second):
            nn.init.normal_(weight, generator=generator)
        self.first_bias = nn.Parameter(torch.zeros(models, 1, hidden))
        self.second_bias = nn.Parameter(torch.zeros(models, 1, hidden))

    def forward(self, contexts: torch.Tensor) -> torch.Tensor:
        """(m, f, B, H) contexts to (m, B, H) representations z."""
        sequences = contexts.transpose(1, 2).flatten(2)
        inner = product(sequences, self.first, self.first_bias).relu()
        return product(inner, self.second, self.second_bias)


class _Reader:
    """The attention of one pass, step by step (Eq. 4, 6 and 8).

    Args:
        states: (m, f, B, H), h_j.
        keys: (m, H, H) or None: the states themselves are compared with.
        mask: (m, f, f) or None.
    """

    def __init__(
        self, states: torch.Tensor, keys: torch.Tensor | None, mask: torch.Tensor | None
    ) -> None:
        m, f, b, hidden = states.shape
        self._split = (m, b)
        memory = states.transpose(1, 2).flatten(1, 2)  # (m, B f, H)
        compared = memory if keys is None else product(memory, keys)
        self._memory = memory.reshape(m * b, f, hidden)
        self._keys = compared.reshape(m * b, f, hidden).transpose(1, 2)
        self._mask = None if mask is None else list(mask[:, :, None].unbind(1))

    def __call__(self, decoded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Alignments (m, B, f) and contexts (m, B, H) of the next step for its (m, B, H)."""
        alignments = torch.bmm(decoded.flatten(0, 1)[:, None], self._keys).softmax(dim=2)
        shown = alignments[:, 0].unflatten(0, self._split)
        weights = alignments
        if self._mask is not None:
            weights = (shown * self._mask.pop(0)).flatten(0, 1)[:, None]
        return shown, torch.bmm(weights, self._memory)[:, 0].unflatten(0, self._split)


def _glorot(models: int, inputs: int, outputs: int, generator: torch.Generator) -> nn.Parameter:
    bound = math.sqrt(6 / (inputs + outputs))
    weight = nn.Parameter(torch.empty(models, inputs, outputs))
    nn.init.uniform_(weight, -bound, bound, generator=generator)
    return weight
