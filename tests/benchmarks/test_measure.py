import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from simmc.benchmarks import machine, measure, worker
from simmc.benchmarks.contestants import CONTESTANTS
from simmc.benchmarks.measure import Plan, Source

from simmc.runs.runtime import peak_rss_bytes

ROOT = Path(__file__).parents[2]


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

    @pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
    def test_ctrl_c_ends_the_process_without_its_traceback(self, tmp_path):
        there = tmp_path / "there"
        child = f"import pathlib, time; pathlib.Path({str(there)!r}).touch(); time.sleep(60)"
        code = (
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "from simmc.benchmarks import measure\n"
            f"try: measure.python(['-c', {child!r}], 1)\n"
            "except KeyboardInterrupt: print('interrupted')"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        while not there.exists() and process.poll() is None:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate(timeout=30)[0] == "interrupted\n"


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
    if not Path("/proc/self/status").exists():
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
