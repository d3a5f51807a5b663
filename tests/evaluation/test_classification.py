import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, top_k_accuracy_score

from simmc.evaluation.classification import evaluate_classes
from tests.reference import classification as literal


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(2, 6), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_as_defined_with_many_equal_scores(n, n_classes, values, seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, values, size=(n, n_classes)).astype(float)
    labels = rng.integers(0, n_classes, size=n)
    found = evaluate_classes(scores, labels)
    ranks = [literal.true_rank(*pair) for pair in zip(scores.tolist(), labels, strict=True)]
    assert found.true_rank.tolist() == ranks
    assert math.isclose(found.nauc_cmc, literal.cmc_area(scores.tolist(), labels))
    assert math.isclose(found.nauc_roc, literal.roc_area(scores.tolist(), labels))


def test_as_scikit_learn():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(300, 9)).astype(np.float32)
    labels = rng.integers(0, 9, 300)
    scores[np.arange(300), labels] += 1
    found = evaluate_classes(scores, labels)
    one_hot = np.eye(9)[labels]
    assert math.isclose(found.nauc_roc, roc_auc_score(one_hot, scores, average="micro"))
    for k in (1, 3, 5):
        expected = top_k_accuracy_score(labels, scores, k=k, labels=range(9))
        assert math.isclose(found.top(k), expected)
        assert math.isclose(found.cmc(k)[-1], expected)
    assert found.top(1) == np.mean(scores.argmax(1) == labels)


def test_the_two_areas_differ():
    # both windows rank their class first, but the second's scores lie below the first's
    found = evaluate_classes(np.array([[0.9, 0.8], [0.1, 0.2]]), np.array([0, 1]))
    assert found.nauc_cmc == 1.0
    assert found.nauc_roc == 0.75


def test_hard_decisions_have_an_area_that_follows_from_rank_1():
    """Published pairs that fit it were made from decisions, not scores (docs/descriptors.md)."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 11, 500)
    decided = np.where(rng.random(500) < 0.3, labels, rng.integers(0, 11, 500))
    found = evaluate_classes(np.eye(11)[decided], labels)
    rank_1 = found.top(1)
    assert math.isclose(found.nauc_roc, (1 + rank_1 - (1 - rank_1) / 10) / 2)


def test_perfect_and_hopeless():
    labels = np.arange(4)
    best = evaluate_classes(np.eye(4), labels)
    assert (best.top(1), best.nauc_cmc, best.nauc_roc) == (1.0, 1.0, 1.0)
    worst = evaluate_classes(-np.eye(4), labels)
    assert (worst.top(3), worst.nauc_cmc, worst.nauc_roc) == (0.0, 0.25, 0.0)
    assert worst.cmc(6).tolist() == [0, 0, 0, 1, 1, 1]  # beyond the last class nothing changes


def test_a_class_that_was_never_trained_on():
    found = evaluate_classes(np.array([[0.1, -np.inf], [0.2, -np.inf]]), np.array([0, 1]))
    assert found.true_rank.tolist() == [1, 2]
    assert found.nauc_roc == (1 + 0.5 + 0 + 0) / 4


@pytest.mark.parametrize(
    ("scores", "labels", "said"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), "shape"),
        (np.zeros((2, 1)), np.zeros(2, int), "2 or more classes"),
        (np.zeros(3), np.zeros(3, int), "shape"),
        (np.zeros((2, 3)), np.zeros(3, int), "2 integers"),
        (np.zeros((2, 3)), np.zeros(2), "float64"),
        (np.zeros((2, 3)), np.array([0, 3]), "outside 0..2"),
        (np.zeros((2, 3)), np.array([-1, 0]), "outside 0..2"),
        (np.full((2, 3), np.nan), np.zeros(2, int), "NaN"),
    ],
)
def test_misuse(scores, labels, said):
    with pytest.raises(ValueError, match=said):
        evaluate_classes(scores, labels)


def test_ranks_begin_at_one():
    found = evaluate_classes(np.eye(2), np.arange(2))
    for call in (found.top, found.cmc):
        with pytest.raises(ValueError, match="at least 1, not 0"):
            call(0)
