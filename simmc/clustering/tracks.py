"""Clusters of tracks: cut at random into parts, the parts clustered, their labels shared.

A track is a run of windows known to show one person (a recording). The parts of one track lie close
together, those of two tracks only if they show the same person: so density tells whole tracks apart
or joins them, whatever the number of tracks a person has. Shape letters: N windows, T tracks, P
parts, H features, C clusters, m most clusters of a track.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import normalize

from simmc.clustering.density import OUTLIER
from simmc.clustering.prototypes import cluster_means


@dataclass(frozen=True, eq=False)
class Targets:
    """Which clusters a track belongs to.

    Attributes:
        cluster: (T, m) int64, the largest share first; 0 where a track has fewer clusters.
        share: (T, m) float32, of the track's clustered parts; rows sum to 1, or to 0 where a
            track has no cluster.
        prototypes: (C, H) float32, of unit length.
    """

    cluster: torch.Tensor
    share: torch.Tensor
    prototypes: torch.Tensor

    @property
    def known(self) -> torch.Tensor:
        """(T,) bool, whether a track has a cluster."""
        return self.share[:, 0] > 0


def draw_parts(
    track: np.ndarray, count: int, rng: np.random.Generator, *, size: int = 1
) -> np.ndarray:
    """Deal the windows of every track out to parts of nearly equal size.

    Args:
        track: (N,) int64, 0 .. T-1, each of them used.
        count: most parts of a track.
        rng: source of the deal.
        size: fewest windows of a part: a track of few windows has fewer parts, one at least.

    Returns:
        (N,) int64, 0 .. P-1, each of them used; those of a track follow one another.
    """
    n = len(track)
    order = rng.permutation(n)
    order = order[np.argsort(track[order], kind="stable")]
    sizes = np.bincount(track)
    parts = np.clip(sizes // size, 1, count)
    place = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    dealt = place % np.repeat(parts, sizes)
    part = np.empty(n, dtype=np.int64)
    part[order] = np.repeat(np.cumsum(parts) - parts, sizes) + dealt
    return part


def part_means(features: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """(P, H) unit means of the unit features of every part.

    Args:
        features: (N, H) float.
        part: (N,) int64, 0 .. P-1.
    """
    return normalize(cluster_means(normalize(features, dim=1), part), dim=1)


def shared_targets(
    means: torch.Tensor, labels: torch.Tensor, track: torch.Tensor, *, lone: bool
) -> Targets:
    """What the clusters of its parts say of every track.

    Args:
        means: (P, H) float, unit features of the parts.
        labels: (P,) int64 clusters of the parts, -1 = outlier.
        track: (P,) int64, 0 .. T-1, the track of every part.
        lone: whether a track of outliers becomes a cluster of its own; else it has none.

    Returns:
        The targets; clusters 0 .. are those of `labels`, then those of lone tracks.
    """
    n_tracks = int(track.max()) + 1 if len(track) else 0
    if lone:
        clustered = torch.zeros(n_tracks, dtype=torch.bool, device=track.device)
        clustered[track[labels != OUTLIER]] = True
        first = int(labels.max()) + 1 if len(labels) else 0
        own = first + torch.cumsum(~clustered, 0) - 1
        labels = torch.where(clustered[track], labels, own[track])
    prototypes = normalize(cluster_means(means, labels), dim=1)
    inside = labels != OUTLIER
    n_clusters = max(len(prototypes), 1)
    pair, parts = torch.unique(track[inside] * n_clusters + labels[inside], return_counts=True)
    row, cluster = pair // n_clusters, pair % n_clusters
    of_track = torch.bincount(row, minlength=n_tracks)
    # by track, and within it by falling share
    order = torch.argsort(parts, descending=True, stable=True)
    order = order[torch.argsort(row[order], stable=True)]
    row, cluster, parts = row[order], cluster[order], parts[order]
    place = torch.arange(len(row), device=row.device) - (torch.cumsum(of_track, 0) - of_track)[row]
    shape = (n_tracks, max(int(of_track.max()) if n_tracks else 0, 1))
    clusters = torch.zeros(shape, dtype=torch.int64, device=row.device)
    shares = torch.zeros(shape, dtype=torch.float32, device=row.device)
    clusters[row, place] = cluster
    shares[row, place] = parts.float()
    return Targets(clusters, normalize(shares, p=1, dim=1), prototypes)
