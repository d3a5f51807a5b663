"""Runs of the training command: what they leave behind, that they repeat, and that they go on."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch

from simmc.cli.console import Console
from simmc.methods import simmc as method
from simmc.runs import checkpoints
from simmc.runs.directory import RunDirectory
from tests.cli.conftest import (
    QUICK,
    TWIN,
    assert_same_run,
    file_names,
    metrics_of,
    read_json,
    results_of,
    run,
)
from tests.conftest import ROOT, contents


def test_settings_are_stored_with_their_origin(train, capsys):
    config = train("--epochs", 2, "--fidelity", "exact").read_config()
    assert config["settings"]["epochs"] == 2 and config["origin"]["epochs"] == "command line"
    assert config["origin"]["mask_replay"] == "fidelity exact"
    assert config["origin"]["eps"] == "preset KS20_probe.toml"
    assert capsys.readouterr().out.count("\nepoch ") == 3


def test_a_released_run_trains_twice_where_sampling_uses_identities(train, capsys):
    made = train("--epochs", 1)
    assert (made.path / "best.pt").is_file() and not (made.path / "label_free.pt").exists()
    twin = RunDirectory(made.path / TWIN)
    assert (twin.path / "label_free.pt").is_file() and not twin.best.exists()
    assert all("top1" in row for row in made.read_metrics())
    assert not any("top1" in row for row in twin.read_metrics())
    assert made.read_results()["counts"]["train"] > 256
    assert capsys.readouterr().out.count("training for\n") == 2


def test_the_second_training_can_be_left_out(train, capsys):
    made = train("--epochs", 1, "--label_free_run", "off")
    assert not (made.path / TWIN).exists()
    found = made.read_results()["protocols"]
    assert found["label_free"] is None and found["paper"]["epoch"] == 1
    assert "none: no epoch was chosen under this protocol" in capsys.readouterr().out


def test_the_untrained_network_alone_is_no_result(train, capsys):
    made = train("--epochs", 0, dataset="KGBD")
    assert made.read_results()["protocols"] == {"paper": None, "label_free": None}
    assert capsys.readouterr().out.count("none: no epoch was chosen") == 2
    assert not made.last.exists()


def test_weights_can_be_left_out(train):
    made = train("--epochs", 1, "--save_model", 0, dataset="KGBD")
    assert not made.best.exists() and not (made.path / "label_free.pt").exists()
    assert made.read_results()["protocols"]["paper"]["top1"] > 0


def test_tensorboard(train):
    pytest.importorskip("torch.utils.tensorboard")
    made = train("--epochs", 0, "--tensorboard", 1, dataset="KGBD")
    assert list((made.path / "tensorboard").glob("events*"))


def test_tensorboard_that_is_not_installed(train, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    train("--epochs", 0, "--tensorboard", 1, dataset="KGBD", code=2)
    assert "--tensorboard: the package tensorboard is not installed" in capsys.readouterr().err


# the same again


def test_the_same_seed_gives_the_same_run(train):
    first, second = (train("--epochs", 2, "--seed", 3, root=root) for root in ("a", "b"))
    assert_same_run(first, second)
    assert metrics_of(train("--epochs", 2, "--seed", 4, root="c")) != metrics_of(first)


# going on


CASES = {
    "released": {"dataset": "KS20", "flags": ()},
    "exact": {"dataset": "KS20", "flags": ("--fidelity", "exact")},
    "two protocols in one": {"dataset": "KGBD", "flags": ()},
    "one view": {"dataset": "KGBD", "flags": ("--q", 1, "--mask_x", 0, "--lambda", 0)},
    "few checkpoints": {"dataset": "KGBD", "flags": ("--checkpoint_every", 4)},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_three_epochs_and_three_more_are_six(case, train):
    flags, dataset = case["flags"], case["dataset"]
    whole = train(*flags, "--epochs", 6, dataset=dataset, root="whole")
    train(*flags, "--epochs", 3, dataset=dataset, root="parts")
    parts = train("--resume", "--epochs", 6, dataset=dataset, root="parts")
    assert_same_run(whole, parts)
    assert all(row["steps"] for row in whole.read_metrics()[:-1])


def test_a_finished_run_stays_what_it_was(train):
    made = train("--epochs", 2, root="runs")
    before = {r: metrics_of(r) for r in (made, RunDirectory(made.path / TWIN))}
    results, weights = results_of(made), made.best.read_bytes()
    again = train("--resume")
    assert again == made
    assert results_of(made) == results
    assert made.best.read_bytes() == weights
    assert {r: metrics_of(r) for r in before} == before


def test_a_run_whose_patience_is_over_goes_on_with_more(train):
    whole = train("--epochs", 50, "--patience", 4, dataset="KGBD", root="whole")
    ended = train("--epochs", 50, "--patience", 2, dataset="KGBD", root="parts")
    assert len(metrics_of(ended)) < len(metrics_of(whole))
    train("--resume", dataset="KGBD", root="parts")
    assert len(metrics_of(ended)) < len(metrics_of(whole))  # nothing was left to do
    train("--resume", "--patience", 4, dataset="KGBD", root="parts")
    assert len(metrics_of(ended)) >= len(metrics_of(whole))


def test_what_a_continued_run_was_told_holds_the_next_time(train):
    made = train("--epochs", 1)
    train("--resume", "--epochs", 3)
    config = made.read_config()
    assert config["settings"]["epochs"] == 3
    assert config["origin"]["eps"] == "preset KS20_probe.toml"  # where it first came from
    train("--resume")
    assert [row["epoch"] for row in made.read_metrics()] == [0, 1, 2, 3]


def killed(whole, where, folder):
    """Repeats the run `whole` in a process of its own that kills itself at a place of its code."""
    script = f"""
