"""An LSTM cell unit by unit, from the equations (TensorFlow 1's: 1 is added in the forget gate)."""

import torch


def cell(x, h, c, kernel, recurrent, bias):
    """One step of one window; all arguments are lists of scalars or of rows of scalars.

    Args:
        kernel: width rows of 4 n, gates in the blocks i, f, o, j.
        recurrent: n rows of 4 n.
        bias: 4 n.
    """
    n = len(h)

    def gate(block, unit):
        column = block * n + unit
        total = bias[column]
        for value, row in zip(x, kernel, strict=True):
            total = total + value * row[column]
        for value, row in zip(h, recurrent, strict=True):
            total = total + value * row[column]
        return total

    new_h, new_c = [], []
    for unit in range(n):
        i = torch.sigmoid(gate(0, unit))
        f = torch.sigmoid(gate(1, unit) + 1.0)
        o = torch.sigmoid(gate(2, unit))
        j = torch.tanh(gate(3, unit))
        memory = f * c[unit] + i * j
        new_c.append(memory)
        new_h.append(o * torch.tanh(memory))
    return new_h, new_c


def stack(weights, window, state=None):
    """A stack of layers over one window.

    Args:
        weights: for each layer (kernel, recurrent, bias).
        window: f frames of scalars.
        state: for each layer (h, c); None: zeros.

    Returns:
        (f, n) outputs of the top layer, and for each layer (h, c) after the last frame.
    """
    zero = [torch.zeros((), dtype=torch.float64)] * len(weights[0][1])
    state = [(zero, zero)] * len(weights) if state is None else list(state)
    outputs = []
    for frame in window:
        x = list(frame)
        for layer, (kernel, recurrent, bias) in enumerate(weights):
            state[layer] = cell(x, *state[layer], kernel, recurrent, bias)
            x = state[layer][0]
        outputs.append(torch.stack(x))
    return torch.stack(outputs), state
