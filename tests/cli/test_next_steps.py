"""Mistakes at the edges of the commands: the message names a step that can be taken."""

import pytest

from tests.cli.conftest import SMALL, contents, run, words_for


def test_a_length_that_a_dataset_does_not_have(refused, tmp_path):
    said = ["--length 5", "4, 6, 8, 10, 12"]
    message = refused("simmc", "--length", 5, "--data_root", tmp_path / "no where", said=said)
    assert "Preprocess.py" not in message  # which would refuse this length as well


def test_curves_of_a_folder_that_is_no_run(refused, tmp_path):
    refused("report", "curves", tmp_path, said=[tmp_path, "no metrics.jsonl", "Give one"])
    (tmp_path / "metrics.jsonl").touch()
    refused("report", "curves", tmp_path, said=[tmp_path, "after its first epoch"])


@pytest.mark.parametrize("name", ["cmc", "importance", "attention", "confusion"])
def test_reports_on_a_folder_that_is_no_run(name, refused, tmp_path):
    refused("report", name, tmp_path, said=[tmp_path, "has no "])
    refused("report", name, tmp_path / "no where", said=["no where", "Give the folder of a run"])


def test_features_that_are_not_there(prepared, refused, tmp_path):
    words = ["--dataset", "KGBD", "--data_root", prepared("KGBD"), "--from", tmp_path / "no where"]
    said = [tmp_path / "no where" / "KGBD" / "6", "frames_SM-SGE_KGBD_6.npy", "--from", "--name"]
    assert "Preprocess" not in refused("export-features", *words, said=said)


@pytest.mark.parametrize("command", ["simmc", "doctor", "benchmark", "export-features"])
def test_more_threads_than_a_system_has(command, refused):
    """They would take the threads of every other program of the machine."""
    refused(command, "--threads", 100000, said=["--threads '100000'", "from 1 to 1024"])


def test_a_feature_that_a_source_does_not_have(refused):
    for source, kinds in (("AGE", "mean, sc, last"), ("SM-SGE", "mean, lstm, prefix")):
        said = ["--kind 'frames'", f"--source {source}", kinds]
        refused("recognition", "--source", source, "--kind", "frames", said=said)


@pytest.mark.parametrize("command", ["simmc", "age"])
def test_a_continued_run_has_its_epochs_behind_it(command, prepared, refused, tmp_path):
    words = [*words_for(prepared, tmp_path), *SMALL, "--label_free_run", "off"]
    assert run(command, *words, "--epochs", 2, "--run", "mine") == 0
    before = contents(tmp_path)
    said = ["--epochs 1", "last.pt has run 2 epochs", "--mode Eval"]
    refused(command, *words, "--epochs", 1, "--run", "mine", "--resume", said=said)
    assert contents(tmp_path) == before


def test_a_place_where_nothing_can_be_written(refused, tmp_path, monkeypatch):
    """It is found out before any walker is made."""
    (tmp_path / "a file").touch()
    monkeypatch.setattr("simmc.data.synthetic.walkers.walks", None)
    refused("generate", "--raw_root", tmp_path / "a file", said=["a file", "--raw_root"])
    run_flags = ["--mode", "Eval", "--run", "mine", "--model_root", tmp_path / "runs"]
    refused("simmc", *run_flags, said=["--run mine", "--model_root", "train first"])


def test_no_bar_where_nobody_looks_on(tmp_path, capsys):
    words = ["--dataset", "KS20", "--size", "tiny", "--persons", 2, "--raw_root", tmp_path]
    assert run("generate", *words) == 0
    assert capsys.readouterr().err == ""
