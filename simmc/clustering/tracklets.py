"""Clusters of tracklets: cut at random into parts, the parts clustered, their labels shared.

A tracklet is a run of windows known to show one person (a recording). The parts of one tracklet are
close to each other; those of two tracklets are only if they show the same person. Density therefore
joins or separates whole tracklets, whatever the number of tracklets of a person. Shape letters:
N windows, T tracklets, P parts, H features, C clusters, m most clusters of a tracklet.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from torch.nn.functional import normalize

from simmc.clustering.cannot_link import CannotLink
from simmc.clustering.jaccard import JaccardGraph
from simmc.clustering.neighbors import k_nearest_others
from simmc.clustering.pseudo_labels import OUTLIER, cluster_means

if TYPE_CHECKING:
    from simmc.clustering import gpu

NEAREST = 10  # most recordings whose variety `reach` measures; a quarter of all where few
_CHUNK = 4096  # windows converted to float64 at a time
SURE = 0.75  # the least share of a tracklet's parts in its first cluster, where that is sure


@dataclass(frozen=True, eq=False)
class Targets:
    """Which clusters a tracklet belongs to.

    Attributes:
        cluster: (T, m) int64, the largest share first; the first is repeated where a tracklet has
            fewer clusters (0 where it has none).
        share: (T, m) float32, of the tracklet's clustered parts; rows sum to 1, or to 0 where a
            tracklet has no cluster.
        prototypes: (C, H) float32, of unit length.
        ambiguous: (C, r) int64, the ambiguous clusters of each cluster c: those that may be the
            same person; c itself where there are fewer.
    """

    cluster: torch.Tensor
    share: torch.Tensor
    prototypes: torch.Tensor
    ambiguous: torch.Tensor

    @property
    def is_ambiguous(self) -> torch.Tensor:
        """(T,) bool, whether the first cluster of a tracklet has ambiguous clusters."""
        first = self.cluster[:, 0]
        if not len(self.ambiguous):
            return torch.zeros_like(first, dtype=torch.bool)
        return (self.ambiguous[first] != first[:, None]).any(1) & self.known

    @property
    def sure(self) -> torch.Tensor:
        """(T,) bool, whether most parts are in one cluster that has no ambiguous clusters."""
        return (self.share[:, 0] >= SURE) & ~self.is_ambiguous

    def fewest(self) -> int:
        """First clusters of tracklets that would be left if all ambiguous clusters were joined."""
        cluster = torch.arange(len(self.ambiguous), device=self.ambiguous.device)[:, None]
        ends = (
            torch.stack([cluster.expand_as(self.ambiguous), self.ambiguous])
            .flatten(1)
            .cpu()
            .numpy()
        )
        links = sparse.coo_array((np.ones(ends.shape[1]), tuple(ends)), (len(cluster),) * 2)
        joined = connected_components(links, directed=False)[1]
        likely = self.cluster[self.known, 0].cpu().numpy()
        return len(np.unique(joined[likely]))

    def excluded_negatives(self, tracklet: torch.Tensor) -> torch.Tensor:
        """(B, m r) int64, the ambiguous clusters of all clusters of some tracklets (B,).

        A contrastive loss leaves them out of the negatives.
        """
        return self.ambiguous[self.cluster[tracklet]].flatten(1)

    @property
    def known(self) -> torch.Tensor:
        """(T,) bool, whether a tracklet has a cluster."""
        return self.share[:, 0] > 0


def draw_parts(
    tracklet: np.ndarray, count: int, rng: np.random.Generator, *, size: int = 1
) -> np.ndarray:
    """Divide the windows of every tracklet at random into parts of nearly equal size.

    Args:
        tracklet: (N,) int64, 0 .. T-1, each of them used.
        count: most parts of a tracklet.
        rng: random source.
        size: fewest windows of a part: a tracklet of few windows has fewer parts, one at least.

    Returns:
        (N,) int64, 0 .. P-1, each of them used; those of a tracklet follow one another.
    """
    n = len(tracklet)
    order = rng.permutation(n)
    order = order[np.argsort(tracklet[order], kind="stable")]
    sizes = np.bincount(tracklet)
    parts = np.clip(sizes // size, 1, count)
    place = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    dealt = place % np.repeat(parts, sizes)
    part = np.empty(n, dtype=np.int64)
    part[order] = np.repeat(np.cumsum(parts) - parts, sizes) + dealt
    return part


def descriptions(windows: torch.Tensor, tracklet: torch.Tensor) -> np.ndarray:
    """(T, 2 K) float64: mean and deviation of every input over the frames of a tracklet.

    Every value is scaled to mean 0 and deviation 1 over the tracklets; constant ones become 0.

    Args:
        windows: (N, f, K) float.
        tracklet: (N,) int64, 0 .. T-1, each of them used.
    """
    moments = torch.cat([_moments(part.double()) for part in windows.split(_CHUNK)])
    mean, square = cluster_means(moments, tracklet).chunk(2, 1)
    found = torch.cat([mean, (square - mean.square()).clamp(min=0).sqrt()], 1).cpu().numpy()
    spread = found.std(0)
    scaled = (found - found.mean(0)) / np.where(spread > 1e-9, spread, np.inf)
    return np.asarray(scaled)


def _moments(x: torch.Tensor) -> torch.Tensor:
    """(N, 2 K) means of the values (N, f, K) and of their squares over the frames."""
    return torch.cat([x.mean(1), x.square().mean(1)], 1)


class Reach:
    """How far in their inputs the recordings reach that are nearest by their features.

    The ten nearest (at most a quarter of all) of every recording by its features, and by its
    description: the mean squared difference of their descriptions from its own, the median over
    recordings, one divided by the other. It grows while the features learn to ignore what a person
    does, and falls when they begin to sort recordings by it.

    Args:
        described: (T, d) float, of `descriptions`.
        threads: of the search; None: as many as torch uses.
    """

    def __init__(self, described: np.ndarray, threads: int | None = None) -> None:
        self.described, self.threads = described, threads
        self.least = self._unlike(described)

    def __call__(self, features: torch.Tensor) -> float:
        """The ratio for features (T, H), a row a recording.

        It is near 1 for features that order recordings as the inputs do, and 0 where fewer than
        three recordings leave no choice.
        """
        return self._unlike(features.cpu().numpy()) / self.least if self.least > 0 else 0.0

    def _unlike(self, rows: np.ndarray) -> float:
        described = self.described
        if len(rows) < 3:
            return 0.0
        count = min(NEAREST, max(len(rows) // 4, 1))
        near = k_nearest_others(rows, count, threads=self.threads).indices
        unlike = [np.square(described[column] - described).mean(1) for column in near.T]
        return float(np.median(np.mean(unlike, 0)))


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
    tracklet: torch.Tensor,
    *,
    singletons: bool,
    near: "JaccardGraph | gpu.JaccardGraph | None" = None,
    cannot_link: CannotLink | None = None,
) -> Targets:
    """The clusters of every tracklet, from the clusters of its parts.

    Args:
        means: (P, H) float, unit features of the parts.
        labels: (P,) int64 clusters of the parts, -1 = outlier.
        tracklet: (P,) int64, 0 .. T-1, the tracklet of every part.
        singletons: whether a tracklet of outliers becomes a cluster of its own; else it has none.
        near: pairs of parts; clusters with a pair between them are ambiguous. None: none are.
        cannot_link: tracklets that cannot be one person; clusters that hold such tracklets are not
            ambiguous.

    Returns:
        The targets; clusters 0 .. are those of `labels`, then the singletons.
    """
    n_tracklets = int(tracklet.max()) + 1 if len(tracklet) else 0
    if singletons:
        clustered = torch.zeros(n_tracklets, dtype=torch.bool, device=tracklet.device)
        clustered[tracklet[labels != OUTLIER]] = True
        first = int(labels.max()) + 1 if len(labels) else 0
        own = first + torch.cumsum(~clustered, 0) - 1
        labels = torch.where(clustered[tracklet], labels, own[tracklet])
    prototypes = normalize(cluster_means(means, labels), dim=1)
    inside = labels != OUTLIER
    n_clusters = max(len(prototypes), 1)
    pair, parts = torch.unique(tracklet[inside] * n_clusters + labels[inside], return_counts=True)
    row, cluster = pair // n_clusters, pair % n_clusters
    of_tracklet = torch.bincount(row, minlength=n_tracklets)
    # by tracklet, and within it by falling share
    order = torch.argsort(parts, descending=True, stable=True)
    order = order[torch.argsort(row[order], stable=True)]
    row, cluster, parts = row[order], cluster[order], parts[order]
    place = (
        torch.arange(len(row), device=row.device)
        - (torch.cumsum(of_tracklet, 0) - of_tracklet)[row]
    )
    shape = (n_tracklets, max(int(of_tracklet.max()) if n_tracklets else 0, 1))
    clusters = torch.zeros(shape, dtype=torch.int64, device=row.device)
    shares = torch.zeros(shape, dtype=torch.float32, device=row.device)
    clusters[row, place] = cluster
    shares[row, place] = parts.float()
    clusters = torch.where(shares > 0, clusters, clusters[:, :1])
    ambiguous = ambiguous_clusters(near, labels, len(prototypes), tracklet, cannot_link)
    return Targets(clusters, normalize(shares, p=1, dim=1), prototypes, ambiguous)


def ambiguous_clusters(
    near: "JaccardGraph | gpu.JaccardGraph | None",
    labels: torch.Tensor,
    count: int,
    tracklet: torch.Tensor | None = None,
    cannot_link: CannotLink | None = None,
) -> torch.Tensor:
    """The ambiguous clusters: a pair of parts links them, but is too distant to join them.

    Args:
        near: pairs of parts; parts that share a node count as the first of them. None: no pairs.
        labels: (P,) int64 clusters of the parts, 0 .. count-1, -1 = outlier.
        count: C.
        tracklet: (P,) int64, the tracklet of every part, where `cannot_link` is given.
        cannot_link: tracklets that cannot be one person: clusters that hold such tracklets do not
            count.

    Returns:
        (C, r) int64, of every cluster those linked with it, ascending, then the cluster itself;
        r is 1 at least.
    """
    ambiguous = torch.arange(count, device=labels.device)[:, None]
    if near is None or count == 0:
        return ambiguous
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
    cluster, second = pair // count, pair % count
    if cannot_link is not None:
        assert tracklet is not None
        parts = labels.cpu().numpy(), tracklet.cpu().numpy()
        barred = cannot_link.between(*parts, cluster.cpu().numpy(), second.cpu().numpy())
        free = torch.from_numpy(~barred).to(pair.device)
        cluster, second = cluster[free], second[free]
    found = torch.bincount(cluster, minlength=count)
    place = (
        torch.arange(len(second), device=pair.device) - (torch.cumsum(found, 0) - found)[cluster]
    )
    ambiguous = ambiguous.repeat(1, max(int(found.max()), 1))
    ambiguous[cluster, place] = second
    return ambiguous
