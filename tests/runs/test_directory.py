import errno
import json
import shutil
import subprocess
import sys

import pytest

from simmc.engine.reporter import Reporter
from simmc.engine.run import locked
from simmc.errors import UserError
from simmc.runs.directory import RunDirectory


def make(root, name=None, default="seed0"):
    return RunDirectory.create(root, "KGBD", "probe", name, default)


def test_a_second_run_of_a_name_gets_a_suffix(tmp_path):
    found = [make(tmp_path).path.name for _ in range(3)]
    assert found == ["seed0", "seed0-2", "seed0-3"]
    assert make(tmp_path, "mine").path == tmp_path / "KGBD" / "probe" / "mine"
    assert (tmp_path / "KGBD" / "probe" / "latest").read_text() == "mine\n"


def test_latest_is_the_one_made_last(tmp_path):
    make(tmp_path, "b")
    make(tmp_path, "a")
    assert RunDirectory.latest(tmp_path, "KGBD", "probe").path.name == "a"
    assert RunDirectory.find(tmp_path, "KGBD", "probe", None).path.name == "a"
    assert RunDirectory.find(tmp_path, "KGBD", "probe", "b").path.name == "b"


@pytest.mark.parametrize("pointer", [None, "deleted\n", "../../etc\n", "", b"\xff\xfe"])
def test_latest_without_a_good_pointer(tmp_path, pointer):
    run = make(tmp_path)
    file = tmp_path / "KGBD" / "probe" / "latest"
    file.unlink()
    if pointer is not None:
        file.write_bytes(pointer if isinstance(pointer, bytes) else pointer.encode())
    assert RunDirectory.latest(tmp_path, "KGBD", "probe") == run


def test_a_run_has_one_trainer_at_a_time(tmp_path):
    run, other = make(tmp_path), make(tmp_path)
    with run.lock(), other.lock():
        before = sorted(run.path.iterdir())  # the file of the lock stays, so that none is missed
        with pytest.raises(UserError, match=r"seed0 .*another process.*--run"), run.lock():
            pass
    with run.lock():  # let go, also after the refusal
        assert sorted(run.path.iterdir()) == before


def test_a_killed_trainer_locks_nothing(tmp_path):
    run = make(tmp_path)
    program = (
        "import sys, time; from pathlib import Path; from simmc.runs.directory import *\n"
        "with RunDirectory(Path(sys.argv[1])).lock(): print('locked', flush=True); time.sleep(600)"
    )
    words = [sys.executable, "-c", program, str(run.path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as trainer:
        assert trainer.stdout.readline() == b"locked\n"
        with pytest.raises(UserError, match="another process"), run.lock():
            pass
        trainer.kill()
        trainer.wait()
    with run.lock():
        pass


def test_a_disk_without_locks(tmp_path, monkeypatch):
    def unsupported(handle, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", unsupported)
    run = make(tmp_path)
    entered = []
    with run.lock() as reason, run.lock():
        entered.append(True)
    assert entered == [True]
    assert "No locks available" in reason


def test_a_run_that_cannot_be_locked_is_noted(tmp_path, monkeypatch):
    noted = []
    reporter = Reporter()
    reporter.notes = noted.extend
    run = make(tmp_path)
    with locked(run, reporter):
        assert not noted

    def unsupported(handle, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", unsupported)
    with locked(run, reporter):
        assert len(noted) == 1
    assert str(run.path) in noted[0] and "cannot be locked" in noted[0]


def test_no_run_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"no run in .*KS20.*--mode Train.*--model_root"):
        RunDirectory.latest(tmp_path, "KS20", "probe")
    run = make(tmp_path)
    shutil.rmtree(run.path)
    with pytest.raises(UserError, match="no run in"):
        RunDirectory.latest(tmp_path, "KGBD", "probe")


def test_an_unknown_run_lists_the_others(tmp_path):
    make(tmp_path, "a")
    make(tmp_path, "b")
    with pytest.raises(UserError, match=r"--run c.*Runs there: a, b"):
        RunDirectory.find(tmp_path, "KGBD", "probe", "c")


@pytest.mark.parametrize("name", ["latest", "../x", "a/b", "a\\b", ".hidden", "-x", "a b", "ü\n"])
def test_names_that_cannot_be_folders(tmp_path, name):
    with pytest.raises(UserError, match="--run"):
        make(tmp_path, name)


def test_require_names_runs_that_have_the_file(tmp_path):
    good, empty = make(tmp_path, "good"), make(tmp_path, "empty")
    good.best.write_bytes(b"x")
    assert good.require(good.best) == good.path / "best.pt"
    with pytest.raises(UserError, match=r"empty has no best\.pt.*\(good\)"):
        empty.require(empty.best)


def test_config_and_results(tmp_path):
    run = make(tmp_path)
    run.write_config({"settings": {"t": 0.08}})
    run.write_results({"protocols": {"paper": {"top1": float("nan")}}})
    assert run.read_config() == {"settings": {"t": 0.08}}
    assert run.read_results() == {"protocols": {"paper": {"top1": None}}}


def test_metrics_are_on_the_disk_line_by_line(tmp_path):
    run = make(tmp_path)
    assert run.read_metrics() == []
    for epoch in range(3):
        run.append_metrics({"epoch": epoch, "loss": float("nan") if epoch == 1 else 0.5})
        lines = run.metrics_path.read_text().splitlines()
        assert len(lines) == epoch + 1
    assert json.loads(lines[1]) == {"epoch": 1, "loss": None}
    assert [row["epoch"] for row in run.read_metrics()] == [0, 1, 2]


def test_a_torn_last_line_is_dropped_on_resume(tmp_path):
    run = make(tmp_path)
    for epoch in range(4):
        run.append_metrics({"epoch": epoch})
    with run.metrics_path.open("a") as file:
        file.write('{"epoch": 4, "lo')
    assert [row["epoch"] for row in run.read_metrics()] == [0, 1, 2, 3]
    run.truncate_metrics(2)
    assert run.metrics_path.read_text() == '{"epoch": 0}\n{"epoch": 1}\n{"epoch": 2}\n'
    run.append_metrics({"epoch": 3})
    assert [row["epoch"] for row in run.read_metrics()] == [0, 1, 2, 3]
    assert sorted(path.name for path in run.path.iterdir()) == ["metrics.jsonl"]


def test_truncating_to_the_end_keeps_the_bytes(tmp_path):
    run = make(tmp_path)
    run.append_metrics({"epoch": 0, "top1": 0.1 + 0.2, "n": 3, "x": None, "s": "ü"})
    before = run.metrics_path.read_bytes()
    run.truncate_metrics(0)
    assert run.metrics_path.read_bytes() == before


def test_a_damaged_middle_line_names_file_and_line(tmp_path):
    run = make(tmp_path)
    run.metrics_path.write_text('{"epoch": 0}\n{"epo\n{"epoch": 2}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 2"):
        run.read_metrics()


def test_a_run_inside_a_run(tmp_path):
    run = make(tmp_path)
    child = run.child("label_free")
    assert child.path == run.path / "label_free"
    assert run.child("label_free") == child


def test_a_model_root_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        make(tmp_path / "file")
