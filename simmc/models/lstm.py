"""LSTM stacks as TensorFlow 1 defines them, several independent ones in one batched pass.

A cell (Hochreiter and Schmidhuber 1997, with forget gate) of input x, output h and memory c:

    i, f, o = sigmoid(x W + h U + b) in three blocks (+1 inside the forget gate), j = tanh(...)
    c' = f c + i j,   h' = o tanh(c')

TensorFlow adds 1 to the forget gate in the forward pass, not to the stored bias, which starts at 0.
The products with W of all frames are one product where the frames are known ahead.
"""

import math

import torch
from torch import nn

State = tuple[torch.Tensor, torch.Tensor]
LayerState = tuple[torch.Tensor | None, torch.Tensor | None]
FORGET_OFFSET = 1.0
LARGE = 2**20  # multiplications of a product that are worth a call of their own


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
        for layer, (h, c) in zip(self.stack(), _of_layers(state, len(self.layers)), strict=True):
            outputs = []
            for added in layer.products(inputs).unbind(1):
                h, c = layer.step(added, h, c)
                outputs.append(h)
            inputs = torch.stack(outputs, dim=1)
            after.append((h, c))
        h, c = (torch.stack(part) for part in zip(*after, strict=True))
        return inputs, (h, c)

    def begin(self, state: State | None = None) -> "Steps":
        """For inputs that are not known ahead, as a decoder's: the frames one by one.

        Args:
            state: as in `forward`.
        """
        return Steps(self.stack(), _of_layers(state, len(self.layers)))

    def stack(self) -> list["LSTMLayer"]:
        """The layers, the first one first."""
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

    def biases(self) -> torch.Tensor:
        """`b` with the forget gate's offset: (copies, 1, 4 hidden)."""
        return (self.bias + self.offset)[:, None]

    def products(self, inputs: torch.Tensor) -> torch.Tensor:
        """`inputs W + b`: (copies, f, B, width) to (copies, f, B, 4 hidden)."""
        flat = product(inputs.flatten(1, 2), self.kernel, self.biases())
        return flat.unflatten(1, inputs.shape[1:3])

    def step(self, added: torch.Tensor, h: torch.Tensor | None, c: torch.Tensor | None) -> State:
        """The next h and c, each (copies, B, hidden).

        Args:
            added: (copies, B, 4 hidden), `x W + b`.
            h: (copies, B, hidden) output before; None: zeros.
            c: memory before, of the same shape; None: zeros.
        """
        gates = added if h is None else product(h, self.recurrent, added)
        hidden = gates.shape[-1] // 4
        opening, j = gates.split([3 * hidden, hidden], dim=-1)
        i, f, o = opening.sigmoid().chunk(3, dim=-1)
        memory = i * j.tanh()
        if c is not None:
            memory = torch.addcmul(memory, f, c)
        return o * memory.tanh(), memory


class Steps:
    """The steps of one pass through a stack, made by `StackedLSTM.begin`."""

    def __init__(self, layers: list[LSTMLayer], state: list[LayerState]) -> None:
        self._layers, self._state = layers, state
        self._biases = [layer.biases() for layer in layers]

    def step(self, given: torch.Tensor | None) -> torch.Tensor:
        """The next output (copies, B, hidden) of the top layer.

        Args:
            given: (copies, B, width), the input; None: zeros, for a stack that has a state.
        """
        for k, (layer, added) in enumerate(zip(self._layers, self._biases, strict=True)):
            if given is not None:
                added = product(given, layer.kernel, added)
            given, memory = layer.step(added, *self._state[k])
            self._state[k] = given, memory
        if given is None:
            raise ValueError("a stack without layers")
        return given


def product(a: torch.Tensor, b: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
    """`added + a b` of k matrices.

    A batched product on a CPU gives every thread whole matrices, so that with three of them all
    further threads wait. Large matrices are then multiplied one by one, each with all threads.

    Args:
        a: (k, rows, n) float.
        b: (k, n, m) float.
        added: (k, rows or 1, m) float; None: 0.
    """
    even = a.device.type != "cpu" or len(a) == 1 or len(a) % torch.get_num_threads() == 0
    if even or a.shape[1] * a.shape[2] * b.shape[2] < LARGE:
        return torch.bmm(a, b) if added is None else torch.baddbmm(added, a, b)
    if added is None:
        return torch.stack([torch.mm(*pair) for pair in zip(a, b, strict=True)])
    return torch.stack([torch.addmm(*three) for three in zip(added, a, b, strict=True)])


def _of_layers(state: State | None, layers: int) -> list[LayerState]:
    """The state of each layer."""
    if state is None:
        return [(None, None)] * layers
    h, c = state
    if h.shape != c.shape:
        raise ValueError(f"a state of shapes {tuple(h.shape)} and {tuple(c.shape)}")
    return list(zip(h.unbind(0), c.unbind(0), strict=True))
