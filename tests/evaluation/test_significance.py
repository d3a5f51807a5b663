import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simmc.evaluation import significance
from simmc.evaluation.significance import (
    bootstrap_means,
    interval,
    means,
    paired,
    person_sums,
    sign_flip,
)
from tests.reference import significance as literal

PERSONS = np.array([2, 3, 5, 8])


def windows(rng, n, persons=PERSONS, missing=0.1):
    """(n, 2) values, some of them NaN, and their persons, not all of whom need to occur."""
    values = rng.random((n, 2))
    values[rng.random((n, 2)) < missing] = np.nan
    return values, rng.choice(persons, n)


def stacked(runs, persons=PERSONS):
    sums, counts = zip(*(person_sums(*run, persons) for run in runs), strict=True)
    return np.stack(sums), np.stack(counts)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_sums_and_means_of_persons(n, seed):
    values, identity = windows(np.random.default_rng(seed), n)
    sums, counts = person_sums(values, identity, PERSONS)
    for m in range(2):
        for p, person in enumerate(PERSONS):
            own = [v for v, who in zip(values[:, m], identity, strict=True) if who == person]
            own = [v for v in own if not np.isnan(v)]
            assert counts[p, m] == len(own)
            assert sums[p, m] == pytest.approx(sum(own))
        found = means(sums[None], counts[None])[0, m]
        expected = literal.figure(values[:, m], identity, PERSONS)
        assert found == pytest.approx(expected, nan_ok=True)


@settings(max_examples=20, deadline=None)
@given(st.integers(4, 20), st.integers(0, 2**32 - 1))
def test_resampled_means_are_those_of_windows_drawn_by_person(n, seed):
    rng = np.random.default_rng(seed)
    runs = [windows(rng, n), windows(rng, n + 3)]
    found = bootstrap_means(*stacked(runs), 7, np.random.default_rng(seed))
    assert found.shape == (7, 2, 2)
    drawn = list(literal.drawn_persons(PERSONS, 7, np.random.default_rng(seed)))
    for s, people in enumerate(drawn):
        for r, (values, identity) in enumerate(runs):
            for m in range(2):
                expected = literal.figure(values[:, m], identity, people)
                assert found[s, r, m] == pytest.approx(expected, nan_ok=True)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_differences_and_their_p_value(seed, same_windows):
    rng = np.random.default_rng(seed)
    a = [windows(rng, 15, missing=0), windows(rng, 12, missing=0)]
    if same_windows:
        b = [(rng.random(values.shape), identity) for values, identity in a]
    else:
        b = [windows(rng, 9), windows(rng, 14)]
    both = paired(*stacked(a), *stacked(b))
    p = sign_flip(*both, 60, np.random.default_rng(seed))
    for m in range(2):
        sides = [[(values[:, m], identity) for values, identity in side] for side in (a, b)]
        assert means(*both).mean(0)[m] == pytest.approx(literal.difference(*sides))
        rng = np.random.default_rng(seed)
        assert p[m] == pytest.approx(literal.p_value(*sides, PERSONS, 60, rng))
    if same_windows:
        plain = means(*stacked(a)) - means(*stacked(b))
        np.testing.assert_allclose(means(*both), plain, atol=1e-12)


def test_a_side_against_itself():
    runs = stacked([windows(np.random.default_rng(1), 50)])
    both = paired(*runs, *runs)
    assert not means(*both).any()
    samples = bootstrap_means(*both, 200, np.random.default_rng(0))
    assert not interval(samples).any()
    assert sign_flip(*both, 200, np.random.default_rng(0)).tolist() == [1, 1]


def test_every_person_better_by_the_same():
    rng = np.random.default_rng(2)
    persons = np.arange(40)
    identity = np.repeat(persons, 5)
    values = rng.random((200, 1))
    better, worse = (stacked([(v, identity)], persons) for v in (values + 0.1, values))
    both = paired(*better, *worse)
    np.testing.assert_allclose(means(*both), 0.1)
    # only all signs alike are as extreme, which 999 draws of 40 signs do not show
    assert sign_flip(*both, 999, rng) == pytest.approx(1 / 1000)
    np.testing.assert_allclose(interval(bootstrap_means(*both, 999, rng)).ravel(), 0.1)
    # of two persons, half of the draws are: p cannot be small
    few = paired(*(x[:, :2] for x in better), *(x[:, :2] for x in worse))
    assert 0.4 < sign_flip(*few, 999, rng)[0] < 0.6


def test_the_p_value_is_about_uniform_where_nothing_differs():
    rng = np.random.default_rng(3)
    found = []
    for _ in range(300):
        skill = rng.normal(size=(30, 1))  # of a person, on both sides
        a, b = ((rng.normal(size=(30, 1)) + skill)[None] for _ in range(2))
        counts = np.ones((1, 30, 1), np.int64)
        found.append(sign_flip(*paired(a, counts, b, counts), 199, rng)[0])
    assert 0.02 < np.mean(np.array(found) <= 0.05) < 0.09
    assert 0.4 < np.mean(found) < 0.6


def test_intervals_cover_the_truth_because_persons_are_drawn():
    """Windows of one person are alike: drawn one by one they would promise far too much."""
    rng = np.random.default_rng(4)
    persons, each = np.arange(50), 20
    identity = np.repeat(persons, each)
    by_person, by_window = 0, 0
    for _ in range(200):
        chance = rng.beta(1, 1, len(persons))  # of a hit; 0.5 in the mean
        hits = (rng.random(len(identity)) < np.repeat(chance, each)).astype(float)[:, None]
        for how in ("person", "window"):
            owner = identity if how == "person" else np.arange(len(identity))
            one = stacked([(hits, owner)], np.unique(owner))
            low, high = interval(bootstrap_means(*one, 200, rng)).ravel()
            if how == "person":
                by_person += low <= 0.5 <= high
            else:
                by_window += low <= 0.5 <= high
    assert 0.9 <= by_person / 200 <= 0.98
    assert by_window / 200 < 0.75


def test_blocks_change_nothing(monkeypatch):
    runs = stacked([windows(np.random.default_rng(6), 40), windows(np.random.default_rng(7), 40)])
    both = paired(*(x[:1] for x in runs), *(x[1:] for x in runs))

    def all_of_it():
        return (
            bootstrap_means(*runs, 100, np.random.default_rng(0)),
            sign_flip(*both, 100, np.random.default_rng(0)),
        )

    whole = all_of_it()
    monkeypatch.setattr(significance, "_CELLS", 4 * 7)
    for one, other in zip(whole, all_of_it(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_nobody_is_counted():
    nothing = np.zeros((1, 3, 1))
    none = np.zeros((1, 3, 1), np.int64)
    assert np.isnan(means(nothing, none)).all()
    assert np.isnan(sign_flip(nothing, none, 10, np.random.default_rng(0))).all()


def test_resamples_without_figures_are_left_out():
    samples = np.array([[1.0, np.nan], [2.0, 5.0], [3.0, 7.0]])
    np.testing.assert_allclose(interval(samples, 0.5), [[1.5, 5.5], [2.5, 6.5]])
