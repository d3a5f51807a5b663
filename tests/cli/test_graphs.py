"""`simmc mgscr` and `simmc smsge` on generated walkers, and what later stages make of it."""

from functools import partial

import pytest

from simmc.reports import results, tables
from tests.cli import conftest
from tests.cli.conftest import SMALL, TWIN, file_names, latest, metrics_of, run

TITLES = {"mgscr": "MG-SCR (SSP)", "smsge": "SM-SGE"}
# class sampling gives every person a window in each batch
words_for = partial(conftest.words_for, batches={"KGBD": 12})
commands = pytest.mark.parametrize("command", TITLES)


@commands
def test_a_run_and_what_it_leaves(command, prepared, tmp_path, capsys):
    words = [*words_for(prepared, tmp_path), *SMALL]
    assert run(command, *words, "--epochs", 2, "--kind", "lstm") == 0
    out = capsys.readouterr().out
    made = latest(tmp_path, command)
    assert made.path.name == f"{command}_f6_released_seed0"
    # class sampling takes identities, so the label-free numbers come from a second training
    assert file_names(made) == {
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
    found = latest(tmp_path, f"recognition_{source}").read_results()
    assert found["supervised"] is True
    features = tmp_path / "features"
    kept = ["--features_root", features, "--threads", 1]
    assert run("export-features", *where, "--source", source, *kept) == 0
    assert list(features.rglob("*.npy"))