import os, signal, sys
from simmc import cli
from simmc import files
from simmc.runs.directory import RunDirectory

def die():
    os.kill(os.getpid(), signal.SIGKILL)

append, fsync, seen = RunDirectory.append_metrics, os.fsync, []

def append_metrics(self, record):
    if {where!r} == "inside a line" and record["epoch"] == 3:
        with self.metrics_path.open("a") as file:
            file.write('{{"epoch": 3, "out')
        die()
    append(self, record)
    seen.append(record["epoch"])
    if {where!r} == "between line and checkpoint" and record["epoch"] == 3:
        die()

def half_written(handle):
    if {where!r} == "inside the checkpoint" and seen and seen[-1] == 3:
        die()
    fsync(handle)

RunDirectory.append_metrics, files.os.fsync = append_metrics, half_written
sys.exit(cli.run("simmc", sys.argv[1:]))
"""
    stored = whole.read_config()["settings"]
    flags = [f"--{name}={stored[name]}" for name in ("dataset", "data_root", "batch_size")]
    done = subprocess.run(
        [sys.executable, "-c", script, *flags, *QUICK, "--epochs=6", f"--model_root={folder}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return RunDirectory.latest(folder, stored["dataset"], stored["probe"])


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a POSIX notion")
@pytest.mark.parametrize(
    ("where", "lines"),
    [
        ("inside a line", [0, 1, 2]),
        ("between line and checkpoint", [0, 1, 2, 3]),
        ("inside the checkpoint", [0, 1, 2, 3]),
    ],
)
def test_a_killed_run_goes_on_bit_for_bit(where, lines, train, tmp_path):
    whole = train("--epochs", 6, dataset="KGBD", root="whole")
    hurt = killed(whole, where, tmp_path / "hurt")
    assert [row["epoch"] for row in hurt.read_metrics()] == lines
    assert checkpoints.load(hurt.last)["epoch"] == 3
    assert bool(list(hurt.path.glob(".*.part"))) == (where == "inside the checkpoint")
    assert not hurt.results_path.exists()
    train("--resume", dataset="KGBD", root="hurt")
    assert_same_run(whole, hurt)


def test_a_kill_before_the_first_checkpoint_begins_again(train):
    whole = train("--epochs", 2, root="whole")
    hurt = train("--epochs", 2, root="hurt")
    for file in ("last.pt", "best.pt", "metrics.jsonl", "results.json"):
        (hurt.path / file).unlink()
    shutil.rmtree(hurt.path / TWIN)
    train("--resume", root="hurt")
    assert_same_run(whole, hurt)


def test_a_kill_in_the_second_training_repeats_nothing_of_the_first(train, monkeypatch, capsys):
    whole = train("--epochs", 3, root="whole")
    run_epoch = method.SimMC.run_epoch

    def interrupted(self):
        if self.protocols == ("label_free",) and self.epoch == 2:
            raise KeyboardInterrupt
        return run_epoch(self)

    with monkeypatch.context() as patch:
        patch.setattr(method.SimMC, "run_epoch", interrupted)
        train("--epochs", 3, root="hurt", code=130)
    capsys.readouterr()
    hurt = train("--resume", root="hurt")
    epochs = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert [int(line.split()[1]) for line in epochs] == [3, 2, 3]
    assert_same_run(whole, hurt)


# a trained run, scored


@pytest.fixture
def evaluated(monkeypatch):
    """Runs --mode Eval; what it found."""
    found = []
    shown = Console.results
    monkeypatch.setattr(
        Console, "results", lambda c, f, *rest: (found.append(f), shown(c, f, *rest))
    )

    def evaluate(made, *flags):
        stored = made.read_config()["settings"]
        before = contents(made.path)
        words = ["--mode", "Eval", "--model_root", made.path.parents[2]]
        for name in ("dataset", "probe"):
            words += [f"--{name}", stored[name]]
        assert run("simmc", *words, *flags) == 0
        assert contents(made.path) == before  # Eval reads only
        return found[-1]

    return evaluate


@pytest.mark.parametrize("fidelity", ["released", "exact"])
def test_eval_repeats_the_numbers_of_the_training(fidelity, train, evaluated):
    made = train("--epochs", 2, "--fidelity", fidelity)
    found = evaluated(made, "--eval_sqrt", "clamp")
    assert found["protocols"] == read_json(made.results_path)["protocols"]
    released = evaluated(made)["protocols"]
    for name in ("paper", "label_free"):  # rounding alone tells the two ways of taking roots apart
        assert released[name]["mAP"] == pytest.approx(found["protocols"][name]["mAP"], abs=0.02)


def test_eval_takes_the_run_that_is_named(train, evaluated):
    named = ("--run", "one", "--save_flag", "ignored")
    first = train("--epochs", 1, "--seed", 1, *named, dataset="KGBD")
    assert first.path.name == "one"
    train("--epochs", 1, "--seed", 2, "--run", "two", dataset="KGBD")
    found = evaluated(first, "--run", "one", "--eval_sqrt", "clamp")
    assert found["seed"] == 1
    assert found["protocols"] == first.read_results()["protocols"]


@pytest.mark.parametrize("dataset", ["KS20", "KGBD"])
def test_the_raw_coordinates_are_a_setting(dataset, train, evaluated):
    made = train("--encoder", "none", "--fidelity", "exact", dataset=dataset)
    found = made.read_results()
    assert found["protocols"]["paper"] == found["protocols"]["label_free"]
    assert 1.2 / found["counts"]["identities"] < found["protocols"]["paper"]["top1"] <= 1
    assert file_names(made) == {
        *("config.json", "results.json", "probes_paper.npz", "probes_label_free.npz")
    }
    assert evaluated(made)["protocols"] == found["protocols"]


# what needs no run


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_a_note(train, capsys):
    train("--epochs", 0, "--gpu", 0, dataset="KGBD")
    assert "note: --gpu 0: torch finds no GPU on this machine" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_run_on_ray_is_the_run_without(train, capsys):
    import ray

    flags = ("--epochs", 1, "--fidelity", "exact")
    here = train(*flags, root="here")
    assert "ray:" not in capsys.readouterr().out
    there = train(*flags, "--executor", "ray", root="there")
    assert "ray: 1 core on 1 machine" in capsys.readouterr().out
    assert not ray.is_initialized()
    assert metrics_of(here) == metrics_of(there)
    one, other = results_of(here), results_of(there)
    assert (one["settings"].pop("executor"), other["settings"].pop("executor")) == ("local", "ray")
    assert one == other


def test_an_address_where_nobody_is(train, capsys):
    train("--executor", "ray", "--address", "127.0.0.1:1", code=2)
    assert "error: --address 127.0.0.1:1: no connection" in capsys.readouterr().err
