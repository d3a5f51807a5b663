"""Whether features follow the bodies of people: a check on a training that its losses cannot fool.

The lengths of a person's bones do not change from one recording to the next. They are measured on
the skeletons themselves, so a training that draws different people together, or tears one person
apart, loses agreement with them, however consistent its clusters become.
"""

import numpy as np
from scipy.spatial.distance import pdist
from scipy.stats import rankdata

SAMPLE = 1000  # windows compared, half a million pairs
REASON = "the one whose features agree best with bone lengths; the untrained one counts"
SMALLEST = 1e-9  # deviation of a bone that differs between windows


class BodyAgreement:
    """Rank correlation of distances between features with distances between bone lengths.

    Both over all pairs of the same sample of training windows, as in a Mantel test.

    Args:
        body: (N, E) bone lengths of every window.
    """

    def __init__(self, body: np.ndarray) -> None:
        rng = np.random.default_rng(0)
        self.rows = np.sort(rng.permutation(len(body))[:SAMPLE])
        spread = body.std(0, dtype=np.float64)
        varies = spread > SMALLEST
        sizes = body[self.rows][:, varies] / spread[varies]
        self.sizes = rankdata(pdist(sizes))

    def __call__(self, features: np.ndarray) -> float:
        """The correlation, -1 to 1, of (S, d) features of the windows `rows`; 0 if constant."""
        ranks = rankdata(pdist(features))
        if np.ptp(ranks) == 0 or np.ptp(self.sizes) == 0:
            return 0.0
        return float(np.corrcoef(ranks, self.sizes)[0, 1])
