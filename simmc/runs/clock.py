"""Seconds by stage."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Adds up the wall-clock seconds spent in named stages.

    clock = Clock()
    with clock("neighbours"):
        ...
    clock.take()  # {"neighbours": 2.3}, and begins again
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a with-block as `stage`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self._seconds[stage] = self._seconds.get(stage, 0.0) + spent

    def take(self) -> dict[str, float]:
        """Seconds of each stage since the last call."""
        seconds, self._seconds = self._seconds, {}
        return seconds
