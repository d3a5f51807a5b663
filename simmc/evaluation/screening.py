"""Squared distances of a block of probes to the whole gallery by one matrix product.

Three kinds: fast single-precision values with a bound on their rounding, to be refined where it
matters (`Screen`), and the squares of the released evaluation mode, accidents included
(`ReleasedSquares`, docs/fidelity.md Q13), and distances that somebody else worked out
(`GivenDistances`). All yield what `simmc.evaluation.counting.rank_rows` reads.
"""

from collections.abc import Callable
from math import frexp, sqrt

import numpy as np
import torch

_ROWS = 4096  # rows turned to double precision at a time


class Screen:
    """Single-precision products of features centred on the gallery's mean.

    Centring avoids the cancellation in |p|^2 + |g|^2 - 2 pg; scaling by a power of two, which is
    exact, keeps squares of very small or large features in range.
    """

    refine = True
    itemsize = 4

    def __init__(self, probe: np.ndarray, gallery: np.ndarray, order: np.ndarray, rows: int):
        self.probe = probe
        self.mean = gallery.mean(axis=0, dtype=np.float64)
        largest = max(np.abs([x.min(), x.max()]).max() for x in (probe, gallery))
        # every centred row is then at most 1 long
        self.factor = 2.0 ** -frexp(2 * largest * sqrt(gallery.shape[1]) or 1.0)[1]
        self.scale = self.factor**2
        self.right = np.empty(gallery.shape, np.float32)
        squares = np.empty(len(gallery))
        for a in range(0, len(gallery), _ROWS):
            self.right[a : a + _ROWS], squares[a : a + _ROWS] = self._centred(
                gallery[order[a : a + _ROWS]]
            )
        self.norms = squares.astype(np.float32)
        self.longest = sqrt(squares.max())
        self.buffer = np.empty((min(rows, len(probe)), len(gallery)), np.float32)

    def _centred(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows (b, d) float32 centred and scaled, and their squared norms (b,) float64."""
        centred = ((rows - self.mean) * self.factor).astype(np.float32)
        return centred, np.einsum("ij,ij->i", centred, centred, dtype=np.float64)

    def block(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Screening values (b, n) of the probes start..stop-1, their squared norms (b,)."""
        left, squares = self._centred(self.probe[start:stop])
        left *= -2
        return _product(left, self.right, self.buffer), squares


class ReleasedSquares:
    """|p|^2 + |g|^2 - 2 pg in double precision, as released; negative ones become infinite."""

    refine = False
    itemsize = 8
    scale = 1.0
    longest = 0.0

    def __init__(self, probe: np.ndarray, gallery: np.ndarray, order: np.ndarray, rows: int):
        self.probe = probe.astype(np.float64)
        self.right = gallery[order].astype(np.float64)
        self.norms = np.zeros(len(gallery))
        self.squares = np.square(self.right).sum(axis=1)
        self.buffer = np.empty((min(rows, len(probe)), len(gallery)))

    def block(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Squared distances (b, n) of the probes start..stop-1, and zeros."""
        rows = self.probe[start:stop]
        screen = _product(rows, self.right, self.buffer)
        screen *= -2
        screen += np.square(rows).sum(axis=1)[:, None] + self.squares
        screen[screen < 0] = np.inf
        return screen, np.zeros(stop - start)


class GivenDistances:
    """Distances that a function gives for blocks of probes."""

    refine = False
    itemsize = 8
    scale = 1.0
    longest = 0.0

    def __init__(self, distances: Callable[[int, int], np.ndarray], order: np.ndarray):
        self.distances = distances
        self.order = order
        self.norms = np.zeros(len(order))

    def block(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances (b, n) of the probes start..stop-1, and zeros."""
        found = np.asarray(self.distances(start, stop), np.float64)
        if found.shape != (stop - start, len(self.order)):
            raise ValueError(f"distances of shape {found.shape} for {stop - start} probes")
        if np.isnan(found).any():
            raise ValueError(f"a distance of the probes {start} to {stop - 1} is NaN")
        return found[:, self.order], np.zeros(stop - start)


def _product(left: np.ndarray, right: np.ndarray, buffer: np.ndarray) -> np.ndarray:
    """Left (b, d) times the transpose of right (n, d), in the first b rows of the buffer."""
    out = buffer[: len(left)]
    if torch.get_float32_matmul_precision() == "highest":
        torch.mm(torch.from_numpy(left), torch.from_numpy(right).T, out=torch.from_numpy(out))
    else:  # torch might round to bfloat16, against the bound the counting relies on
        np.matmul(left, right.T, out=out)
    return out
