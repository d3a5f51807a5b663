"""`simmc mgscr` and `simmc smsge` on generated walkers, and what later stages make of it."""

from functools import partial

import pytest

from simmc.methods.mgscr import MGSCRSettings
from simmc.methods.smsge import SMSGESettings
from simmc.reports import results, tables
from simmc.runs.directory import RunDirectory
from simmc.settings import resolve
from tests.cli import conftest
from tests.cli.conftest import SMALL, TWIN, assert_same_run, latest, metrics_of, run
from tests.conftest import ROOT

SETTINGS = {"mgscr": MGSCRSettings, "smsge": SMSGESettings}
TITLES = {"mgscr": "MG-SCR (SSP)", "smsge": "SM-SGE"}
DATASETS = ("IAS", "BIWI", "KS20", "KGBD", "CASIA_B")
# class sampling gives every person a window in each batch
BATCH = {**conftest.BATCH, "KGBD": 12}
words_for = partial(conftest.words_for, batches=BATCH)
commands = pytest.mark.parametrize("command", SETTINGS)


@pytest.mark.parametrize(
    ("dataset", "probe"),
    [
        *(("IAS", "A"), ("IAS", "B"), ("BIWI", "Walking"), ("BIWI", "Still")),
        *(("KS20", "probe"), ("KS20", "0.30"), ("KGBD", "probe")),
        *(("CASIA_B", name) for name in ("nm.nm", "bg.bg", "cl.cl", "cl.nm", "bg.nm")),
    ],
)
def test_every_dataset_and_probe(dataset, probe, prepared, tmp_path):
    words = [*words_for(prepared, tmp_path, dataset, probe), *SMALL]
    command = "smsge" if probe in ("B", "Still", "probe", "bg.bg") else "mgscr"
    once = ["--epochs", 1, "--label_free_run", "off"]
    assert run(command, *words, *once) == 0
    found = latest(tmp_path, command, dataset, probe).read_results()
    assert found["method"] == TITLES[command]
    assert found["settings"]["class_sampling"] == "all"
    figures = found["protocols"]["paper"]
    assert figures["epoch"] == 1 and set(figures["kinds"]) == {"mean", "lstm", "prefix"}
    assert 0 <= figures["top1"] <= figures["cmc"][-1] <= 1


@commands
def test_a_run_and_what_it_leaves(command, prepared, tmp_path, capsys):
    words = [*words_for(prepared, tmp_path), *SMALL]
    assert run(command, *words, "--epochs", 2, "--kind", "lstm") == 0
    out = capsys.readouterr().out
    made = latest(tmp_path, command)
    assert made.path.name == f"{command}_f6_released_seed0"
    # class sampling takes identities, so the label-free numbers come from a second training
    assert {path.name for path in made.path.iterdir()} == {
        *("config.json", "metrics.jsonl", "results.json", "best.pt", "last.pt", TWIN),
        *("probes_paper.npz", "probes_label_free.npz"),
    }
    found = made.read_results()
    paper = found["protocols"]["paper"]
    assert {k: paper[k] for k in paper["kinds"]["lstm"]} == paper["kinds"]["lstm"]
    assert found["protocols"]["label_free"] is not None and "supervised" not in found
    first, second, last = metrics_of(made)
    names = [key for key in first if key.startswith("loss_")]
    assert len(names) == (1 if command == "mgscr" else 4)
    assert all(first[name] > second[name] > 0 for name in names)
    assert not any(key.startswith("loss_") for key in last)
    assert TITLES[command] in out and "the weights of the last epoch" in out
    rows = tables.build(results.find_all(tmp_path)).rows
    assert TITLES[command] in {row.method for row in rows if row.protocol == "paper"}


@commands
def test_exact_needs_no_identities(command, prepared, tmp_path):
    words = [*words_for(prepared, tmp_path), *SMALL]
    assert run(command, *words, "--epochs", 1, "--fidelity", "exact") == 0
    made = latest(tmp_path, command)
    assert not (made.path / TWIN).exists()
    found = made.read_results()
    assert found["protocols"]["paper"] == found["protocols"]["label_free"]
    assert found["settings"]["sampled_frames"] == "batch"


