"""The training recipe itself for a few epochs: seconds by stage, share of search, peak memory."""

import json
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from simmc.benchmarks.measure import python

STAGES = ("features", "evaluation", "neighbours", "jaccard", "dbscan", "steps")
# The public program on the same data: constants, measured elsewhere, not here.
PUBLIC_SOURCE = (
    "docs/results.md, section 6: measured elsewhere, on a 2-core machine with other work on it"
)
PUBLIC_SECONDS = {"evaluation": 149, "jaccard": 117, "dbscan": 12, "features": 6, "steps": 1}
PUBLIC_TOTAL, PUBLIC_SEARCH, PUBLIC_MEMORY = 286, 16, "13 to 18 GB"


def run_training(data_root: str, epochs: int, threads: int, out: Path) -> dict[str, Any] | None:
    """Trains SimMC on KGBD in a process of its own, probe scored in every epoch.

    Args:
        data_root: folder of the preprocessed sets.
        epochs: gradient epochs; the untrained epoch 0 comes before them.
        threads: of that process.
        out: folder in which the run lives for a while.

    Returns:
        Seconds of every epoch and the peak memory; None where there was not enough memory.
    """
    with TemporaryDirectory(prefix="epoch-", dir=out) as folder:
        words = ["-m", "simmc", "simmc", "--dataset", "KGBD", "--probe", "probe"]
        words += ["--data_root", data_root, "--model_root", folder, "--run", "benchmark"]
        words += ["--epochs", str(epochs), "--threads", str(threads), "--device", "cpu"]
        if not python(words, threads, quiet=True):
            return None
        run = Path(folder) / "KGBD" / "probe" / "benchmark"
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    return {
        "epochs": epochs,
        "seconds": [json.loads(line)["seconds"] for line in lines],
        "peak_rss_bytes": results["peak_rss_bytes"],
        "windows": {name: results["counts"][name] for name in ("train", "probe", "gallery")},
        "generated": results["data"]["generated"],
    }


def medians(epoch: dict[str, Any]) -> dict[str, float]:
    """Median seconds by stage, and of all, over the epochs that do everything.

    The first is left out, as it loads compiled code and has no earlier search to start from, and
    the last, as it takes no steps; where nothing else is left, all are used.
    """
    every = epoch["seconds"]
    chosen = every[1:-1] or every
    found = {
        stage: statistics.median(seconds.get(stage, 0.0) for seconds in chosen) for stage in STAGES
    }
    return found | {"total": statistics.median(sum(seconds.values()) for seconds in chosen)}


def search_share(median: dict[str, float]) -> float:
    """Share of an epoch that goes into k-NN and evaluation together."""
    return (median["neighbours"] + median["evaluation"]) / max(median["total"], 1e-9)
