"""The distance of every row to the row that is farthest from it, exact, in memory linear in N.

As in `simmc.clustering.neighbors`, single-precision products only propose: every row that rounding
leaves in question is compared by the definition of the distance.
"""

# Arguments of compiled loops are left without types where any floating type may come.
# mypy: disable-error-code="no-untyped-def"

import numpy as np
import torch

from simmc.clustering.neighbors import as_rows, screen_of, slack
from simmc.compiled import compiled, over_rows
from simmc.distances import LANES, squared_distance

_BUFFER = 32 * 2**20  # bytes of the block of products


def farthest(features: np.ndarray, *, threads: int | None = None) -> np.ndarray:
    """(N,) float64 squared Euclidean distances of the rows to the farthest row of all.

    Args:
        features: (N, d) finite floats.
        threads: None: as many as torch uses.
    """
    threads = threads or torch.get_num_threads()
    # equal rows once: many that are equally far would all have to be compared
    rows, place = np.unique(as_rows(features), axis=0, return_inverse=True)
    if not len(rows):
        return np.zeros(0)
    screen = screen_of(rows)
    everyone, largest = torch.from_numpy(screen.rows), np.zeros(len(rows))
    block = max(1, _BUFFER // (4 * len(rows)))
    for a in range(0, len(rows), block):
        here = slice(a, min(a + block, len(rows)))
        values = screen.half - torch.mm(everyone[here], everyone.T).numpy()
        # either of two values may be off by the slack
        floor = values.max(axis=1) - 2.0 * slack(screen, np.arange(here.start, here.stop))

        def look(begin: int, end: int, values=values, floor=floor, first=a) -> None:
            _largest(rows, values, floor, first, largest, begin, end)

        over_rows(look, here.stop - a, threads, 32)
    return largest[place.reshape(-1)]


@compiled()
def _largest(rows, values, floor, first, largest, begin, end):
    """Write the largest exact distance of a block's rows begin .. end - 1 to those not below."""
    sums = np.empty(LANES)
    for i in range(begin, end):
        for j in range(len(rows)):
            if values[i, j] >= floor[i]:
                found = squared_distance(rows[first + i], rows[j], sums)
                largest[first + i] = max(largest[first + i], found)
