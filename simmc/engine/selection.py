"""What a training without labels chooses: eps and min_samples of its clustering, and its epoch.

`--eps auto` and `--min_samples auto`: of one Jaccard graph, DBSCAN takes milliseconds, so every
radius of a grid is tried. A small radius leaves windows out; a large one merges all people. In
between the label-free score is highest: many windows in clusters, few pairs of them in the same
one, and two masked views (or body levels) that agree.

`--best_by body`: the lengths of a person's bones do not change from one recording to the next. They
are measured on the skeletons themselves, so a training that draws different people together, or
tears one person apart, loses agreement with them, however consistent its clusters become.

No identity, probe or gallery is used. Shape letters: N windows, E bones, T recordings, q views.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import cdist

from simmc.clustering import JaccardGraph, dbscan
from simmc.evaluation import diagnostics

EPS = tuple(round(0.05 * step, 2) for step in range(8, 17))  # 0.40 to 0.80
MIN_SAMPLES = (4, 2)
TOLERANCE = 0.02  # share of the best score that counts as equal
RADIUS_REASON = "those with the most windows clustered, the most even clusters and agreeing views"
BODY_REASON = "the last that agrees better with bone lengths, by 3 %; the untrained one counts"
SAMPLE = 1000  # windows whose bodies are compared, a million pairs
NEAR = 0.05  # share of the pairs that count as bodies of one size
MARGIN = 0.03  # growth of the agreement that is more than chance
SMALLEST = 1e-9  # deviation of a bone that differs between windows


@dataclass
class Selector:
    """The best epoch so far by one score, and the number of epochs since.

    After `patience` epochs without a better score the run may end; `first` is the first epoch that
    may be the best; a better score is larger by `margin`, a share of it, at least.
    """

    patience: int
    first: int = 1
    margin: float = 0.0
    best_score: float = float("-inf")
    best_epoch: int = -1
    waited: int = 0

    @property
    def done(self) -> bool:
        """Whether the patience is used up."""
        return self.waited >= self.patience

    def update(self, epoch: int, score: float | None) -> bool:
        """Compare an epoch's score (None: it has none) with the best; True where it is better.

        Patience counts all epochs, also those that were not scored. The untrained epoch 0 does not
        count as best (unless `first` is 0) but is counted, as in the public program. After the
        patience has ended no epoch is the best any more, even if the run goes on for another
        protocol.
        """
        if self.done:
            return False
        least = self.best_score * (1 + self.margin)
        better = epoch >= self.first and score is not None and score > least
        if better and score is not None:
            self.best_score, self.best_epoch, self.waited = score, epoch, 0
        self.waited += 1
        return better

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint (the patience stays as set now)."""
        self.best_score = float(state["best_score"])
        self.best_epoch = int(state["best_epoch"])
        self.waited = int(state["waited"])


@dataclass(frozen=True)
class Radius:
    """What DBSCAN gets."""

    eps: float
    min_samples: int


def choose_radius(
    graphs: Sequence[JaccardGraph],
    eps: Sequence[float] = EPS,
    min_samples: Sequence[int] = MIN_SAMPLES,
) -> tuple[np.ndarray, Radius]:
    """The most consistent clustering of a grid; of nearly equal ones that of the smallest radius.

    A radius that is too small leaves a person in several clusters, which a training can still
    bring together; one that is too large merges people for good. So it is the smallest one with a
    score within `TOLERANCE` of the best.

    Args:
        graphs: of each of q views or body levels, all pairs within the largest eps.
        eps: the radii to try.
        min_samples: the numbers of neighbours to try.

    Returns:
        (q, N) int64 pseudo labels, -1 = outlier, and what they were made with.
    """
    tried = []
    for radius in eps:
        near = [graph.within(radius) for graph in graphs]
        for count in min_samples:
            labels = np.stack([dbscan(graph, count) for graph in near])
            score = coverage(labels)
            if len(graphs) > 1:
                score *= agreement(list(combinations(labels, 2)))
            tried.append((score, labels, Radius(radius, count)))
    enough = (1 - TOLERANCE) * max(score for score, _, _ in tried)
    good = [one for one in tried if one[0] >= enough]
    _, labels, chosen = min(good, key=lambda one: (one[2].eps, -one[0]))
    return labels, chosen


