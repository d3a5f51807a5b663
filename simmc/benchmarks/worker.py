"""One measurement in a fresh process: `python -m simmc.benchmarks.worker JOB.json`.

The job names its inputs and the file for its result; `measure` writes the one and reads the other.

    lists   finds the neighbour lists that the other jobs start from
    time    runs all contestants in turn, several times
    memory  runs one contestant and reports what it added to the memory held before
"""

import gc
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simmc import files
from simmc.benchmarks import machine
from simmc.benchmarks.contestants import CONTESTANTS, HOW, ours
from simmc.benchmarks.inputs import clustered
from simmc.clustering import approximate_neighbors, k_nearest
from simmc.evaluation.diagnostics import label_agreement
from simmc.runs.clock import Clock
from simmc.runs.runtime import peak_rss_bytes, start

NO_MEMORY = 12  # exit code
_WARM_ROWS = 300


def main(argv: Sequence[str]) -> int:
    """Runs the job of the one file named."""
    job = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    start("cpu", None, job["threads"])
    rows = np.load(job["features"], allow_pickle=False)
    try:
        result = JOBS[job["kind"]](job, rows)
    except MemoryError:
        return NO_MEMORY
    files.write_json(job["result"], result)
    return 0


def find_lists(job: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """Neighbour lists into the file `lists`; what approximate ones lose, where both are known.

    Recall beside exact lists is of all rows, else of the sample that the search itself takes.
    """
    nearest = k_nearest(rows, HOW.k1) if job["exact"] else approximate_neighbors(rows, HOW.k1)
    np.save(job["lists"], nearest.indices)
    if not job["exact"]:
        return {"kind": "approximate", "recall": nearest.recall}
    if "approximate" not in job["contestants"]:
        return {"kind": "exact"}
    others = approximate_neighbors(rows, HOW.k1).indices
    labels, other_labels = (ours(rows, found, Clock()) for found in (nearest.indices, others))
    return {
        "kind": "exact",
        "recall": recall(nearest.indices, others),
        "agreement": label_agreement(labels, other_labels),
    }


def recall(lists: np.ndarray, found: np.ndarray) -> float:
    """Share of the entries of `lists` (N, k) that stand in the same row of `found` (N, k)."""
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
        _warm_up(name)
    for repeat in range(job["repeats"]):
        for name in job["contestants"]:
            found.pop(name, None)
            gc.collect()
            clock = Clock()
            found[name] = CONTESTANTS[name].run(rows, lists, clock)
            for stage, spent in clock.take().items():
                seconds[name].setdefault(stage, []).append(spent)
        _tell(repeat, seconds)
    result: dict[str, Any] = {"seconds": seconds}
    if "ours" in found:
        labels = found["ours"]
        result["clusters"] = int(labels.max(initial=-1)) + 1
        result["outliers"] = int((labels < 0).sum())
        if "dense" in found:
            result["labels_differing"] = int((labels != found["dense"]).sum())
    return result


def measure_memory(job: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """Memory held before, at the peak, and the difference, in bytes."""
    (name,) = job["contestants"]
    lists = np.load(job["lists"], allow_pickle=False)
    _warm_up(name)
    gc.collect()
    baseline = machine.restart_peak()
    kept = CONTESTANTS[name].run(rows, lists, Clock())
    peak = peak_rss_bytes()
    del kept
    added = None if peak is None or baseline is None else max(peak - baseline, 0)
    return {"baseline_bytes": baseline, "peak_bytes": peak, "added_bytes": added}


def _warm_up(name: str) -> None:
    """Compile loops and load libraries, so that neither time nor memory counts them."""
    rows = clustered(_WARM_ROWS, 0)
    lists = k_nearest(rows, HOW.k1).indices
    CONTESTANTS[name].run(rows, lists, Clock())


def _tell(repeat: int, seconds: dict[str, dict[str, list[float]]]) -> None:
    parts = [
        f"{name} {' + '.join(f'{values[-1]:.3g}' for values in stages.values())}"
        for name, stages in seconds.items()
    ]
    sys.stderr.write(f"    repeat {repeat + 1}, seconds: {', '.join(parts)}\n")
    sys.stderr.flush()


JOBS: dict[str, Callable[[dict[str, Any], np.ndarray], dict[str, Any]]] = {
    "lists": find_lists,
    "time": measure_time,
    "memory": measure_memory,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
