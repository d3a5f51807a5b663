import threading
from types import SimpleNamespace

import numpy as np
import pytest

from simmc import compiled
from simmc.clustering import ClusterSettings, Executor, jaccard_graph, k_nearest, pseudo_labels
from simmc.compiled import MOST_BLOCKS, block_rows, multiply_by_threads


class Shuffled:
    """An executor that works on blocks in another order, some of them twice."""

    def __init__(self, rows):
        self.rows, self.calls = rows, []

    def map(self, work, shared, n):
        starts = range(0, n, self.rows)
        done = {}
        for a in [*reversed(starts), *list(starts)[::3]]:
            done[a] = work(*shared, a, min(a + self.rows, n))
            self.calls.append(work.__name__)
        return [done[a] for a in starts]


def features(n=900, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((30, 12))
    x = centres[rng.integers(30, size=n)] + 0.15 * rng.standard_normal((n, 12))
    x[5] = x[4]
    x[-60:] = x[0]  # more equal rows than a list holds
    return x.astype(np.float32)


@pytest.mark.parametrize("rows", [100, 257, 5000])
def test_any_executor_gives_the_same_bits(rows):
    x = features()
    executor: Executor = Shuffled(rows)
    here, there = k_nearest(x, 20), k_nearest(x, 20, executor=executor)
    np.testing.assert_array_equal(here.indices, there.indices)
    np.testing.assert_array_equal(here.squared, there.squared)
    one, other = jaccard_graph(x, 0.6), jaccard_graph(x, 0.6, executor=executor)
    for field in ("start", "column", "distance"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    how = ClusterSettings(0.6, 3)
    np.testing.assert_array_equal(
        pseudo_labels(x, how).labels, pseudo_labels(x, how, executor=executor).labels
    )
    assert set(executor.calls) >= {"search_rows", "expand_and_weigh", "mean_rows", "overlaps"}


def test_no_rows_no_blocks():
    graph = jaccard_graph(np.empty((0, 3)), 0.5, executor=Shuffled(10))
    assert len(graph) == 0
    assert len(graph.column) == 0


@pytest.mark.parametrize("n", [0, 1, 255, 256, 257, 31_488, 1_000_000])
def test_blocks_grow_with_the_rows(n):
    rows = block_rows(n)
    assert rows >= 256
    assert -(-n // rows) <= MOST_BLOCKS


def test_products_run_on_as_many_threads_as_asked():
    seen = set()
    gate = threading.Barrier(3, timeout=30)

    def work(item):
        gate.wait()  # passes only if three are here at once
        seen.add(threading.get_ident())

    multiply_by_threads(work, range(3), 3)
    assert len(seen) == 3


def test_an_error_inside_comes_out():
    def work(item):
        raise KeyError(item)

    with pytest.raises(KeyError):
        multiply_by_threads(work, range(3), 2)


def test_a_loop_in_the_cache_is_no_first_use(tmp_path, monkeypatch):
    loop = SimpleNamespace(stats=SimpleNamespace(cache_path=str(tmp_path / "cache")))
    monkeypatch.setattr(compiled, "_LOOPS", [loop])
    assert compiled.is_first_use()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "distances.nbi").touch()
    assert not compiled.is_first_use()
