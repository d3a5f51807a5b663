"""The tensor version against the compiled one; on a GPU with SIMMC_TEST_DEVICE=cuda."""

import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from simmc.evaluation import counting, ranking
from simmc.evaluation import gpu as on_device
from simmc.evaluation.gpu import rank_on_device, squared_distances
from simmc.evaluation.ranking import evaluate
from tests.evaluation.test_ranking import identical, integer_squares, near_ties, problems

DEVICE = torch.device(os.environ.get("SIMMC_TEST_DEVICE", "cpu"))


def on(array):
    return torch.from_numpy(np.ascontiguousarray(array)).to(DEVICE)


def compiled(probe, probe_ids, gallery, gallery_ids, own=None):
    """Ranks (Np, 4) and average precision (Np,) of the compiled loops."""
    own = np.full(len(probe), -1) if own is None else own
    return ranking._rank_on_cpu(
        probe, probe_ids, gallery, gallery_ids, own, ranking.Screen, None, 1
    )


def tensors(probe, probe_ids, gallery, gallery_ids, **options):
    found = rank_on_device(on(probe), probe_ids, on(gallery), gallery_ids, **options)
    assert all(numbers.device.type == DEVICE.type for numbers in found)
    return tuple(numbers.cpu().numpy() for numbers in found)


def agree(found, wanted):
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_allclose(found[1], wanted[1], rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=120)
@given(
    st.one_of(problems(), problems(lowest=-3)),
    st.booleans(),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from([None, 1, 5]),
    st.sampled_from([1.0, 0.1]),
)
def test_agrees_with_the_compiled_loops(problem, remove, dtype, block, scale):
    """Duplicates, ties, probes without a match; times 0.1, ties by rounding alone."""
    probe, probe_ids, gallery, gallery_ids, own = problem
    arguments = (probe * scale).astype(dtype), probe_ids, (gallery * scale).astype(dtype)
    own = own if remove else None
    found = tensors(*arguments, gallery_ids, own=own, block=block)
    agree(found, compiled(*arguments, gallery_ids, own))


@settings(deadline=None, max_examples=50)
@given(problems())
def test_average_precision_is_that_of_scikit_learn(problem):
    probe, probe_ids, gallery, gallery_ids, _ = problem
    _, precision = tensors(probe.astype(np.float32), probe_ids, gallery.astype(float), gallery_ids)
    distances = np.sqrt(integer_squares(probe, gallery))
    for i, identity in enumerate(probe_ids):
        match = gallery_ids == identity
        if match.any():
            expected = average_precision_score(match, -distances[i])
            assert precision[i] == pytest.approx(expected, abs=1e-12)
        else:
            assert np.isnan(precision[i])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [1, 31, 32, 33, 100, 256])
def test_distances_are_those_of_the_compiled_loops_to_the_last_bit(d, dtype):
    rng = np.random.default_rng(d)
    a, b = rng.standard_normal((40, d)).astype(dtype), rng.standard_normal((70, d)).astype(dtype)
    rows, columns = rng.integers(0, 40, 500), rng.integers(0, 70, 500)
    sums = np.empty(counting.LANES)
    wanted = [
        counting.squared_distance(a[i], b[j], sums) for i, j in zip(rows, columns, strict=True)
    ]
    found = squared_distances(on(a), on(b), on(rows), on(columns))
    np.testing.assert_array_equal(found.cpu().numpy(), wanted)


def random_problem(seed, probes=60, gallery=900, d=40, people=12):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, people, probes + gallery)
    features = near_ties(rng, probes + gallery, d).astype(np.float32)
    return features[:probes], ids[:probes], features[probes:], ids[probes:]


def test_neither_block_nor_chunks_of_pairs_have_an_influence(monkeypatch):
    problem = random_problem(1)
    own = np.arange(60)
    wanted = tensors(*problem, own=own)
    agree(wanted, compiled(*problem, own))
    for block in (1, 7, 60, 1000):
        np.testing.assert_equal(tensors(*problem, own=own, block=block), wanted)
    monkeypatch.setattr(on_device, "_PAIRS", 8 * 5 * counting.LANES * 11)
    np.testing.assert_equal(tensors(*problem, own=own), wanted)


@pytest.mark.parametrize("slack", [1e-3, 1e9])
def test_doubt_costs_time_but_decides_nothing(monkeypatch, slack):
    problem = random_problem(2)
    wanted = tensors(*problem)
    honest = on_device._slack
    monkeypatch.setattr(on_device, "_slack", lambda *given: honest(*given) + slack)
    np.testing.assert_equal(tensors(*problem), wanted)


