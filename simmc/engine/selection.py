"""Which epoch a run is scored at, and when it ends: the two protocols.

`paper`: the epoch with the best probe top-1, as in the published numbers. It uses the test.
`label_free`: the epoch with the best score of the pseudo labels alone.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from simmc.evaluation import diagnostics


@dataclass
class Selector:
    """The best epoch so far by one score, and the number of epochs since.

    Attributes:
        patience: epochs without a better score after which the run may end.
        margin: a better score exceeds the best by more than this.
        first: the first epoch that may be the best; the public program leaves out the untrained 0.
    """

    patience: int
    margin: float = 0.0
    best_score: float = float("-inf")
    best_epoch: int = -1
    waited: int = 0
    first: int = 1

    @property
    def done(self) -> bool:
        """Whether the patience is used up."""
        return self.waited >= self.patience

    def update(self, epoch: int, score: float | None) -> bool:
        """Compare an epoch's score (None: it has none) with the best; True where it is better.

        Patience counts all epochs, also those that were not scored. An epoch before `first` never
        counts as best but is counted, as in the public program. After the patience has ended no
        epoch is the best any more, even if the run goes on for another protocol.
        """
        if self.done:
            return False
        better = epoch >= self.first and score is not None and score > self.best_score + self.margin
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
