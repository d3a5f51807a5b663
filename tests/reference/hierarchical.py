"""Hi-MPC's losses at one level as loops over Eq. 5-9, and Eq. 1 and 10, on plain numbers."""

import torch


def scores_of(z, head, prototypes, temperature):
    """(z H) . (p_c H) / tau for every c."""
    return [torch.dot(z @ head, p @ head) / temperature for p in prototypes]


def cross_entropy(scores, y):
    denominator = torch.stack([s.exp() for s in scores]).sum()
    return -(scores[int(y)].exp() / denominator).log()


def meta_prototype_contrast(instances, labels, prototypes, heads, temperature, *, reduction="mean"):
    """Eq. 5 at one level, averaged over instances."""
    total = torch.zeros((), dtype=instances.dtype)
    for head in heads:
        for v, y in zip(instances, labels, strict=True):
            scores = scores_of(v, head, prototypes, temperature)
            total = total + cross_entropy(scores, y) / len(instances)
    return total / len(heads) if reduction == "mean" else total


def importance(frames, y, prototypes, head, temperature, *, focus=1, weights_over_temperature=True):
    """Eq. 6-8 for one window under one head: the weights of its frames."""
    v = sum(frames) / len(frames)
    meta = [torch.dot(v @ head, p @ head) for p in prototypes]
    predicted = max(range(len(prototypes)), key=lambda c: float(meta[c].detach()))
    sign = -1 if predicted == int(y) else 1
    exponents = []
    for z in frames:
        similar = torch.dot(z @ head, prototypes[predicted] @ head)
        if weights_over_temperature:
            similar = similar / temperature
        exponents.append((focus * sign * similar).exp())
    return [e / torch.stack(exponents).sum() for e in exponents]


def hard_skeleton_contrast(
    frames,
    labels,
    prototypes,
    heads,
    temperature,
    *,
    focus=1,
    weights_over_temperature=True,
    stop_weights=False,
    reduction="mean",
):
    """Eq. 9 at one level, averaged over windows; focus 0 counts every frame once."""
    total = torch.zeros((), dtype=frames.dtype)
    for head in heads:
        for window, y in zip(frames, labels, strict=True):
            weights = [torch.ones((), dtype=frames.dtype)] * len(window)
            if focus != 0:
                weights = importance(
                    window,
                    y,
                    prototypes,
                    head,
                    temperature,
                    focus=focus,
                    weights_over_temperature=weights_over_temperature,
                )
            for z, delta in zip(window, weights, strict=True):
                delta = delta.detach() if stop_weights else delta
                scores = scores_of(z, head, prototypes, temperature)
                total = total + delta * cross_entropy(scores, y) / len(frames)
    return total / len(heads) if reduction == "mean" else total


def encode(level, window):
    """z_t = W2 relu(W1 s_t + b1) + b2 of every frame of one window (f, K)."""
    frames = []
    for s in window:
        for layer in level.hidden:
            s = torch.relu(layer.weight @ s + layer.bias)
        frames.append(level.output.weight @ s + level.output.bias)
    return frames


def represent(level, window):
    """V^l = mean over m of v H^m (Eq. 10) of one window."""
    frames = encode(level, window)
    v = sum(frames) / len(frames)
    return sum(v @ head for head in level.heads) / len(level.heads)
