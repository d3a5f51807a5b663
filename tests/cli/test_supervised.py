"""`simmc supervised`: from generated walkers to results that nobody can take for unsupervised."""

import pytest

from simmc.methods.supervised import SupervisedSettings
from simmc.reports import results, tables
from simmc.runs.directory import RunDirectory
from simmc.settings import resolve
from tests.cli.conftest import BATCH, LENGTHS, QUICK, assert_same_run, run
from tests.conftest import ROOT

MODELS = ("encoder", "posegait")


def words_for(prepared, home, dataset="KGBD", probe="probe"):
    where = ["--data_root", prepared(dataset), "--model_root", home]
    small = ["--batch_size", BATCH.get(dataset, 8), "--length", LENGTHS.get(dataset, 6)]
    return ["--dataset", dataset, "--probe", probe, *where, *small, *QUICK]


def latest(home, model, dataset="KGBD", probe="probe"):
    return RunDirectory.latest(home, dataset, probe, pointer=f"latest_supervised_{model}")


@pytest.mark.parametrize("model", MODELS)
def test_a_run_is_called_supervised_everywhere(model, prepared, tmp_path, capsys):
    words = [*words_for(prepared, tmp_path), "--model", model]
    assert run("supervised", *words, "--epochs", 2) == 0
    out = capsys.readouterr().out
    made = latest(tmp_path, model)
    assert made.path.name == f"supervised_{model}_f6_released_seed0"
    assert {path.name for path in made.path.iterdir()} == {
        *("config.json", "metrics.jsonl", "results.json"),
        *("best.pt", "fixed_epochs.pt", "last.pt"),
        *("probes_paper.npz", "probes_fixed_epochs.npz"),
    }
    found = made.read_results()
    assert found["supervised"] is True
    assert "identity labels" in found["note"]
    assert "supervised" in found["method"]
    assert ("our reading" in found["method"]) == (model == "posegait")
    assert set(found["protocols"]) == {"paper", "fixed_epochs"}
    assert found["protocols"]["fixed_epochs"]["epoch"] == 2
    for figures in found["protocols"].values():
        assert 0 <= figures["top1"] <= figures["top5"] <= figures["cmc"][-1] <= 1
    assert found["counts"]["epochs"] == 2 and "clusters" not in found["counts"]
    assert out.count("SUPERVISED: ") == 2  # before the training and below its numbers
    assert "label-free" not in out and "clusters" not in out
    (row,) = (
        row for row in tables.build(results.find_all(tmp_path)).rows if row.protocol == "paper"
    )
    assert "supervised" in row.method


@pytest.mark.parametrize(
    ("dataset", "probe"), [("KS20", "probe"), ("IAS", "A"), ("CASIA_B", "nm.nm")]
)
def test_other_sensors(dataset, probe, prepared, tmp_path):
    words = words_for(prepared, tmp_path, dataset, probe)
    for model in MODELS if dataset == "KS20" else MODELS[:1]:  # the CNN takes its time
        assert run("supervised", *words, "--model", model, "--epochs", 1) == 0
        made = latest(tmp_path, model, dataset, probe)
        assert made.read_results()["protocols"]["fixed_epochs"]["epoch"] == 1
        assert not (made.path / "label_free").exists()  # sampling by identity is no news here


@pytest.mark.parametrize("model", MODELS)
def test_continued_and_scored_again(model, prepared, tmp_path, capsys):
    words = words_for(prepared, tmp_path)
    named = [*words, "--model", model, "--run"]
    assert run("supervised", *named, "whole", "--epochs", 3) == 0
    assert run("supervised", *named, "parts", "--epochs", 1) == 0
    # the stored run knows its model
    assert run("supervised", *words, "--run", "parts", "--epochs", 3, "--resume") == 0
    home = tmp_path / "KGBD" / "probe"
    assert_same_run(RunDirectory(home / "whole"), RunDirectory(home / "parts"))
    capsys.readouterr()
    assert run("supervised", *words, "--mode", "Eval", "--run", "whole") == 0
    shown = capsys.readouterr().out
    figures = RunDirectory(home / "whole").read_results()["protocols"]
    for protocol in figures.values():
        assert f"{100 * protocol['top1']:.2f}" in shown
    assert "SUPERVISED: " in shown


def test_the_same_seed_gives_the_same_run(prepared, tmp_path):
    words = [*words_for(prepared, tmp_path), "--model", "posegait", "--epochs", 1]
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert run("supervised", *words, "--run", name, "--seed", seed) == 0
    a, b, c = (RunDirectory(tmp_path / "KGBD" / "probe" / name) for name in "abc")
    assert_same_run(a, b)
    assert a.read_results()["protocols"] != c.read_results()["protocols"]


def test_a_run_of_simmc_stays_the_newest_of_its_own(train, prepared):
    made = train("--epochs", 1, dataset="KGBD")
    home = made.path.parents[2]
    assert run("supervised", *words_for(prepared, home), "--epochs", 1) == 0
    assert RunDirectory.latest(home, "KGBD", "probe") == made


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--model", "lstm"], ["--model 'lstm'", "encoder or posegait"]),
        (["--model", "encoder", "--eps", 0.6], ["no flag --eps"]),
        (["--patience", 5], ["no flag --patience"]),
        (["--dropout", 1], ["--dropout '1'", "from 0 to 0.99"]),
        (["--center_rate", 2], ["--center_rate '2'", "from 0 to 1"]),
        (["--resume"], ["there is no run in", "--model_root"]),
        (["--batch_size", 10**6], ["--batch_size 1000000", "--part_batches keep"]),
    ],
)
def test_what_cannot_be(flags, said, prepared, tmp_path, capsys):
    assert run("supervised", *words_for(prepared, tmp_path), *flags) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    for text in said:
        assert text in err


def test_a_run_of_another_model_is_not_continued(prepared, tmp_path, capsys):
    words = words_for(prepared, tmp_path)
    assert run("supervised", *words, "--epochs", 1, "--run", "mine") == 0
    assert run("supervised", *words, "--model", "posegait", "--resume", "--run", "mine") == 2
    assert "--model posegait" in capsys.readouterr().err


def test_the_size_of_the_models(capsys):
    for model, size in (("encoder", "81,408"), ("posegait", "1,736,544")):
        assert run("supervised", "--dataset", "KGBD", "--model", model, "--model_size") == 0
        assert f"{size} parameters" in capsys.readouterr().out


@pytest.mark.parametrize("model", MODELS)
def test_presets(model):
    path = ROOT / "configs" / "supervised" / f"{model}.toml"
    assert path.is_file()
    command = path.read_text().splitlines()[0].partition("simmc supervised ")[2]
    found = resolve(SupervisedSettings, command.split())
    assert found.settings.model == model
    assert found.origin["epochs"] == f"preset {model}.toml"
