"""Compiled loops of the structural relation layer (`simmc.models.graph_layers`).

Attention visits the links of the skeleton only; `starts` (n + 1,) and `links` (E,) int64 list the
neighbours of each node. Inside, a channel of all nodes is one long row, (8, n, LANES). The backward
pass stores nothing from the forward pass: it computes all values again, head by head.
"""

# Arguments of compiled loops are left without types.
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from simmc.models.kernels.lanes import CHANNELS as C
from simmc.models.kernels.lanes import (
    LANES,
    ONE,
    ZERO,
    add_scaled,
    dot,
    exponential,
    lanes_compiled,
    put,
    take,
)

SLOPE = np.float32(0.2)  # of the leaky relu


@lanes_compiled
def load(given, begin, end, taken):
    """(n, c, F) frames from begin on into (c, n, LANES)."""
    for i in range(given.shape[0]):
        for c in range(given.shape[1]):
            take(given[i, c], begin, end, taken[c, i])


@lanes_compiled
def unload(made, begin, end, given):
    """Inverse of `load`, for the frames before the end."""
    for i in range(given.shape[0]):
        for c in range(given.shape[1]):
            put(made[c, i], begin, end, given[i, c])


@lanes_compiled
def scored(weights, given, start, made):
    """Start plus the sum over 8 channels d of weights[d] given[d], along rows of any length."""
    for m in range(given.shape[1]):
        total = start
        for d in range(C):
            total += weights[d] * given[d, m]
        made[m] = total


@lanes_compiled
def mixed(weights, given, made):
    """The products of (8, 8) weights and 8 rows."""
    for c in range(C):
        scored(weights[c], given, ZERO, made[c])


@lanes_compiled
def lifted(positions, lift, lift_bias, h):
    """Positions (3, m) to lifted positions (8, m)."""
    for m in range(h.shape[1]):
        for c in range(C):
            h[c, m] = (
                lift_bias[c]
                + lift[c, 0] * positions[0, m]
                + lift[c, 1] * positions[1, m]
                + lift[c, 2] * positions[2, m]
            )


@lanes_compiled
def attention(starts, links, own, other, weights):
    """(E, LANES) softmax weights of every node's neighbours, from scores (n, LANES)."""
    top = np.empty(LANES, np.float32)
    total = np.empty(LANES, np.float32)
    for i in range(len(starts) - 1):
        top[:] = np.float32(-np.inf)
        total[:] = ZERO
        for k in range(starts[i], starts[i + 1]):
            j = links[k]
            for lane in range(LANES):
                e = own[i, lane] + other[j, lane]
                e = max(e, SLOPE * e)
                weights[k, lane] = e
                top[lane] = max(top[lane], e)
        for k in range(starts[i], starts[i + 1]):
            for lane in range(LANES):
                e = exponential(weights[k, lane] - top[lane])
                weights[k, lane] = e
                total[lane] += e
        for lane in range(LANES):
            total[lane] = ONE / total[lane]
        for k in range(starts[i], starts[i + 1]):
            for lane in range(LANES):
                weights[k, lane] *= total[lane]


@lanes_compiled
def gathered(starts, links, weights, u, y):
    """Sums over neighbours: y_i of weights u_j, (8, n, LANES)."""
    for i in range(len(starts) - 1):
        for c in range(C):
            row = y[c, i]
            row[:] = ZERO
            for k in range(starts[i], starts[i + 1]):
                weight, value = weights[k], u[c, links[k]]
                for lane in range(LANES):
                    row[lane] += weight[lane] * value[lane]


@lanes_compiled
def add_elu(y, bias, share, made):
    """Adds share elu(y + bias) to a row."""
    for m in range(len(y)):
        value = y[m] + bias
        low = exponential(min(value, ZERO)) - ONE
        made[m] += share * (max(value, ZERO) + low)


@lanes_compiled
def structural(
    positions,
    starts,
    links,
    lift,
    lift_bias,
    kernels,
    own_scores,
    other_scores,
    score_biases,
    biases,
    out,
    begin,
    end,
):
    """The structural relation layer, into out (n, 8, F)."""
    n, heads = positions.shape[0], kernels.shape[0]
    x = np.empty((3, n, LANES), np.float32)
    scratch = np.empty((4, C, n, LANES), np.float32)
    h, u, y, made = scratch[0], scratch[1], scratch[2], scratch[3]
    own, other = np.empty((n, LANES), np.float32), np.empty((n, LANES), np.float32)
    weights = np.empty((len(links), LANES), np.float32)
    share = ONE / np.float32(heads)
    for frame in range(begin, end, LANES):
        load(positions, frame, end, x)
        lifted(x.reshape(3, -1), lift, lift_bias, h.reshape(C, -1))
        made[:] = ZERO
        for p in range(heads):
            mixed(kernels[p], h.reshape(C, -1), u.reshape(C, -1))
            scored(own_scores[p], u.reshape(C, -1), score_biases[p, 0], own.reshape(-1))
            scored(other_scores[p], u.reshape(C, -1), score_biases[p, 1], other.reshape(-1))
            attention(starts, links, own, other, weights)
            gathered(starts, links, weights, u, y)
            for c in range(C):
                add_elu(y[c].reshape(-1), biases[p, c], share, made[c].reshape(-1))
        unload(made, frame, end, out)


