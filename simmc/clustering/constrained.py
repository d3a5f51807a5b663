"""DBSCAN where some tracks must not meet in a cluster: people seen at once are not one person.

Clusters of DBSCAN are the connected components of core points, in whatever order links are taken.
Here the nearest links come first, and a link that would bring together tracks that cannot be one
person is refused. Shape letters: N rows, T tracks, K pairs of tracks, E entries, C clusters.
"""

from dataclasses import dataclass

import numpy as np

from simmc.clustering.density import OUTLIER, root_of
from simmc.clustering.jaccard import JaccardGraph
from simmc.compiled import check_indices, check_rows, compiled


@dataclass(frozen=True, eq=False)
class Apart:
    """Pairs of tracks that cannot be one person, as symmetric compressed rows.

    Attributes:
        start: (T + 1,) int64, where each track's entries begin.
        other: (2 K,) int64, the tracks that it cannot be, ascending.
    """

    start: np.ndarray
    other: np.ndarray

    def __post_init__(self) -> None:
        check_rows("apart", self.start, len(self.other))
        check_indices("apart: tracks", self.other, len(self.start) - 1)

    @classmethod
    def of(cls, pairs: np.ndarray, count: int) -> "Apart":
        """From (K, 2) pairs of tracks 0 .. count-1; repeats count once."""
        pairs = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
        check_indices("pairs", pairs, count)
        if (pairs[:, 0] == pairs[:, 1]).any():
            raise ValueError("a track cannot be kept apart from itself")
        entry = np.unique(np.concatenate([pairs, pairs[:, ::-1]]) @ [count, 1])
        track, other = entry // max(count, 1), entry % max(count, 1)
        return cls(np.searchsorted(track, np.arange(count + 1)), other)

    def __len__(self) -> int:
        """K."""
        return len(self.other) // 2

    def between(
        self, labels: np.ndarray, track: np.ndarray, one: np.ndarray, other: np.ndarray
    ) -> np.ndarray:
        """Whether clusters hold tracks that cannot be one person.

        Args:
            labels: (N,) int64 clusters, -1 = outlier.
            track: (N,) int64.
            one: (M,) int64 clusters.
            other: (M,) int64, a second cluster for each.

        Returns:
            (M,) bool.
        """
        tracks = len(self.start) - 1
        check_indices("track", track, tracks)
        for name, values in (("one", one), ("other", other)):
            if values.dtype.kind not in "iu" or values.min(initial=0) < 0:
                raise ValueError(f"{name} must hold numbers of clusters")
        if len(one) != len(other):
            raise ValueError(f"{len(one)} clusters against {len(other)}")
        held = np.unique((labels * tracks + track)[labels != OUTLIER])
        count = int(max(one.max(initial=-1), other.max(initial=-1))) + 1
        bounds = np.searchsorted(held, np.arange(count + 1) * tracks)
        return _between(held, bounds, one, other, self.start, self.other)


def dbscan_apart(
    graph: JaccardGraph, min_samples: int, track: np.ndarray, apart: Apart
) -> np.ndarray:
    """Labels of `dbscan`, but no cluster holds two tracks that cannot be one person.

    Links between core points are taken by rising distance (then by row, then by column); one that
    would join components with such tracks is refused. Clusters are numbered by their first core
    point. Border points follow in their order: each joins the smallest-numbered cluster that it
    touches and that holds no track that its own cannot be, core and border points counted; it is
    an outlier where there is none. Without pairs to keep apart these are the labels of `dbscan`.

    Args:
        graph: all pairs within eps, each row listing itself; shared nodes are expanded, since
            duplicates may have to be kept apart.
        min_samples: at least 1.
        track: (N,) int64, 0 .. T-1, of every row.
        apart: the pairs.

    Returns:
        (N,) int64 labels, -1 = outlier.
    """
    if min_samples < 1:
        raise ValueError(f"min_samples must be at least 1, not {min_samples}")
    graph = graph.whole()
    if np.shape(track) != (len(graph),):
        raise ValueError(f"track must have shape ({len(graph)},), not {np.shape(track)}")
    check_indices("track", track, len(apart.start) - 1)
    core = np.diff(graph.start) >= min_samples
    row = np.repeat(np.arange(len(core), dtype=np.int32), np.diff(graph.start))
    link = np.flatnonzero((row < graph.column) & core[row] & core[graph.column])
    link = link[np.argsort(graph.distance[link], kind="stable")]
    links = row[link], graph.column[link]
    return _clusters(graph.start, graph.column, core, *links, track, apart.start, apart.other)


