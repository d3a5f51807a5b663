"""--input from the command line: every method that takes it, and those that cannot."""

import numpy as np
import pytest

from simmc.data.features import FeatureFiles
from simmc.data.manifest import spec_of
from simmc.runs import checkpoints
from simmc.runs.directory import RunDirectory
from tests.cli import conftest
from tests.cli.conftest import QUICK, latest, metrics_of, run

COMMANDS = ("simmc", "himpc", "supervised", "sgela", "mgscr")


def words_for(prepared, home):
    flags = (*QUICK, "--epochs", 1)
    return conftest.words_for(prepared, home, "KGBD", "probe", *flags, batches={"KGBD": 16})


@pytest.mark.parametrize("command", COMMANDS)
def test_turned_joints_are_for_every_method(command, prepared, tmp_path):
    words = words_for(prepared, tmp_path)
    assert run(command, *words, "--run", "plain") == 0
    assert run(command, *words, "--run", "turned", "--input", "turned") == 0
    home = tmp_path / "KGBD" / "probe"
    plain, turned = (RunDirectory(home / name) for name in ("plain", "turned"))
    assert metrics_of(plain) != metrics_of(turned)
    assert turned.read_results()["settings"]["input"] == "turned"


@pytest.mark.parametrize("command", ["simmc", "supervised"])
def test_measured_values_are_for_those_that_take_any(command, prepared, tmp_path, capsys):
    words = [*words_for(prepared, tmp_path), "--input", "turned+bones+angles"]
    assert run(command, *words) == 0
    made = latest(tmp_path, {"supervised": "supervised_encoder"}.get(command, command))
    weights = checkpoints.load(made.best)["network"]
    name = "hidden.0.weight" if command == "simmc" else "encoder.hidden.0.weight"
    assert weights[name].shape[1] == 60 + 19 + 22
    capsys.readouterr()
    assert run(command, *words, "--mode", "Eval") == 0
    figures = made.read_results()["protocols"]["paper"]
    assert f"{100 * figures['top1']:.2f}" in capsys.readouterr().out
    assert run(command, *words, "--model_size") == 0
    assert run(command, "--dataset", "KGBD", "--model_size") == 0
    measured, plain = capsys.readouterr().out.splitlines()
    assert measured != plain


def test_a_source_sees_what_it_learned_from(prepared, tmp_path):
    """Features of a model of turned joints are those of turned joints."""
    words = words_for(prepared, tmp_path)
    found = []
    spec = spec_of(prepared("KGBD"), "KGBD", 6, "probe")
    where = ["--dataset", "KGBD", "--data_root", prepared("KGBD"), "--model_root", tmp_path]
    for name in ("joints", "turned"):
        assert run("mgscr", *words, "--input", name, "--run", name) == 0
        flags = ["--source", "MG-SCR", "--run", name, "--features_root", tmp_path / name]
        assert run("export-features", *where, *flags) == 0
        found.append(np.load(FeatureFiles(tmp_path / name, spec, 6, "MG-SCR").path("probe")))
    assert found[0].shape == found[1].shape
    assert not np.allclose(*found)
