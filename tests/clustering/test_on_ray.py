"""Clustering on a real cluster of two nodes, which the tests start on this machine."""

import gc
import os
import secrets
import socket
import subprocess
import sys
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from simmc.clustering import ClusterSettings, Threads, k_nearest, on_ray, pseudo_labels
from simmc.clustering.neighbors import search_rows
from simmc.clustering.on_ray import RayExecutor, _flushes_denormals
from simmc.errors import UserError
from simmc.methods.simmc import SimMCSettings
from tests.conftest import ROOT

# k1: the result of a block is over 100 kB, so that Ray keeps it on the node that made it
HOW = ClusterSettings(eps=0.6, min_samples=3, k1=40)
# Nobody else is to use the cluster. Ray reads this when it is imported, so no fixture can set it.
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}


def features(n: int = 3000) -> np.ndarray:
    """Groups of rows, some of them equal; generated."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((n // 20, 32))
    x = centres[rng.integers(len(centres), size=n)] + 0.3 * rng.standard_normal((n, 32))
    x[-40:] = x[0]
    return x.astype(np.float32)


@pytest.fixture(scope="class")
def cluster():
    """The head of a cluster, on this machine, with one core."""
    import ray
    from ray.cluster_utils import Cluster

    with (
        pytest.MonkeyPatch.context() as patch,
        TemporaryDirectory(prefix="ray-", dir="/tmp") as home,  # paths of sockets must be short
    ):
        # workers are children of the nodes and must find this module
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        head = {**NODE, "temp_dir": home, "include_dashboard": False}
        made = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


@pytest.fixture
def nodes(cluster):
    """A cluster of two nodes with one core each: (cluster, its second node)."""
    return cluster, next(iter(cluster.worker_nodes), None) or cluster.add_node(**NODE)


# work for other processes, which find it by its name


def node_id() -> str:
    import ray

    return ray.get_runtime_context().get_node_id()


def wait_for(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.01)


def watched_search(folder, *arguments):
    """`search_rows` with a trace in a folder; it goes on when both nodes are at work.

    The node that is to be killed, if one is, finishes two blocks and hangs on the third; the other
    one waits until it has been killed.
    """
    folder, begin, me = Path(folder), arguments[-2], node_id()
    (folder / f"begun {begin} {me} {time.monotonic_ns()}").touch()
    wait_for(lambda: len({path.name.split()[2] for path in folder.glob("begun *")}) == 2)
    doomed = (folder / "doomed").read_text()
    if doomed == me and len(list(folder.glob(f"finished * {me}"))) == 2:
        (folder / "hangs").touch()
        time.sleep(600)
    if doomed and doomed != me:
        wait_for((folder / "killed").exists)
    with warnings.catch_warnings():
        # what is not expected, after the filters that are there
        warnings.filterwarnings("error", append=True)
        result = search_rows(*arguments)
    (folder / f"finished {begin} {me}").touch()
    return result


def fails(rows, begin, end):
    raise KeyError(f"rows {begin} to {end - 1}")


def lacks(begin, end):
    import_module("no_module_of_this_name")


def doubled(rows, begin, end):
    return 2 * rows


def surroundings(rows, begin, end):
    import torch

    return begin, end, rows.sum(), torch.get_num_threads(), _flushes_denormals()


class Watched:
    """An executor whose neighbour search leaves traces; counts what was called."""

    def __init__(self, inner, folder, doomed=""):
        self.inner, self.folder, self.calls = inner, folder, []
        (folder / "doomed").write_text(doomed)

    def map(self, work, shared, n):
        self.calls.append(work.__name__)
        if work is search_rows:
            work, shared = watched_search, (str(self.folder), *shared)
        return self.inner.map(work, shared, n)

    def traces(self, kind) -> list[tuple[int, str]]:
        words = [path.name.split() for path in self.folder.glob(f"{kind} *")]
        return [(int(begin), node) for _, begin, node, *_ in words]


def assert_same_clustering(found, expected):
    np.testing.assert_array_equal(found.labels, expected.labels)
    for field in ("start", "column", "distance"):
        one, other = getattr(found.graph, field), getattr(expected.graph, field)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.timeout(240)
class TestTwoNodes:
    def test_the_same_bits_as_here(self, nodes, tmp_path, monkeypatch):
        import torch

        x = features()
        expected = pseudo_labels(x, HOW, executor=Threads(2))
        with RayExecutor(nodes[0].address) as executor:
            assert str(executor) == "2 cores on 2 machines"
            watched = Watched(executor, tmp_path)
            assert_same_clustering(pseudo_labels(x, HOW, executor=watched), expected)
            begun = watched.traces("begun")
            assert len(begun) == len({begin for begin, _ in begun}) == 12  # each block once
            assert len({node for _, node in begun}) == 2
            assert {"reciprocal", "expand_and_weigh", "mean_rows", "overlaps"} < set(watched.calls)

            near, there = k_nearest(x, 20), k_nearest(x, 20, executor=executor)
            np.testing.assert_array_equal(near.indices, there.indices)
            np.testing.assert_array_equal(near.squared, there.squared)
            (part,) = executor.map(doubled, (x,), 256)
            np.testing.assert_array_equal(part, 2 * x)
            assert part.flags.writeable  # ours, no window on the object store

            # what workers see: all rows, one thread, the driver's number handling
            for flush in (True, False):
                torch.set_flush_denormal(flush)
                seen = executor.map(surroundings, (x,), 300)
                assert seen == [(0, 256, x.sum(), 1, flush), (256, 300, x.sum(), 1, flush)]
            assert executor.map(surroundings, (x,), 0) == []

            # an array that has changed is sent anew, one that is gone is kept nowhere
            x[0, 0] += 1
            assert executor.map(surroundings, (x,), 1)[0][2] == x.sum()
            del x
            gc.collect()
            assert not executor._stored

            with pytest.raises(KeyError, match="rows 0 to 255"):
                executor.map(fails, (np.zeros(3),), 1000)
            with pytest.raises(UserError, match="has no Python module 'no_module_of_this_name'"):
                executor.map(lacks, (), 1)
            with monkeypatch.context() as patched:
                patched.setattr(on_ray, "_code", lambda: "simmc of another age")
                with pytest.raises(UserError, match=r"but this machine with simmc of another age"):
                    executor.map(surroundings, (np.zeros(3),), 1)
            with pytest.raises(ValueError, match="by its name"):
                executor.map(lambda begin, end: None, (), 1)

    def test_what_a_killed_node_had_is_done_again(self, nodes, tmp_path):
        cluster, second = nodes
        x = features()
        expected = pseudo_labels(x, HOW, executor=Threads(2))

        def kill():
            try:
                wait_for((tmp_path / "hangs").exists)
                cluster.remove_node(second, allow_graceful=False)
            finally:
                (tmp_path / "killed").touch()

        with RayExecutor(cluster.address) as executor, ThreadPoolExecutor(1) as pool:
            watched = Watched(executor, tmp_path, doomed=second.node_id)
            killer = pool.submit(kill)
            found = pseudo_labels(x, HOW, executor=watched)
            killer.result()
            wait_for(lambda: str(executor) == "1 core on 1 machine")
        assert_same_clustering(found, expected)

        begun, finished = watched.traces("begun"), watched.traces("finished")
        lost = {begin for begin, node in begun if node == second.node_id}
        finished_there = {begin for begin, node in finished if node == second.node_id}
        here = Counter(begin for begin, node in begun if node != second.node_id)
        assert len(lost) == 3 and len(finished_there) == 2
        # The driver takes results in order, so it waited for the first block of the other node:
        # it had fetched those before it, and no other.
        again = {begin for begin in lost if begin > min(here)}
        assert again & finished_there and again - finished_there
        assert set(here) == set(range(0, 3000, 256)) - (lost - again)
        assert set(here.values()) == {1}


class TestMessages:
    def test_no_ray(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(UserError, match=r"--executor ray: .* pip install -e '\.\[ray\]'"):
            RayExecutor()

    def test_nobody_at_the_address(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        with pytest.raises(UserError, match=f"--address 127.0.0.1:{port}: no connection"):
            RayExecutor(f"127.0.0.1:{port}")

    @pytest.mark.parametrize("address", ["cluster", "host:name", "ray://host:10001", "host:99999"])
    def test_no_address(self, address):
        with pytest.raises(UserError, match=f"--address {address}"):
            RayExecutor(address)

    def test_an_address_without_ray(self):
        with pytest.raises(UserError, match="--address auto needs --executor ray"):
            SimMCSettings.of(address="auto")


def test_nothing_of_ray_without_asking():
    code = """
import sys
import numpy as np
import simmc.engine.run, simmc.methods.simmc, simmc.clustering.on_ray
from simmc.clustering import ClusterSettings, pseudo_labels
pseudo_labels(np.random.default_rng(0).normal(size=(300, 4)), ClusterSettings(0.6, 2))
print([name for name in sys.modules if name.split(".")[0] == "ray"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_machines_compare_the_definition_of_the_distance_too(tmp_path, monkeypatch):
    code = on_ray._code.__wrapped__
    before = code()
    (tmp_path / "distances.py").write_text("LANES = 16\n")
    monkeypatch.setattr(on_ray.distances, "__file__", str(tmp_path / "distances.py"))
    assert code() != before
