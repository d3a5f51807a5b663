"""The machine that measurements are made on, and the memory of this process."""

import ctypes
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

from simmc.runs.runtime import peak_rss_bytes, physical_cores, versions


def describe(threads: int) -> dict[str, Any]:
    """What a reader needs to judge the figures: versions, processor, cores, threads, memory."""
    return {
        **versions(),
        "processor": _processor(),
        "cores": physical_cores(),
        "threads": threads,
        "memory_bytes": _total_bytes(),
    }


def load_average() -> float | None:
    """Processes at work on average over the last minute, where the system tells."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def available_bytes() -> int | None:
    """Memory that a new process may fill; None where the system does not tell."""
    limits = [_field("/proc/meminfo", "MemAvailable"), _container_limit()]
    known = [limit for limit in limits if limit is not None]
    return min(known, default=None)


def restart_peak() -> int | None:
    """Give freed memory back and forget this process's peak, where that is possible (Linux).

    Returns:
        The memory that it holds now, or its peak so far where no more is known.
    """
    with suppress(OSError, AttributeError, TypeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _field("/proc/self/status", "VmRSS") or peak_rss_bytes()


def _field(file: str, name: str) -> int | None:
    """A number of kilobytes from a /proc file, in bytes."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path(file).read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None


def _container_limit() -> int | None:
    """What the control group still grants, if it sets a limit (Linux, version 2)."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        return None if limit == "max" else int(limit) - used
    except (OSError, ValueError):
        return None


def _total_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