def test_values_lie_within_the_slack(monkeypatch):
    """Scattered lengths, an offset, one far window: what the slack promises must hold."""
    rng = np.random.default_rng(3)
    seen = []
    between = on_device._between

    def watched(probe, gallery, matches, values, shift, slack):
        rows, columns = torch.nonzero(values.isfinite(), as_tuple=True)
        exact = squared_distances(probe, gallery, rows, columns) - shift[rows]
        off = (values[rows, columns] - exact).abs() / slack[rows]
        finite = torch.where(matches.squared.isfinite(), matches.squared, 0.0)
        last = finite.amax(dim=1)[rows] - shift[rows]
        within = exact <= last + slack[rows]
        assert (values[rows, columns][~within] > last[~within]).all()
        seen.append(float(off[within].max()))
        return between(probe, gallery, matches, values, shift, slack)

    monkeypatch.setattr(on_device, "_between", watched)
    for d in (1, 3, 64, 257):
        gallery = rng.standard_normal((400, d)) * rng.lognormal(0, 3, (400, 1)) + 1e4
        gallery[5] = 1e9
        probe = rng.standard_normal((50, d)) + 1e4
        problem = probe, rng.integers(0, 9, 50), gallery, rng.integers(0, 9, 400)
        agree(tensors(*problem), compiled(*problem))
    assert len(seen) == 4
    assert max(seen) < 0.5


@pytest.mark.parametrize("scale", [2.0**-500, 2.0**-100, 2.0**100])
def test_size_of_the_features_does_not_matter(scale):
    probe, probe_ids, gallery, gallery_ids = random_problem(4, probes=20, gallery=300)
    wanted = tensors(probe, probe_ids, gallery, gallery_ids)
    scaled = probe.astype(float) * scale, probe_ids, gallery.astype(float) * scale, gallery_ids
    np.testing.assert_equal(tensors(*scaled), wanted)


@pytest.fixture
def tensors_count_as_gpu(monkeypatch):
    """So that the way to the tensor version is tested without a GPU, too."""
    monkeypatch.setattr(ranking, "_on_gpu", lambda features: isinstance(features, torch.Tensor))
    monkeypatch.setattr(ranking, "_rank_on_cpu", None)


@pytest.mark.parametrize("rule", [None, "remove_self", "skip_first"])
def test_evaluate_ranks_tensors_where_they_lie(rule, tensors_count_as_gpu, monkeypatch):
    _, _, gallery, ids = random_problem(5)
    own = None if rule is None else np.arange(len(gallery))
    found = evaluate(on(gallery), ids, on(gallery), ids, self_index=own, same_condition=rule)
    monkeypatch.undo()
    wanted = evaluate(gallery, ids, gallery, ids, self_index=own, same_condition=rule)
    assert isinstance(found.first_match_rank, np.ndarray)
    np.testing.assert_array_equal(found.first_match_rank, wanted.first_match_rank)
    np.testing.assert_array_equal(found.inverse_negative_penalty, wanted.inverse_negative_penalty)
    np.testing.assert_allclose(found.average_precision, wanted.average_precision, atol=1e-12)
    assert found.left_out == wanted.left_out


def test_evaluate_takes_tensors_of_either_type(tensors_count_as_gpu):
    probe, probe_ids, gallery, gallery_ids = random_problem(6)
    one = evaluate(on(probe), probe_ids, on(gallery.astype(float)), gallery_ids)
    identical(one, evaluate(on(probe), probe_ids, on(gallery), gallery_ids))


@pytest.mark.parametrize("sides", [("tensor", "tensor"), ("tensor", "array")])
@pytest.mark.parametrize("negative_squared", ["nan", "clamp"])
def test_other_tensors_take_the_compiled_way(sides, negative_squared):
    probe, probe_ids, gallery, gallery_ids = random_problem(7)
    given = [
        on(x) if side == "tensor" else x for x, side in zip((probe, gallery), sides, strict=True)
    ]
    if negative_squared == "clamp" and sides[1] == "tensor":
        given = [x.cpu() for x in given]
    found = evaluate(given[0], probe_ids, given[1], gallery_ids, negative_squared=negative_squared)
    identical(
        found, evaluate(probe, probe_ids, gallery, gallery_ids, negative_squared=negative_squared)
    )


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.ones(3), r"probe features must have shape \(windows, d\), not \(3,\)"),
        (torch.ones(0, 2), "probe features are empty"),
        (torch.tensor([[1, 1], [1, torch.nan]]), "probe.*NaN.*window 1"),
        (torch.tensor([[torch.inf, 1], [1, 1]]), "probe.*infinity.*window 0"),
        (torch.full((2, 2), 1e150, dtype=torch.float64), "probe features are too large"),
    ],
)
def test_bad_tensors_are_named(bad, message, tensors_count_as_gpu):
    with pytest.raises(ValueError, match=message):
        evaluate(bad.to(DEVICE), np.arange(2), torch.ones(4, 2, device=DEVICE), np.arange(4))
