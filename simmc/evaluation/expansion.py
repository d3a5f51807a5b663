"""Query expansion: a feature is moved towards the gallery features that are nearest to it.

Alpha query expansion (Radenovic, Tolias, Chum, "Fine-tuning CNN image retrieval with no human
annotation", TPAMI 2019). docs/matching.md has the formulas.
"""

import numpy as np

from simmc.clustering import k_nearest_among, k_nearest_others

_ROWS = 1024  # rows whose neighbours are gathered at a time


def expanded(
    features: np.ndarray,
    gallery: np.ndarray,
    k: int,
    *,
    alpha: float = 3.0,
    own: bool = False,
    unit: bool = True,
    threads: int | None = None,
) -> np.ndarray:
    """Each feature x becomes a weighted mean of itself and of its k nearest gallery features g.

    The weight of x is 1, that of g is max(cos(x, g), 0)^alpha.

    Args:
        features: (N, d) finite floats.
        gallery: (Ng, d) finite floats.
        k: neighbours, by (Euclidean distance, index); cut to what there is.
        alpha: 0 or more; larger ones give less weight to what is less alike.
        own: the features are the gallery's: none is a neighbour of itself.
        unit: scale the mean to unit length.
        threads: None: as many as torch uses.

    Returns:
        (N, d) in the type of the features.
    """
    k = min(k, len(gallery) - own)
    if k < 1:
        return unit_length(features) if unit else features.copy()
    if own:
        neighbors = k_nearest_others(gallery, k, threads=threads).indices
    else:
        neighbors = k_nearest_among(features, gallery, k, threads=threads).indices
    result = np.empty_like(features)
    for a in range(0, len(features), _ROWS):
        rows = features[a : a + _ROWS].astype(np.float64)
        near = gallery[neighbors[a : a + _ROWS]].astype(np.float64)  # (b, k, d)
        weights = np.maximum(_cosine(rows, near), 0.0) ** alpha
        mean = rows + np.einsum("bk,bkd->bd", weights, near)
        result[a : a + _ROWS] = mean / (1.0 + weights.sum(axis=1, keepdims=True))
    return unit_length(result) if unit else result


def unit_length(features: np.ndarray) -> np.ndarray:
    """(N, d) features scaled to length 1, in their own type; zeros stay zeros."""
    lengths = np.sqrt(np.einsum("bd,bd->b", features, features, dtype=np.float64))
    return (features / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(features.dtype)


def _cosine(rows: np.ndarray, near: np.ndarray) -> np.ndarray:
    """(b, k) cosines of rows (b, d) and near (b, k, d); 0 with a zero vector."""
    product = np.einsum("bd,bkd->bk", rows, near)
    lengths = np.linalg.norm(rows, axis=1)[:, None] * np.linalg.norm(near, axis=2)
    return product / np.where(lengths > 0, lengths, 1.0)
