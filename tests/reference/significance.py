"""Intervals and tests over persons, window by window."""

import numpy as np


def figure(values, identity, drawn):
    """Mean over the windows of the persons drawn, as often as they were drawn; NaN left out."""
    total, count = 0.0, 0
    for person in drawn:
        for value, owner in zip(values, identity, strict=True):
            if owner == person and not np.isnan(value):
                total, count = total + value, count + 1
    return total / count if count else float("nan")


def drawn_persons(persons, resamples, rng):
    """Lists of persons, each as often as it was drawn."""
    for times in rng.multinomial(len(persons), [1 / len(persons)] * len(persons), resamples):
        yield [p for p, n in zip(persons, times, strict=True) for _ in range(n)]


def difference(a, b, signs=None):
    """Mean difference over the runs; each run is a (values, identity), each person has a sign.

    A person weighs as much as it has windows on both sides.
    """
    found = []
    for (values_a, identity_a), (values_b, identity_b) in zip(a, b, strict=True):
        total, weight = 0.0, 0
        for person in sorted({*identity_a, *identity_b}):
            one, other = (
                figure(values_a, identity_a, [person]),
                figure(values_b, identity_b, [person]),
            )
            if np.isnan(one) or np.isnan(other):
                continue
            windows = sum(
                owner == person and not np.isnan(value)
                for values, identity in ((values_a, identity_a), (values_b, identity_b))
                for value, owner in zip(values, identity, strict=True)
            )
            total += windows * (one - other) * (1 if signs is None else signs[person])
            weight += windows
        found.append(total / weight)
    return sum(found) / len(found)


def p_value(a, b, persons, resamples, rng):
    """Share of draws of signs, and of what was seen, at least as far from 0 as what was seen."""
    seen, beyond = abs(difference(a, b)), 1
    for row in rng.integers(0, 2, (resamples, len(persons))):
        signs = {p: 1 if sign else -1 for p, sign in zip(persons, row, strict=True)}
        beyond += abs(difference(a, b, signs)) >= seen - 1e-9
    return beyond / (1 + resamples)
