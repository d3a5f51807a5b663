"""Diagnostics of a clustering and of a feature space, with and without the true identities."""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.special import gammaln


def largest_share(labels: np.ndarray) -> float:
    """Share of the clustered windows that are in the largest cluster, in (0, 1].

    `labels` (N,) are pseudo labels, -1 for outliers; one window at least is in a cluster.
    """
    sizes = np.bincount(labels[labels >= 0])
    return float(sizes.max() / sizes.sum())


def mutual_information(truth: np.ndarray, pseudo: np.ndarray) -> float:
    """Mutual information of two labellings of the same windows, in nats.

    Args:
        truth: (N,) labels.
        pseudo: (N,) labels; -1 is a class like any other, so leave outliers out beforehand.
    """
    return _information(*_contingency(truth, pseudo))


def adjusted_mutual_information(truth: np.ndarray, pseudo: np.ndarray) -> float:
    """Mutual information adjusted for chance, over the mean of the two entropies.

    Equal to scikit-learn's adjusted_mutual_info_score (average_method="arithmetic"), but quick for
    thousands of clusters.
    """
    counts, rows, columns = _contingency(truth, pseudo)
    if len(rows) == len(columns) and len(rows) in (1, len(truth)):
        return 1.0  # one cluster, or only singletons, in both
    expected = _expected_information(rows, columns)
    entropy = (_entropy(rows) + _entropy(columns)) / 2
    scale = entropy - expected
    tiny = np.finfo(np.float64).eps  # keeps the sign where the scale vanishes
    scale = min(scale, -tiny) if scale < 0 else max(scale, tiny)
    return (_information(counts, rows, columns) - expected) / scale


def label_agreement(labels_a: np.ndarray, labels_b: np.ndarray) -> float:
    """Adjusted mutual information of two pseudo-labellings, outliers of either left out.

    It needs no identities, so it may steer a label-free run. NaN if no window remains.
    """
    _same_windows(labels_a, labels_b)
    kept = (labels_a >= 0) & (labels_b >= 0)
    if not kept.any():
        return float("nan")
    return adjusted_mutual_information(labels_a[kept], labels_b[kept])


def tightness_looseness(features: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Tightness (mACT) and looseness (mRCL) of the true classes; larger is better for both.

    With c_a the mean feature of class a and D_ab the mean over the members x of class a of
    1 - cos(x, c_b): mACT = mean D_ab over all (a, b) / mean D_aa, and mRCL = mean over all (a, b)
    of 1 - cos(c_a, c_b) / mean D_ab (SPC-MGR; the diagonal's zeros count).

    Args:
        features: (N, d) features.
        truth: (N,) identities.

    Returns:
        (mACT, mRCL); NaN or infinity where a quotient has a zero below.
    """
    if np.ndim(features) != 2 or np.shape(truth) != (len(features),) or not len(features):
        raise ValueError(f"{len(features)} windows of features, identities {np.shape(truth)}")
    members = _unit(np.asarray(features, np.float64))
    classes, index, sizes = np.unique(truth, return_inverse=True, return_counts=True)
    pick = coo_matrix(
        (1.0 / sizes[index], (index, np.arange(len(index)))), (len(classes), len(index))
    ).tocsr()
    centres = _unit(pick @ np.asarray(features, np.float64))
    # the mean over members of cos(x, c_b) is the mean unit member of the class times c_b
    spread = 1.0 - (pick @ members) @ centres.T
    within, overall = np.diag(spread).mean(), spread.mean()
    between = 1.0 - centres @ centres.T
    np.fill_diagonal(between, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.divide(overall, within)), float(np.divide(between.mean(), overall))


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of unit length; rows of zeros stay zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)


def _contingency(a: np.ndarray, b: np.ndarray) -> tuple[coo_matrix, np.ndarray, np.ndarray]:
    """Sparse table of joint counts, and the sizes of the classes of either labelling."""
    _same_windows(a, b)
    if not len(a):
        raise ValueError("labellings of no window cannot be compared")
    _, row, rows = np.unique(a, return_inverse=True, return_counts=True)
    _, column, columns = np.unique(b, return_inverse=True, return_counts=True)
    ones = np.ones(len(a), np.int64)
    counts = coo_matrix((ones, (row, column)), (len(rows), len(columns)))
    counts.sum_duplicates()
    return counts, rows, columns


def _information(counts: coo_matrix, rows: np.ndarray, columns: np.ndarray) -> float:
    """Mutual information in nats of a table of joint counts."""
    n = rows.sum()
    joint = counts.data / n
    chance = (rows[counts.row] / n) * (columns[counts.col] / n)
    return max(0.0, float(np.sum(joint * np.log(joint / chance))))


def _entropy(sizes: np.ndarray) -> float:
    """Entropy in nats of a labelling with classes of these sizes."""
    share = sizes / sizes.sum()
    return float(-np.sum(share * np.log(share)))


def _expected_information(rows: np.ndarray, columns: np.ndarray) -> float:
    """Mean mutual information over all tables with these row and column sums, in nats.

    A pair of classes matters by its two sizes only, and few sizes differ: every pair of
    different sizes a <= b is worked out once, over all its possible joint counts (the
    hypergeometric distribution), and counted as often as it occurs (Vinh et al. 2010, eq. 24a).
    """
    n = int(rows.sum())
    log_factorial = gammaln(np.arange(n + 1) + 1.0)
    total = 0.0
    sizes_b, times_b = np.unique(columns, return_counts=True)
    for a, times_a in zip(*np.unique(rows, return_counts=True), strict=True):
        low = np.maximum(1, a + sizes_b - n)
        spans = np.minimum(a, sizes_b) - low + 1
        b, times = np.repeat(sizes_b, spans), np.repeat(times_b, spans)
        joint = np.arange(spans.sum()) - np.repeat(np.cumsum(spans) - spans - low, spans)
        log_chance = (
            log_factorial[a] + log_factorial[b] + log_factorial[n - a] + log_factorial[n - b]
            - log_factorial[n] - log_factorial[joint] - log_factorial[a - joint]
            - log_factorial[b - joint] - log_factorial[n - a - b + joint]
        )  # fmt: skip
        terms = joint / n * np.log(n * joint / (a * b)) * np.exp(log_chance)
        total += float(times_a * np.sum(times * terms))
    return total


def _same_windows(a: np.ndarray, b: np.ndarray) -> None:
    """Refuse labellings of different windows."""
    if np.shape(a) != np.shape(b) or np.ndim(a) != 1:
        raise ValueError(f"two labellings of shapes {np.shape(a)} and {np.shape(b)}")
