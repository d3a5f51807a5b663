"""LSTM stacks as TensorFlow 1 defines them, several independent ones worked in one batched pass.

A cell (Hochreiter and Schmidhuber 1997, with forget gate) of input x, output h and memory c:

    i, f, o = sigmoid(x W + h U + b) in three blocks (+1 inside the forget gate), j = tanh(...)
    c' = f c + i j,   h' = o tanh(c')

TensorFlow adds 1 to the forget gate in the forward pass, not to the stored bias, which starts at 0.
The products with W of all frames are one product where the frames are known ahead. The gradients
of W and U are one product over all steps, and those of a cell are worked out by hand: a step
then costs little beyond its two products.
"""

import math
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from simmc.models.lstm_cell import cell, cell_back
from simmc.models.products import multiplied, noted, product

State = tuple[torch.Tensor, torch.Tensor]
_Start = tuple[torch.Tensor | None, torch.Tensor | None]
FORGET_OFFSET = 1.0


class StackedLSTM(nn.Module):
    """Independent stacks of LSTM layers, all of one shape.

    Args:
        copies: stacks, such as one a coordinate; no number passes from one to another.
        width: input values a frame; 0: none.
        hidden: units of each layer.
        layers: layers of a stack.
        generator: source of the initial weights.
        spread: weights are drawn uniformly from (-spread, spread); None: Glorot-uniform, with W
            and U of a layer taken as one matrix, as TensorFlow stores them. Biases start at 0.
    """

    def __init__(
        self,
        copies: int,
        width: int,
        hidden: int,
        layers: int,
        *,
        generator: torch.Generator,
        spread: float | None = 0.1,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            LSTMLayer(copies, hidden if i else width, hidden, generator=generator, spread=spread)
            for i in range(layers)
        )

    def forward(
        self, inputs: torch.Tensor, state: State | None = None
    ) -> tuple[torch.Tensor, State]:
        """All frames, one layer after the other.

        Args:
            inputs: (copies, f, B, width) float.
            state: h and c before the first frame, each (layers, copies, B, hidden); None: zeros.

        Returns:
            (copies, f, B, hidden) outputs of the top layer; h and c after the last frame.
        """
        after = []
        for layer, (h, c) in zip(self._layers(), _of_layers(state, len(self.layers)), strict=True):
            steps = LayerSteps(layer, layer.products(inputs), h, c, fed=False)
            inputs = torch.stack([steps.step() for _ in range(inputs.shape[1])], dim=1)
            after.append(steps.state)
        h, c = (torch.stack(part) for part in zip(*after, strict=True))
        return inputs, (h, c)

    def begin(self, length: int, batch: int, state: State | None = None) -> "Steps":
        """For inputs that are not known ahead, as a decoder's: the frames one by one.

        Args:
            length: f, steps that will be made.
            batch: B.
            state: as in `forward`.
        """
        start = _of_layers(state, len(self.layers))
        return Steps(
            [
                LayerSteps(layer, layer.biases(length, batch), h, c, fed=True)
                for layer, (h, c) in zip(self._layers(), start, strict=True)
            ]
        )

    def _layers(self) -> list["LSTMLayer"]:
        return [layer for layer in self.layers if isinstance(layer, LSTMLayer)]


class LSTMLayer(nn.Module):
    """One layer; the arguments are those of `StackedLSTM`.

    Attributes:
        kernel: (copies, width, 4 hidden), W; its columns are the gates i, f, o, j.
        recurrent: (copies, hidden, 4 hidden), U.
        bias: (copies, 4 hidden).
        offset: (4 hidden) buffer, what is added to the bias.
    """

    offset: torch.Tensor

    def __init__(
        self,
        copies: int,
        width: int,
        hidden: int,
        *,
        generator: torch.Generator,
        spread: float | None,
    ) -> None:
        super().__init__()
        if spread is None:
            spread = math.sqrt(6 / (width + hidden + 4 * hidden))
        self.kernel = nn.Parameter(torch.empty(copies, width, 4 * hidden))
        self.recurrent = nn.Parameter(torch.empty(copies, hidden, 4 * hidden))
        self.bias = nn.Parameter(torch.zeros(copies, 4 * hidden))
        for weight in (self.kernel, self.recurrent):
            nn.init.uniform_(weight, -spread, spread, generator=generator)
        offset = torch.zeros(4, hidden)
        offset[1] = FORGET_OFFSET
        self.register_buffer("offset", offset.flatten(), persistent=False)

    def products(self, inputs: torch.Tensor) -> torch.Tensor:
        """`inputs W + b`: (copies, f, B, width) to (copies, f, B, 4 hidden)."""
        bias = (self.bias + self.offset)[:, None]
        return product(inputs.flatten(1, 2), self.kernel, bias).unflatten(1, inputs.shape[1:3])

    def biases(self, length: int, batch: int) -> torch.Tensor:
        """`b` alone, one row seen as (copies, f, B, 4 hidden)."""
        bias = (self.bias + self.offset)[:, None, None]
        return bias.expand(-1, length, batch, -1)


