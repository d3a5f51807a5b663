"""The machine a run works on: device, threads, number handling, versions, memory."""

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

import simmc
from simmc.clustering import Executor
from simmc.errors import UserError

MOST_THREADS = 16  # beyond this the short operations of a training step lose more than k-NN gains
_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "faiss-cpu", "numba")


@dataclass(frozen=True)
class Runtime:
    """What a run computes on.

    Attributes:
        device: where tensors live.
        threads: worker threads of torch, BLAS, faiss and numba.
        notes: sentences the user should see, such as a missing GPU.
        executor: where blocks of rows are clustered; None: the threads of this process.
    """

    device: torch.device
    threads: int
    notes: list[str] = field(default_factory=list)
    executor: Executor | None = None


def start(device: str = "auto", gpu: str | None = None, threads: int | None = None) -> Runtime:
    """Chooses the device and sets the threads of every numeric library of this process.

    Args:
        device: "auto" (a GPU if there is one), "cpu" or "cuda" (an error without one).
        gpu: number of the GPU; a machine without one uses the CPU and says so. "" and None: the
            first; a negative number: the CPU, as CUDA_VISIBLE_DEVICES has it.
        threads: worker threads; None: OMP_NUM_THREADS if set, else the physical cores up to
            `MOST_THREADS`.
    """
    notes: list[str] = []
    chosen = _device(device, gpu, notes)
    count = _threads(threads)
    # Denormal numbers carry no information here and slow the CPU down many times.
    torch.set_flush_denormal(True)
    _set_threads(count, notes)
    return Runtime(chosen, count, notes)


@contextmanager
def few_threads(most: int) -> Iterator[None]:
    """Torch on at most so many threads for a while: small tensor operations lose by more."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(most, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def versions() -> dict[str, str]:
    """Versions of everything that can change a result; "absent" for a missing optional package."""
    found = {"python": platform.python_version(), "simmc": simmc.__version__}
    for package in _PACKAGES:
        name = package.removesuffix("-cpu")
        try:
            found[name] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    found["platform"] = platform.platform()
    return found


def peak_rss_bytes() -> int | None:
    """The most memory this process has held, in bytes; None where the system does not tell."""
    try:
        # getrusage also counts what the parent held before exec; this high-water mark does not
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def physical_cores() -> int:
    """Cores this process may use: hyper-threads count once, a container's CPU quota is kept."""
    logical = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    cores = min(logical, _distinct_cores() or logical, _container_quota() or logical)
    return max(1, cores)


def _device(device: str, gpu: str | None, notes: list[str]) -> torch.device:
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device must be auto, cpu or cuda, not {device!r}.")
    if gpu and not gpu.removeprefix("-").isdecimal():
        raise UserError(f"--gpu must be the number of one GPU such as 0, not {gpu!r}.")
    if device == "cpu" or (gpu and int(gpu) < 0):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        if device == "cuda":
            raise UserError(
                "--device cuda: torch finds no GPU here. Use --device cpu, or a build of torch "
                "with CUDA."
            )
        if gpu:
            notes.append(
                f"--gpu {gpu}: torch finds no GPU on this machine, so the run uses the CPU."
            )
        return torch.device("cpu")
    number, count = int(gpu or 0), torch.cuda.device_count()
    if number >= count:
        raise UserError(f"--gpu {number}: this machine has {count} GPU(s), numbered from 0.")
    return torch.device("cuda", number)


def _threads(asked: int | None) -> int:
    if asked is not None:
        if asked < 1:
            raise UserError(f"--threads must be at least 1, not {asked}.")
        return asked
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    return min(physical_cores(), MOST_THREADS)


def _set_threads(count: int, notes: list[str]) -> None:
    torch.set_num_threads(count)
    if torch.get_num_interop_threads() != 1:
        try:
            torch.set_num_interop_threads(1)
        except RuntimeError:  # torch admits it only before its first parallel work
            notes.append("torch was at work already: its inter-operator threads stay as they were.")
    # Imported here: each brings its own thread pool, and only a loaded pool can be limited.
    try:
        import faiss

        faiss.omp_set_num_threads(count)
    except ImportError:
        pass
    try:
        import numba

        most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        numba.set_num_threads(min(count, most))
    except ImportError:
        pass
    try:
        import threadpoolctl  # type: ignore[import-untyped]

        threadpoolctl.threadpool_limits(limits=count)
    except ImportError:
        notes.append("threadpoolctl is not installed: the threads of BLAS are left as they are.")


def _distinct_cores() -> int | None:
    """Physical cores among the CPUs that this process may run on (Linux only)."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = set()
    for cpu in os.sched_getaffinity(0):
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        try:
            package = (topology / "physical_package_id").read_text().strip()
            cores.add((package, (topology / "core_id").read_text().strip()))
        except OSError:
            return None
    return len(cores)


def _container_quota() -> int | None:
    """Whole CPUs granted by the control group, if it sets a limit (Linux, version 2)."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else max(1, int(quota) // int(period))