@commands
def test_continued_and_scored_again(command, prepared, tmp_path, capsys):
    words = [*words_for(prepared, tmp_path), *SMALL, "--eval_every", 1, "--label_free_run", "off"]
    assert run(command, *words, "--run", "whole", "--epochs", 2) == 0
    assert run(command, *words, "--run", "parts", "--epochs", 1) == 0
    assert run(command, *words, "--run", "parts", "--epochs", 2, "--resume") == 0
    home = tmp_path / "KGBD" / "probe"
    assert_same_run(RunDirectory(home / "whole"), RunDirectory(home / "parts"))
    capsys.readouterr()
    assert run(command, *words, "--mode", "Eval", "--run", "whole") == 0
    shown = capsys.readouterr().out
    paper = RunDirectory(home / "whole").read_results()["protocols"]["paper"]
    for kind in paper["kinds"].values():
        assert f"{100 * kind['top1']:.2f}" in shown


def test_what_an_early_program_gathered(prepared, tmp_path):
    words = [*words_for(prepared, tmp_path), *SMALL, "--epochs", 1, "--label_free_run", "off"]
    made = {}
    for gathering in ("sorted", "published"):
        assert run("mgscr", *words, "--gathering", gathering, "--run", gathering) == 0
        made[gathering] = metrics_of(latest(tmp_path, "mgscr"))[0]["loss_prediction"]
    assert made["sorted"] != made["published"]


@pytest.mark.parametrize(("command", "source"), [("mgscr", "MG-SCR"), ("smsge", "SM-SGE")])
def test_later_stages(command, source, prepared, tmp_path):
    """Recognition on its views, and SimMC on its exported frames."""
    words = [*words_for(prepared, tmp_path), *SMALL]
    assert run(command, *words, "--epochs", 1, "--label_free_run", "off") == 0
    where = ["--dataset", "KGBD", "--data_root", words[5], "--model_root", tmp_path]
    judge = ["--source", source, "--epochs", 1, "--batch_size", 12, "--threads", 1]
    assert run("recognition", *where, *judge) == 0
    found = RunDirectory.latest(
        tmp_path, "KGBD", "probe", pointer=f"latest_recognition_{source}"
    ).read_results()
    assert found["supervised"] is True
    features = tmp_path / "features"
    kept = ["--features_root", features, "--threads", 1]
    assert run("export-features", *where, "--source", source, *kept) == 0
    assert list(features.rglob("*.npy"))


@pytest.mark.parametrize(
    ("command", "flags", "said"),
    [
        ("mgscr", ["--kind", "frames"], ["--kind 'frames'", "mean, lstm, prefix"]),
        ("mgscr", ["--lambda", -1], ["--lambda '-1'"]),
        ("mgscr", ["--gathering", "random"], ["--gathering 'random'", "sorted or published"]),
        ("mgscr", ["--extra_prefix", "none"], ["no flag --extra_prefix"]),
        ("smsge", ["--gathering", "sorted"], ["no flag --gathering"]),
        ("smsge", ["--lambda", 0.3], ["no flag --lambda"]),
        ("smsge", ["--batch_size", 4], ["--batch_size 4", "--class_sampling off"]),
        ("smsge", ["--resume"], ["there is no run in"]),
    ],
    ids=str,
)
def test_what_cannot_be(command, flags, said, prepared, tmp_path, capsys):
    assert run(command, *words_for(prepared, tmp_path), *SMALL, *flags) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    for text in said:
        assert text in err


def test_the_published_sizes(capsys):
    for command, words, size in (
        ("mgscr", ["KS20"], ("347,759 parameters (0.35M)", "6.60 GFLOP")),
        ("smsge", ["IAS", "--probe", "A"], ("5,582,094 parameters (5.58M)",)),
        ("smsge", ["KS20"], ("5,729,619 parameters", "22.40 GFLOP")),
    ):
        assert run(command, "--dataset", *words, "--model_size", 1) == 0
        out = capsys.readouterr().out
        assert all(text in out for text in size)


@pytest.mark.parametrize("budget", ["full", "cpu"])
@pytest.mark.parametrize("dataset", DATASETS)
@commands
def test_presets(command, dataset, budget):
    path = ROOT / "configs" / command / f"{dataset}.toml"
    first = path.read_text().splitlines()[0]
    words = first.partition(f"simmc {command} ")[2].split()
    found = resolve(SETTINGS[command], [*words, "--budget", budget])
    assert found.settings.place.dataset == dataset and found.settings.pretext.budget == budget
    assert found.origin["epochs"].startswith(f"preset {path.name}")
    whole = resolve(SETTINGS[command], [*words, "--budget", "full"]).settings
    assert found.settings.training.epochs <= whole.training.epochs
    assert (found.settings.H, found.settings.training.lr) == (whole.H, whole.training.lr)
