"""Re-ranking against the dense routine written from the paper, and what must not matter."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simmc.evaluation.ranking import evaluate, evaluate_distances
from simmc.evaluation.reranking import Reranking, rerank
from tests.clustering.make import FAMILIES, blobs, exact
from tests.evaluation.test_ranking import identical, same
from tests.reference import metrics, reranking

FIGURES = ("first_match_rank", "average_precision", "inverse_negative_penalty")


@pytest.fixture(scope="module", autouse=True)
def compiled_loops():
    for dtype in (np.float32, np.float64):
        x = np.eye(4, dtype=dtype)
        rerank(x, np.arange(4), x, np.arange(4), threads=1)


@st.composite
def problems(draw):
    """Features of every family with more duplicates, some of probes in the gallery; identities."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_probes, n_gallery = draw(st.integers(1, 15)), draw(st.integers(1, 40))
    family, n = draw(st.sampled_from(FAMILIES)), n_probes + n_gallery
    x = exact(family(rng, n, draw(st.integers(1, 6)), draw(st.integers(1, 6))))
    again = rng.integers(n, size=(2, draw(st.sampled_from([0, 3, 20]))))
    x[again[0]] = x[again[1]]
    ids = rng.integers(0, 4, n)
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return x[:n_probes].astype(dtype), ids[:n_probes], x[n_probes:].astype(dtype), ids[n_probes:]


@settings(deadline=None, max_examples=120)
@given(problems(), st.integers(1, 25), st.integers(1, 8), st.sampled_from([0.0, 0.3, 1.0]))
def test_agrees_with_the_paper(problem, k1, k2, share):
    probe, probe_ids, gallery, gallery_ids = problem
    how = {"k1": k1, "k2": k2, "share": share}
    found = Reranking(probe, gallery, **how, threads=1)(0, len(probe))
    expected = reranking.distances(probe, gallery, k1, k2, share)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
    result = rerank(probe, probe_ids, gallery, gallery_ids, **how, threads=1)
    same(result, metrics.evaluate(found, probe_ids, gallery_ids))


@settings(deadline=None, max_examples=60)
@given(problems(), st.integers(1, 25), st.sampled_from(["remove_self", "skip_first"]))
def test_one_list_on_both_sides(problem, k1, rule):
    _, _, gallery, ids = problem
    found = Reranking(gallery, gallery, same=True, k1=k1, threads=1)(0, len(gallery))
    expected = reranking.distances(gallery, gallery, k1, same=True)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
    own = np.arange(len(gallery))
    result = rerank(
        gallery, ids, gallery, ids, k1=k1, self_index=own, same_condition=rule, threads=1
    )
    same(result, metrics.evaluate(found, ids, ids, own, rule))


def walkers(n=600, d=8, groups=30, seed=0):
    """Probe and gallery with identities that cannot all be told apart."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, groups, n)
    centres = rng.standard_normal((groups, d))
    x = (centres[ids] + 0.5 * rng.standard_normal((n, d))).astype(np.float32)
    return x[: n // 3], ids[: n // 3], x[n // 3 :], ids[n // 3 :]


def test_finds_more_than_plain_matching_where_windows_cluster():
    plain, better = evaluate(*walkers()), rerank(*walkers(), threads=1)
    assert better.map > plain.map + 0.02


def test_threads_and_blocks_do_not_matter():
    probe, probe_ids, gallery, gallery_ids = walkers()
    one = rerank(probe, probe_ids, gallery, gallery_ids, threads=1)
    identical(one, rerank(probe, probe_ids, gallery, gallery_ids, threads=3))
    distances = Reranking(probe, gallery, threads=2)
    small = evaluate_distances(distances, probe_ids, gallery_ids, block=7, threads=1)
    identical(one, small)
    whole = distances(0, len(probe))
    np.testing.assert_array_equal(whole[5:9], distances(5, 9))


def test_scale_and_offset_do_not_matter():
    probe, _, gallery, _ = walkers(240)
    probe, gallery = exact(probe), exact(gallery)  # so that the offset rounds nothing
    one = Reranking(probe, gallery, threads=1)(0, len(probe))
    other = Reranking(8 * probe + 32, 8 * gallery + 32, threads=1)(0, len(probe))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def test_memory_grows_with_windows_not_with_their_square():
    n = 6000
    x = blobs(np.random.default_rng(0), n, 4, 300).astype(np.float32)
    ids = np.zeros(n, np.int64)
    rerank(x[:50], ids[:50], x[50:100], ids[50:100], threads=1)
    tracemalloc.start()
    rerank(x[: n // 3], ids[: n // 3], x[n // 3 :], ids[n // 3 :], threads=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 130e6  # blocks of 32 MB; one dense array alone would have 144 MB (float32)