class LayerSteps:
    """The steps of one pass through a layer.

    Args:
        layer: whose.
        added: (copies, f, B, 4 hidden), all of the gates that is known before the steps.
        h: (copies, B, hidden), or None for zeros.
        c: the same.
        fed: whether each step is given its input.
    """

    def __init__(
        self,
        layer: LSTMLayer,
        added: torch.Tensor,
        h: torch.Tensor | None,
        c: torch.Tensor | None,
        *,
        fed: bool,
    ) -> None:
        self._h, self._c = h, c
        self._factors: list[tuple[torch.Tensor, list[torch.Tensor]]] = []
        for matrix in (layer.recurrent, layer.kernel) if fed else (layer.recurrent,):
            notes: list[torch.Tensor] = []
            added = noted(added, matrix, notes)
            self._factors.append((matrix.detach(), notes))
        self._added = list(added.unbind(1))

    @property
    def state(self) -> State:
        """The pair h and c after the steps made so far, each (copies, B, hidden)."""
        if self._h is None or self._c is None:
            raise ValueError("no step has been made yet")
        return self._h, self._c

    def step(self, given: torch.Tensor | None = None) -> torch.Tensor:
        """The next output (copies, B, hidden).

        Args:
            given: (copies, B, width), the input; None: it is part of `added`, or 0.
        """
        operands: list[torch.Tensor] = []
        for values, (matrix, notes) in zip((self._h, given), self._factors, strict=False):
            if values is not None:  # a product with zeros is left out
                notes.append(values.detach())
                operands += [values, matrix]
        h, self._c = _Cell.apply(self._added.pop(0), self._c, *operands)
        self._h = h
        return h


class Steps:
    """The steps of one pass through a stack, made by `StackedLSTM.begin`."""

    def __init__(self, layers: list[LayerSteps]) -> None:
        self._layers = layers

    def step(self, given: torch.Tensor | None) -> torch.Tensor:
        """The next output (copies, B, hidden) of the top layer.

        Args:
            given: (copies, B, width), the input; None: zeros.
        """
        first, *rest = self._layers
        output = first.step(given)
        for layer in rest:
            output = layer.step(output)
        return output


class _Cell(torch.autograd.Function):
    """A step of a layer: from what is added to its products, c, and pairs of factors, to h and c.

    The matrices among the factors are constants here; `noted` sees to their gradients.
    """

    @staticmethod
    def forward(
        ctx: Any, added: torch.Tensor, c: torch.Tensor | None, *operands: torch.Tensor
    ) -> State:
        gates = added
        for values, matrix in zip(operands[::2], operands[1::2], strict=True):
            # the first product makes a new tensor, the second adds to it
            gates = multiplied(values, matrix, gates, out=None if gates is added else gates)
        if gates is added:
            gates = added.clone(memory_format=torch.contiguous_format)
        start = _memory_before(c, gates)
        memory, squashed, out = (torch.empty_like(start) for _ in range(3))
        parts = (gates, start, memory, squashed, out)
        cell(*(part.flatten(0, 1) for part in parts))
        ctx.save_for_backward(gates, squashed, c, *operands[1::2])
        return out, memory

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh: torch.Tensor, dc: torch.Tensor) -> tuple:
        gates, squashed, c, *matrices = ctx.saved_tensors
        slope, start = torch.empty_like(gates), _memory_before(c, gates)
        dc = dc.clone(memory_format=torch.contiguous_format)
        parts = (gates, start, squashed, dh.contiguous(), dc, slope)
        cell_back(*(part.flatten(0, 1) for part in parts))
        factors = [d for m in matrices for d in (multiplied(slope, m.mT), None)]
        return slope, None if c is None else dc, *factors


def _memory_before(c: torch.Tensor | None, gates: torch.Tensor) -> torch.Tensor:
    """The memory (copies, B, hidden) that a step begins with."""
    shape = (*gates.shape[:-1], gates.shape[-1] // 4)
    if c is None:
        return gates.new_zeros(shape)
    if c.shape != shape:
        raise ValueError(f"a state of shape {tuple(c.shape)}, where {shape} is needed")
    return c.contiguous()


def _of_layers(state: State | None, layers: int) -> list[_Start]:
    """The state of each layer."""
    if state is None:
        return [(None, None)] * layers
    return list(zip(state[0].unbind(0), state[1].unbind(0), strict=True))
