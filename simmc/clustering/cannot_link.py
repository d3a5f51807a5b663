"""DBSCAN with cannot-link constraints: people seen at once are not one person.

Clusters of DBSCAN are the connected components of core points, in whatever order links are used.
Here the shortest links come first, and a link that would join tracklets that cannot be one person
is refused. Shape letters: N rows, T tracklets, K pairs of tracklets, E entries, C clusters.
"""

from dataclasses import dataclass

import numpy as np

from simmc.clustering.jaccard import JaccardGraph
from simmc.clustering.pseudo_labels import OUTLIER, root_of
from simmc.compiled import check_indices, check_rows, compiled


@dataclass(frozen=True, eq=False)
class CannotLink:
    """Pairs of tracklets that cannot be one person, as symmetric compressed rows.

    Attributes:
        start: (T + 1,) int64, where each tracklet's entries begin.
        other: (2 K,) int64, the tracklets that it cannot be, ascending.
    """

    start: np.ndarray
    other: np.ndarray

    def __post_init__(self) -> None:
        check_rows("cannot_link", self.start, len(self.other))
        check_indices("cannot_link: tracklets", self.other, len(self.start) - 1)

    @classmethod
    def of(cls, pairs: np.ndarray, count: int) -> "CannotLink":
        """From (K, 2) pairs of tracklets 0 .. count-1; repeats count once."""
        pairs = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
        check_indices("pairs", pairs, count)
        if (pairs[:, 0] == pairs[:, 1]).any():
            raise ValueError("a tracklet cannot have a cannot-link with itself")
        entry = np.unique(np.concatenate([pairs, pairs[:, ::-1]]) @ [count, 1])
        tracklet, other = entry // max(count, 1), entry % max(count, 1)
        return cls(np.searchsorted(tracklet, np.arange(count + 1)), other)

    def __len__(self) -> int:
        """K."""
        return len(self.other) // 2

    def between(
        self, labels: np.ndarray, tracklet: np.ndarray, one: np.ndarray, other: np.ndarray
    ) -> np.ndarray:
        """Whether clusters hold tracklets that cannot be one person.

        Args:
            labels: (N,) int64 clusters, -1 = outlier.
            tracklet: (N,) int64.
            one: (M,) int64 clusters.
            other: (M,) int64, a second cluster for each.

        Returns:
            (M,) bool.
        """
        tracklets = len(self.start) - 1
        check_indices("tracklet", tracklet, tracklets)
        for name, values in (("one", one), ("other", other)):
            if values.dtype.kind not in "iu" or values.min(initial=0) < 0:
                raise ValueError(f"{name} must hold numbers of clusters")
        if len(one) != len(other):
            raise ValueError(f"{len(one)} clusters against {len(other)}")
        held = np.unique((labels * tracklets + tracklet)[labels != OUTLIER])
        count = int(max(one.max(initial=-1), other.max(initial=-1))) + 1
        bounds = np.searchsorted(held, np.arange(count + 1) * tracklets)
        return _between(held, bounds, one, other, self.start, self.other)


def dbscan_cannot_link(
    graph: JaccardGraph, min_samples: int, tracklet: np.ndarray, cannot_link: CannotLink
) -> np.ndarray:
    """Labels of `dbscan`, but no cluster holds two tracklets that cannot be one person.

    Links between core points are used by rising distance (then by row, then by column); one that
    would join components with such tracklets is refused. Clusters are numbered by their first core
    point. Border points follow in row order: each joins the smallest-numbered cluster that it
    touches and that holds no tracklet that its own cannot be, core and border points counted; it is
    an outlier where there is none. Without constraints these are the labels of `dbscan`.

    Args:
        graph: all pairs within eps, each row listing itself; shared nodes are expanded, since
            duplicates may have cannot-links.
        min_samples: at least 1.
        tracklet: (N,) int64, 0 .. T-1, of every row.
        cannot_link: the pairs.

    Returns:
        (N,) int64 labels, -1 = outlier.
    """
    if min_samples < 1:
        raise ValueError(f"min_samples must be at least 1, not {min_samples}")
    graph = graph.whole()
    if np.shape(tracklet) != (len(graph),):
        raise ValueError(f"tracklet must have shape ({len(graph)},), not {np.shape(tracklet)}")
    check_indices("tracklet", tracklet, len(cannot_link.start) - 1)
    core = np.diff(graph.start) >= min_samples
    row = np.repeat(np.arange(len(core), dtype=np.int32), np.diff(graph.start))
    link = np.flatnonzero((row < graph.column) & core[row] & core[graph.column])
    link = link[np.argsort(graph.distance[link], kind="stable")]
    links = row[link], graph.column[link]
    return _clusters(
        graph.start, graph.column, core, *links, tracklet, cannot_link.start, cannot_link.other
    )


