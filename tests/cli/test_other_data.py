"""Results and weights that meet other windows than those that they come from."""

import json
import shutil
from functools import partial

import numpy as np
import pytest

from simmc.runs.directory import RunDirectory
from tests.cli.conftest import QUICK, data_file, read_json, run
from tests.data.make import own_set


def words_of(root, seed, home):
    """The words of a command for the windows of a seed and the runs in a folder."""
    where = ["--dataset", "Mine", "--probe", "probe", "--length", 6]
    return [*where, "--data_root", root / f"data{seed}", "--model_root", root / home]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two sets with a run on each."""
    root = tmp_path_factory.mktemp("made")
    size = [*QUICK, "--batch_size", 8, "--epochs", 2, "--class_sampling", "off"]
    for seed in (0, 1):
        own_set(root / f"data{seed}", seed=seed)
        assert run("simmc", *words_of(root, seed, f"runs{seed}"), *size) == 0
    return root


@pytest.fixture
def trained(made, tmp_path):
    """A copy of them: what gives the words of a command, and the two runs."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    runs = [RunDirectory.latest(tmp_path / f"runs{n}", "Mine", "probe") for n in (0, 1)]
    return partial(words_of, tmp_path), runs


def test_runs_on_other_windows_are_not_paired(trained, refused):
    _, (one, other) = trained
    refused("report", "compare", one.path, "--with", other.path, said=["other data", one.path])
    assert run("report", "compare", one.path) == 0


def test_a_run_is_not_continued_on_other_windows(trained, refused):
    words, (one, _) = trained
    before = one.config_path.read_bytes()
    refused("simmc", *words(1, "runs0"), "--resume", "--epochs", 3, said=["--resume", one.path])
    assert one.config_path.read_bytes() == before
    assert run("simmc", *words(0, "runs0"), "--resume", "--epochs", 3) == 0


def test_an_unfinished_run_is_not_continued_where_the_probes_are_others(trained, refused, tmp_path):
    words, (one, _) = trained
    one.results_path.unlink()
    mixed = tmp_path / "data1" / "Mine" / "6"
    shutil.rmtree(mixed / "train_npy_data")
    shutil.copytree(tmp_path / "data0/Mine/6/train_npy_data", mixed / "train_npy_data")
    content, good = (read_json(base / "manifest.json") for base in
                     (mixed, tmp_path / "data0/Mine/6"))  # fmt: skip
    for name, found in good["files"].items():
        if name.startswith("train"):
            content["files"][name] = found
    (mixed / "manifest.json").write_text(json.dumps(content))
    refused("simmc", *words(1, "runs0"), "--resume", "--epochs", 3, said=["--resume", one.path])


def test_scoring_on_other_windows_is_said_and_stored(trained, capsys):
    words, (one, other) = trained
    eval_ = ["--mode", "Eval", "--expand", 3]
    sums = [folder.read_results()["data"]["manifest_sha256"] for folder in (one, other)]
    assert sums[0] != sums[1]
    capsys.readouterr()
    assert run("simmc", *words(0, "runs0"), *eval_) == 0
    assert "other data" not in capsys.readouterr().err
    assert run("simmc", *words(1, "runs0"), *eval_) == 0
    assert "trained on other data" in capsys.readouterr().err
    found = read_json(one.matching_path)
    assert found["trained_on"]["manifest_sha256"] == sums[0]
    assert found["data"]["manifest_sha256"] == sums[1] and found["data"]["checked"]


def test_embedding_other_windows_is_said_and_stored(trained, capsys):
    words, (one, _) = trained
    capsys.readouterr()
    assert run("embed", "--method", "simmc", *words(1, "runs0")) == 0
    assert "other data" in capsys.readouterr().err
    said = read_json(one.path / "embeddings" / "embed.json")
    assert said["trained_on"]["manifest_sha256"] != said["data"]["manifest_sha256"]


def test_results_hold_what_is_known_of_the_data(trained):
    _, (one, _) = trained
    found = one.read_results()
    assert found["data"]["checked"]
    assert found["counts"]["probe_copies_in_train"] == 0
    assert found["counts"]["probe_copies_in_gallery"] == 0
    assert one.read_config()["data"] == found["data"]


def test_recordings_outside_the_manifest_stop_every_command(windows, tmp_path):
    where = ["--dataset", "KGBD", "--probe", "probe", "--model_root", tmp_path / "runs"]
    where += ["--data_root", windows, "--length", 6]
    size = [*QUICK, "--batch_size", 8, "--epochs", 1, "--label_free_run", "off"]
    assert run("simmc", *where, *size) == 0
    path = data_file(windows, "probe", "recording")
    np.save(path, np.load(path) + 10_000)
    for command, *words in (
        *(("simmc", "--mode", "Eval", "--walk", "all"), ("simmc", "--epochs", 1)),
        *(("identify", "--method", "simmc"), ("embed", "--method", "simmc"), ("descriptors",)),
    ):
        assert run(command, *where, *words) == 2
