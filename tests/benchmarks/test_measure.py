import os
import signal

import numpy as np
import pytest

from simmc.benchmarks import machine, measure, worker
from simmc.benchmarks.contestants import CONTESTANTS
from simmc.benchmarks.measure import Plan, Source
from simmc.runs.runtime import peak_rss_bytes


def plan(**changes):
    names = tuple(CONTESTANTS)
    usual = {"contestants": names, "repeats": 2, "threads": 1, "exact_up_to": 1000}
    return Plan(**usual | {"dense_up_to": 500, "memory": True} | changes)


class TestChoose:
    def test_everyone_on_small_sets(self):
        assert measure.choose(500, plan(), "here") == (list(CONTESTANTS), [])

    def test_the_dense_routine_rests(self, monkeypatch):
        chosen, (reason,) = measure.choose(501, plan(), "here")
        assert {"dense", "dense_alone"} == set(CONTESTANTS) - set(chosen)
        assert "here" in reason and "--dense_up_to" in reason
        monkeypatch.setattr(machine, "available_bytes", lambda: 100_000)
        assert "memory" in measure.choose(101, plan(), "here")[1][0]
        assert measure.choose(100, plan(), "here")[1] == []

    def test_exact_search_rests(self):
        chosen, reasons = measure.choose(1001, plan(), "here")
        assert chosen == ["approximate", "ours", "whole_approximate"]
        assert any("approximate (--exact_up_to)" in reason for reason in reasons)


def test_sizes_of_a_set_with_an_end():
    assert Source("real", False, 31488, np.empty).sizes([2000, 32000, 64000]) == [2000, 31488]
    assert Source("made", True, None, np.empty).sizes([4, 2, 4]) == [2, 4]


class TestPython:
    def test_runs_our_package_from_anywhere(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        code = "import os, simmc; raise SystemExit(os.environ['OMP_NUM_THREADS'] != '3')"
        assert measure.python(["-c", code], 3)

    @pytest.mark.parametrize("end", [f"exit({worker.NO_MEMORY})", "os.kill(os.getpid(), 9)"])
    def test_no_memory_is_an_answer(self, end):
        assert not measure.python(["-c", f"import os; {end}"], 1)

    @pytest.mark.parametrize("end", ["exit(1)", "os.kill(os.getpid(), 15)"])
    def test_a_fault_is_not(self, end):
        with pytest.raises(RuntimeError, match="exit code"):
            measure.python(["-c", f"import os; {end}"], 1)

    @pytest.mark.parametrize(
        "end", [f"exit({worker.INTERRUPTED})", f"os.kill(os.getpid(), {signal.SIGINT:d})"]
    )
    def test_an_interruption_is_passed_on(self, end):
        with pytest.raises(KeyboardInterrupt):
            code = "import os, signal; signal.signal(2, signal.SIG_DFL); "
            measure.python(["-c", code + end], 1)


def test_a_job_in_a_process_of_its_own(tmp_path):
    rows = np.random.default_rng(0).standard_normal((64, 5)).astype(np.float32)
    source = Source("made", True, None, lambda n: rows[:n])
    with measure.prepared(source, 60, plan(), tmp_path) as run:
        assert run("lists", [])["kind"] == "exact"
        found = run("memory", ["product"])
    assert found["added_bytes"] == max(found["peak_bytes"] - found["baseline_bytes"], 0)
    assert list(tmp_path.iterdir()) == []


def test_recall_counts_entries_in_any_order():
    lists = np.array([[0, 1, 2], [3, 4, 5]])
    assert worker.recall(lists, np.array([[2, 0, 1], [5, 9, 8]])) == pytest.approx(4 / 6)


def test_peak_memory_can_be_restarted():
    if not os.path.exists("/proc/self/status"):  # noqa: PTH110 - not a path of ours
        pytest.skip("needs Linux")
    np.ones(80 * 2**20, np.uint8)
    before = machine.restart_peak()
    assert peak_rss_bytes() - before < 20 * 2**20
    kept = np.ones(40 * 2**20, np.uint8)
    assert 39 * 2**20 < peak_rss_bytes() - before < 60 * 2**20
    del kept


def test_the_machine_is_described():
    found = machine.describe(3)
    assert found["threads"] == 3 and found["cores"] >= 1 and found["processor"]
    assert machine.available_bytes() is None or machine.available_bytes() > 0
