"""How sure a mean over probe windows is: intervals by bootstrap, and paired tests, over persons.

Windows of one person depend on each other: what varies freely is the person. So whole persons are
drawn (the cluster bootstrap of Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 8)
or have the two sides of a comparison swapped (the randomisation test of Fisher, The Design of
Experiments, 1935, section 21). Both need no more of the windows than sums by person.

Shape letters: N windows, P persons, R runs, M figures (top-1, mAP, ...), S resamples. A figure of a
run is sum over persons of `sums` / sum over persons of `counts`: a mean over its windows.
"""

from collections.abc import Iterator

import numpy as np

LEVEL = 0.95
_CELLS = 2**22  # weights or signs drawn at once


def person_sums(
    values: np.ndarray, identity: np.ndarray, persons: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The windows of each person added up.

    Args:
        values: (N, M) floats; NaN for a window that is no part of a figure.
        identity: (N,) integers, all of which are among the persons.
        persons: (P,) integers, sorted, each once.

    Returns:
        (P, M) float64 sums, and (P, M) int64 counts of the windows in them.
    """
    place = np.searchsorted(persons, identity)
    counted = ~np.isnan(values)
    shape = (len(persons), values.shape[1])
    sums, counts = np.zeros(shape), np.zeros(shape, np.int64)
    np.add.at(sums, place, np.where(counted, values, 0.0))
    np.add.at(counts, place, counted)
    return sums, counts


def means(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(R, M) figures of the runs, of (R, P, M) sums and counts; NaN where nothing is counted."""
    return _ratio(sums.sum(1), counts.sum(1))


def paired(
    sums_a: np.ndarray, counts_a: np.ndarray, sums_b: np.ndarray, counts_b: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Differences A - B of the persons' means, weighted by their windows on both sides.

    Where both sides count the same windows, `means` of the differences is the difference of their
    `means`. Where they do not, a person is compared by means over the windows that each side
    counts; a person without a count on one side is left out.

    Args:
        sums_a: (R, P, M) of the runs of A, each beside the run of B that it is paired with.
        counts_a: (R, P, M).
        sums_b: (R, P, M).
        counts_b: (R, P, M).

    Returns:
        (R, P, M) float64 sums and int64 counts, as of a run.
    """
    counts = np.where((counts_a > 0) & (counts_b > 0), counts_a + counts_b, 0)
    difference = _ratio(sums_a, counts_a) - _ratio(sums_b, counts_b)
    return np.where(counts > 0, counts * difference, 0.0), counts


def bootstrap_means(
    sums: np.ndarray, counts: np.ndarray, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """(S, R, M) figures of the runs over P persons drawn with replacement, the same for all runs.

    Args:
        sums: (R, P, M).
        counts: (R, P, M).
        resamples: S.
        rng: draws the persons.
    """
    runs, persons, figures = sums.shape
    # (P, R M): each draw is a row of how often each person was drawn, times these
    flat = [np.moveaxis(np.asarray(x, float), 1, 0).reshape(persons, -1) for x in (sums, counts)]
    parts = []
    for size in _blocks(resamples, persons):
        drawn = rng.multinomial(persons, np.full(persons, 1 / persons), size).astype(float)
        parts.append(_ratio(drawn @ flat[0], drawn @ flat[1]))
    return np.concatenate(parts).reshape(resamples, runs, figures)


def interval(samples: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """(2, ...) lower and upper percentile of (S, ...) resampled figures; NaN is no figure."""
    tail = (1 - level) / 2
    with_nan = np.isnan(samples).any()
    found: np.ndarray = (np.nanquantile if with_nan else np.quantile)(
        samples, [tail, 1 - tail], axis=0
    )
    return found


def sign_flip(
    sums: np.ndarray, counts: np.ndarray, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """(M,) two-sided p-values of differences that are 0 but for chance.

    If the sides were the same, each person's difference could as well have the other sign, in all
    runs at once. p = (1 + draws of signs with a mean at least as far from 0) / (1 + S), which is
    never 0.

    Args:
        sums: (R, P, M) of `paired`.
        counts: (R, P, M).
        resamples: S.
        rng: draws the signs.
    """
    runs, persons, figures = sums.shape
    # (P, M): what each person adds to the mean over the runs
    share = _ratio(sums, counts.sum(1, keepdims=True)).sum(0) / runs
    rounding = 1e-12 * np.abs(share).sum(0)  # signs that give the same mean tie with it
    observed = np.abs(share.sum(0)) - rounding
    beyond = np.zeros(figures, np.int64)
    for size in _blocks(resamples, persons):
        signs = 2.0 * rng.integers(0, 2, (size, persons)) - 1
        beyond += (np.abs(signs @ share) >= observed).sum(0)
    p: np.ndarray = np.where(np.isnan(share).any(0), np.nan, (1 + beyond) / (1 + resamples))
    return p


def _ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sums / counts, float64; NaN where a count is 0."""
    wanted = np.broadcast_shapes(np.shape(sums), np.shape(counts))
    counts = np.broadcast_to(counts, wanted)
    return np.divide(sums, counts, out=np.full(wanted, np.nan), where=counts > 0)


def _blocks(resamples: int, persons: int) -> Iterator[int]:
    """Sizes of the parts in which resamples are drawn, so that memory stays bounded."""
    size = max(1, _CELLS // persons)
    for start in range(0, resamples, size):
        yield min(size, resamples - start)
