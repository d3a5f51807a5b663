"""Blocks of rows on the machines of a Ray cluster. Ray is an extra, imported when first needed.

with RayExecutor("192.0.2.7:6379") as executor:
    graph = jaccard_graph(features, eps=0.6, executor=executor)

A block depends on nothing but its arrays and rows. Those of a worker or machine that is lost are
therefore computed again, also where they were finished but not fetched yet.
"""

import hashlib
import os
import platform
import re
import secrets
import socket
import sys
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
import torch

from simmc import compiled, distances
from simmc.compiled import block_rows
from simmc.errors import UserError, numbered

LOCAL = ("", "local")
_PATIENCE = 5.0  # seconds for the head of a cluster to take a connection


class RayExecutor:
    """Blocks of rows as Ray tasks of one core each; results are those of `Threads`, bit for bit.

    Close it, or use it in a `with` statement, to end the connection.

    Args:
        address: "host:port" of a running cluster that this machine is part of; "auto": the one
            that Ray finds here; "" or "local": an instance of its own on this machine.
        cores: of an instance of its own; None: all of this machine.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, address: str = "", cores: int | None = None) -> None:
        self._ray = _ray()
        _connect(self._ray, address, cores)
        # Without a limit: a block can be lost through no fault of its own.
        self._task = self._ray.remote(num_cpus=1, max_retries=-1)(_block)
        self._stored: dict[int, tuple[weakref.ref[Any], bytes, Any]] = {}

    def map(self, work: Callable[..., Any], shared: Sequence[Any], n: int) -> list[Any]:
        """See `Executor.map`; machines that join during the call get blocks, too.

        Raises:
            UserError: a machine has no simmc, or another version of it.
            ValueError: `work` is no function of a module.
        """
        where = _name(work)
        state = _code(), _flushes_denormals()
        arguments = [self._sent(value) for value in shared]
        rows = block_rows(n)
        waiting = deque(
            self._task.remote(state, where, begin, min(begin + rows, n), *arguments)
            for begin in range(0, n, rows)
        )
        results = []
        while waiting:
            # A copy in this process, so that the object store holds no result for long.
            results.append(deepcopy(self._fetched(waiting[0])))
            waiting.popleft()
        return results

    def close(self) -> None:
        """End the connection, and the instance if it was of its own."""
        self._stored.clear()
        self._ray.shutdown()

    def __enter__(self) -> "RayExecutor":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __str__(self) -> str:
        """The size of the cluster now."""
        machines = sum(node["Alive"] for node in self._ray.nodes())
        cores = self._ray.cluster_resources().get("CPU", 0)
        where = numbered("{} [machine|machines]", machines)
        return f"{numbered(f'{cores:g} [core|cores]', cores)} on {where}"

    def _sent(self, value: Any) -> Any:
        """A number as it is; anything else as a reference into the object store.

        An array that comes again, such as the features, is sent once: as long as it lives, and
        holds what it held.
        """
        if np.isscalar(value):
            return value
        if not isinstance(value, np.ndarray):
            return self._ray.put(value)
        key, content = id(value), hashlib.blake2b(np.ascontiguousarray(value).data).digest()
        known = self._stored.get(key)
        if known is None or known[1] != content:
            end = weakref.ref(value, lambda _: self._stored.pop(key, None))
            known = self._stored[key] = (end, content, self._ray.put(value))
        return known[2]

    def _fetched(self, reference: Any) -> Any:
        """The result of a task; its exception as if the work had been done here."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            missing = re.search(r"No module named '(.+?)'", str(error))
            if missing:
                raise UserError(
                    f"a machine of the Ray cluster has no Python module {missing[1]!r}. Install "
                    "simmc and its libraries on every machine (docs/cluster.md)."
                ) from error
            cause = getattr(error, "cause", None)
            if isinstance(cause, Exception):
                raise cause from error
            raise


def _block(
    state: tuple[str, bool], where: tuple[str, str], begin: int, end: int, *shared: Any
) -> Any:
    """One block, in a worker process."""
    code, flush = state
    if _code() != code:
        raise UserError(
            f"{platform.node()} of the Ray cluster works with {_code()}, but this machine with "
            f"{code}. Install the same versions on every machine (docs/cluster.md)."
        )
    torch.set_num_threads(1)  # the task has one core
    torch.set_flush_denormal(flush)
    with warnings.catch_warnings():
        # Arrays in the object store are read-only, which torch has no word for; none is written.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return _found(*where)(*shared, begin, end)


def _name(work: Callable[..., Any]) -> tuple[str, str]:
    """Module and name of a function: compiled code does not travel, every machine makes its own."""
    module, name = work.__module__, work.__qualname__
    try:
        if module != "__main__" and _found(module, name) is work:
            return module, name
    except (ImportError, AttributeError):
        pass
    raise ValueError(f"{module}.{name} cannot be found by its name: use a function of a module")


def _found(module: str, name: str) -> Callable[..., Any]:
    """The function of this name."""
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


@cache
def _code() -> str:
    """What the bits of a result depend on: the clustering's source and what compiles it."""
    digest = hashlib.sha256()
    shared = [Path(module.__file__ or "") for module in (compiled, distances)]
    for path in (*shared, *sorted(Path(__file__).parent.glob("*.py"))):
        digest.update(path.read_bytes())
    return f"simmc {digest.hexdigest()[:8]}, numba {numba.__version__}, numpy {np.__version__}"


def _flushes_denormals() -> bool:
    """Whether this thread rounds denormal numbers to zero (`simmc.runs.runtime.start`)."""
    return sys.float_info.min / 2 == 0.0


def _ray() -> ModuleType:
    """Ray; UserError where it is not installed."""
    try:
        import ray
    except ImportError as error:
        raise UserError(
            f"--executor ray: Ray cannot be imported ({error}). Install it with "
            "pip install -e '.[ray]' in the project's folder, or use --executor local."
        ) from error
    return ray


def _connect(ray: ModuleType, address: str, cores: int | None) -> None:
    """Connect to a cluster or start an instance; UserError where that fails."""
    options: dict[str, Any] = {"logging_level": "warning", "log_to_driver": False}
    if address in LOCAL:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
        # Ray would write one to the home folder, where it changes the token of later clusters.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        ray.init("local", num_cpus=cores, include_dashboard=False, **options)
        return
    _knock(address)
    # By default Ray waits for minutes.
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
    try:
        ray.init(address, **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UserError(
            f"--address {address}: {' '.join(str(error).split())}. Start Ray on this machine; if "
            "the cluster asks for a token, set RAY_AUTH_MODE=token (docs/cluster.md)."
        ) from error


def _knock(address: str) -> None:
    """UserError where host:port takes no connection; Ray would try for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise UserError(
            f"--address {address} is not possible; allowed: auto, local or host:port, as "
            "ray start --head prints it."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--address {address}: no connection ({error}). Start the cluster with "
            "ray start --head (docs/cluster.md), or give the address that it prints."
        ) from error
