"""Squared distances of a block of probes to the whole gallery by one matrix product.

Two kinds: fast single-precision values with a bound on their rounding, to be refined where it
matters (`Screen`), and the squares of the released evaluation mode, accidents included
(`ReleasedSquares`, simmc.md Q13). Both yield what `simmc.evaluation.counting.rank_rows` reads.
"""

from dataclasses import dataclass
from math import frexp, sqrt

import numpy as np

_ROWS = 4096  # rows turned to double precision at a time


@dataclass
class Block:
    """Values for B probes: screen (B, n), shift (B,) and slack (B,) as `rank_rows` explains."""

    screen: np.ndarray
    shift: np.ndarray
    slack: np.ndarray


class Screen:
    """Single-precision products of features centred on the gallery's mean.

    Centring avoids the cancellation in |p|^2 + |g|^2 - 2 pg; scaling by a power of two, which is
    exact, keeps squares of very small or large features in range.
    """

    refine = True

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

    def block(self, start: int, stop: int) -> Block:
        """Screening values of the probes start..stop-1."""
        left, squares = self._centred(self.probe[start:stop])
        left *= -2
        screen = np.matmul(left, self.right.T, out=self.buffer[: stop - start])
        # rounding of: the product (d terms), the centring of both sides, norms and their sum
        length, d = np.sqrt(squares), self.right.shape[1]
        both = length + self.longest
        single = 2 * (d + 8) * length * self.longest + 8 * both**2
        return Block(screen, squares, 2.0**-24 * single + 2.0**-50 * both + 1e-30)


class ReleasedSquares:
    """|p|^2 + |g|^2 - 2 pg in double precision, as released; negative ones become infinite."""

    refine = False
    scale = 1.0

    def __init__(self, probe: np.ndarray, gallery: np.ndarray, order: np.ndarray, rows: int):
        self.probe = probe.astype(np.float64)
        self.right = gallery[order].astype(np.float64)
        self.norms = np.zeros(len(gallery))
        self.squares = np.square(self.right).sum(axis=1)
        self.buffer = np.empty((min(rows, len(probe)), len(gallery)))

    def block(self, start: int, stop: int) -> Block:
        """Squared distances of the probes start..stop-1."""
        rows = self.probe[start:stop]
        screen = np.matmul(rows, self.right.T, out=self.buffer[: stop - start])
        screen *= -2
        screen += np.square(rows).sum(axis=1)[:, None] + self.squares
        screen[screen < 0] = np.inf
        zeros = np.zeros(stop - start)
        return Block(screen, zeros, zeros)
