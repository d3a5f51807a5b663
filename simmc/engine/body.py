"""Whether features follow the bodies of people: a check on a training that its losses cannot fool.

The lengths of a person's bones do not change from one recording to the next. They are measured on
the skeletons themselves, so a training that draws different people together, or tears one person
apart, loses agreement with them, however consistent its clusters become.
"""

import numpy as np
import torch
from scipy.spatial.distance import cdist

REASON = "the one whose features agree best with bone lengths; the untrained one counts"
SAMPLE = 1000  # windows compared, a million pairs
NEAR = 0.05  # share of the pairs that count as bodies of one size
SMALLEST = 1e-9  # deviation of a bone that differs between windows


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
            parts = np.split(np.argsort(of, kind="stable"), np.cumsum(np.bincount(of))[:-1])
            lengths = np.stack([np.median(lengths[part], axis=0) for part in parts])[of]
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
