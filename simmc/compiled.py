"""Compiled inner loops: numba, cached on disk where possible, run by a few plain threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba


def compiled(**options: Any) -> Callable[[Callable], Callable]:
    """Decorate a loop for compilation at first use, without the interpreter lock.

    The machine code is cached beside the source, or in the user's cache folder where the
    installation is read-only; where neither can be written it is compiled anew in each process.
    """

    def decorate(function: Callable) -> Callable:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # numba: no place for the cache
            return numba.njit(nogil=True, **options)(function)

    return decorate


def over_rows(work: Callable[[int, int], Any], n: int, threads: int, block: int = 1024) -> list:
    """Call work(start, stop) over blocks of 0..n-1 on some threads; results in block order.

    Compiled loops hold no lock, so threads share the arrays and nothing is copied. Blocks are
    handed out as threads become free; results must therefore not depend on who did which.
    """
    bounds = [(a, min(a + block, n)) for a in range(0, n, block)]
    if threads <= 1 or len(bounds) <= 1:
        return [work(a, b) for a, b in bounds]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda ab: work(*ab), bounds))
