"""Records made by hand, with figures that can be checked on paper."""

from __future__ import annotations

import copy
from typing import Any

MIB = 2**20
MACHINE = {
    "processor": "a processor",
    "cores": 2,
    "threads": 2,
    "memory_bytes": 2**34,
    "platform": "a system",
    "python": "3.11",
}


def case(n: int, **changes: Any) -> dict[str, Any]:
    """Ours linear and the dense routine quadratic in N, in time and memory."""
    thousands = n / 1000
    seconds = {
        "exact": {"neighbours": [3 * thousands**2, thousands**2, 2 * thousands**2]},
        "product_topk": {"neighbours": [thousands**2] * 3},
        "ours": {"jaccard": [thousands, 2 * thousands, 9 * thousands], "dbscan": [0.0, 1.0, 2.0]},
        "dense": {"jaccard": [40 * thousands**2] * 3, "dbscan": [2 * thousands**2] * 3},
    }
    time = {"seconds": seconds, "clusters": 7, "outliers": 11, "labels_differing": 0}
    memory = {
        name: {"baseline_bytes": 100 * MIB, "peak_bytes": 100 * MIB + extra, "added_bytes": extra}
        for name, extra in (("ours", n * 1000), ("dense", n * n * 8))
    }
    made = {"dataset": "clustered (generated)", "n": n, "generated": True}
    made |= {"lists": {"kind": "exact"}, "time": time, "memory": memory}
    return copy.deepcopy(made | changes)


def record(*cases: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A record of these cases."""
    made = {"format": 1, "machine": dict(MACHINE), "settings": {"repeats": 3}, "load": [0.1]}
    return made | {"cases": list(cases), "epoch": None, "notes": [], "fit_from": 0} | changes


def epoch(**changes: Any) -> dict[str, Any]:
    """Three epochs of which the middle one counts."""
    full = {"features": 1.0, "evaluation": 3.0, "neighbours": 4.0, "jaccard": 1.5, "dbscan": 0.25}
    last = dict(full)
    full["steps"] = 0.25
    first = {stage: 10 * seconds for stage, seconds in full.items()}
    made = {"epochs": 2, "seconds": [first, full, last], "peak_rss_bytes": 1_050_000_000}
    windows = {"train": 31488, "probe": 15616, "gallery": 31232}
    return made | {"windows": windows, "generated": False} | changes