@lanes_compiled
def scatter(starts, links, weights, dy, u, du, dweights):
    """Gradient of `gathered`: slopes are added to du and set in dweights."""
    for i in range(len(starts) - 1):
        for k in range(starts[i], starts[i + 1]):
            slope, weight = dweights[k], weights[k]
            slope[:] = ZERO
            for c in range(C):
                back, value, row = dy[c, i], u[c, links[k]], du[c, links[k]]
                for lane in range(LANES):
                    slope[lane] += back[lane] * value[lane]
                    row[lane] += weight[lane] * back[lane]


@lanes_compiled
def attention_back(starts, links, own, other, weights, dweights, down, dother):
    """Gradient of `attention`; the slopes of the scores are added to down and dother."""
    mean = np.empty(LANES, np.float32)
    for i in range(len(starts) - 1):
        mean[:] = ZERO
        for k in range(starts[i], starts[i + 1]):
            weight, slope = weights[k], dweights[k]
            for lane in range(LANES):
                mean[lane] += weight[lane] * slope[lane]
        left, dleft = own[i], down[i]
        for k in range(starts[i], starts[i + 1]):
            weight, slope = weights[k], dweights[k]
            right, dright = other[links[k]], dother[links[k]]
            for lane in range(LANES):
                de = weight[lane] * (slope[lane] - mean[lane])
                de *= ONE if left[lane] + right[lane] > ZERO else SLOPE
                dleft[lane] += de
                dright[lane] += de


@lanes_compiled
def elu_back(y, bias, share, dmade, dy):
    """The slope of y under `add_elu`."""
    for m in range(len(y)):
        dy[m] = share * dmade[m] * exponential(min(y[m] + bias, ZERO))


@lanes_compiled
def structural_back(
    positions,
    starts,
    links,
    lift,
    lift_bias,
    kernels,
    own_scores,
    other_scores,
    score_biases,
    biases,
    slope,
    begin,
    end,
    dlift,
    dlift_bias,
    dkernels,
    down_scores,
    dother_scores,
    dscore_biases,
    dbiases,
):
    """Gradient of `structural` from its output's slope (n, 8, F); slopes are added up."""
    n, heads = positions.shape[0], kernels.shape[0]
    x3 = np.empty((3, n, LANES), np.float32)
    scratch3 = np.empty((7, C, n, LANES), np.float32)
    x, scratch = x3.reshape(3, -1), scratch3.reshape(7, C, -1)
    u3, y3, dy3, du3 = scratch3[1], scratch3[2], scratch3[4], scratch3[5]
    h, u, y, dmade, dy, du, dh = (
        scratch[0],
        scratch[1],
        scratch[2],
        scratch[3],
        scratch[4],
        scratch[5],
        scratch[6],
    )
    scores = np.empty((4, n, LANES), np.float32)
    own, other, down, dother = scores[0], scores[1], scores[2], scores[3]
    weights, dweights = (
        np.empty((len(links), LANES), np.float32),
        np.empty((len(links), LANES), np.float32),
    )
    share = ONE / np.float32(heads)
    for frame in range(begin, end, LANES):
        load(positions, frame, end, x3)
        load(slope, frame, end, scratch3[3])
        lifted(x, lift, lift_bias, h)
        dh[:] = ZERO
        for p in range(heads):
            mixed(kernels[p], h, u)
            scored(own_scores[p], u, score_biases[p, 0], own.reshape(-1))
            scored(other_scores[p], u, score_biases[p, 1], other.reshape(-1))
            attention(starts, links, own, other, weights)
            gathered(starts, links, weights, u3, y3)
            for c in range(C):
                elu_back(y[c], biases[p, c], share, dmade[c], dy[c])
                dbiases[p, c] += np.sum(dy[c])
            du[:] = ZERO
            scatter(starts, links, weights, dy3, u3, du3, dweights)
            down[:] = ZERO
            dother[:] = ZERO
            attention_back(starts, links, own, other, weights, dweights, down, dother)
            both = np.sum(down)
            dscore_biases[p, 0] += both
            dscore_biases[p, 1] += both
            for c in range(C):
                down_scores[p, c] += dot(down.reshape(-1), u[c])
                dother_scores[p, c] += dot(dother.reshape(-1), u[c])
                add_scaled(own_scores[p, c], down.reshape(-1), du[c])
                add_scaled(other_scores[p, c], dother.reshape(-1), du[c])
            for c in range(C):
                for d in range(C):
                    dkernels[p, c, d] += dot(du[c], h[d])
                    add_scaled(kernels[p, c, d], du[c], dh[d])
        for c in range(C):
            dlift_bias[c] += np.sum(dh[c])
            for d in range(3):
                dlift[c, d] += dot(dh[c], x[d])
