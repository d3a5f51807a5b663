"""The parts of the GPU check that measure, each in a process of its own (gpu_check.py)."""

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.contestants import HOW, faiss_neighbors, lacking
from benchmarks.inputs import clustered
from benchmarks.measure import machine
from simmc import cli, clustering, files
from simmc.clustering.gpu import pseudo_labels
from simmc.clustering.gpu.tiles import blocks, full_precision
from simmc.runs.runtime import Clock, peak_rss_bytes

ROOT = Path(__file__).resolve().parents[1]
# rows, and whether the CPU's labels are compared; the largest early, in case the part is cut off
SIZES = ((10_000, True), (100_000, False), (1_000_000, False), (30_000, True), (300_000, False))
SMALL_SIZES = ((1000, True), (2000, True))
SMALL_RUN = ("--epochs", "2", "--batch_size", "8", "--H", "16", "--k1", "6", "--k2", "2")


def run(given: argparse.Namespace) -> None:
    """Run the part that `given` names; its results are in parts/<name>.json."""
    path = given.out / "parts" / f"{given.part}.json"
    found: dict[str, Any] = {}

    def keep(**values: Any) -> None:
        found.update(values)
        files.write_json(path, found)

    parts: dict[str, Callable[..., None]] = {
        "machine": look,
        "data": make_windows,
        "clustering": cluster,
    }
    parts.get(given.part, train)(given, keep)


def look(given: argparse.Namespace, keep: Callable[..., None]) -> None:
    """Versions, processor, memory and the card."""
    keep(machine=machine(torch.get_num_threads()))
    if given.device == "cpu":
        return
    card = torch.cuda.get_device_properties(0)
    keep(
        card=card.name,
        card_bytes=card.total_memory,
        capability=f"{card.major}.{card.minor}",
        cuda=torch.version.cuda,
    )
    if shutil.which("nvidia-smi"):
        asked = ["nvidia-smi", "--query-gpu=driver_version,power.limit", "--format=csv,noheader"]
        told = subprocess.run(asked, capture_output=True, text=True, check=False)
        keep(driver=told.stdout.splitlines()[0] if told.stdout else "unknown")


def make_windows(given: argparse.Namespace, keep: Callable[..., None]) -> None:
    """Windows of KGBD from the archive, or of synthetic walkers of its size."""
    raw, clock = given.out / "raw", Clock()
    with clock("raw"):
        if given.kgbd:
            unpack = [sys.executable, str(ROOT / "scripts" / "get_kgbd.py")]
            unpack += ["--archive", str(given.kgbd), "--raw_root", str(raw)]
            subprocess.run(unpack, check=True)
        else:
            size = ["--size", "tiny" if given.small else "full", "--raw_root", str(raw)]
            command("generate", "--dataset", "KGBD", *size)
    with clock("windows"):
        where = ["--raw_root", str(raw), "--data_root", str(given.out / "data")]
        command("preprocess", "6", "--dataset", "KGBD", *where)
    keep(seconds=clock.take())


def command(*words: str) -> None:
    """Run a command of simmc in this process; the part fails where it fails."""
    if code := cli.run(words[0], list(words[1:])):
        sys.exit(code)


def train(given: argparse.Namespace, keep: Callable[..., None]) -> None:
    """A whole run with the published settings, timed from loading the data to the last number."""
    runs = given.out / "runs"
    shutil.rmtree(runs / "KGBD" / "probe" / given.part, ignore_errors=True)
    words = ["--dataset", "KGBD", "--probe", "probe", "--data_root", str(given.out / "data")]
    words += ["--model_root", str(runs), "--run", given.part, "--device", given.device]
    began = time.perf_counter()
    command(given.part, *words, *(SMALL_RUN if given.small else ()))
    keep(run_s=time.perf_counter() - began, **memory(given.device))


def memory(device: str) -> dict[str, int | None]:
    """Peak memory of this process and, of a GPU, of its tensors since the last reset."""
    most = {"peak_rss_bytes": peak_rss_bytes()}
    return most | ({"peak_gpu_bytes": torch.cuda.max_memory_allocated()} if device != "cpu" else {})


def cluster(given: argparse.Namespace, keep: Callable[..., None]) -> None:
    """Features to labels at several sizes, beside a matrix product and faiss."""
    cases: list[dict[str, Any]] = []
    for n, compare in SMALL_SIZES if given.small else SIZES:
        rows = clustered(n, 0)
        features = torch.from_numpy(rows).to(given.device)
        case: dict[str, Any] = {"n": n}
        cases.append(case)
        pseudo_labels(features[:1000], HOW)  # loads the kernels
        if given.device != "cpu":
            torch.cuda.reset_peak_memory_stats()
        clock = Clock()
        labels, _ = pseudo_labels(features, HOW, timer=clock)
        case |= {"seconds": clock.take(), "clusters": int(labels.max()) + 1} | memory(given.device)
        keep(cases=cases)
        product(features[:1000])
        case["product_s"] = seconds(lambda x=features: product(x))  # type: ignore[misc]
        keep(cases=cases)
        if given.device == "cuda" and "faiss_gpu" not in lacking():
            case["faiss_s"] = seconds(lambda x=rows: faiss_neighbors(x, HOW.k1, on_gpu=True))  # type: ignore[misc]
            keep(cases=cases)
        if compare:
            wanted = clustering.pseudo_labels(rows, HOW).labels
            case["labels_differing"] = int(np.count_nonzero(labels.cpu().numpy() != wanted))
            keep(cases=cases)


def product(x: torch.Tensor) -> None:
    """A bare single-precision product of all rows with all rows, block by block, on the device."""
    parts = blocks(len(x), 4 * len(x), x.device)
    made = x.new_empty(parts[0][1], len(x))
    with full_precision(x.device):
        for a, b in parts:
            torch.mm(x[a:b], x.T, out=made[: b - a])


def seconds(work: Callable[[], Any]) -> float:
    """Wall-clock seconds until the device has done some work."""
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began
