"""Memory grows with the number of rows, not with the number of pairs."""

import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from simmc.clustering import (
    Threads,
    dbscan,
    expand_weights,
    k_nearest,
    neighbor_weights,
    radius_graph,
)


def stages(x):
    lists = k_nearest(x, 20, executor=Threads(1)).indices
    v = expand_weights(neighbor_weights(x, lists, executor=Threads(1)), lists, 6)
    dbscan(radius_graph(v, 0.6, executor=Threads(1)), 4)


def groups_of_20(n):
    """As many clusters as rows allow, so that the graph has as many entries a row for every n."""
    rng = np.random.default_rng(0)
    centres = 10 * rng.standard_normal((n // 20, 8))
    return (centres[np.arange(n) // 20] + rng.standard_normal((n, 8))).astype(np.float32)


def test_memory_of_arrays_grows_with_the_number_of_rows_and_not_with_its_square():
    stages(groups_of_20(400))  # compiles
    peaks = []
    for n in (3000, 6000):
        x = groups_of_20(n)
        tracemalloc.start()
        try:
            stages(x)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 2.3 * peaks[0]
    assert peaks[1] < 6000**2 / 4  # bytes: a quarter of one (N, N) array of truth values


def test_compiled_loops_hold_no_array_of_all_pairs():
    # what compiled loops allocate is hidden from tracemalloc, but not from the kernel
    forget, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")

    def resident(name):
        return 1024 * int(re.search(rf"{name}:\s+(\d+) kB", status.read_text())[1])

    n = 8000
    x = groups_of_20(n)
    stages(groups_of_20(400))
    try:
        forget.write_text("5")  # the peak starts anew
        before = resident("VmRSS")
    except (OSError, TypeError):
        pytest.skip("this system does not tell the peak of resident memory")
    stages(x)
    assert resident("VmHWM") - before < n**2 / 2  # bytes; 6 MB where it was written
