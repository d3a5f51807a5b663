"""Compiled loops of the relation between two levels (`simmc.models.graph_layers`).

Inside, the 8 channels of a node lie one after the other, LANES frames of each: a row of 8 LANES.
The backward pass stores nothing from the forward pass: it computes the weights again.
"""

# Arguments of compiled loops are left without types.
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from simmc.models.kernels.lanes import CHANNELS as C
from simmc.models.kernels.lanes import LANES, ONE, ZERO, exponential, lanes_compiled, put, take


@lanes_compiled
def load(given, begin, end, taken):
    """(n, 8, F) frames from begin on into (n, 8 LANES)."""
    for i in range(given.shape[0]):
        for c in range(C):
            take(given[i, c], begin, end, taken[i, c * LANES : (c + 1) * LANES])


@lanes_compiled
def unload(made, begin, end, given):
    """Inverse of `load`, of the frames before the end."""
    for i in range(given.shape[0]):
        for c in range(C):
            put(made[i, c * LANES : (c + 1) * LANES], begin, end, given[i, c])


@lanes_compiled
def products(node, others, made):
    """(m, LANES) products of one node with each of m others, summed over channels."""
    for j in range(others.shape[0]):
        other, row = others[j], made[j]
        for lane in range(LANES):
            total = ZERO
            for c in range(C):
                total += node[c * LANES + lane] * other[c * LANES + lane]
            row[lane] = total


@lanes_compiled
def softmax(weights, top, total):
    """Softmax over the m rows of (m, LANES) scores, in place; top and total are scratch rows."""
    top[:] = weights[0]
    total[:] = ZERO
    for j in range(1, weights.shape[0]):
        row = weights[j]
        for lane in range(LANES):
            top[lane] = max(top[lane], row[lane])
    for j in range(weights.shape[0]):
        row = weights[j]
        for lane in range(LANES):
            e = exponential(row[lane] - top[lane])
            row[lane] = e
            total[lane] += e
    for lane in range(LANES):
        total[lane] = ONE / total[lane]
    for j in range(weights.shape[0]):
        row = weights[j]
        for lane in range(LANES):
            row[lane] *= total[lane]


@lanes_compiled
def add_products(weights, given, made):
    """Adds LANES weights times each channel of one node to another."""
    for lane in range(LANES):
        for c in range(C):
            made[c * LANES + lane] += weights[lane] * given[c * LANES + lane]


@lanes_compiled
def collaborative(target, source, out, begin, end):
    """The relation of the frames begin to end - 1, into out (n, 8, F)."""
    t = np.empty((target.shape[0], C * LANES), np.float32)
    s = np.empty((source.shape[0], C * LANES), np.float32)
    made = np.empty((target.shape[0], C * LANES), np.float32)
    weights = np.empty((source.shape[0], LANES), np.float32)
    top, total = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    for frame in range(begin, end, LANES):
        load(target, frame, end, t)
        load(source, frame, end, s)
        made[:] = ZERO
        for i in range(t.shape[0]):
            products(t[i], s, weights)
            softmax(weights, top, total)
            row = made[i]
            for j in range(s.shape[0]):
                add_products(weights[j], s[j], row)
        unload(made, frame, end, out)


@lanes_compiled
def collaborative_back(target, source, slope, dtarget, dsource, begin, end):
    """Gradient of `collaborative` from the slope of its output (n, 8, F)."""
    shape = (3, target.shape[0], C * LANES)
    ahead = np.empty(shape, np.float32)
    t, dt, dout = ahead[0], ahead[1], ahead[2]
    s = np.empty((source.shape[0], C * LANES), np.float32)
    ds = np.empty((source.shape[0], C * LANES), np.float32)
    weights = np.empty((source.shape[0], LANES), np.float32)
    slopes = np.empty((source.shape[0], LANES), np.float32)
    top, total = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    for frame in range(begin, end, LANES):
        load(target, frame, end, t)
        load(source, frame, end, s)
        load(slope, frame, end, dout)
        dt[:] = ZERO
        ds[:] = ZERO
        for i in range(t.shape[0]):
            products(t[i], s, weights)
            softmax(weights, top, total)
            products(dout[i], s, slopes)
            mean = top
            mean[:] = ZERO
            for j in range(s.shape[0]):
                weight, row = weights[j], slopes[j]
                for lane in range(LANES):
                    mean[lane] += weight[lane] * row[lane]
            node, back, dnode = t[i], dout[i], dt[i]
            for j in range(s.shape[0]):
                weight, row = weights[j], slopes[j]
                for lane in range(LANES):
                    row[lane] = weight[lane] * (row[lane] - mean[lane])
                add_products(row, s[j], dnode)
                add_products(row, node, ds[j])
                add_products(weight, back, ds[j])
        unload(dt, frame, end, dtarget)
        unload(ds, frame, end, dsource)
