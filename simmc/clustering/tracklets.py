"""Clusters of tracks: cut at random into parts, the parts clustered, their labels shared.

A track is a run of windows known to show one person (a recording). The parts of one track lie close
together, those of two tracks only if they show the same person: so density tells whole tracks apart
or joins them, whatever the number of tracks a person has. Shape letters: N windows, T tracks, P
parts, H features, C clusters, m most clusters of a track.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from torch.nn.functional import normalize

from simmc.clustering import gpu as on_device
from simmc.clustering.constrained import Apart
from simmc.clustering.density import OUTLIER
from simmc.clustering.jaccard import JaccardGraph
from simmc.clustering.prototypes import cluster_means

SURE = 0.75  # the least share of a track's parts in its first cluster, where that is sure


@dataclass(frozen=True, eq=False)
class Targets:
    """Which clusters a track belongs to.

    Attributes:
        cluster: (T, m) int64, the largest share first, and again where a track has fewer clusters
            (0 where it has none).
        share: (T, m) float32, of the track's clustered parts; rows sum to 1, or to 0 where a
            track has no cluster.
        prototypes: (C, H) float32, of unit length.
        rivals: (C, r) int64, the clusters that may be the same person as cluster c; c itself
            where there are fewer.
    """

    cluster: torch.Tensor
    share: torch.Tensor
    prototypes: torch.Tensor
    rivals: torch.Tensor

    @property
    def doubted(self) -> torch.Tensor:
        """(T,) bool, whether another cluster may be the person of a track's first one."""
        first = self.cluster[:, 0]
        if not len(self.rivals):
            return torch.zeros_like(first, dtype=torch.bool)
        return (self.rivals[first] != first[:, None]).any(1) & self.known

    @property
    def sure(self) -> torch.Tensor:
        """(T,) bool, whether most parts of a track lie in one cluster, and it has no rival."""
        return (self.share[:, 0] >= SURE) & ~self.doubted

    def fewest(self) -> int:
        """Clusters that would be left if all rivals were joined."""
        cluster = torch.arange(len(self.rivals), device=self.rivals.device)[:, None]
        ends = torch.stack([cluster.expand_as(self.rivals), self.rivals]).flatten(1).cpu().numpy()
        links = sparse.coo_array((np.ones(ends.shape[1]), tuple(ends)), (len(cluster),) * 2)
        return int(connected_components(links, directed=False)[0])

    def silent(self, track: torch.Tensor) -> torch.Tensor:
        """(B, m r) int64, the rivals of all clusters of some tracks (B,)."""
        return self.rivals[self.cluster[track]].flatten(1)

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
    means: torch.Tensor,
    labels: torch.Tensor,
    track: torch.Tensor,
    *,
    lone: bool,
    near: JaccardGraph | on_device.JaccardGraph | None = None,
    apart: Apart | None = None,
) -> Targets:
    """What the clusters of its parts say of every track.

    Args:
        means: (P, H) float, unit features of the parts.
        labels: (P,) int64 clusters of the parts, -1 = outlier.
        track: (P,) int64, 0 .. T-1, the track of every part.
        lone: whether a track of outliers becomes a cluster of its own; else it has none.
        near: pairs of parts; clusters with a pair between them are rivals. None: none are.
        apart: tracks that cannot be one person; clusters that hold such tracks are no rivals.

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
    clusters = torch.where(shares > 0, clusters, clusters[:, :1])
    rivals = rival_clusters(near, labels, len(prototypes), track, apart)
    return Targets(clusters, normalize(shares, p=1, dim=1), prototypes, rivals)


def rival_clusters(
    near: JaccardGraph | on_device.JaccardGraph | None,
    labels: torch.Tensor,
    count: int,
    track: torch.Tensor | None = None,
    apart: Apart | None = None,
) -> torch.Tensor:
    """Clusters that some pair of parts links, though it was too far apart to join them.

    Args:
        near: pairs of parts; parts that share a node count as the first of them. None: no pairs.
        labels: (P,) int64 clusters of the parts, 0 .. count-1, -1 = outlier.
        count: C.
        track: (P,) int64, the track of every part, where `apart` is given.
        apart: tracks that cannot be one person: clusters that hold such tracks do not count.

    Returns:
        (C, r) int64, of every cluster those linked with it, ascending, then the cluster itself;
        r is 1 at least.
    """
    rivals = torch.arange(count, device=labels.device)[:, None]
    if near is None or count == 0:
        return rivals
    start, column = (torch.as_tensor(x, device=labels.device) for x in (near.start, near.column))
    of_node = labels
    if near.node is not None:
        node = torch.as_tensor(near.node, device=labels.device).long()
        first = torch.full((len(start) - 1,), len(labels), device=labels.device)
        of_node = labels[first.scatter_reduce(0, node, torch.arange(len(node)).to(node), "amin")]
    one = of_node.repeat_interleave(torch.diff(start))
    other = of_node[column.long()]
    linked = (one != other) & (one != OUTLIER) & (other != OUTLIER)
    pair = torch.unique(one[linked] * count + other[linked])
    cluster, rival = pair // count, pair % count
    if apart is not None:
        assert track is not None
        parts = labels.cpu().numpy(), track.cpu().numpy()
        barred = apart.between(*parts, cluster.cpu().numpy(), rival.cpu().numpy())
        free = torch.from_numpy(~barred).to(pair.device)
        cluster, rival = cluster[free], rival[free]
    found = torch.bincount(cluster, minlength=count)
    place = torch.arange(len(rival), device=pair.device) - (torch.cumsum(found, 0) - found)[cluster]
    rivals = rivals.repeat(1, max(int(found.max()), 1))
    rivals[cluster, place] = rival
    return rivals
