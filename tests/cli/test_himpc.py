"""`simmc himpc` from generated walkers to a result, on every dataset and probe."""

import pytest

from simmc.data import specs
from simmc.runs.directory import RunDirectory
from tests.cli.conftest import BATCH, QUICK, assert_same_run, run

PROBES = [
    ("KS20", "probe"),
    ("KS20", "0.30"),
    ("KGBD", "probe"),
    *(("IAS", probe) for probe in "AB"),
    *(("BIWI", probe) for probe in ("Walking", "Still")),
    *(("CASIA_B", pair) for pair in specs.CASIA_PROBES),
]
FLAGS = (*QUICK, "--M", 2)


def words_for(prepared, home, dataset, probe):
    root = prepared(dataset, "CVE" if probe == "0.30" else "RVE")
    where = ["--data_root", root, "--model_root", home]
    return ["--dataset", dataset, "--probe", probe, *where, *FLAGS]


def latest(home, dataset, probe):
    return RunDirectory.latest(home, dataset, probe, pointer="latest_himpc")


@pytest.mark.parametrize(("dataset", "probe"), PROBES)
def test_every_dataset_and_probe(dataset, probe, prepared, tmp_path, capsys):
    words = words_for(prepared, tmp_path, dataset, probe)
    words += ["--batch_size", BATCH.get(dataset, 8), "--epochs", 2, "--label_free_run", "off"]
    assert run("himpc", *words) == 0
    made = latest(tmp_path, dataset, probe)
    found = made.read_results()
    assert (found["method"], found["dataset"], found["probe"]) == ("Hi-MPC", dataset, probe)
    paper = found["protocols"]["paper"]
    assert 0 <= paper["top1"] <= paper["top5"] <= 1
    assert set(paper["levels"]) == {"joint", "component", "limb"}
    assert any(record.get("steps") for record in made.read_metrics())
    assert not (made.path.parent / "latest").exists()  # that names the newest run of SimMC
    assert f"Hi-MPC on {dataset}, probe {probe}" in capsys.readouterr().out


def test_continued_and_scored_again(prepared, tmp_path, capsys):
    words = [*words_for(prepared, tmp_path, "KGBD", "probe"), "--batch_size", 8]
    assert run("himpc", *words, "--epochs", 3, "--run", "whole") == 0
    assert run("himpc", *words, "--epochs", 1, "--run", "parts") == 0
    assert run("himpc", *words, "--epochs", 3, "--run", "parts", "--resume") == 0
    home = tmp_path / "KGBD" / "probe"
    assert_same_run(RunDirectory(home / "whole"), RunDirectory(home / "parts"))
    capsys.readouterr()
    assert run("himpc", *words, "--mode", "Eval", "--run", "whole") == 0
    shown = capsys.readouterr().out
    top1 = RunDirectory(home / "whole").read_results()["protocols"]["paper"]["top1"]
    assert f"{100 * top1:.2f}" in shown


def test_the_size_of_the_model(capsys):
    assert run("himpc", "--dataset", "KGBD", "--probe", "probe", "--model_size", 1) == 0
    assert "1,797,888 parameters (1.80M; heads 524,288 a level)" in capsys.readouterr().out
