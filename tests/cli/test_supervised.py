"""`simmc supervised`: from generated walkers to results that nobody can take for unsupervised."""

import pytest

from simmc.reports import results, tables
from tests.cli.conftest import QUICK, file_names, latest, run, words_for

MODELS = ("encoder", "posegait")


@pytest.mark.parametrize("model", MODELS)
def test_a_run_is_called_supervised_everywhere(model, prepared, tmp_path, capsys):
    words = words_for(prepared, tmp_path, "KGBD", "probe", *QUICK, "--model", model)
    assert run("supervised", *words, "--epochs", 2) == 0
    out = capsys.readouterr().out
    made = latest(tmp_path, f"supervised_{model}")
    assert made.path.name == f"supervised_{model}_f6_released_seed0"
    assert file_names(made) == {
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


def test_a_run_of_another_model_is_not_continued(prepared, tmp_path, capsys):
    words = [*words_for(prepared, tmp_path), *QUICK]
    assert run("supervised", *words, "--epochs", 1, "--run", "mine") == 0
    assert run("supervised", *words, "--model", "posegait", "--resume", "--run", "mine") == 2
    assert "--model posegait" in capsys.readouterr().err
