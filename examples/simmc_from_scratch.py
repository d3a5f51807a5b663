"""All of SimMC (Rao and Miao, IJCAI 2022) in one file: skeleton windows in, an encoder out.

    python examples/simmc_from_scratch.py

Only the clustering is imported. The data are synthetic walkers; labels only score the result.
Shapes: N windows, f frames, K = 3 x joints numbers a frame, H features, B windows of a batch.
"""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cosine_similarity, cross_entropy, normalize

import simmc
from simmc.clustering import ClusterSettings, cluster_means, pseudo_labels


class Encoder(nn.Module):
    """Two layers for each frame, then a weighted mean over the frames; and a linear predictor."""

    def __init__(self, k, h=256):
        super().__init__()
        self.frames = nn.Sequential(nn.Linear(k, h), nn.ReLU(), nn.Linear(h, h))
        self.predict = nn.Linear(h, h)

    def forward(self, x, mask):  # (B, f, K), (B, f) -> (B, H), Eq. 1 and 3
        return (self.frames(x) * mask[..., None]).sum(1)


def draw_mask(n, f, dropped):
    """(n, f) weights: 0 for some random frames of each window, equal for the others (Eq. 2)."""
    return (torch.rand(n, f).argsort(1) >= dropped) / (f - dropped)


def mpc(v, labels, prototypes, temperature):
    """Pull each feature to the prototype of its cluster and away from the others (Eq. 5)."""
    return cross_entropy(normalize(v) @ normalize(prototypes).T / temperature, labels)


def mic(v1, v2, predict):
    """Let each masked view of a window predict the other (Eq. 6)."""
    one = cosine_similarity(predict(v1), v2.detach()).mean()
    other = cosine_similarity(predict(v2), v1.detach()).mean()
    return -(one + other) / 2


def train(x, epochs=10, dropped=2, temperature=0.08, weight=0.5, lr=3.5e-4, batch=128):
    """Learn an encoder from (N, f, K) windows without labels."""
    encoder = Encoder(x.shape[2])
    adam = torch.optim.Adam(encoder.parameters(), lr)
    for epoch in range(epochs):
        masks = [draw_mask(*x.shape[:2], dropped) for _ in range(2)]
        with torch.no_grad():
            views = [encoder(x, mask) for mask in masks]
        labels = [pseudo_labels(v, ClusterSettings(eps=0.4, min_samples=2)).labels for v in views]
        prototypes = [cluster_means(v, y) for v, y in zip(views, labels, strict=True)]  # Eq. 4
        kept = torch.nonzero((labels[0] >= 0) & (labels[1] >= 0)).flatten()  # no outliers
        losses = []
        for rows in kept[torch.randperm(len(kept))].split(batch):
            v = [encoder(x[rows], mask[rows]) for mask in masks]
            loss = weight * mic(*v, encoder.predict)  # Eq. 7
            for i in range(2):
                loss += (1 - weight) * mpc(v[i], labels[i][rows], prototypes[i], temperature)
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: {len(prototypes[0])} clusters, loss {np.mean(losses):.3f}")
    return encoder


def walkers(repetition, mode="plain"):
    """Windows (N, f, K) of synthetic walkers, relative to the first joint, and persons (N,)."""
    recordings = [r for r in simmc.generate("KS20", 10) if r.attributes["setting"] == repetition]
    windows = [simmc.windows_of([r.frames], 6, mode) for r in recordings]
    persons = np.repeat([r.identity for r in recordings], [len(w) for w in windows])
    x = np.concatenate(windows)
    return torch.tensor(x - x[:, :, :1]).float().flatten(2), persons


def top1(encoder):
    """Share of the probe windows whose nearest gallery window shows the same person."""
    (probe, persons), (gallery, known) = walkers("gc1"), walkers("gc2")
    with torch.no_grad():
        features = [encoder(x, draw_mask(*x.shape[:2], 0)) for x in (probe, gallery)]
    return simmc.evaluate(features[0], persons, features[1], known).top(1)


if __name__ == "__main__":
    torch.manual_seed(0)
    windows, _ = walkers("gc3", mode="once")
    print(f"untrained: top-1 {top1(Encoder(windows.shape[2])):.1%}")
    print(f"trained: top-1 {top1(train(windows)):.1%}")
