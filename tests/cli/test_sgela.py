"""`simmc age`, `simmc sgela` and `simmc report attention` on generated walkers."""

import csv

import numpy as np
import pytest

from simmc.reports import results, tables
from simmc.runs import checkpoints
from simmc.runs.directory import RunDirectory
from tests.cli.conftest import SMALL, TWIN, file_names, latest, metrics_of, run, words_for


def test_a_run_and_what_it_leaves(prepared, tmp_path, capsys):
    assert run("sgela", *words_for(prepared, tmp_path), *SMALL, "--epochs", 2, "--kind", "sc") == 0
    out = capsys.readouterr().out
    made = latest(tmp_path, "sgela")
    assert made.path.name == "sgela_f6_released_seed0"
    assert file_names(made) == {
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
