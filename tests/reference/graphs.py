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


def positions(members, frame):
    """(n, 3) of one frame: a node is the mean of some joints."""
    return torch.stack([sum(frame[int(j)] for j in joints) / len(joints) for joints in members])


def structural_of(network, graphs, frame):
    """(n, 8) structural features of one frame (J, 3) at each level."""
    return {
        graph.level: structural_relations(
            network.graphs.relations[graph.level],
            graph.adjacency(),
            positions(graph.members, frame)[:, :, None],
        )[:, :, 0]
        for graph in graphs
    }


def told(target, source, weight):
    """(n, 8): what a level hears from another."""
    heard = collaborative_relation(target[:, :, None], source[:, :, None])[:, :, 0]
    return torch.stack([node @ weight for node in heard])


def mgscr_frame(network, graphs, component_of, limb_of, frame):
    """(8 J,) of one frame."""
    h = structural_of(network, graphs, frame)
    parts = h["component"] + told(h["component"], h["joint"], network.to_component)
    limbs = h["limb"] + told(h["limb"], h["component"], network.to_limb)
    fused = [
        joint + network.fusion * (parts[component_of[j]] + limbs[limb_of[j]])
        for j, joint in enumerate(h["joint"])
    ]
    return torch.cat(fused)


def smsge_frame(network, graphs, frame):
    """(8 n,) of one frame at each level; `graphs` from fine to coarse."""
    h = structural_of(network, graphs, frame)
    levels = [graph.level for graph in graphs]
    out = {}
    for i, target in enumerate(levels):
        nodes = h[target]
        for source in levels[i:]:
            weight = network.collaborations[f"{target}_from_{source}"]
            nodes = nodes + told(h[target], h[source], weight)
        out[target] = nodes.flatten()
    return out


def two_layers(heads, which, encoded):
    """One head of several, whose first layers lie in one matrix."""
    rows = slice(which * heads.units, (which + 1) * heads.units)
    hidden = heads.hidden.weight[rows] @ encoded + heads.hidden.bias[rows]
    layer = heads.outputs[which]
    return layer.weight @ hidden.clamp(min=0) + layer.bias


def sparse_prediction(network, features, windows, sequences):
    """SSP: (B, f, 8 J) features and (B, f, 3 J) windows; each sequence lists frames."""
    losses = []
    for sequence in sequences:
        total = 0
        for b in range(len(windows)):
            inputs = features[b, list(sequence)]
            outputs = network.encoder(inputs[None, :, None])[0][0, :, 0]
            for h, t in zip(outputs, sequence, strict=True):
                error = two_layers(network.predictor, 0, h) - windows[b, t + 1]
                total = total + 0.5 * torch.dot(error, error)
        losses.append(total)
    return sum(losses) / len(losses)


def scale_reconstruction(network, level, targets, features, skeletons, sequences):
    """MSR of one level: (B, f, 8 n) features; skeletons of each level (B, f, 3 n)."""
    losses = []
    for sequence in sequences:
        sums, counts = dict.fromkeys(targets, 0), dict.fromkeys(targets, 0)
        for b in range(len(features)):
            inputs = features[b, list(sequence)]
            outputs = network.encoders[level](inputs[None, :, None])[0][0, :, 0]
            for h, t in zip(outputs, sequence, strict=True):
                for i, target in enumerate(targets):
                    error = two_layers(network.heads[level], i, h) - skeletons[target][b, t]
                    sums[target] = sums[target] + error.abs().sum()
                    counts[target] += len(error)
        losses.append(sum(sums[target] / counts[target] for target in targets))
    return sum(losses) / len(losses)
