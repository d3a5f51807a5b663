"""Query expansion written out with loops."""

import numpy as np


def expanded(features, gallery, k, alpha=3.0, own=False, unit=True):
    """(N, d) weighted sums of each feature and its nearest in the gallery."""
    result = []
    for i, x in enumerate(np.asarray(features, np.float64)):
        squares = [(sum((x - g) ** 2), j) for j, g in enumerate(np.asarray(gallery, np.float64))]
        nearest = [j for _, j in sorted(squares) if not (own and j == i)][:k]
        total, weights = x.copy(), 1.0
        for j in nearest:
            g = np.asarray(gallery[j], np.float64)
            lengths = np.linalg.norm(x) * np.linalg.norm(g)
            cosine = sum(x * g) / lengths if lengths > 0 else 0.0
            weight = max(cosine, 0.0) ** alpha
            total += weight * g
            weights += weight
        length = np.linalg.norm(total)
        result.append(total / (length if unit and length > 0 else weights))
    return np.array(result)
