"""Features to measure on: generated ones of any number, and those of a real training's start."""

from collections.abc import Callable

import numpy as np

from simmc.data.experiment.experiment import Experiment
from simmc.methods.simmc import SimMC, SimMCSettings
from simmc.runs.runtime import Runtime, generators
from simmc.scoring.match import encode

WIDTH = 256  # H of SimMC
SCALE = 0.04  # standard deviation of an entry, as untrained features of KGBD have it
EFFECTIVE = 20  # dimensions that matter; 16 in untrained features of KGBD
SMALLEST, TAIL = 8, 1.5  # cluster sizes: least, and exponent of the Pareto tail; mean 24
OWN = (8, 16)  # a cluster's own dimensions, from and to
_BLOCK = 65536  # rows made at a time


def clustered(n: int, seed: int) -> np.ndarray:
    """Clusters of uneven size around centres, each spread out in a few dimensions of its own.

    The centres are Gaussian in about 20 dimensions, so that neighbouring clusters run into each
    other; sizes follow a Pareto tail. The number of clusters grows with n, not their mean size, as
    when more people are recorded. Each cluster is a Gaussian in a random subspace of 8 to 16
    dimensions, its spread uneven between clusters, plus a little noise in all dimensions.

    Args:
        n: number of rows.
        seed: same seed and n, same rows.

    Returns:
        (n, 256) float32, in random order.
    """
    rng = np.random.default_rng([seed, n, 1])
    rows = np.empty((n, WIDTH), np.float32)
    for a in range(0, n, _BLOCK):
        rows[a : a + _BLOCK] = rng.standard_normal((min(_BLOCK, n - a), WIDTH), np.float32)
    rows *= np.float32(0.05 * SCALE)
    frame = _frame(rng)
    order = rng.permutation(n)
    start = 0
    while start < n:
        size = min(int(SMALLEST * (1 + rng.pareto(TAIL))), max(SMALLEST, n // 20), n - start)
        own = int(rng.integers(OWN[0], OWN[1] + 1))
        spread = SCALE * rng.uniform(0.2, 0.5) * np.sqrt(WIDTH / own)
        # columns of length about 1, so that `spread` is the deviation along each
        basis = rng.standard_normal((own, WIDTH), np.float32) / np.float32(np.sqrt(WIDTH))
        centre = SCALE * rng.standard_normal(EFFECTIVE) @ frame
        members = order[start : start + size]
        rows[members] += centre + spread * rng.standard_normal((size, own), np.float32) @ basis
        start += size
    return rows


def structureless(n: int, seed: int) -> np.ndarray:
    """One Gaussian in 20 of 256 dimensions: no clusters but those of chance.

    Args:
        n: number of rows.
        seed: same seed and n, same rows.

    Returns:
        (n, 256) float32.
    """
    rng = np.random.default_rng([seed, n, 2])
    frame = (SCALE * _frame(rng)).astype(np.float32)
    rows = np.empty((n, WIDTH), np.float32)
    for a in range(0, n, _BLOCK):
        rows[a : a + _BLOCK] = rng.standard_normal((min(_BLOCK, n - a), EFFECTIVE)) @ frame
    return rows


GENERATED: dict[str, Callable[[int, int], np.ndarray]] = {
    "clustered": clustered,
    "structureless": structureless,
}


def untrained_features(settings: SimMCSettings, data: Experiment, runtime: Runtime) -> np.ndarray:
    """(N, 256) float32: what a training clusters in epoch 0, the first masked view."""
    training = SimMC(settings, data, generators(settings.common.seed), runtime, ("paper",))
    views = encode(training.network, training.train_windows, training.draw_masks())
    return np.ascontiguousarray(views[:, 0].cpu().numpy())


def _frame(rng: np.random.Generator) -> np.ndarray:
    """(20, 256) orthogonal directions, of the length that gives entries a deviation of 1."""
    directions = np.linalg.qr(rng.standard_normal((WIDTH, EFFECTIVE)))[0].T
    return directions * np.sqrt(WIDTH / EFFECTIVE)