@compiled()
def _clusters(start, column, core, one, other, track, apart_start, apart):  # type: ignore[no-untyped-def]
    parent, held = _join(core, one, other, track, apart_start, apart)
    return _label(start, column, core, parent, held, track, apart_start, apart)


@compiled()
def _join(core, one, other, track, start, apart):  # type: ignore[no-untyped-def]
    """Links in their order: the tree of every component, and the keys of the tracks it holds.

    A component's tracks are a chain of rows, one for each, and the keys root * T + track. Joining
    moves those of the component with fewer tracks to keep apart.
    """
    n, tracks = len(core), len(start) - 1
    parent, last = np.arange(n), np.arange(n)
    following = np.full(n, -1)
    weight = np.empty(n, np.int64)
    held = set()
    for i in range(n):
        weight[i] = 1 + start[track[i] + 1] - start[track[i]]
        if core[i]:
            held.add(i * tracks + track[i])
    for link in range(len(one)):
        small, large = root_of(parent, one[link]), root_of(parent, other[link])
        if small == large:
            continue
        if weight[small] > weight[large]:
            small, large = large, small
        barred = False
        row = small
        while row != -1 and not barred:
            barred = _barred(held, large * tracks, track[row], start, apart)
            row = following[row]
        if barred:
            continue
        parent[small] = large
        row = small
        while row != -1:
            after = following[row]
            following[row] = -1
            held.remove(small * tracks + track[row])
            key = large * tracks + track[row]
            if key not in held:
                held.add(key)
                following[last[large]] = row
                last[large] = row
                weight[large] += 1 + start[track[row] + 1] - start[track[row]]
            row = after
    return parent, held


@compiled()
def _barred(held, component, track, start, apart):  # type: ignore[no-untyped-def]
    """Whether a component holds a track that this one cannot be."""
    p, end = start[track], start[track + 1]
    while p < end and component + apart[p] not in held:
        p += 1
    return p < end


@compiled()
def _label(start, column, core, parent, held, track, apart_start, apart):  # type: ignore[no-untyped-def]
    """Numbers of the components, and border points."""
    n, tracks = len(core), len(apart_start) - 1
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
                if not _barred(held, root * tracks, track[i], apart_start, apart):
                    labels[i], best = labels[j], root
        if best != -1:
            held.add(best * tracks + track[i])
    return labels


@compiled()
def _between(held, bounds, one, other, start, apart):  # type: ignore[no-untyped-def]
    """For pairs of clusters whether they hold tracks to keep apart; held: cluster * T + track."""
    tracks = len(start) - 1
    found = np.zeros(len(one), np.bool_)
    for pair in range(len(one)):
        few, many = one[pair], other[pair]
        if bounds[few + 1] - bounds[few] > bounds[many + 1] - bounds[many]:
            few, many = many, few
        rest = held[bounds[many] : bounds[many + 1]]
        for h in range(bounds[few], bounds[few + 1]):
            track = held[h] - few * tracks
            for p in range(start[track], start[track + 1]):
                key = many * tracks + apart[p]
                place = np.searchsorted(rest, key)
                if place < len(rest) and rest[place] == key:
                    found[pair] = True
                    break
            if found[pair]:
                break
    return found
