"""Compiled loops of an LSTM cell on a CPU: what lies between its products, in one pass a row.

Gates stand in the order i, f, o, j of `simmc.models.lstm`. Arrays are float32, rows are windows.
"""

# Arguments of compiled loops are left without types.
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from simmc.compiled import compiled
from simmc.models.kernels.lanes import ONE, exponential, lanes_compiled

LIMIT = np.float32(30)  # beyond it a sigmoid is 0 or 1 to the last digit
TWO = np.float32(2)


@compiled(error_model="numpy", inline="always")
def sigmoid(x):
    """The logistic function."""
    return ONE / (ONE + exponential(min(-x, LIMIT)))


@lanes_compiled
def cell(gates, before, memory, squashed, out, begin, end):
    """Gates before their functions to gates, memory, its tanh and the output.

    Args:
        gates: (B, 4 H), changed in place.
        before: (B, H) memory of the step before.
        memory: (B, H), set.
        squashed: (B, H), set to tanh of the memory.
        out: (B, H), set.
        begin: first row of this call.
        end: the row behind its last one.
    """
    hidden = before.shape[1]
    for r in range(begin, end):
        row = gates[r]
        i, f, o = row[:hidden], row[hidden : 2 * hidden], row[2 * hidden : 3 * hidden]
        j, opened = row[3 * hidden :], row[: 3 * hidden]
        old, new, flat, h = before[r], memory[r], squashed[r], out[r]
        for m in range(len(opened)):
            opened[m] = sigmoid(opened[m])
        for m in range(len(j)):
            j[m] = TWO * sigmoid(TWO * j[m]) - ONE
        for m in range(len(new)):
            new[m] = f[m] * old[m] + i[m] * j[m]
        for m in range(len(new)):
            flat[m] = TWO * sigmoid(TWO * new[m]) - ONE
        for m in range(len(h)):
            h[m] = o[m] * flat[m]


@lanes_compiled
def cell_back(gates, before, squashed, dout, dmemory, slope, begin, end):
    """The way back of `cell`.

    Args:
        gates: (B, 4 H) as `cell` left them.
        before: as there.
        squashed: as there.
        dout: (B, H) slope of the output.
        dmemory: (B, H) slope of the memory from later steps; becomes that of the memory before.
        slope: (B, 4 H), set to that of the gates before their functions.
        begin: first row of this call.
        end: the row behind its last one.
    """
    hidden = before.shape[1]
    for r in range(begin, end):
        row, drow = gates[r], slope[r]
        i, f, o, j = (
            row[:hidden],
            row[hidden : 2 * hidden],
            row[2 * hidden : 3 * hidden],
            row[3 * hidden :],
        )
        di, df = drow[:hidden], drow[hidden : 2 * hidden]
        do, dj = drow[2 * hidden : 3 * hidden], drow[3 * hidden :]
        old, flat, dh, dc = before[r], squashed[r], dout[r], dmemory[r]
        for m in range(len(do)):
            do[m] = dh[m] * flat[m] * o[m] * (ONE - o[m])
        for m in range(len(dc)):
            dc[m] += dh[m] * o[m] * (ONE - flat[m] * flat[m])
        for m in range(len(di)):
            di[m] = dc[m] * j[m] * i[m] * (ONE - i[m])
        for m in range(len(dj)):
            dj[m] = dc[m] * i[m] * (ONE - j[m] * j[m])
        for m in range(len(df)):
            df[m] = dc[m] * old[m] * f[m] * (ONE - f[m])
        for m in range(len(dc)):
            dc[m] *= f[m]
