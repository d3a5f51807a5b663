"""`simmc age`, `simmc sgela` and `simmc report attention` on generated walkers."""

import csv

import numpy as np
import pytest

from simmc.methods.sgela import AgeSettings, SgelaSettings
from simmc.reports import results, tables
from simmc.runs import checkpoints
from simmc.runs.directory import RunDirectory
from simmc.settings import resolve
from tests.cli.conftest import SMALL, TWIN, assert_same_run, latest, metrics_of, run, words_for
from tests.conftest import ROOT

DATASETS = ("IAS", "BIWI", "KS20", "KGBD", "CASIA_B")


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
    command = "age" if probe in ("B", "Still", "bg.bg") else "sgela"
    assert run(command, *words, "--epochs", 1) == 0
    found = latest(tmp_path, command, dataset, probe).read_results()
    assert found["method"] == command.upper()
    for figures in found["protocols"].values():  # one training, so one set of weights
        assert figures["epoch"] == 1 and set(figures["kinds"]) == {"mean", "sc", "last"}
        assert 0 <= figures["top1"] <= figures["cmc"][-1] <= 1
    assert found["settings"]["root"] == ("first" if dataset == "CASIA_B" else "none")


def test_a_run_and_what_it_leaves(prepared, tmp_path, capsys):
    assert run("sgela", *words_for(prepared, tmp_path), *SMALL, "--epochs", 2, "--kind", "sc") == 0
    out = capsys.readouterr().out
    made = latest(tmp_path, "sgela")
    assert made.path.name == "sgela_f6_released_seed0"
    assert {path.name for path in made.path.iterdir()} == {
        *("config.json", "metrics.jsonl", "results.json"),
        *("best.pt", "label_free.pt", "last.pt"),
        *("probes_paper.npz", "probes_label_free.npz"),
    }
    assert "the weights of the last epoch" in out and "pseudo labels" not in out
    found = made.read_results()
    paper = found["protocols"]["paper"]
    assert paper == found["protocols"]["label_free"]
    assert {k: paper[k] for k in paper["kinds"]["sc"]} == paper["kinds"]["sc"]
    first, second, last = metrics_of(made)
    for name in ("reconstruction", "locality", "contrast"):
        assert first[f"loss_{name}"] > 0 and second[f"loss_{name}"] > 0
    assert "loss_contrast" not in last
    rows = tables.build(results.find_all(tmp_path)).rows
    assert {row.method for row in rows if row.protocol == "paper"} >= {"SGELA"}


def test_exact_trains_a_second_time_without_identities(prepared, tmp_path, capsys):
    words = [*words_for(prepared, tmp_path), *SMALL]
    assert run("sgela", *words, "--epochs", 1, "--fidelity", "exact") == 0
    made = latest(tmp_path, "sgela")
    twin = RunDirectory(made.path / TWIN)
    assert twin.path.is_dir()
    ours, other = (metrics_of(one)[0] for one in (made, twin))
    assert ours["loss_contrast"] != other["loss_contrast"]
    assert run("age", *words, "--epochs", 1, "--fidelity", "exact") == 0
    assert not (latest(tmp_path, "age").path / TWIN).exists()


def test_pretext_tasks_and_their_combinations(prepared, tmp_path):
    words = [*words_for(prepared, tmp_path), *SMALL, "--epochs", 1]
    titles = {"pred": "SGELA (Pred.)", "sort+rev_rec": "SGELA (Rev. Rec. + Sort.)"}
    for task, title in {**titles, "plus": "SGELA (Rev. Rec. Plus)"}.items():
        assert run("sgela", *words, "--task", task) == 0
        name = {"sort+rev_rec": "rev_rec+sort"}.get(task, task)
        found = latest(tmp_path, f"sgela_{name}").read_results()
        assert found["method"] == title and found["settings"]["task"] == name
    weights = checkpoints.load(latest(tmp_path, "sgela_plus").best)["network"]
    assert weights["models.output"].shape == (9, 8, 20)


def test_plus_with_own_data_is_three_trainings(prepared, tmp_path):
    """The features of the joint run are those of trainings of their own, in their order."""
    words = [*words_for(prepared, tmp_path), *SMALL, "--epochs", 1, "--plus_data", "tasks"]
    assert run("sgela", *words, "--task", "plus", "--run", "all") == 0
    assert run("sgela", *words, "--task", "rev_rec+pred+sort", "--run", "named") == 0
    home = tmp_path / "KGBD" / "probe"
    a, b = (checkpoints.load(home / name / "best.pt")["network"] for name in ("all", "named"))
    assert all((a[key] == b[key]).all() for key in a)


def test_continued_and_scored_again(prepared, tmp_path, capsys):
    words = [*words_for(prepared, tmp_path), *SMALL, "--eval_every", 1]
    for command in ("age", "sgela"):
        assert run(command, *words, "--run", f"whole_{command}", "--epochs", 2) == 0
        assert run(command, *words, "--run", f"parts_{command}", "--epochs", 1) == 0
        assert run(command, *words, "--run", f"parts_{command}", "--epochs", 2, "--resume") == 0
        whole, parts = (
            RunDirectory(tmp_path / "KGBD" / "probe" / f"{name}_{command}")
            for name in ("whole", "parts")
        )
        assert_same_run(whole, parts)
        capsys.readouterr()
        assert run(command, *words, "--mode", "Eval", "--run", f"whole_{command}") == 0
        shown = capsys.readouterr().out
        for figures in whole.read_results()["protocols"].values():
            assert f"{100 * figures['top1']:.2f}" in shown


