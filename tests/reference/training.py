"""One epoch of SimMC's gradient steps, window by window, from the paper's section 3."""

import torch

from tests.reference import adam, losses


def encode(weights, window, kept):
    """v = mean over the kept frames of W2 relu(W1 S_t + b1) + b2, for one window (f, K)."""
    frames = []
    for t in kept:
        hidden = torch.relu(weights["hidden.0.weight"] @ window[t] + weights["hidden.0.bias"])
        frames.append(weights["output.weight"] @ hidden + weights["output.bias"])
    return torch.stack(frames).mean(dim=0)


def predict(weights, v):
    """z = F_c(v)."""
    return weights["predictor.weight"] @ v + weights["predictor.bias"]


def prototypes(features, labels):
    """The mean feature of each cluster, over every window that lies in it."""
    clusters = range(max(labels) + 1)
    members = [[v for v, y in zip(features, labels, strict=True) if y == c] for c in clusters]
    return [torch.stack(m).mean(dim=0) for m in members]


def epoch_of_steps(weights, windows, kept, views, labels, rule):
    """The weights after one epoch's steps, and the mean MPC and MIC.

    Args:
        weights: {name: float64 tensor}.
        windows: N windows (f, K).
        kept: kept[n][i] = frames that mask i of window n keeps.
        views: views[i][n] = feature of window n in view i, with the weights before all steps.
        labels: labels[i][n] = pseudo label.
        rule: the settings.
    """
    weights = {name: w.clone().requires_grad_() for name, w in weights.items()}
    first = {name: torch.zeros_like(w) for name, w in weights.items()}
    second = {name: torch.zeros_like(w) for name, w in weights.items()}
    centres = [prototypes(v, y) for v, y in zip(views, labels, strict=True)]
    present = [n for n in range(len(windows)) if all(y[n] >= 0 for y in labels)]
    size, step, sums = rule.batch_size, 0, [0.0, 0.0]
    for start in range(0, len(present), size):
        batch = present[start : start + size]
        if len(batch) < size and rule.part_batches == "drop":
            break
        features: list = [[] for _ in labels]
        for place, n in enumerate(batch, start=start):
            owner = place if rule.mask_replay == "index" else n
            for i in range(len(labels)):
                features[i].append(encode(weights, windows[n], kept[owner][i]))
        features = [torch.stack(view) for view in features]
        mpc = torch.zeros((), dtype=torch.float64)
        for i, y in enumerate(labels):
            own = [y[n] for n in batch]
            if rule.zero_label_guard == "on" and sum(own) == 0:
                continue
            mpc = mpc + losses.prototype_contrast(features[i], own, centres[i], rule.t)
        if rule.mpc_reduction == "mean":
            mpc = mpc / len(labels)
        mic = torch.zeros((), dtype=torch.float64)
        if len(labels) == 2:
            z = [torch.stack([predict(weights, v) for v in view]) for view in features]
            mic = losses.intra_sequence_contrast(*features, *z)
        total = rule.lambda_ * mic + (1 - rule.lambda_) * mpc
        step += 1
        if total.requires_grad:
            slopes = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
        else:
            slopes = [None] * len(weights)
        for (name, w), slope in zip(list(weights.items()), slopes, strict=True):
            slope = torch.zeros_like(w) if slope is None else slope
            moved, first[name], second[name] = adam.update(
                w.detach(), slope, first[name], second[name], step, rule.lr
            )
            weights[name] = moved.requires_grad_()
        sums = [sums[0] + float(mpc.detach()), sums[1] + float(mic.detach())]
    means = [total / step if step else 0.0 for total in sums]
    return {name: w.detach() for name, w in weights.items()}, step, means
