"""Rankings by given distances are those by features, rule by rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simmc.evaluation.ranking import evaluate, evaluate_distances
from tests.evaluation.test_ranking import identical, integer_squares, problems, same
from tests.reference import metrics

RULES = st.sampled_from([None, "remove_self", "skip_first"])


@settings(deadline=None, max_examples=100)
@given(problems(), RULES, st.sampled_from([None, 1, 5]))
def test_agrees_with_features(problem, rule, block):
    probe, probe_ids, gallery, gallery_ids, own = problem
    squares = integer_squares(probe, gallery).astype(np.float64)
    how = {"self_index": None if rule is None else own, "same_condition": rule, "block": block}
    found = evaluate_distances(lambda a, b: squares[a:b], probe_ids, gallery_ids, **how)
    identical(
        found, evaluate(probe.astype(float), probe_ids, gallery.astype(float), gallery_ids, **how)
    )
    same(found, metrics.evaluate(squares, probe_ids, gallery_ids, own, rule))
    assert found.left_out == (rule == "skip_first")


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), RULES)
def test_distances_that_are_none(seed, rule):
    """Negative, infinite, equal; matrices that no features have."""
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 12), rng.integers(1, 60)
    distances = rng.choice([-3.0, -0.5, 0.0, 1e-30, 0.25, 1 / 3, 1.0, 1e9, np.inf], (n, m))
    ids = rng.integers(0, 3, n), rng.integers(0, 3, m)
    own = rng.integers(-1, m, n)
    how = {"self_index": None if rule is None else own, "same_condition": rule}
    found = evaluate_distances(lambda a, b: distances[a:b], *ids, **how)
    same(found, metrics.evaluate(distances, *ids, own, rule))


def test_blocks_are_asked_for_one_after_another():
    asked = []

    def distances(start, stop):
        asked.append((start, stop))
        return np.ones((stop - start, 3))

    evaluate_distances(distances, np.zeros(8, int), np.zeros(3, int), block=3)
    assert asked == [(0, 3), (3, 6), (6, 8)]


@pytest.mark.parametrize(
    ("distances", "said"),
    [
        (lambda a, b: np.full((b - a, 2), np.nan), "NaN"),
        (lambda a, b: np.ones((b - a, 3)), "shape"),
    ],
)
def test_what_cannot_be_ranked(distances, said):
    with pytest.raises(ValueError, match=said):
        evaluate_distances(distances, np.zeros(2, int), np.zeros(2, int))
    with pytest.raises(ValueError, match="0 probes"):
        evaluate_distances(distances, np.zeros(0, int), np.zeros(2, int))
