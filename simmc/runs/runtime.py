"""The machine of a run, the seconds of its stages and its random streams.

Each purpose has a random stream of its own, all from one seed: a change in how often one is used
does not shift the others. Nothing draws from the global generators of numpy or torch.
"""

import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

import simmc
from simmc.clustering import Executor
from simmc.errors import UserError, numbered

MOST_THREADS = 16  # beyond this the short operations of a training step lose more than k-NN gains
_HIGHEST_SEED = 2**63 - 1
_PACKAGES = ("torch", "numpy", "scipy", "numba", "pyarrow", "scikit-learn", "faiss-cpu")


@dataclass(frozen=True)
class Runtime:
    """What a run computes on.

    Attributes:
        device: where tensors live.
        threads: worker threads of torch, BLAS and numba.
        notes: messages for the user, such as a missing GPU.
        executor: where blocks of rows are clustered; None: the threads of this process.
    """

    device: torch.device
    threads: int
    notes: list[str] = field(default_factory=list)
    executor: Executor | None = None


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


@dataclass(frozen=True)
class Seeds:
    """The streams of one run.

    Attributes:
        data: class sampling and the order of the training windows.
        masks: the frames that each mask keeps.
        weights: initial weights; always on the CPU, so that every device starts from the same ones.
    """

    data: np.random.Generator
    masks: np.random.Generator
    weights: torch.Generator

    def state(self) -> dict[str, str]:
        """Where every stream stands, as text that fits into a checkpoint or JSON."""
        return {
            "data": json.dumps(self.data.bit_generator.state),
            "masks": json.dumps(self.masks.bit_generator.state),
            "weights": bytes(self.weights.get_state().numpy()).hex(),
        }

    def restore(self, state: dict[str, str]) -> None:
        """Continues every stream from where `state` was taken.

        Raises:
            one of `checkpoints.MISFIT`: the state is incomplete or not from this program.
        """
        data, masks = json.loads(state["data"]), json.loads(state["masks"])
        weights = torch.tensor(list(bytes.fromhex(state["weights"])), dtype=torch.uint8)
        self.data.bit_generator.state = data
        self.masks.bit_generator.state = masks
        self.weights.set_state(weights)


def generators(seed: int) -> Seeds:
    """Independent streams for one run.

    Args:
        seed: 0 to 2**63 - 1 (`--seed`).
    """
    if not 0 <= seed <= _HIGHEST_SEED:
        raise UserError(f"--seed must lie between 0 and {_HIGHEST_SEED}, not {seed}.")
    data, masks, weights = np.random.SeedSequence(seed).spawn(3)
    torch_seed = int(weights.generate_state(1, np.uint64)[0] >> np.uint64(1))
    return Seeds(
        data=np.random.Generator(np.random.PCG64(data)),
        masks=np.random.Generator(np.random.PCG64(masks)),
        weights=torch.Generator().manual_seed(torch_seed),
    )


def start(device: str = "auto", gpu: str | None = None, threads: int | None = None) -> Runtime:
    """Chooses the device and sets the threads of every numeric library of this process.

    Args:
        device: "auto" (a GPU if there is one), "cpu" or "cuda" (an error without one).
        gpu: number of the GPU; a machine without one uses the CPU, with a note. "" and None: the
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
    """Peak memory of this process in bytes; None where it is unknown."""
    try:
        # getrusage also counts the parent's memory before exec; this high-water mark does not
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
        why = " mps has no double precision, which neighbours and ranking need."
        raise UserError(
            f"--device must be auto, cpu or cuda, not {device!r}.{why * (device == 'mps')}"
        )
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
        has = numbered("{} [GPU|GPUs]", count)
        raise UserError(f"--gpu {number}: this machine has {has}, numbered from 0.")
    torch.backends.cudnn.allow_tf32 = False  # else convolutions round to 10 bits, as nothing else
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
        except RuntimeError:  # torch allows it only before its first parallel work
            notes.append("torch had started already: its inter-operator threads stay as they were.")
    # Imported here: each brings its own thread pool, and only a loaded pool can be limited.
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
