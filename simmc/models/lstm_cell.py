"""What an LSTM cell does between its products, in place: by compiled loops where that is possible.

The loops take a quarter of the time of tensor operations, which pass over memory once for each.
Gates stand in the order i, f, o, j of `simmc.models.lstm`; rows are windows.
"""

import torch

from simmc.models.kernels import lstm_steps as lstm_loops


def cell(
    gates: torch.Tensor,
    before: torch.Tensor,
    memory: torch.Tensor,
    squashed: torch.Tensor,
    out: torch.Tensor,
) -> None:
    """One step of (B, 4 H) gates, in place, and of the other (B, H), as `lstm_loops.cell`."""
    if _by_loops(gates):
        parts = (gates, before, memory, squashed, out)
        lstm_loops.cell(*(part.numpy() for part in parts), 0, len(gates))
        return
    hidden = out.shape[1]
    gates[:, : 3 * hidden].sigmoid_()
    gates[:, 3 * hidden :].tanh_()
    i, f, o, j = gates.split(hidden, dim=1)
    torch.mul(f, before, out=memory)
    memory.addcmul_(i, j)
    torch.tanh(memory, out=squashed)
    torch.mul(o, squashed, out=out)


def cell_back(
    gates: torch.Tensor,
    before: torch.Tensor,
    squashed: torch.Tensor,
    dout: torch.Tensor,
    dmemory: torch.Tensor,
    slope: torch.Tensor,
) -> None:
    """The way back; arguments are those of `lstm_loops.cell_back`."""
    if _by_loops(gates):
        parts = (gates, before, squashed, dout, dmemory, slope)
        lstm_loops.cell_back(*(part.numpy() for part in parts), 0, len(gates))
        return
    i, f, o, j = gates.split(dout.shape[1], dim=1)
    di, df, do, dj = slope.split(dout.shape[1], dim=1)
    do.copy_(dout * squashed * o * (1 - o))
    dmemory.add_(dout * o * (1 - squashed * squashed))
    di.copy_(dmemory * j * i * (1 - i))
    dj.copy_(dmemory * i * (1 - j * j))
    df.copy_(dmemory * before * f * (1 - f))
    dmemory.mul_(f)


def _by_loops(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32
