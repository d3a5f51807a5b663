"""Generated features of many shapes, and what the tests of the clustering share.

Most families hold multiples of 1/64 below 16 (times a power of two). Differences, squares,
inner products and their sums over a few dimensions are then exact in float64, whatever the order
of the sums. So ties are ties for everyone, and two correct programs rank alike.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from simmc.clustering import (
    JaccardGraph,
    expand_weights,
    jaccard_graph,
    k_nearest,
    neighbor_weights,
)

STEP = 1 / 64

EPS = st.sampled_from([1e-5, 0.05, 0.3, 0.5, 0.6, 0.75, 0.95, 0.99999]) | st.floats(0.2, 0.8)
K1 = st.integers(1, 25)
K2 = st.integers(1, 8)
MIN_SAMPLES = st.integers(1, 6)


def exact(x: np.ndarray) -> np.ndarray:
    """Rounded to multiples of 1/64 within -15.98 .. 15.98; 10 bits, so float16 holds them too."""
    return np.clip(np.round(x / STEP), -1023, 1023) * STEP


def blobs(rng: np.random.Generator, n: int, d: int, groups: int) -> np.ndarray:
    """Clusters of very different size and width around random centres."""
    share = 0.5 ** np.arange(groups)
    group = rng.choice(groups, n, p=share / share.sum())
    width = rng.choice([0.02, 0.3, 1.5], groups)
    centres = 4 * rng.standard_normal((groups, d))
    return centres[group] + width[group, None] * rng.standard_normal((n, d))


def grid(rng: np.random.Generator, n: int, d: int, groups: int) -> np.ndarray:
    """Points of a lattice in random order: nearly every distance occurs many times."""
    side = groups + 1
    return np.stack(np.unravel_index(rng.permutation(n) % side**d, (side,) * d), 1) - side // 2


def chain(rng: np.random.Generator, n: int, d: int, groups: int) -> np.ndarray:
    """Evenly spaced points on parallel lines: every inner point has two nearest neighbours."""
    x = np.zeros((n, d))
    x[:, 0] = (rng.permutation(n) // groups) / 4
    x[:, -1] += 5.0 * (np.arange(n) % groups)
    return x


def copies(rng: np.random.Generator, n: int, d: int, groups: int) -> np.ndarray:
    """Exact duplicates of a few rows, in random order."""
    return rng.standard_normal((groups, d))[rng.integers(groups, size=n)]


def alike(rng: np.random.Generator, n: int, d: int, groups: int) -> np.ndarray:
    """All rows equal."""
    return np.tile(rng.integers(-2, 3, d), (n, 1))


def apart(rng: np.random.Generator, n: int, d: int, groups: int) -> np.ndarray:
    """Rows without any structure."""
    return rng.uniform(-15, 15, (n, d))


def with_zeros(rng: np.random.Generator, n: int, d: int, groups: int) -> np.ndarray:
    """Clusters, and a quarter of the rows zero."""
    return blobs(rng, n, d, groups) * (rng.random((n, 1)) > 0.25)


FAMILIES: list[Callable[[np.random.Generator, int, int, int], np.ndarray]] = [
    blobs, grid, chain, copies, alike, apart, with_zeros,
]  # fmt: skip

# Type and exponents of two: about 1e-30 .. 1e18 in float32, and 1e100 where only float64 goes.
SCALES = {
    np.float16: (-3, 0, 5),
    np.float32: (-100, -10, -3, 0, 3, 30, 60),
    np.float64: (-330, -100, 0, 3, 60, 330),
}


@st.composite
def features(
    draw: st.DrawFn,
    most: int = 60,
    types: Sequence[type] = (np.float16, np.float32, np.float64),
    scaled: bool = True,
) -> np.ndarray:
    """(N, d) of one family, 1 <= N <= most, in one of the types, with a few more duplicates."""
    n = draw(st.integers(1, most) | st.integers(most // 2, most))  # mostly not too few
    d = draw(st.integers(1, 9))
    family = draw(st.sampled_from([*FAMILIES, None]))
    if family is None:  # small integers, which Hypothesis can simplify one by one
        x = draw(hnp.arrays(np.int8, (min(n, 16), d), elements=st.integers(-2, 2))).astype(float)
    else:
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        x = exact(family(rng, n, d, draw(st.integers(1, 6))))
        again = rng.integers(n, size=(2, draw(st.sampled_from([0, 0, 3, 30]))))
        x[again[0]] = x[again[1]]
    dtype = draw(st.sampled_from(types))
    exponent = draw(st.sampled_from(SCALES[dtype])) if scaled else 0
    return np.ldexp(x, exponent).astype(dtype)


def generic(n: int, d: int, groups: int, seed: int) -> np.ndarray:
    """(n, d) float64 clusters that are not rounded: no two distances of a row are equal."""
    return blobs(np.random.default_rng(seed), n, d, groups)


def locked(x: np.ndarray) -> np.ndarray:
    """A copy that must not be written to."""
    x = x.copy()
    x.setflags(write=False)
    return x


def weights_of(x: np.ndarray, k1: int, k2: int) -> tuple[np.ndarray, sparse.csr_array]:
    """Neighbour lists and soft neighbourhoods V of features of any floating type."""
    x = x.astype(np.promote_types(x.dtype, np.float32))
    lists = k_nearest(x, k1).indices
    return lists, expand_weights(neighbor_weights(x, lists), lists, k2)


def compile_loops() -> None:
    """Compile what the tests run; inside a test of Hypothesis, which traces, it takes longer."""
    for dtype in (np.float32, np.float64):
        jaccard_graph(np.eye(3, dtype=dtype), 0.5)


def eps_between(distances: np.ndarray, target: float, margin: float = 1e-6) -> float:
    """The eps nearest to `target` that no distance (and neither 0 nor 1) comes within `margin` of.

    Two correct programs may take exponentials that differ in the last place of float64. About one
    in 10^8 of them then becomes another float32 entry of V, off by 6e-8 of its value, which moves
    distances by a few 1e-7: less than the margin, so both cut alike.
    """
    edges = np.unique(np.concatenate([[0.0, 1.0], distances.astype(np.float64).ravel()]))
    low, high = edges[:-1] + margin, edges[1:] - margin
    wide = low <= high
    candidates = np.clip(target, low[wide], high[wide])
    return float(candidates[np.abs(candidates - target).argmin()])


def pattern(graph: JaccardGraph) -> np.ndarray:
    """(N, N) bool: the pairs that the graph lists."""
    graph = graph.whole()
    listed = np.zeros((len(graph), len(graph)), bool)
    listed[row_of_entry(graph), graph.column] = True
    return listed


def row_of_entry(graph: JaccardGraph) -> np.ndarray:
    """(E,) the row of each entry."""
    return np.repeat(np.arange(len(graph)), np.diff(graph.start))


def graph_of(dense: np.ndarray, eps: float) -> JaccardGraph:
    """The graph of a symmetric matrix of distances."""
    within = dense <= np.float32(eps)
    start = np.concatenate([[0], np.cumsum(within.sum(1))]).astype(np.int64)
    column = np.nonzero(within)[1].astype(np.int32)
    return JaccardGraph(start, column, dense[within].astype(np.float32), eps)


class OddBlocks:
    """An executor that gives out blocks of some odd length, the last one first."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def map(self, work: Callable, shared: Sequence[Any], n: int) -> list:
        """See `simmc.clustering.Executor`."""
        begins = list(range(0, n, self.rows))
        parts = [work(*shared, a, min(a + self.rows, n)) for a in reversed(begins)]
        return parts[::-1]
