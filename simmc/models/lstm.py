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

State = tuple[torch.Tensor, torch.Tensor]
FORGET_OFFSET = 1.0


class StackedLSTM(nn.Module):
    """Independent stacks of LSTM layers, all of one shape.

    Args:
        copies: stacks, such as one a coordinate; no number passes from one to another.
        width: input values a frame.
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
        self.copies, self.hidden = copies, hidden
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
        before = _unbound(state, len(self.layers))
        after = []
        for layer, (h, c) in zip(self._layers(), before, strict=True):
            steps = LayerSteps(layer, layer.products(inputs), h, c)
            inputs = torch.stack([steps.step() for _ in range(inputs.shape[1])], dim=1)
            after.append(steps.state)
        h, c = (torch.stack(part) for part in zip(*after, strict=True))
        return inputs, (h, c)

    def begin(
        self, length: int, batch: int, state: State | None = None, known: torch.Tensor | None = None
    ) -> "Steps":
        """For inputs that are not known ahead, as a decoder's: the frames one by one.

        Args:
            length: f, steps that will be made.
            batch: B.
            state: as in `forward`.
            known: (copies, f, B, k) the first k values of every input, if they are known.
        """
        return Steps(self._layers(), length, batch, _unbound(state, len(self.layers)), known)

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
        """(copies, f, B, k) first k values of the inputs to (copies, f, B, 4 hidden), biases in."""
        kernel = self.kernel[:, : inputs.shape[3]]
        flat = torch.baddbmm((self.bias + self.offset)[:, None], inputs.flatten(1, 2), kernel)
        return flat.unflatten(1, inputs.shape[1:3])

    def biases(self, length: int, batch: int) -> torch.Tensor:
        """What `products` is with inputs of no values; one row, seen f B times."""
        bias = (self.bias + self.offset)[:, None, None]
        return bias.expand(-1, length, batch, -1)


class LayerSteps:
    """The steps of one pass through a layer.

    Args:
        layer: whose.
        added: (copies, f, B, 4 hidden), all of the gates that is known before the steps.
        h: (copies, B, hidden) or None for zeros.
        c: the same.
        fed: values that every input has beyond those in `added`; they are the last ones.
    """

    def __init__(
        self,
        layer: LSTMLayer,
        added: torch.Tensor,
        h: torch.Tensor | None,
        c: torch.Tensor | None,
        fed: int = 0,
    ) -> None:
        self._h, self._c = h, c
        self._factors: list[tuple[torch.Tensor, list[torch.Tensor]]] = []
        kernels: list[torch.Tensor] = [layer.recurrent]
        if fed:
            width = layer.kernel.shape[1]
            kernels.append(layer.kernel if fed == width else layer.kernel[:, width - fed :])
        for kernel in kernels:
            seen: list[torch.Tensor] = []
            added = _Factor.apply(added, kernel, seen)
            self._factors.append((kernel.detach(), seen))
        self._added = list(added.unbind(1))

    @property
    def state(self) -> State:
        """The pair h and c after the steps made so far, each (copies, B, hidden)."""
        if self._h is None or self._c is None:
            raise ValueError("no step has been made yet")
        return self._h, self._c

    def step(self, fed: torch.Tensor | None = None) -> torch.Tensor:
        """The next output (copies, B, hidden).

        Args:
            fed: (copies, B, fed) last values of the input; None: there are none, or they are 0.
        """
        operands: list[torch.Tensor] = []
        for values, (kernel, seen) in zip((self._h, fed), self._factors, strict=False):
            if values is not None:  # a product with zeros is left out
                seen.append(values.detach())
                operands += [values, kernel]
        self._h, self._c = _Cell.apply(self._added.pop(0), self._c, *operands)
        return self._h


class Steps:
    """The steps of one pass through a stack, made by `StackedLSTM.begin`."""

    def __init__(
        self,
        layers: list[LSTMLayer],
        length: int,
        batch: int,
        state: list[tuple[torch.Tensor | None, torch.Tensor | None]],
        known: torch.Tensor | None,
    ) -> None:
        self._layers = []
        for i, (layer, (h, c)) in enumerate(zip(layers, state, strict=True)):
            ahead = known if i == 0 else None
            width = layer.kernel.shape[1] - (0 if ahead is None else ahead.shape[3])
            added = layer.biases(length, batch) if ahead is None else layer.products(ahead)
            self._layers.append(LayerSteps(layer, added, h, c, width))

    def step(self, fed: torch.Tensor | None) -> torch.Tensor:
        """The next output (copies, B, hidden) of the top layer.

        Args:
            fed: (copies, B, width - k) the values of the input that were not known ahead; None:
                zeros.
        """
        for layer in self._layers:
            fed = layer.step(fed)
        if fed is None:
            raise ValueError("a stack needs at least one layer")
        return fed


class _Cell(torch.autograd.Function):
    """A step of a layer, from what is added to its products to h and c."""

    @staticmethod
    def forward(
        ctx: Any, added: torch.Tensor, c: torch.Tensor | None, *operands: torch.Tensor
    ) -> State:
        gates = added
        for values, kernel in zip(operands[::2], operands[1::2], strict=True):
            # the first product makes a new tensor, the second adds to it
            out = None if gates is added else gates
            gates = torch.baddbmm(gates, values, kernel, out=out)
        if gates is added:
            gates = added.clone()
        hidden = gates.shape[-1] // 4
        gates[..., : 3 * hidden].sigmoid_()
        gates[..., 3 * hidden :].tanh_()
        i, f, o, j = gates.split(hidden, dim=-1)
        memory = i * j if c is None else torch.mul(f, c).addcmul_(i, j)
        squashed = memory.tanh()
        ctx.save_for_backward(gates, squashed, c, *operands[1::2])
        return o * squashed, memory

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh: torch.Tensor, dc: torch.Tensor) -> tuple:
        gates, squashed, c, *kernels = ctx.saved_tensors
        hidden = squashed.shape[-1]
        i, f, o, j = gates.split(hidden, dim=-1)
        slope = torch.empty_like(gates)
        di, df, do, dj = slope.split(hidden, dim=-1)
        by_sigmoid = torch.ops.aten.sigmoid_backward.grad_input
        by_tanh = torch.ops.aten.tanh_backward
        dc = by_tanh(dh * o, squashed).add_(dc)
        by_sigmoid(dh * squashed, o, grad_input=do)
        by_sigmoid(dc * j, i, grad_input=di)
        by_tanh.grad_input(dc * i, j, grad_input=dj)
        if c is None:
            df.zero_()
        else:
            by_sigmoid(dc * c, f, grad_input=df)
        operands = [d for k in kernels for d in (torch.bmm(slope, k.transpose(1, 2)), None)]
        return slope, None if c is None else dc.mul_(f), *operands


class _Factor(torch.autograd.Function):
    """The gradient of a matrix that every step multiplies by, in one product over all steps.

    The steps themselves use the matrix as a constant and note in `seen` what they multiplied. Their
    gradients all come together in what was added to their products, and pass through here.
    """

    @staticmethod
    def forward(
        ctx: Any, added: torch.Tensor, kernel: torch.Tensor, seen: list[torch.Tensor]
    ) -> torch.Tensor:
        ctx.seen = seen
        return added.view_as(added)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> tuple:
        seen = ctx.seen
        if not seen:
            return slope, None, None
        late = slope[:, -len(seen) :]  # a first step from zeros multiplied nothing
        inputs = torch.stack(seen, dim=1).flatten(1, 2)
        return slope, torch.bmm(inputs.transpose(1, 2), late.flatten(1, 2)), None


def _unbound(
    state: State | None, layers: int
) -> list[tuple[torch.Tensor | None, torch.Tensor | None]]:
    """The state of each layer."""
    if state is None:
        return [(None, None)] * layers
    return list(zip(state[0].unbind(0), state[1].unbind(0), strict=True))
