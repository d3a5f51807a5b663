import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import adjusted_mutual_info_score, mutual_info_score

from simmc.evaluation.diagnostics import (
    adjusted_mutual_information,
    label_agreement,
    mutual_information,
    tightness_looseness,
)
from tests.reference import metrics as reference


@st.composite
def labellings(draw, low=0):
    n = draw(st.integers(1, 60))
    return tuple(
        draw(arrays(np.int64, n, elements=st.integers(low, draw(st.integers(0, 20)))))
        for _ in range(2)
    )


@settings(deadline=None)
@given(labellings())
def test_information_is_that_of_scikit_learn(labels):
    assert mutual_information(*labels) == pytest.approx(mutual_info_score(*labels), abs=1e-12)
    assert adjusted_mutual_information(*labels) == pytest.approx(
        adjusted_mutual_info_score(*labels), abs=1e-9
    )


def test_information_of_many_clusters():
    rng = np.random.default_rng(0)
    one = np.sort(rng.integers(0, 150, 3000))
    other = np.where(rng.random(3000) < 0.6, one * 2 + rng.integers(0, 2, 3000), 999)
    expected = adjusted_mutual_info_score(one, other)
    assert adjusted_mutual_information(one, other) == pytest.approx(expected, abs=1e-10)


def test_information_by_hand():
    assert mutual_information(np.array([0, 0, 1, 1]), np.array([5, 5, 7, 7])) == pytest.approx(
        np.log(2)
    )
    assert mutual_information(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])) == 0
    assert adjusted_mutual_information(np.array([0, 0, 1]), np.array([4, 4, 2])) == pytest.approx(1)


@settings(deadline=None)
@given(labellings(low=-1))
def test_agreement_leaves_outliers_of_either_view_out(labels):
    kept = (labels[0] >= 0) & (labels[1] >= 0)
    result = label_agreement(*labels)
    if kept.any():
        expected = adjusted_mutual_info_score(labels[0][kept], labels[1][kept])
        assert result == pytest.approx(expected, abs=1e-9)
        assert label_agreement(labels[1], labels[0]) == pytest.approx(result, abs=1e-9)
    else:
        assert np.isnan(result)


def test_labels_of_other_windows_are_refused():
    for function in (mutual_information, adjusted_mutual_information, label_agreement):
        with pytest.raises(ValueError, match=r"shapes \(3,\) and \(4,\)"):
            function(np.arange(3), np.arange(4))
    with pytest.raises(ValueError, match="no window"):
        mutual_information(np.arange(0), np.arange(0))


@pytest.mark.parametrize("seed", range(4))
def test_tightness_and_looseness_agree_with_loops(seed):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((40, 7)).astype(np.float32)
    truth = rng.integers(0, 5, 40) * 3
    result = tightness_looseness(features, truth)
    np.testing.assert_allclose(result, reference.tightness_looseness(features, truth), rtol=1e-10)


def test_tightness_and_looseness_by_hand():
    # two classes at right angles, each two windows 45 degrees apart round its centre
    turn = np.pi / 8
    angles = np.array([-turn, turn, np.pi / 2 - turn, np.pi / 2 + turn])
    features = 3 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    within, overall = 1 - np.cos(turn), 1 - np.cos(turn) / 2
    tightness, looseness = tightness_looseness(features, np.array([0, 0, 1, 1]))
    assert tightness == pytest.approx(overall / within)
    assert looseness == pytest.approx(0.5 / overall)


def test_tightness_of_points_is_infinite_and_of_nothing_refused():
    tightness, looseness = tightness_looseness(np.eye(3), np.arange(3))
    assert tightness == np.inf
    assert looseness == pytest.approx(1)
    with pytest.raises(ValueError, match="3 windows"):
        tightness_looseness(np.eye(3), np.arange(2))


def test_a_feature_of_zeros_is_like_no_class():
    features = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    tightness, looseness = tightness_looseness(features, np.array([0, 0, 1]))
    # distances to the centres: 0 and 1 of the first, 1 and 1 of zeros, 1 and 0 of the last
    assert tightness == pytest.approx((0.5 + 1 + 1 + 0) / 4 / ((0.5 + 0) / 2))
    assert looseness == pytest.approx(0.5 / ((0.5 + 1 + 1 + 0) / 4))
