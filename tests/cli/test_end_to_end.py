"""Every dataset and probe: raw files of generated walkers to a result, by the commands alone."""

import math
import os
import subprocess
import sys
from itertools import pairwise

import pytest
import torch

from simmc.data import specs
from simmc.data.store import dataset_folder
from simmc.runs.directory import RunDirectory
from tests.cli.conftest import (
    BATCH,
    LENGTHS,
    PLACES,
    QUICK,
    latest,
    outcomes_of,
    read_json,
    run,
    words_for,
)
from tests.conftest import ROOT

PROTOCOLS = ("paper", "label_free")


def trained(prepared, home, dataset, probe, *flags):
    """The folder of a training of three epochs."""
    words = words_for(prepared, home, dataset, probe, "--epochs", 3, *QUICK)
    assert run("simmc", *words, *flags) == 0
    return latest(home, "simmc", dataset, probe)


def check_results(found, dataset, probe, fidelity):
    """Everything that a results.json must hold, and that its numbers can be."""
    expected = {
        "method": "SimMC",
        "dataset": dataset,
        "probe": probe,
        "length": LENGTHS.get(dataset, 6),
        "seed": 0,
        "fidelity": fidelity,
    }
    assert {name: found[name] for name in expected} == expected
    assert tuple(found["protocols"]) == PROTOCOLS
    for figures in found["protocols"].values():
        rates = [figures[name] for name in ("top1", "top5", "top10", "mAP", "mINP")]
        assert all(math.isfinite(rate) and 0 <= rate <= 1 for rate in rates)
        assert 1 <= figures["epoch"] <= 3
        curve = figures["cmc"]
        assert len(curve) == 50
        assert all(a <= b for a, b in pairwise(curve))
        assert [curve[k - 1] for k in (1, 5, 10)] == rates[:3]
    counts = found["counts"]
    assert all(counts[name] > 0 for name in ("train", "probe", "gallery", "identities", "clusters"))
    assert found["peak_rss_bytes"] > 0
    assert {"features", "neighbours", "jaccard", "dbscan", "steps", "evaluation"} < set(
        found["timing"]
    )
    assert {"torch", "numpy", "python", "simmc"} < set(found["versions"])
    assert len(found["data"]["manifest_sha256"]) == 64
    assert found["settings"]["lambda"] <= 1


def check_folder(made, fidelity):
    """The files of a run, whose last epoch was the third."""
    for name in ("config.json", "metrics.jsonl", "results.json", "best.pt", "last.pt"):
        assert (made.path / name).is_file(), name
    assert list(made.path.rglob("label_free.pt"))
    assert (made.path.parent / "latest").read_text() == f"{made.path.name}\n"
    assert fidelity in made.path.name
    records = made.read_metrics()
    assert [record["epoch"] for record in records] == [0, 1, 2, 3]
    assert all(math.isfinite(record["top1"]) for record in records)
    assert any(record.get("steps") for record in records)
    assert set(outcomes_of(made)) == set(PROTOCOLS)


@pytest.mark.parametrize(("dataset", "probe"), [*PLACES, ("KS20", "90.90")])
def test_released(dataset, probe, prepared, tmp_path, capsys):
    made = trained(prepared, tmp_path, dataset, probe)
    out = capsys.readouterr().out
    check_results(made.read_results(), dataset, probe, "released")
    check_folder(made, "released")
    assert f"SimMC on {dataset}, probe {probe}" in out
    for protocol in PROTOCOLS:
        assert f"\n{protocol} " in out
    assert read_json(made.config_path)["settings"]["batch_size"] == BATCH.get(dataset, 8)


@pytest.mark.parametrize(
    ("dataset", "probe"), [("KS20", "probe"), ("KGBD", "probe"), ("CASIA_B", "cl.cl")]
)
def test_exact(dataset, probe, prepared, tmp_path):
    made = trained(prepared, tmp_path, dataset, probe, "--fidelity", "exact")
    found = made.read_results()
    check_results(found, dataset, probe, "exact")
    check_folder(made, "exact")
    folder = dataset_folder(prepared.data, specs.get(dataset), found["length"])
    windows = read_json(folder / "manifest.json")["counts"]
    assert found["counts"]["train"] == windows["train"]["windows"]  # every window, once


def test_a_view_against_itself_both_ways(prepared, tmp_path):
    flags = ("--epochs", 0, "--part_batches", "keep", "--label_free_run", "off")
    counts = {}
    for way in ("self", "settings"):
        made = trained(prepared, tmp_path, "KS20", "90.90", "--cve_diagonal", way, *flags)
        counts[way] = made.read_results()["counts"]
    assert counts["self"]["probe"] == counts["self"]["gallery"]
    assert counts["settings"]["probe"] + counts["settings"]["gallery"] == counts["self"]["probe"]


def test_other_lengths(prepared, tmp_path):
    prepared("KS20")
    where = ["--raw_root", prepared.raw, "--data_root", tmp_path / "windows"]
    assert run("preprocess", 4, "--dataset", "KS20", *where) == 0
    words = ["--data_root", tmp_path / "windows", "--model_root", tmp_path, "--length", 4]
    flags = ["--epochs", 1, "--part_batches", "keep", *QUICK]
    assert run("simmc", *words, *flags) == 0
    assert RunDirectory.latest(tmp_path, "KS20", "probe").read_results()["length"] == 4


def script(name, *words, cwd):
    done = subprocess.run(
        [sys.executable, str(ROOT / name), *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["Preprocess.py", "Pre-process.py"])
def test_the_scripts_of_the_public_readme(name, prepared, tmp_path):
    """From a folder of the user's own, with spaces in its name, and no path given."""
    prepared("KGBD")
    here = tmp_path / "my own folder"
    here.mkdir()
    (here / "KGBD").symlink_to(prepared.raw / "KGBD", target_is_directory=True)
    assert "KGBD" in script(name, 6, cwd=here)
    assert (here / "Datasets" / "KGBD" / "6" / "manifest.json").is_file()
    if name == "Pre-process.py":
        return
    flags = ["--dataset", "KGBD", "--batch_size", 8, "--epochs", 1]
    out = script("SimMC.py", *flags, cwd=here)
    made = RunDirectory.latest(here / "ReID_Models", "KGBD", "probe")
    assert made.path.name in out
    check_results(made.read_results() | {"settings": {"lambda": 0}}, "KGBD", "probe", "released")
    assert torch.load(made.best, weights_only=True)["state"]["epoch"] == 1