def coverage(labels: np.ndarray) -> float:
    """Share of windows clustered in every view, times the diversity of the first view.

    Both are parts of `label_free_score`: the first rises with eps, the second falls to 0 when
    clusters merge into one.

    Args:
        labels: (q, N) pseudo labels, -1 = outlier.
    """
    kept = (labels >= 0).all(0)
    if not kept.any():
        return 0.0
    sizes = np.bincount(labels[0][kept]).astype(float)
    return float(kept.mean()) * (1.0 - float(((sizes / sizes.sum()) ** 2).sum()))


def agreement(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Mean adjusted mutual information of pairs of labellings (N,), outliers of either left out.

    0 where it is negative, or where a pair shares no clustered window.
    """
    if not all(((a >= 0) & (b >= 0)).any() for a, b in pairs):
        return 0.0
    return max(float(np.mean([diagnostics.label_agreement(a, b) for a, b in pairs])), 0.0)


def label_free_score(labels: np.ndarray, previous: np.ndarray | None) -> float | None:
    """How consistent the pseudo labels of an epoch are, in [0, 1].

    The product of three shares that need no identity, probe or gallery:

    - windows clustered in every view,
    - agreement of two clusterings of the same windows by adjusted mutual information: of the two
      masked views (of every two levels, averaged), or, where there is one view only, of this epoch
      and the one before,
    - diversity: pairs of clustered windows that lie in different clusters. It is 0 where all
      windows are in one cluster, on which any two views agree perfectly.

    Args:
        labels: (q, N) pseudo labels, -1 = outlier.
        previous: the same of the epoch before; used where q is 1.

    Returns:
        The score, or None where there is nothing to compare with yet.
    """
    pairs = list(combinations(labels, 2))
    if not pairs:
        if previous is None:
            return None
        pairs = [(labels[0], previous[0])]
    return coverage(labels) * agreement(pairs)


class BodyAgreement:
    """How well the nearest features find bodies of the same size in other recordings.

    The mean average precision of a sample of windows. Each is searched among those of other
    recordings; right is what has the most similar bone lengths, the nearest `NEAR` of all such
    pairs.

    Args:
        lengths: (N, E) bone lengths of every window.
        recording: (N,) recording of every window, whose median lengths count; None: unknown, each
            window counts by its own lengths.

    Attributes:
        rows: (S,) the windows of the sample, ascending.
    """

    def __init__(self, lengths: np.ndarray, recording: np.ndarray | None = None) -> None:
        if recording is None:
            recording = np.arange(len(lengths))
        rng = np.random.default_rng(0)
        self.rows = np.sort(rng.permutation(len(lengths))[:SAMPLE])
        names, of = np.unique(recording, return_inverse=True)
        if len(names) < len(of):
            lengths = medians(lengths, of)[of]
        spread = lengths.std(0, dtype=np.float64)
        varies = spread > SMALLEST
        sizes = lengths[self.rows][:, varies] / spread[varies]
        self.other = of[self.rows, None] != of[self.rows]
        far = cdist(sizes, sizes)
        inside = far[self.other]
        self.alike = self.other & (far <= np.quantile(inside, NEAR) if inside.size else False)

    def __call__(self, features: np.ndarray | torch.Tensor) -> float:
        """The agreement, from 0 to 1, of (S, d) features of the windows `rows`."""
        rows = np.asarray(features, np.float64)
        order = np.argsort(np.where(self.other, cdist(rows, rows), np.inf), 1, kind="stable")
        right = np.take_along_axis(self.alike, order, 1)
        right = right[right.any(1)]
        if not len(right):
            return 0.0
        precision = right.cumsum(1) / np.arange(1, right.shape[1] + 1)
        return float(((precision * right).sum(1) / right.sum(1)).mean())


def means(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(T, d) means of the rows (N, d) of every recording; `place` (N,) counts recordings from 0."""
    return np.stack([part.mean(0) for part in _by_recording(values, place)])


def medians(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(T, d) medians, as `means`."""
    return np.stack([np.median(part, axis=0) for part in _by_recording(values, place)])


def _by_recording(values: np.ndarray, place: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(place, kind="stable")
    return np.split(values[order], np.cumsum(np.bincount(place))[:-1])
