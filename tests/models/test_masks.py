from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simmc.models.simmc import draw_masks


def draw(windows=64, length=6, dropped=(2, 2), group=1, seed=0):
    return draw_masks(np.random.default_rng(seed), windows, length, dropped, group=group)


@st.composite
def shapes(draw_from):
    length = draw_from(st.integers(1, 12))
    views = st.lists(st.integers(0, length - 1), min_size=1, max_size=3)
    return {
        "windows": draw_from(st.integers(1, 40)),
        "length": length,
        "dropped": tuple(draw_from(views)),
        "group": draw_from(st.integers(1, 50)),
        "seed": draw_from(st.integers(0, 2**32)),
    }


@given(shapes())
def test_every_mask_drops_x_frames_and_shares_the_weight_among_the_others(shape):
    masks = draw(**shape)
    assert masks.shape == (shape["windows"], len(shape["dropped"]), shape["length"])
    assert masks.dtype == np.float32
    for view, x in enumerate(shape["dropped"]):
        kept = shape["length"] - x
        assert ((masks[:, view] > 0).sum(axis=1) == kept).all()
        assert np.isin(masks[:, view], [0, np.float32(1 / kept)]).all()
    np.testing.assert_allclose(masks.sum(axis=2), 1, rtol=1e-6)


@given(shapes())
def test_a_group_shares_its_masks(shape):
    masks = draw(**shape)
    for start in range(0, shape["windows"], shape["group"]):
        part = masks[start : start + shape["group"]]
        assert (part == part[0]).all()


def test_groups_views_and_single_windows_differ():
    by_batch = draw(windows=64 * 16, length=10, dropped=(5, 5), group=16)[::16]
    by_window = draw(windows=64, length=10, dropped=(5, 5))
    for masks in (by_batch, by_window):
        assert len(np.unique(masks[:, 0], axis=0)) > 50
        assert (masks[:, 0] != masks[:, 1]).any(axis=1).mean() > 0.9


@pytest.mark.parametrize(("length", "x"), [(6, 2), (5, 4)])
def test_all_choices_of_frames_are_equally_likely(length, x):
    """Pearson's statistic over the subsets; its mean is their number less 1."""
    windows = 30_000
    masks = draw(windows=windows, length=length, dropped=(x, x))
    choices = list(combinations(range(length), length - x))
    expected = windows / len(choices)
    for view in range(2):
        kept = np.nonzero(masks[:, view])[1].reshape(windows, length - x)
        counts = np.array([(kept == choice).all(axis=1).sum() for choice in choices])
        assert counts.sum() == windows
        assert ((counts - expected) ** 2 / expected).sum() < 3 * len(choices)


def test_the_two_views_are_independent():
    masks = draw(windows=30_000) > 0
    both = (masks[:, 0, :, None] & masks[:, 1, None, :]).mean(axis=0)
    np.testing.assert_allclose(both, (4 / 6) ** 2, atol=0.015)


def test_the_generator_alone_decides():
    np.testing.assert_array_equal(draw(seed=7), draw(seed=7))
    assert (draw(seed=7) != draw(seed=8)).any()
    rng = np.random.default_rng(7)
    first, second = (draw_masks(rng, 64, 6, (2, 2)) for _ in range(2))
    assert (first != second).any()
