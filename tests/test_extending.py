"""A new method is one file and one row: every command and table then has it."""

import sys

import numpy as np
import pytest

from simmc import cli
from simmc.data.skeletons import KINECT_V1
from simmc.data.store import write_dataset
from simmc.methods.registry import METHODS
from simmc.runs.directory import RunDirectory
from tests import toy_method


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Adds the row; runs a command on small data, with its runs in the test's folder."""
    monkeypatch.setitem(METHODS, "toy", toy_method.METHOD)
    rng = np.random.default_rng(0)
    identity = np.arange(36) % 6
    windows = rng.normal(size=(6, 1, 20, 3))[identity] + 0.05 * rng.normal(size=(36, 6, 20, 3))
    splits = ("train", "probe", "gallery")
    write_dataset(
        tmp_path,
        "mine",
        {s: (windows + 0.01 * i, identity) for i, s in enumerate(splits)},
        KINECT_V1,
    )
    where = ["--dataset", "mine", "--data_root", tmp_path, "--model_root", tmp_path / "runs"]
    common = [*where, "--device", "cpu", "--threads", 1]
    return lambda *words: cli.run("toy", [str(word) for word in (*common, *words)])


def test_one_file_and_one_row_make_a_method(toy, tmp_path, capsys):
    assert toy("--epochs", 1, "--part_batches", "keep", "--batch_size", 12, "--run", "a") == 0
    run = RunDirectory(tmp_path / "runs" / "mine" / "probe" / "a")
    assert toy("--epochs", 2, "--resume", "--run", "a") == 0
    records = run.read_metrics()
    assert [record["epoch"] for record in records] == [0, 1, 2]
    assert [record.get("steps") for record in records] == [3, 3, None]
    assert records[1]["loss_mean"] < records[0]["loss_mean"]
    found = run.read_results()
    assert (found["method"], found["settings"]["width"]) == ("Toy", 16)
    for figures in found["protocols"].values():
        assert figures["top1"] == 1.0 and figures["epoch"] >= 1

    capsys.readouterr()
    assert toy("--mode", "Eval", "--run", "a", "--expand", 2) == 0
    assert "100.00" in capsys.readouterr().out
    assert run.matching_path.is_file()
    assert cli.run("report", ["table", "--model_root", str(tmp_path / "runs")]) == 0
    assert any("Toy" in line and "100.0" in line for line in capsys.readouterr().out.splitlines())


def test_its_help_and_overview(toy, capsys, monkeypatch):
    assert toy("--help") == 0
    page = capsys.readouterr().out
    assert "--width" in page and "--epochs" in page and "--eps" not in page
    assert toy("--widht", 3) == 2
    assert "did you mean --width?" in capsys.readouterr().err
    assert toy("--model_size", 1, "--width", 8) == 0
    assert capsys.readouterr().out == "Toy of width 8\n"
    monkeypatch.setattr(sys, "argv", ["simmc", "--help"])
    assert cli.main() == 0
    assert "toy" in capsys.readouterr().out
