"""Where blocks of rows are worked on: the threads of this process, or other machines.

Every stage of the clustering is a function of some arrays and a range of rows. Its blocks depend
on nothing but these, so it does not matter who works on which, in what order, or how often.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import torch

from simmc.compiled import over_rows

# A block's scratch arrays have one entry for each of the N rows, so the blocks must grow with N.
LEAST_ROWS = 256
MOST_BLOCKS = 64


class Executor(Protocol):
    """Works on blocks of rows."""

    def map(self, work: Callable, shared: Sequence[Any], n: int) -> list:
        """Call `work(*shared, begin, end)` over blocks of 0 .. n-1.

        Args:
            work: a function of a module (another machine must find it by its name).
            shared: what every call gets: arrays, which must not be written to, and settings.
            n: number of rows.

        Returns:
            What the calls returned, in the order of the blocks.
        """


class Threads:
    """Threads of this process, on shared arrays.

    Args:
        count: how many; None means as many as torch uses.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = count or torch.get_num_threads()

    def map(self, work: Callable, shared: Sequence[Any], n: int) -> list:
        """See `Executor.map`."""
        return over_rows(lambda a, b: work(*shared, a, b), n, self.count, block_rows(n))


def block_rows(n: int) -> int:
    """Rows of a block such that n rows are at most 64 blocks of at least 256 rows."""
    return max(LEAST_ROWS, -(-n // MOST_BLOCKS))


def multiply_by_threads(work: Callable[[Any], None], items: Iterable[Any], count: int) -> None:
    """Call `work(item)` for every item on some threads, with torch on one thread inside each.

    For work that begins with a matrix product: threads over the items lose less than threads
    inside a product of the size of a cache.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for _ in pool.map(work, items):
                pass
    finally:
        torch.set_num_threads(before)
