"""AGE and SGELA window by window and number by number, from the paper's equations."""

import math

import torch

from tests.reference import lstm


def reconstruction(outputs, targets):
    """Eq. 3, halved, over lists of windows, frames and joints."""
    total = torch.zeros((), dtype=torch.float64)
    for made, true in zip(outputs.flatten(), targets.flatten(), strict=True):
        total = total + 0.5 * (made - true) ** 2
    return total


def mask(length, reach):
    """Eq. 5: rows t, columns j, both from 1 in the paper."""
    rows = []
    for t in range(1, length + 1):
        p = length - t + 1
        row = []
        for j in range(1, length + 1):
            inside = p - reach <= j <= p + reach
            row.append(math.exp(-((j - p) ** 2) / (2 * (reach / 2) ** 2)) if inside else 0.0)
        rows.append(row)
    return rows


def locality_alignment(alignments, weights):
    """Eq. 6 and 7, halved, over (windows, steps, frames)."""
    total = torch.zeros((), dtype=torch.float64)
    for window in alignments:
        for t, row in enumerate(window):
            for j, a in enumerate(row):
                masked = weights[t][j] * a
                total = total + 0.5 * (a - masked) ** 2
    return total


def cosine(a, b):
    return torch.dot(a, b) / (torch.sqrt(torch.dot(a, a)) * torch.sqrt(torch.dot(b, b)))


def neighbor_contrast(z, temperature, interval=1, *, same_window="negative"):
    """Algorithm 1; its lines k and k + n - 1 become k and k + n - i."""
    n = len(z)
    pairs = n - interval
    vectors = [(k, z[k]) for k in range(pairs)] + [
        (k + interval, z[k + interval]) for k in range(pairs)
    ]

    def term(i, j):
        denominator = torch.zeros((), dtype=z.dtype)
        for k in range(2 * pairs):
            same = vectors[k][0] == vectors[i][0]
            if k == i or (same and same_window == "out"):
                continue
            denominator = denominator + torch.exp(
                cosine(vectors[i][1], vectors[k][1]) / temperature
            )
        positive = torch.exp(cosine(vectors[i][1], vectors[j][1]) / temperature)
        return -torch.log(positive / denominator)

    total = torch.zeros((), dtype=z.dtype)
    for k in range(pairs):
        total = total + term(k, k + pairs) + term(k + pairs, k)
    return total / (2 * pairs)


def stack_of(network, model):
    """The weights of one model's LSTM as `tests.reference.lstm` takes them."""
    return [(one.kernel[model], one.recurrent[model], one.bias[model]) for one in network.layers]


def decode(models, model, frames, shape, mask_rows=None, teacher=None):
    """One model on one window: outputs (f, J), alignments (f, f), contexts (f, H).

    Args:
        models: a `GaitModels`.
        model: which of them.
        frames: (f, J).
        shape: its `GaitShape`.
        mask_rows: l_t(j), for masked attention.
        teacher: (f, J) true outputs that the decoder is fed; None: its own.
    """
    states, final = lstm.stack(stack_of(models.encoder, model), frames)
    length, hidden = states.shape
    decoder = stack_of(models.decoder, model)
    state, vector = final, torch.zeros(hidden, dtype=torch.float64)
    skeleton = torch.zeros(shape.joints, dtype=torch.float64)
    outputs, alignments, contexts = [], [], []
    for t in range(length):
        x = [*(skeleton if shape.fed else []), *(vector if shape.attention != "none" else [])]
        q, state = lstm.stack(decoder, [x], state)
        q = q[0]
        vector = q
        if shape.attention != "none":
            scores = []
            for h in states:
                key = models.keys[model].T @ h if shape.projected else h
                scores.append(torch.exp(torch.dot(q, key)))
            a = [s / sum(scores) for s in scores]
            used = a
            if shape.attention == "masked":
                used = [mask_rows[t][j] * a[j] for j in range(length)]
            context = sum(w * h for w, h in zip(used, states, strict=True))
            vector = torch.cat([q, context]) @ models.attend[model]
            if not shape.projected:
                vector = torch.tanh(vector)
            alignments.append(torch.stack(a))
            contexts.append(context)
        output = vector @ models.output[model] + models.output_bias[model]
        skeleton = output if teacher is None else teacher[t]
        outputs.append(output)
    if shape.attention == "none":
        return torch.stack(outputs), torch.zeros(length, 0), states
    return torch.stack(outputs), torch.stack(alignments), torch.stack(contexts)


def contrast_head(head, model, contexts):
    """Eq. 13 with the biases of the public program, for one window's (f, H)."""
    v = torch.cat(list(contexts))
    inner = torch.relu(v @ head.first[model] + head.first_bias[model, 0])
    return inner @ head.second[model] + head.second_bias[model, 0]