@pytest.mark.parametrize(
    ("command", "flags", "said"),
    [
        ("sgela", ["--task", "rec"], ["--task 'rec'", "rev_rec, pred, sort", "plus"]),
        ("sgela", ["--task", "pred+pred"], ["--task 'pred+pred'"]),
        ("sgela", ["--interval", 8], ["--interval 8", "--batch_size 8", "1 to 7"]),
        ("sgela", ["--tau", 0], ["--tau '0'"]),
        ("sgela", ["--kind", "frames"], ["--kind 'frames'", "mean, sc, last"]),
        ("sgela", ["--attention", "full"], ["--attention 'full'", "locality"]),
        ("age", ["--task", "pred"], ["no flag --task"]),
        ("age", ["--tau", 0.1], ["no flag --tau"]),
        ("age", ["--D", 0], ["--D '0'"]),
        ("age", ["--resume"], ["there is no run in"]),
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
    for command, dataset, size in (
        *(("age", "KGBD", "7.10M"), ("age", "KS20", "7.15M")),
        *(("sgela", "KGBD", "8.47M"), ("sgela", "KS20", "8.52M")),
    ):
        assert run(command, "--dataset", dataset, "--model_size", 1) == 0
        assert size in capsys.readouterr().out


@pytest.mark.parametrize("budget", ["full", "cpu"])
@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize(("command", "settings"), [("age", AgeSettings), ("sgela", SgelaSettings)])
def test_presets(command, settings, dataset, budget):
    path = ROOT / "configs" / command / f"{dataset}.toml"
    typed = path.read_text().splitlines()[0].partition(f"simmc {command} ")[2].split()
    found = resolve(settings, [*typed, "--budget", budget])
    assert found.settings.place.dataset == dataset
    for key in ("length", *(["tau"] if command == "sgela" else [])):
        assert found.origin[key] == f"preset {dataset}.toml"
    assert found.origin["epochs"].startswith(f"preset {dataset}.toml")
    published = {"KGBD": 150, "CASIA_B": 100}.get(dataset, 400)
    assert (found.settings.training.epochs == published) == (budget == "full")


@pytest.fixture(scope="module")
def drawn(prepared, tmp_path_factory):
    """A run of each kind to draw; its home."""
    pytest.importorskip("matplotlib")
    home = tmp_path_factory.mktemp("runs")
    words = [*words_for(prepared, home), *SMALL, "--epochs", 1]
    assert run("age", *words) == 0
    assert run("sgela", *words, "--task", "rev_rec+sort", "--attention", "masked") == 0
    assert run("sgela", *words, "--attention", "none", "--run", "none") == 0
    words = [*words_for(prepared, home, "CASIA_B", "nm.nm"), *SMALL, "--epochs", 1]
    assert run("sgela", *words) == 0
    return home


def read(file):
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_attention_matrices(drawn, capsys):
    folder = latest(drawn, "age").path
    capsys.readouterr()
    assert run("report", "attention", folder) == 0
    wanted = [folder / f"attention.{ending}" for ending in ("png", "svg", "csv")]
    assert capsys.readouterr().out.split("\n")[:-1] == [str(file) for file in wanted]
    numbers = read(wanted[2])
    assert len(numbers) == 3 * 6 * 6
    values = np.array([float(row["alignment"]) for row in numbers]).reshape(3, 6, 6)
    np.testing.assert_allclose(values.sum(2), 1, atol=1e-4)
    assert float(numbers[5]["mask"]) == 1  # the first step decodes the last frame
    assert [row["axis"] for row in numbers[::36]] == ["x", "y", "z"]
    text = wanted[1].read_text(encoding="utf-8")
    for words in ("AGE on KGBD", "GENERATED", "locality mask", "mean over", "Rev. Rec."):
        assert words in text
    one = folder / "one.svg"
    assert run("report", "attention", folder, "--window", 3, "--out", one) == 0
    assert "probe window 3" in one.read_text(encoding="utf-8")
    assert read(one.with_suffix(".csv")) != numbers


def test_attention_of_several_tasks_and_of_long_windows(drawn, tmp_path):
    out = tmp_path / "a.png"
    folder = latest(drawn, "sgela_rev_rec+sort").path
    assert run("report", "attention", folder, "--out", out) == 0
    rows = read(out.with_suffix(".csv"))
    assert {row["task"] for row in rows} == {"rev_rec", "sort"}
    assert {row["mask"] for row in rows if row["task"] == "sort"} == {""}
    assert "Masked attention" in out.with_suffix(".svg").read_text(encoding="utf-8")
    assert len(rows) == 2 * 3 * 36
    home = drawn / "CASIA_B" / "nm.nm"
    assert run("report", "attention", home, "--out", out) == 0
    assert len(read(out.with_suffix(".csv"))) == 3 * 40 * 40


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--window", 10**6), "--window 1000000: the probe's windows are numbered from 0 to "),
        (("--window", -1), "numbered from 0"),
        (("--out", "x.pdf"), ".png or .svg"),
        (("--data_root", "nowhere"), "nowhere"),
    ],
    ids=str,
)
def test_wrong_flags_of_attention(words, message, drawn, capsys):
    assert run("report", "attention", latest(drawn, "age").path, *words) == 2
    assert message in capsys.readouterr().err


def test_runs_without_attention(drawn, train, tmp_path, capsys):
    simmc = train("--epochs", 1, "--label_free_run", "off").path
    for path, message in (
        (drawn / "KGBD" / "probe" / "none", "was trained with --attention none"),
        (simmc, "is a run of simmc simmc, which has no such attention"),
        (drawn, "has no config.json"),
    ):
        capsys.readouterr()
        assert run("report", "attention", path) == 2
        assert message in capsys.readouterr().err
