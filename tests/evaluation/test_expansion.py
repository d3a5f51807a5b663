import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simmc.evaluation.expansion import expanded, unit_length
from tests.clustering.make import FAMILIES, exact
from tests.reference import expansion as reference


@st.composite
def problems(draw):
    """Features and a gallery that shares some of them, with ties; neighbours and power."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, gallery = draw(st.integers(1, 12)), draw(st.integers(1, 30))
    family = draw(st.sampled_from(FAMILIES))
    x = exact(family(rng, n + gallery, draw(st.integers(1, 6)), draw(st.integers(1, 5))))
    return x[:n], x[n:], draw(st.integers(1, 35)), draw(st.sampled_from([0.0, 1.0, 3.0]))


@settings(deadline=None, max_examples=150)
@given(problems(), st.booleans(), st.booleans())
def test_agrees_with_loops(problem, own, unit):
    x, gallery, k, alpha = problem
    x = gallery if own else x
    found = expanded(x, gallery, k, alpha=alpha, own=own, unit=unit, threads=1)
    expected = reference.expanded(x, gallery, k, alpha, own, unit)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_keeps_the_type_and_has_unit_length():
    rng = np.random.default_rng(0)
    x, gallery = (unit_length(rng.standard_normal((n, 16)).astype(np.float32)) for n in (30, 200))
    found = expanded(x, gallery, 5, threads=1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found, reference.expanded(x, gallery, 5), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found, expanded(x, gallery, 5, threads=3))


def test_many_rows():
    rng = np.random.default_rng(0)
    x, gallery = rng.standard_normal((1500, 3)), rng.standard_normal((700, 3))
    found = expanded(x, gallery, 4, threads=2)
    some = [0, 1, 511, 512, 1023, 1024, 1499]
    np.testing.assert_allclose(found[some], reference.expanded(x[some], gallery, 4), atol=1e-9)


def test_a_gallery_of_one_window_has_no_other():
    x = np.array([[0.0, 2.0, 0.0]])
    np.testing.assert_array_equal(expanded(x, x, 5, own=True, unit=False, threads=1), x)
    np.testing.assert_array_equal(expanded(x, x, 5, own=True, threads=1), x / 2)


def test_zeros_stay_zeros():
    np.testing.assert_array_equal(unit_length(np.zeros((2, 3))), np.zeros((2, 3)))
    assert unit_length(np.array([[3.0, 4.0]])) == pytest.approx(np.array([[0.6, 0.8]]))
