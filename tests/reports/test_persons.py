"""Which persons decide, on numbers that can be checked on paper."""

import numpy as np
import pytest

from simmc.reports import persons
from tests.reports.test_cells import A, B, K, record, table
from tests.reports.test_cells import persons as packed


def kept(seed, hits, **more):
    return record(seed, persons={"paper": packed(hits)}, **more)


def test_independent_persons_explain_the_spread():
    rng = np.random.default_rng(0)
    windows = np.full((400, 30), 10)
    hits = rng.integers(0, 11, size=windows.shape)
    measured, independent, shares = persons.spread(hits, windows)
    literal = sum(np.var(10 * hits[:, p], ddof=1) for p in range(30)) ** 0.5 / 30
    assert independent == pytest.approx(literal)
    assert measured == pytest.approx(independent, rel=0.1)
    assert shares.sum() == pytest.approx(1)


def test_a_person_without_windows_in_a_seed_does_not_count():
    hits, windows = np.array([[5, 0], [5, 7]]), np.array([[10, 0], [10, 10]])
    assert persons.spread(hits, windows)[1:] == (0, pytest.approx([0, 0]))


def test_the_person_that_differs_is_named():
    drawn = persons.section(table(A), K, [kept(0, [5, 0, 5]), kept(1, [5, 10, 5])])
    assert "A: persons that differ most between 2 seeds" in drawn
    assert drawn.index("person 1<") < drawn.index("person 0<")
    deviation = 100 * np.std([1 / 3, 2 / 3], ddof=1)
    assert f"differs by {deviation:.1f} points" in drawn
    assert f"would make it {deviation:.1f}" in drawn and "by 1 of them" in drawn


def test_nothing_is_drawn_where_nothing_differs_or_is_known():
    assert not persons.section(table(A), K, [kept(0, [5, 0]), kept(1, [5, 0])])
    assert not persons.section(table(A), K, [kept(0, [5, 0]), record(1)])
    assert not persons.section(table(A), K, [kept(0, [5, 0])])


def test_two_methods_are_compared_by_person():
    claim = {"text": "x", "column": K, "above": ["A", "B"], "figures": ["top1"]}
    both = table(A, B, claim=[claim])
    records = [kept(0, [9, 5, 5]), kept(0, [3, 5, 6], run="simmc --x 2")]
    drawn = persons.section(both, K, records)
    assert "A - B: persons that make the difference" in drawn
    assert "The whole difference is +16.7" in drawn
    assert "1 persons are better, 1 worse" in drawn
    other = [records[0], kept(0, [3, 5, 6], run="simmc --x 2", data="other")]
    assert not persons.section(both, K, other)
