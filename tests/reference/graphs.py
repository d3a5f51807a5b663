"""The graph layers of MG-SCR and SM-SGE as loops over frames, nodes and heads."""

import torch


def leaky(x):
    return x if x > 0 else 0.2 * x


def exponential_unit(x):
    return x if x > 0 else x.exp() - 1


def softmax(scores):
    powers = [s.exp() for s in scores]
    total = sum(powers)
    return [p / total for p in powers]


def structural_relations(layer, adjacency, positions):
    """(n, 3, F) positions to (n, 8, F); `layer` holds the weights."""
    n, _, frames = positions.shape
    out = []
    for t in range(frames):
        lifted = [layer.lift @ positions[i, :, t] + layer.lift_bias for i in range(n)]
        nodes = [torch.zeros(8, dtype=positions.dtype)] * n
        for p in range(len(layer.kernels)):
            u = [layer.kernels[p] @ h for h in lifted]
            b1, b2 = layer.score_biases[p]
            for i in range(n):
                near = [j for j in range(n) if adjacency[i, j]]
                own = torch.dot(layer.own_scores[p], u[i]) + b1
                scores = [leaky(own + torch.dot(layer.other_scores[p], u[j]) + b2) for j in near]
                mixed = sum(a * u[j] for a, j in zip(softmax(scores), near, strict=True))
                made = [exponential_unit(v) for v in mixed + layer.biases[p]]
                nodes[i] = nodes[i] + torch.stack(made) / len(layer.kernels)
        out.append(torch.stack(nodes))
    return torch.stack(out, dim=2)


def collaborative_relation(target, source):
    """(n, 8, F) and (m, 8, F) to (n, 8, F)."""
    out = []
    for t in range(target.shape[2]):
        rows = []
        for i in range(len(target)):
            products = [torch.dot(target[i, :, t], node[:, t]) for node in source]
            weights = softmax(products)
            rows.append(sum(a * node[:, t] for a, node in zip(weights, source, strict=True)))
        out.append(torch.stack(rows))
    return torch.stack(out, dim=2)
