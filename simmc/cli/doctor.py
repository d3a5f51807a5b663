"""`simmc doctor`: what a bug report or a first run needs to know about this machine."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from simmc.clustering import k_nearest_others
from simmc.data import specs
from simmc.errors import UserError
from simmc.runs import checkpoints, runtime
from simmc.settings import Settings, option, resolve
from simmc.settings.groups import THREADS
from simmc.settings.options import MACHINE

_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class DoctorSettings(Settings):
    """Where to look."""

    GROUP: ClassVar[str] = MACHINE

    COMMAND: ClassVar[str] = "doctor"
    SUMMARY: ClassVar[str] = (
        "Print versions, device, threads, memory and data, and check the basics."
    )

    data_root: str = option("Datasets", "Folder of the preprocessed datasets.")
    raw_root: str = option(".", "Folder that holds the raw datasets.")
    model_root: str = option("ReID_Models", "Folder of the runs.")
    device: str = option("auto", "auto, cpu or cuda.", choices=("auto", "cpu", "cuda"))
    gpu: str = option("", "Number of the GPU.")
    threads: int | None = option(
        None, "Worker threads.", kind=int, limits=THREADS, words={"auto": None}
    )


def main(argv: list[str]) -> int:
    """Prints the report; 1 if one of the checks fails."""
    settings = resolve(DoctorSettings, argv).settings
    machine = runtime.start(settings.device, settings.gpu, settings.threads)
    _section("versions", runtime.versions().items())
    _section("machine", _machine(machine, settings))
    _section(f"datasets in {settings.data_root}", _processed(Path(settings.data_root)))
    raw = Path(settings.raw_root)
    found = [(name, "found" if (raw / name).is_dir() else "none") for name in specs.DATASETS]
    _section(f"raw data in {raw}", found)
    results = [(name, _outcome(check)) for name, check in _CHECKS.items()]
    _section("checks", results)
    return 0 if all(outcome == "good" for _, outcome in results) else 1


def _section(title: str, rows: Iterable[tuple[str, str]]) -> None:
    print(f"{title}:")
    for name, value in rows:
        print(f"  {name:<14} {value}")


def _machine(machine: runtime.Runtime, settings: DoctorSettings) -> Iterator[tuple[str, str]]:
    device = str(machine.device)
    if machine.device.type == "cuda":
        device += f" ({torch.cuda.get_device_name(machine.device)})"
    yield "device", device
    yield "threads", f"{machine.threads} (physical cores: {runtime.physical_cores()})"
    yield "memory", _memory()
    for name in ("data_root", "model_root"):
        yield f"disk, {name}", _free_disk(Path(getattr(settings, name)))
    for note in machine.notes:
        yield "note", note


def _memory() -> str:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = (os.sysconf(f"SC_{name}PHYS_PAGES") * page for name in ("", "AV"))
    except (ValueError, OSError, AttributeError):
        return "unknown"
    return f"{total / _GIB:.1f} GiB, {free / _GIB:.1f} GiB unused"


def _free_disk(folder: Path) -> str:
    existing = next(
        path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()
    )
    writable = "" if os.access(existing, os.W_OK) else "; NOT WRITABLE"
    return f"{shutil.disk_usage(existing).free / _GIB:.1f} GiB free at {existing}{writable}"


def _processed(root: Path) -> Iterator[tuple[str, str]]:
    for spec in specs.DATASETS.values():
        homes = (root / (spec.folder or spec.name)).glob(f"*/{spec.train_folder}")
        lengths = sorted((home.parent.name for home in homes), key=lambda name: name.zfill(9))
        yield spec.name, f"f = {', '.join(lengths)}" if lengths else "none"


def _outcome(check: Callable[[], None]) -> str:
    try:
        check()
    except (UserError, ImportError, RuntimeError, AssertionError) as error:
        return f"FAILED: {error}"
    return "good"


def _check_seeds() -> None:
    """A stored random stream continues with the same numbers."""
    streams = runtime.generators(0)
    state = streams.state()
    first = streams.masks.random(3)
    streams.restore(state)
    assert np.array_equal(first, streams.masks.random(3)), "a restored stream does not continue"


def _check_checkpoint() -> None:
    """A checkpoint is read as it was written."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "check.pt"
        checkpoints.save(path, {"x": torch.arange(4)})
        assert checkpoints.load(path)["x"].tolist() == [0, 1, 2, 3], "a checkpoint has changed"


def _check_gradient() -> None:
    """One backward pass of a small encoder gives finite numbers."""
    weights = runtime.generators(0).weights
    layer = torch.randn(60, 16, generator=weights).requires_grad_()
    torch.nn.functional.normalize(torch.randn(8, 60, generator=weights) @ layer).sum().backward()
    assert layer.grad is not None and layer.grad.isfinite().all(), "the gradient is not finite"


def _check_neighbours() -> None:
    """Our search and numpy find the same nearest neighbours of random points."""
    points = runtime.generators(0).data.standard_normal((200, 8)).astype(np.float32)
    found = k_nearest_others(points, 1).indices[:, 0]
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    np.fill_diagonal(squared, np.inf)
    if not np.array_equal(found, squared.argmin(axis=1)):
        raise RuntimeError("the search and numpy find different neighbours")


_CHECKS: dict[str, Callable[[], None]] = {
    "seeds": _check_seeds,
    "checkpoint": _check_checkpoint,
    "gradient": _check_gradient,
    "neighbours": _check_neighbours,
}
