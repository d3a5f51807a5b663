"""`--eps auto` and `--min_samples auto`: the clustering with the most consistent pseudo labels.

Of one Jaccard graph, DBSCAN takes milliseconds, so every radius of a grid is tried. A small radius
leaves windows out; a large one merges all people. In between the label-free score is highest: many
windows in clusters, few pairs of them in the same one, and two masked views (or body levels) that
agree. No identity, probe or gallery is used, and the same features give the same choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations, product

import numpy as np

from simmc.clustering import JaccardGraph, dbscan
from simmc.engine.selection import agreement, coverage

EPS = tuple(round(0.05 * step, 2) for step in range(8, 17))  # 0.40 to 0.80
MIN_SAMPLES = (4, 2)  # of equal scores the first counts: fewer windows in chance clusters
REASON = "those with the most windows clustered, the most even clusters and agreeing views"


@dataclass(frozen=True)
class Chosen:
    """A clustering chosen from a grid.

    Attributes:
        labels: (q, N) int64 pseudo labels, -1 = outlier.
        eps: DBSCAN's radius.
        min_samples: DBSCAN's least number of neighbours.
        score: consistency of the labels, from 0 to 1.
    """

    labels: np.ndarray = field(repr=False)
    eps: float
    min_samples: int
    score: float


def choose(
    graphs: Sequence[JaccardGraph],
    eps: Sequence[float] = EPS,
    min_samples: Sequence[int] = MIN_SAMPLES,
) -> Chosen:
    """The most consistent clustering of a grid; of equal ones the smallest radius.

    Args:
        graphs: of each view or body level, all pairs within the largest eps.
        eps: the radii to try, ascending.
        min_samples: the numbers of neighbours to try.
    """
    return max(
        (_clustered(graphs, radius, count) for count, radius in product(min_samples, eps)),
        key=lambda chosen: chosen.score,
    )


def _clustered(graphs: Sequence[JaccardGraph], eps: float, min_samples: int) -> Chosen:
    labels = np.stack([dbscan(graph.within(eps), min_samples) for graph in graphs])
    score = coverage(labels)
    if len(graphs) > 1:
        score *= agreement(list(combinations(labels, 2)))
    return Chosen(labels, eps, min_samples, score)