@compiled()
def _clusters(start, column, core, one, other, tracklet, cannot_link_start, cannot_link):  # type: ignore[no-untyped-def]
    parent, held = _join(core, one, other, tracklet, cannot_link_start, cannot_link)
    return _label_constrained(
        start, column, core, parent, held, tracklet, cannot_link_start, cannot_link
    )


@compiled()
def _join(core, one, other, tracklet, start, cannot_link):  # type: ignore[no-untyped-def]
    """Links in their order: the tree of every component, and the keys of the tracklets it holds.

    A component's tracklets are a chain of rows, one for each, and the keys root * T + tracklet.
    Joining moves those of the component with fewer cannot-links.
    """
    n, tracklets = len(core), len(start) - 1
    parent, last = np.arange(n), np.arange(n)
    following = np.full(n, -1)
    weight = np.empty(n, np.int64)
    held = set()
    for i in range(n):
        weight[i] = 1 + start[tracklet[i] + 1] - start[tracklet[i]]
        if core[i]:
            held.add(i * tracklets + tracklet[i])
    for link in range(len(one)):
        small, large = root_of(parent, one[link]), root_of(parent, other[link])
        if small == large:
            continue
        if weight[small] > weight[large]:
            small, large = large, small
        barred = False
        row = small
        while row != -1 and not barred:
            barred = _barred(held, large * tracklets, tracklet[row], start, cannot_link)
            row = following[row]
        if barred:
            continue
        parent[small] = large
        row = small
        while row != -1:
            after = following[row]
            following[row] = -1
            held.remove(small * tracklets + tracklet[row])
            key = large * tracklets + tracklet[row]
            if key not in held:
                held.add(key)
                following[last[large]] = row
                last[large] = row
                weight[large] += 1 + start[tracklet[row] + 1] - start[tracklet[row]]
            row = after
    return parent, held


@compiled()
def _barred(held, component, tracklet, start, cannot_link):  # type: ignore[no-untyped-def]
    """Whether a component holds a tracklet that this one cannot be."""
    p, end = start[tracklet], start[tracklet + 1]
    while p < end and component + cannot_link[p] not in held:
        p += 1
    return p < end


@compiled()
def _label_constrained(start, column, core, parent, held, tracklet, cannot_link_start, cannot_link):  # type: ignore[no-untyped-def]
    """Numbers of the components, and border points."""
    n, tracklets = len(core), len(cannot_link_start) - 1
    name = np.full(n, OUTLIER)  # of the component of a root
    labels = np.full(n, OUTLIER)
    clusters = 0
    for i in range(n):
        if core[i]:
            root = root_of(parent, i)
            if name[root] == OUTLIER:
                name[root] = clusters
                clusters += 1
            labels[i] = name[root]
    for i in range(n):
        if core[i]:
            continue
        best = -1
        for p in range(start[i], start[i + 1]):
            j = column[p]
            if core[j] and (labels[i] == OUTLIER or labels[j] < labels[i]):
                root = root_of(parent, j)
                if not _barred(held, root * tracklets, tracklet[i], cannot_link_start, cannot_link):
                    labels[i], best = labels[j], root
        if best != -1:
            held.add(best * tracklets + tracklet[i])
    return labels


@compiled()
def _between(held, bounds, one, other, start, cannot_link):  # type: ignore[no-untyped-def]
    """Whether pairs of clusters have a cannot-link; held: cluster * T + tracklet."""
    tracklets = len(start) - 1
    found = np.zeros(len(one), np.bool_)
    for pair in range(len(one)):
        few, many = one[pair], other[pair]
        if bounds[few + 1] - bounds[few] > bounds[many + 1] - bounds[many]:
            few, many = many, few
        rest = held[bounds[many] : bounds[many + 1]]
        for h in range(bounds[few], bounds[few + 1]):
            tracklet = held[h] - few * tracklets
            for p in range(start[tracklet], start[tracklet + 1]):
                key = many * tracklets + cannot_link[p]
                place = np.searchsorted(rest, key)
                if place < len(rest) and rest[place] == key:
                    found[pair] = True
                    break
            if found[pair]:
                break
    return found
