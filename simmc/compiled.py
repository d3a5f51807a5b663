"""Compiled inner loops (numba, cached on disk where possible) and the threads that run them.

Every stage of the clustering is a function of some arrays and a range of rows. A block of rows
depends on nothing else, so any thread or machine may compute it, in any order, and repeatedly.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numba
import numpy as np
import torch

# A block's scratch arrays have one entry for each of the N rows, so the blocks must grow with N.
LEAST_ROWS = 256
MOST_BLOCKS = 64
_LOOPS: list[Any] = []  # all that are compiled at first use


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a loop for compilation at first use, without the interpreter lock.

    The machine code is cached beside the source, or in the user's cache folder where the
    installation is read-only; where neither can be written it is compiled again in each process.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            loop = numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # numba: no place for the cache
            loop = numba.njit(nogil=True, **options)(function)
        _LOOPS.append(loop)
        return loop

    return decorate


def is_first_use() -> bool:
    """Whether no loop is in the cache, so that the first use has to compile all that it needs."""
    found = (Path(loop.stats.cache_path) for loop in _LOOPS if loop.stats.cache_path)
    return not any(folder.is_dir() and any(folder.glob("*.nbi")) for folder in set(found))


def check_indices(name: str, values: np.ndarray, count: int, *, lowest: int = 0) -> None:
    """Refuse indices outside lowest .. count - 1: compiled loops do not check them.

    Args:
        name: of the values, for the message.
        values: integers of any shape.
        count: of what they number.
        lowest: the smallest that is allowed; -1 where it stands for none.

    Raises:
        ValueError: other values, or no integers.
    """
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iu":
        kind = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
        raise ValueError(f"{name} must be an array of integers, not {kind}")
    if values.size and not (lowest <= values.min() and values.max() < count):
        raise ValueError(
            f"{name} must lie in {lowest} .. {count - 1}, not in {values.min()} .. {values.max()}"
        )


def check_rows(name: str, start: np.ndarray, entries: int) -> None:
    """ValueError unless `start` holds the beginnings of the rows of so many entries."""
    check_indices(f"{name}: the beginnings of the rows", start, entries + 1)
    ends = start.ndim == 1 and len(start) and start[0] == 0 and start[-1] == entries
    if not ends or (np.diff(start.astype(np.int64, copy=False)) < 0).any():
        raise ValueError(f"{name}: the beginnings of the rows must rise from 0 to {entries}")


def over_rows(
    work: Callable[[int, int], Any], n: int, threads: int, block: int = 1024
) -> list[Any]:
    """Call work(start, stop) over blocks of 0..n-1 on some threads; results in block order.

    Compiled loops hold no lock, so threads share the arrays and nothing is copied. A free
    thread takes the next block; results must therefore not depend on which thread did it.
    """
    bounds = [(a, min(a + block, n)) for a in range(0, n, block)]
    if threads <= 1 or len(bounds) <= 1:
        return [work(a, b) for a, b in bounds]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda ab: work(*ab), bounds))


class Executor(Protocol):
    """Works on blocks of rows."""

    def map(self, work: Callable[..., Any], shared: Sequence[Any], n: int) -> list[Any]:
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

    def map(self, work: Callable[..., Any], shared: Sequence[Any], n: int) -> list[Any]:
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
