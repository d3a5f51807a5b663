"""Closed-set classification: Rank-n and the two areas that SGELA calls nAUC (docs/descriptors.md).

A classifier gives every window a score for each of C classes; a larger score means more likely.
"""

import operator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Classification:
    """Outcome of scoring every class for every window.

    Attributes:
        true_rank: (N,) int64, 1-based place of the true class by falling score; equal scores are
            ordered by class index, so that rank 1 is the argmax.
        n_classes: C, classes without a test window included.
        nauc_roc: area under the ROC curve of all N C scores against one-hot labels (micro
            average), equal scores halved. What SGELA's program prints as nAUC.
        unmatched: how many of the N windows show a class without training windows.
    """

    true_rank: np.ndarray
    n_classes: int
    nauc_roc: float
    unmatched: int = 0

    @property
    def probes(self) -> int:
        """N, the windows that are scored."""
        return len(self.true_rank)

    @property
    def nauc_cmc(self) -> float:
        """Area under the CMC over all C ranks, divided by C. What SGELA's paper defines as nAUC."""
        return float(self.cmc(self.n_classes).mean())

    def top(self, k: int) -> float:
        """Rank-k: share of windows whose true class is among the k best scored."""
        k = operator.index(k)
        if k < 1:
            raise ValueError(f"Rank-k needs k of at least 1, not {k}")
        return float(np.mean(self.true_rank <= k))

    def cmc(self, max_rank: int) -> np.ndarray:
        """Rank-1, ..., Rank-max_rank, float64."""
        max_rank = operator.index(max_rank)
        if max_rank < 1:
            raise ValueError(f"the CMC needs a largest rank of at least 1, not {max_rank}")
        hits = np.bincount(self.true_rank, minlength=max_rank + 1)[1 : max_rank + 1]
        return np.cumsum(hits) / len(self.true_rank)


def evaluate_classes(
    scores: np.ndarray, labels: np.ndarray, *, learned: np.ndarray | None = None
) -> Classification:
    """Judge the scores of a classifier.

    Args:
        scores: (N, C) floats, C of at least 2; -inf for a class that was never trained on.
        labels: (N,) true classes, integers in 0..C-1.
        learned: classes that have training windows, with repeats; None: all have.

    Raises:
        ValueError: on empty or misshapen input, NaN, or labels outside 0..C-1.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim != 2 or scores.shape[0] < 1 or scores.shape[1] < 2:
        raise ValueError(f"scores must have shape (windows, 2 or more classes): {scores.shape}")
    if labels.shape != scores.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels must be {len(scores)} integers, not {labels.dtype} {labels.shape}"
        )
    if np.isnan(scores).any():
        raise ValueError("scores hold NaN")
    n_classes = scores.shape[1]
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError(f"labels outside 0..{n_classes - 1}")
    unmatched = 0 if learned is None else int((~np.isin(labels, learned)).sum())
    return Classification(
        _true_ranks(scores, labels), n_classes, _micro_roc_area(scores, labels), unmatched
    )


def _true_ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    true = np.take_along_axis(scores, labels[:, None], 1)
    before = np.arange(scores.shape[1]) < labels[:, None]
    return 1 + ((scores > true) | ((scores == true) & before)).sum(1)


def _micro_roc_area(scores: np.ndarray, labels: np.ndarray) -> float:
    """Chance that a true (window, class) pair outscores a false one, from two sorts."""
    true = np.sort(np.take_along_axis(scores, labels[:, None], 1).ravel())
    every = np.sort(scores, axis=None)
    below, upto = (
        np.searchsorted(every, true, side) - np.searchsorted(true, true, side)
        for side in ("left", "right")
    )
    n_false = scores.size - len(true)
    return float((below.sum() + upto.sum()) / (2 * len(true) * n_false))
