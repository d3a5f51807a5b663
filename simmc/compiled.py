"""Compiled inner loops: numba, cached on disk where possible, run by a few plain threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np


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
    """ValueError where `start` does not say where the rows of so many entries begin."""
    check_indices(f"{name}: the beginnings of the rows", start, entries + 1)
    ends = start.ndim == 1 and len(start) and start[0] == 0 and start[-1] == entries
    if not ends or (np.diff(start.astype(np.int64, copy=False)) < 0).any():
        raise ValueError(f"{name}: the beginnings of the rows must rise from 0 to {entries}")


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
