"""One measurement in a process of its own: `python -m benchmarks.job JOB.json` (see measure.py).

lists   find the neighbour lists that the other jobs start from
time    run all contestants in turn, several times
memory  run one contestant and report how much memory it added
"""

import ctypes
import gc
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contestants import CONTESTANTS, HOW
from benchmarks.inputs import clustered
from benchmarks.measure import NO_MEMORY, proc_bytes
from simmc import files
from simmc.clustering import k_nearest
from simmc.clustering.approximate import approximate_neighbors
from simmc.evaluation.diagnostics import label_agreement
from simmc.runs.runtime import Clock, peak_rss_bytes, start


def main(path: str) -> int:
    """Run the job in a file."""
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    start("cpu", None, job["threads"])
    rows = np.load(job["features"], allow_pickle=False)
    try:
        result = JOBS[job["kind"]](job, rows)
    except MemoryError:
        return NO_MEMORY
    files.write_json(job["result"], result)
    return 0


def find_lists(job: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """Write neighbour lists; compare approximate ones with exact ones where both are known."""
    nearest = k_nearest(rows, HOW.k1) if job["exact"] else approximate_neighbors(rows, HOW.k1)
    np.save(job["lists"], nearest.indices)
    if not job["exact"]:
        return {"kind": "approximate", "recall": nearest.recall}
    if "approximate" not in job["contestants"]:
        return {"kind": "exact"}
    others = approximate_neighbors(rows, HOW.k1).indices
    ours = CONTESTANTS["ours"]
    labels, other_labels = (ours.run(rows, found, Clock()) for found in (nearest.indices, others))
    shares = {
        "recall": recall(nearest.indices, others),
        "agreement": label_agreement(labels, other_labels),
    }
    return {"kind": "exact"} | shares


def recall(lists: np.ndarray, found: np.ndarray) -> float:
    """Share of the entries of `lists` (N, k) that are in the same row of `found` (N, k)."""
    hits = sum(
        int((found[a : a + 4096, :, None] == lists[a : a + 4096, None, :]).any(axis=1).sum())
        for a in range(0, len(lists), 4096)
    )
    return hits / max(lists.size, 1)


def measure_time(job: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """Seconds of every contestant and stage in each repeat, and whether the labels are equal."""
    lists = np.load(job["lists"], allow_pickle=False)
    seconds: dict[str, dict[str, list[float]]] = {name: {} for name in job["contestants"]}
    found: dict[str, Any] = {}
    for name in job["contestants"]:
        warm_up(name)
    for repeat in range(job["repeats"]):
        for name in job["contestants"]:
            found.pop(name, None)
            gc.collect()
            clock = Clock()
            found[name] = CONTESTANTS[name].run(rows, lists, clock)
            for stage, spent in clock.take().items():
                seconds[name].setdefault(stage, []).append(spent)
        last = {name: sum(s[-1] for s in stages.values()) for name, stages in seconds.items()}
        text = ", ".join(f"{name} {spent:.3g}" for name, spent in last.items())
        sys.stderr.write(f"    repeat {repeat + 1}, seconds: {text}\n")
    result: dict[str, Any] = {"seconds": seconds}
    if "ours" in found:
        labels = found["ours"]
        result["clusters"] = int(labels.max(initial=-1)) + 1
        result["outliers"] = int((labels < 0).sum())
        if "dense" in found:
            result["labels_differing"] = int((labels != found["dense"]).sum())
    return result


def measure_memory(job: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """Memory in use before, at the peak, and the difference, in bytes."""
    (name,) = job["contestants"]
    lists = np.load(job["lists"], allow_pickle=False)
    warm_up(name)
    gc.collect()
    baseline = restart_peak()
    kept = CONTESTANTS[name].run(rows, lists, Clock())
    peak = peak_rss_bytes()
    del kept
    added = None if peak is None or baseline is None else max(peak - baseline, 0)
    return {"baseline_bytes": baseline, "peak_bytes": peak, "added_bytes": added}


def restart_peak() -> int | None:
    """Return freed memory to the system and reset the peak (Linux); the memory in use."""
    with suppress(OSError, AttributeError, TypeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return proc_bytes("/proc/self/status", "VmRSS") or peak_rss_bytes()


def warm_up(name: str) -> None:
    """Compile loops and load libraries, so that neither time nor memory counts them."""
    rows = clustered(300, 0)
    CONTESTANTS[name].run(rows, k_nearest(rows, HOW.k1).indices, Clock())


JOBS = {"lists": find_lists, "time": measure_time, "memory": measure_memory}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
