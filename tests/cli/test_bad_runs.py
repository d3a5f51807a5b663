"""Runs that were hurt, changed or broken off, and machines that refuse: a message, nothing lost.

Each test calls a command as the command line does. The single rules are tested beside their code.
"""

import errno
import os
import re
import shutil
import signal
from dataclasses import replace

import pytest

from simmc.methods.registry import METHODS
from simmc.methods.simmc import SimMC
from simmc.runs import checkpoints
from simmc.runs.directory import RunDirectory
from tests.cli import conftest
from tests.cli.conftest import QUICK, assert_same_run, changed, data_file, latest, run
from tests.conftest import contents

# runs and checkpoints


def words_for(prepared, home):
    return conftest.words_for(prepared, home, "KGBD", "probe", *QUICK)


@pytest.fixture(scope="module")
def finished(prepared, tmp_path_factory):
    """A run of three epochs on KGBD that ended as it should."""
    home = tmp_path_factory.mktemp("finished")
    assert run("simmc", *words_for(prepared, home), "--epochs", 3) == 0
    return latest(home)


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished run, to be damaged."""
    home = tmp_path / "runs" / "KGBD" / "probe"
    shutil.copytree(finished.path.parent, home)
    return RunDirectory(home / finished.path.name)


@pytest.fixture
def refused_again(refused, prepared, copy):
    """Eval or --resume on the copy must be refused and leave every file as it is."""

    def check(*flags, said):
        before = contents(copy.path)
        message = refused("simmc", *words_for(prepared, copy.path.parents[2]), *flags, said=said)
        assert contents(copy.path) == before
        return message

    return check


EVAL, RESUME = ("--mode", "Eval"), ("--resume", "--epochs", 5)


@pytest.mark.parametrize("flags", [("--H", 8), ("--D", 2)])
def test_a_checkpoint_of_another_shape(flags, refused_again, copy):
    refused_again(*EVAL, *flags, said=[copy.best, "another shape", "--H"])


@pytest.mark.parametrize(
    ("flag", "value", "old"),
    [
        ("--H", 8, 32),
        ("--lr", 0.1, 0.00035),
        ("--seed", 7, 0),
        ("--mask_x", 1, 2),
        ("--mask_replay", "window", "index"),
        ("--fidelity", "exact", "released"),
        ("--length", 8, 6),
    ],
)
def test_a_continued_run_with_another_recipe(flag, value, old, refused_again, copy):
    said = [f"{flag} {value}", copy.last, f"with {old}", "without --resume"]
    refused_again(*RESUME, flag, value, said=said)


def test_a_continued_run_of_another_version(refused_again, copy, monkeypatch):
    assert copy.read_config()["method_version"] == copy.read_results()["method_version"] == 1
    monkeypatch.setitem(METHODS, "simmc", replace(METHODS["simmc"], since=lambda settings: 3))
    refused_again(*RESUME, said=["--resume", copy.path, "version 1", "version 3", "--mode Eval"])


def test_a_continued_run_on_other_data(copy, windows, refused_again):
    changed(data_file(windows, "train", "x"), lambda values: values * 1.01)
    said = [copy.path, "other data", "--resume", "--data_root"]
    refused_again(*RESUME, "--data_root", windows, said=said)


def test_a_run_that_another_process_trains(copy, prepared, refused_again):
    with copy.lock():
        said = [copy.path, "another process", "--run", "--resume"]
        refused_again(*RESUME, "--data_root", "missing", said=said)  # before data are looked for
        assert run("simmc", *words_for(prepared, copy.path.parents[2]), *EVAL) == 0
    assert run("simmc", *words_for(prepared, copy.path.parents[2]), *RESUME) == 0


@pytest.mark.parametrize(("mode", "file"), [(EVAL, "best.pt"), (RESUME, "last.pt")])
def test_an_unreadable_checkpoint(mode, file, copy, prepared, refused_again):
    path = copy.path / file
    good = path.read_bytes()
    for bad in (good[: len(good) // 2], good[:-1] + bytes([good[-1] ^ 1])):
        path.write_bytes(bad)
        message = refused_again(*mode, said=[path, "another run with --run or --model_root"])
    words = words_for(prepared, copy.path.parents[2])
    again = re.search(r"Train again \((.+)\)", message)[1].split()
    for advised in (again, ("--model_root", copy.path.parents[2] / "other")):
        assert run("simmc", *words, "--epochs", 0, *advised) == 0
    path.write_bytes(good)
    assert run("simmc", *words, *mode, "--run", copy.path.name) == 0


def test_a_run_without_weights(copy, refused_again):
    for file in ("best.pt", "label_free.pt"):
        (copy.path / file).unlink()
    refused_again(*EVAL, said=[copy.path, "no best.pt", "--run"])


def test_metrics_that_were_deleted(prepared, tmp_path):
    """Not worth refusing, also where nothing is left to do that could be logged."""
    words = [*words_for(prepared, tmp_path), "--epochs", 9, "--patience", 2]
    assert run("simmc", *words) == 0
    made = latest(tmp_path)
    before = made.read_results()
    made.metrics_path.unlink()
    assert run("simmc", *words, "--resume") == 0
    assert made.read_results()["protocols"] == before["protocols"]
    assert made.read_results()["counts"]["epochs"] == before["counts"]["epochs"]


# the machine


def test_a_model_root_in_which_nothing_can_be_made(prepared, refused, tmp_path):
    (tmp_path / "file").write_text("mine")
    home = tmp_path / "file" / "runs"
    refused("simmc", *words_for(prepared, home), said=["cannot write", home, "--model_root"])
    assert (tmp_path / "file").read_text() == "mine"


def on_epoch(monkeypatch, number, action):
    """Calls `action` in the middle of an epoch, before its steps."""
    contrast = SimMC.contrast

    def patched(self, *args):
        if self.epoch == number:
            action()
        return contrast(self, *args)

    monkeypatch.setattr(SimMC, "contrast", patched)


@pytest.mark.parametrize("written", [0, 1])
def test_a_full_disk(written, finished, prepared, refused, tmp_path, monkeypatch):
    """In the middle of a run, after so many more files have found room."""
    words = [*words_for(prepared, tmp_path), "--epochs", 3]
    fsync, left = os.fsync, [written]

    def full(handle):
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= 1
        fsync(handle)

    with monkeypatch.context() as patch:
        on_epoch(patch, 2, lambda: patch.setattr(os, "fsync", full))
        refused("simmc", *words, said=[tmp_path, "No space left", "--model_root"])
    hurt = latest(tmp_path)
    assert checkpoints.load(hurt.last)["epoch"] in (2, 2 + written)
    assert checkpoints.load(hurt.best)["epoch"] >= 1
    assert not list(hurt.path.rglob("*.part"))
    assert run("simmc", *words, "--resume") == 0
    assert_same_run(finished, hurt)


def test_ctrl_c(finished, prepared, tmp_path, monkeypatch, capsys):
    words = [*words_for(prepared, tmp_path), "--epochs", 3]
    # a suite that a shell runs in the background inherits deafness to Ctrl-C
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            on_epoch(patch, 2, lambda: signal.raise_signal(signal.SIGINT))
            assert run("simmc", *words) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    err = capsys.readouterr().err
    assert "interrupted" in err and "--resume" in err and "Traceback" not in err
    hurt = latest(tmp_path)
    assert checkpoints.load(hurt.last)["epoch"] == 2
    assert [row["epoch"] for row in hurt.read_metrics()] == [0, 1]
    assert run("simmc", *words, "--resume") == 0
    assert_same_run(finished, hurt)
