import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score

from simmc.evaluation import ranking
from simmc.evaluation.classification import Classification
from simmc.evaluation.ranking import Retrieval, evaluate
from simmc.scoring.match import retrieval_record
from tests.reference import metrics as reference


def same(result, expected):
    first, precision, penalty = expected
    np.testing.assert_array_equal(result.first_match_rank, first)
    np.testing.assert_allclose(result.average_precision, precision, rtol=0, atol=1e-12)
    np.testing.assert_allclose(result.inverse_negative_penalty, penalty, rtol=0, atol=1e-15)


def identical(one, other):
    for name in ("first_match_rank", "average_precision", "inverse_negative_penalty"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def integer_squares(probe, gallery):
    """Exact squared distances of whole-numbered features."""
    return ((probe[:, None].astype(np.int64) - gallery[None].astype(np.int64)) ** 2).sum(-1)


@st.composite
def problems(draw, lowest=0):
    """Whole-numbered features, so that sums are exact and ties abound; identities from `lowest`."""
    d = draw(st.integers(1, 40))
    shape = draw(st.integers(1, 12)), draw(st.integers(1, 40))
    span = draw(st.sampled_from([1, 3, 1000]))
    features = [draw(arrays(np.int64, (n, d), elements=st.integers(-span, span))) for n in shape]
    ids = [draw(arrays(np.int64, n, elements=st.integers(lowest, 4))) for n in shape]
    own = draw(arrays(np.int64, shape[0], elements=st.integers(-1, shape[1] - 1)))
    return features[0], ids[0], features[1], ids[1], own


@settings(deadline=None, max_examples=150)
@given(
    st.one_of(problems(), problems(lowest=-3)),
    st.sampled_from([None, "remove_self", "skip_first"]),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from([None, 1, 5]),
)
def test_agrees_with_the_definitions(problem, rule, dtype, block):
    probe, probe_ids, gallery, gallery_ids, own = problem
    result = evaluate(
        probe.astype(dtype), probe_ids, gallery.astype(dtype), gallery_ids,
        self_index=None if rule is None else own, same_condition=rule, block=block,
    )  # fmt: skip
    squares = integer_squares(probe, gallery)
    expected = reference.evaluate(squares, probe_ids, gallery_ids, own, rule)
    same(result, expected)
    rates = reference.rates(*expected, gallery_ids, left_out=int(rule == "skip_first"))
    found = retrieval_record(result)
    assert bool(found.pop("no_rates", "")) == (rates["top1"] is None)
    rates = {name: np.nan if rate is None else rate for name, rate in rates.items()}
    found = {name: np.nan if rate is None else rate for name, rate in found.items()}
    assert found == pytest.approx(rates, abs=1e-12, nan_ok=True)


@settings(deadline=None, max_examples=60)
@given(problems())
def test_average_precision_is_that_of_scikit_learn(problem):
    probe, probe_ids, gallery, gallery_ids, _ = problem
    result = evaluate(probe.astype(np.float32), probe_ids, gallery.astype(np.float32), gallery_ids)
    distances = np.sqrt(integer_squares(probe, gallery))
    for i, identity in enumerate(probe_ids):
        match = gallery_ids == identity
        if match.any():
            expected = average_precision_score(match, -distances[i])
            assert result.average_precision[i] == pytest.approx(expected, abs=1e-12)
        else:
            assert np.isnan(result.average_precision[i])


def near_ties(rng, n, d):
    """Whole numbers whose squared distances differ by less than single precision resolves."""
    base = rng.integers(0, 4096, (n // 40, d))
    near = base[rng.integers(0, len(base), n)]
    near[np.arange(n), rng.integers(0, d, n)] += rng.integers(-1, 2, n)
    return near


def test_differences_below_single_precision_are_told_apart():
    rng = np.random.default_rng(0)
    gallery, probe = near_ties(rng, 1200, 64), rng.integers(0, 4096, (50, 64))
    gallery_ids, probe_ids = rng.integers(0, 12, 1200), rng.integers(0, 12, 50)
    squares = integer_squares(probe, gallery)
    rounded = np.sort(squares, axis=1).astype(np.float32)
    assert (np.diff(rounded, axis=1) == 0).mean() > 0.1  # the case is what it says
    result = evaluate(probe.astype(np.float32), probe_ids, gallery.astype(np.float32), gallery_ids)
    same(result, reference.evaluate(squares, probe_ids, gallery_ids))


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**-40, 1.0, 2.0**40])
def test_size_of_the_features_does_not_matter(scale):
    rng = np.random.default_rng(1)
    gallery, probe = near_ties(rng, 600, 40), rng.integers(0, 4096, (20, 40))
    ids = rng.integers(0, 6, 620)
    squares = integer_squares(probe, gallery)
    result = evaluate(probe * scale, ids[:20], gallery * scale, ids[20:])
    same(result, reference.evaluate(squares, ids[:20], ids[20:]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_far_window_and_a_large_offset(dtype):
    rng = np.random.default_rng(2)
    gallery, probe = rng.integers(-9, 9, (300, 20)), rng.integers(-9, 9, (30, 20))
    gallery[7] = 100_000
    ids = rng.integers(0, 3, 330)
    squares = integer_squares(probe, gallery)
    result = evaluate(
        (probe + 2**23).astype(dtype), ids[:30], (gallery + 2**23).astype(dtype), ids[30:]
    )
    same(result, reference.evaluate(squares, ids[:30], ids[30:]))


def test_equal_windows_tie_wherever_they_are():
    rng = np.random.default_rng(3)
    different = rng.standard_normal((60, 256)).astype(np.float32)
    copy_of = rng.integers(0, 60, 3001)  # an odd number: products end in part blocks
    probe_of = rng.integers(0, 60, 77)
    ids, probe_ids = rng.integers(0, 9, 3001), rng.integers(0, 9, 77)
    squares = reference.squared_distances(different, different)[probe_of][:, copy_of]
    for block in (1, 16, 77):
        result = evaluate(different[probe_of], probe_ids, different[copy_of], ids, block=block)
        same(result, reference.evaluate(squares, probe_ids, ids))


@pytest.mark.parametrize("rule", [None, "remove_self"])
def test_block_size_and_threads_have_no_influence(rule):
    rng = np.random.default_rng(4)
    gallery = rng.standard_normal((800, 33)).astype(np.float32)
    ids = rng.integers(0, 20, 800)
    probe, own = gallery[:150] if rule else gallery[:150] + 1, np.arange(150)
    arguments = {"same_condition": rule, "self_index": own if rule else None}
    expected = evaluate(probe, ids[:150], gallery, ids, **arguments)
    for block, threads in ((1, 1), (7, 2), (150, 2), (1000, 1)):
        result = evaluate(probe, ids[:150], gallery, ids, block=block, threads=threads, **arguments)
        identical(result, expected)


def on_a_line(*places):
    return np.array(places, np.float32)[:, None]


def test_by_hand():
    # from 0: a at 1, b at 2, a at 3, c at 4
    result = evaluate(
        on_a_line(0, 0, 0, 0), np.array(list("abcd")), on_a_line(4, 1, 3, 2), np.array(list("caab"))
    )
    np.testing.assert_array_equal(result.first_match_rank, [1, 2, 4, 0])
    np.testing.assert_allclose(result.average_precision, [(1 + 2 / 3) / 2, 1 / 2, 1 / 4, np.nan])
    np.testing.assert_allclose(result.inverse_negative_penalty, [2 / 3, 1 / 2, 1 / 4, np.nan])
    np.testing.assert_allclose(result.cmc(5), [1 / 4, 2 / 4, 2 / 4, 3 / 4, 3 / 4])
    assert result.cmc(1) == [result.top(1)]
    assert (result.top(1), result.top(2), result.top(10)) == (0.25, 0.5, 0.75)
    assert result.unmatched == 1
    assert result.map == pytest.approx((5 / 6 + 1 / 2 + 1 / 4) / 3)
    assert result.minp == pytest.approx((2 / 3 + 1 / 2 + 1 / 4) / 3)


# The same list twice: identities a a b a on a line. Rankings without the window itself:
# 0 (a): a at 1, b at 3, a at 7    1 (a): a at 0, b at 3, a at 7
# 3 (b): a at 1, a at 0, a at 7    7 (a): b at 3, a at 1, a at 0
SAME = on_a_line(0, 1, 3, 7), np.array(list("aaba"))


def test_same_condition_without_the_window_itself():
    result = evaluate(*SAME, *SAME, self_index=np.arange(4), same_condition="remove_self")
    np.testing.assert_array_equal(result.first_match_rank, [1, 1, 0, 2])
    np.testing.assert_allclose(
        result.average_precision, [(1 + 2 / 3) / 2, (1 + 2 / 3) / 2, np.nan, (1 / 2 + 2 / 3) / 2]
    )
    assert result.unmatched == 1
    assert result.map == pytest.approx((5 / 6 + 5 / 6 + 7 / 12) / 3)


def test_same_condition_as_released():
    result = evaluate(*SAME, *SAME, same_condition="skip_first")
    np.testing.assert_array_equal(result.first_match_rank, [1, 1, 0, 2])
    with_itself = [(1 + 1 + 3 / 4) / 3, (1 + 1 + 3 / 4) / 3, 1, (1 + 2 / 3 + 3 / 4) / 3]
    np.testing.assert_allclose(result.average_precision, with_itself)
    assert result.map == pytest.approx(np.mean(with_itself[1:]))  # the first probe is left out
    assert result.minp == pytest.approx(np.mean([3 / 4, 1, 3 / 4]))
    np.testing.assert_allclose(result.cmc(2), [0.5, 0.75])  # over all probes


def test_the_window_to_remove_may_have_another_identity_or_be_missing():
    result = evaluate(
        on_a_line(0, 0), np.array([1, 1]), on_a_line(0, 1, 2), np.array([0, 1, 1]),
        self_index=np.array([0, -1]), same_condition="remove_self",
    )  # fmt: skip
    np.testing.assert_array_equal(result.first_match_rank, [1, 2])
    np.testing.assert_allclose(result.average_precision, [1, (1 / 2 + 2 / 3) / 2])


@pytest.mark.parametrize("identity", [0, 1])
def test_negative_squares_rank_last_and_tie(monkeypatch, identity):
    """Values that rounding made negative, put in by hand where the matrix product would be."""
    infinite = np.inf
    squares = np.array([[infinite, 2.0, 1.0, infinite, infinite, 3.0, 2.0]])
    ids = np.array([0, 1, 0, 1, 0, 1, 0])

    class ByHand(ranking.ReleasedSquares):
        def block(self, start, stop):
            order = np.argsort(ids, kind="stable")
            return squares[start:stop, order].copy(), np.zeros(stop - start)

    monkeypatch.setattr(ranking, "ReleasedSquares", ByHand)
    result = evaluate(
        np.ones((1, 2)), np.array([identity]), np.ones((7, 2)), ids, negative_squared="nan"
    )
    same(result, reference.evaluate(squares, [identity], ids))


def test_released_squares_are_close_to_the_exact_ones_where_not_negative():
    rng = np.random.default_rng(6)
    gallery, probe = rng.standard_normal((300, 24)), rng.standard_normal((20, 24))
    ids = rng.integers(0, 5, 320)
    released = evaluate(probe, ids[:20], gallery, ids[20:], negative_squared="nan")
    identical(released, evaluate(probe, ids[:20], gallery, ids[20:]))


def test_released_squares_of_equal_windows_can_be_negative():
    rng = np.random.default_rng(7)
    features = rng.standard_normal((200, 256)).astype(np.float32)
    order = np.arange(200)
    values, _ = ranking.ReleasedSquares(features, features, order, 200).block(0, 200)
    lost = np.isinf(np.diag(values))
    assert not np.isinf(values[~np.eye(200, dtype=bool)]).any()
    result = evaluate(features, order, features, order, negative_squared="nan")
    np.testing.assert_array_equal(result.first_match_rank, np.where(lost, 200, 1))


def test_memory_stays_far_below_all_distances():
    rng = np.random.default_rng(8)
    probe = rng.standard_normal((4000, 32), dtype=np.float32)
    gallery = rng.standard_normal((20000, 32), dtype=np.float32)
    ids = np.arange(20000) % 100
    evaluate(probe[:10], ids[:10], gallery, ids)  # compile
    tracemalloc.start()
    try:
        evaluate(probe, ids[:4000], gallery, ids)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60e6  # all distances in single precision: 320 MB


def test_nobody_matches():
    result = evaluate(np.ones((2, 3)), np.array([1, 2]), np.ones((4, 3)), np.array([3, 3, 4, 5]))
    np.testing.assert_array_equal(result.first_match_rank, 0)
    assert (result.probes, result.unmatched, result.averaged) == (2, 2, 0)
    assert np.isnan([result.top(1), result.map, result.minp, *result.cmc(3)]).all()
    assert "match" in result.no_rates


@pytest.mark.parametrize(
    ("ids", "persons"), [([7] * 4, "1"), ([-1] * 4, "0"), ([-1, 7, 7, -2], "1")]
)
def test_a_gallery_that_tells_nobody_apart(ids, persons):
    gallery, ids = on_a_line(0, 1, 2, 3), np.array(ids)
    result = evaluate(
        gallery, ids, gallery, ids, self_index=np.arange(4), same_condition="remove_self"
    )
    assert np.isnan([result.top(1), result.map, result.minp, *result.cmc(3)]).all()
    assert f"has {persons} identit" in result.no_rates


def test_labels_below_zero_are_distractors_and_no_probes():
    # from 0: junk at 1, a at 2, junk at 3, b at 4
    gallery, ids = on_a_line(4, 3, 2, 1), np.array([1, -1, 0, -2])
    result = evaluate(on_a_line(0, 0, 0), np.array([0, -1, 1]), gallery, ids)
    np.testing.assert_array_equal(result.first_match_rank, [2, -1, 4])
    np.testing.assert_allclose(result.average_precision, [1 / 2, np.nan, 1 / 4])
    assert (result.probes, result.unmatched, result.averaged) == (2, 0, 2)
    assert (result.top(1), result.top(2), result.map) == (0, 1 / 2, 3 / 8)
    # nobody left to score
    result = evaluate(on_a_line(0), np.array([-1]), gallery, ids)
    assert result.no_rates and np.isnan(result.top(1))


GOOD = np.ones((3, 2)), np.arange(3), np.ones((4, 2)), np.arange(4)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, np.ones((0, 2)), "probe features are empty"),
        (2, np.ones((0, 2)), "gallery features are empty"),
        (0, np.ones(3), "probe features must have shape"),
        (2, np.array([[1, 1], [1, np.nan], [1, 1], [1, 1]]), "gallery.*NaN.*window 1"),
        (0, np.array([[1, 1], [1, 1], [np.inf, 1]], np.float32), "probe.*infinity.*window 2"),
        (2, np.full((4, 2), 1e200), "gallery features are too large"),
        (2, np.ones((4, 5)), "2 columns, gallery features 5"),
        (1, np.arange(4), "probe: 3 windows"),
        (3, np.arange(3), "gallery: 4 windows"),
    ],
)
def test_bad_arrays_are_named(place, value, message):
    arguments = list(GOOD)
    arguments[place] = value
    with pytest.raises(ValueError, match=message):
        evaluate(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"same_condition": "remove_self"}, "needs self_index"),
        ({"self_index": np.arange(3)}, "self_index needs"),
        ({"same_condition": "remove_self", "self_index": np.arange(2)}, "3 integers"),
        ({"same_condition": "remove_self", "self_index": np.array([0, 1, 4])}, "outside -1..3"),
        ({"same_condition": "other"}, "same_condition must be"),
        ({"negative_squared": "sqrt"}, "negative_squared must be"),
        ({"block": 0}, "block"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        evaluate(*GOOD, **options)


def test_ranks_start_at_one():
    result = Retrieval(np.array([1]), np.array([1.0]), np.array([1.0]))
    with pytest.raises(ValueError, match="at least 1"):
        result.top(0)
    with pytest.raises(ValueError, match="at least 1"):
        result.cmc(0)


@pytest.mark.parametrize("k", [1.5, 1.0, "1", None])
def test_ranks_are_whole_numbers(k):
    for result in (
        Retrieval(np.array([1, 2]), np.array([1.0, 0.5]), np.array([1.0, 0.5])),
        Classification(np.array([1, 2]), 2, 0.5),
    ):
        for rate in (result.top, result.cmc):
            with pytest.raises(TypeError):
                rate(k)
