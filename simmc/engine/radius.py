"""`--eps auto` and `--min_samples auto`: the clustering with the most consistent pseudo labels.

Of one Jaccard graph, DBSCAN takes milliseconds, so every radius of a grid is tried. A small radius
leaves windows out; a large one merges all people. In between the label-free score is highest: many
windows in clusters, few pairs of them in the same one, and two masked views (or body levels) that
agree. No identity, probe or gallery is used, and the same features give the same choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from simmc.clustering import JaccardGraph, dbscan
from simmc.evaluation import diagnostics

EPS = tuple(round(0.05 * step, 2) for step in range(8, 17))  # 0.40 to 0.80
MIN_SAMPLES = (4, 2)
TOLERANCE = 0.02  # share of the best score that counts as equal
REASON = "those with the most windows clustered, the most even clusters and agreeing views"


@dataclass(frozen=True)
class Radius:
    """What DBSCAN gets.

    Attributes:
        eps: largest distance of neighbours.
        min_samples: least number of neighbours of a core point.
    """

    eps: float
    min_samples: int


def choose(
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
