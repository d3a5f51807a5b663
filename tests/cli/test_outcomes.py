"""The kept outcomes of single probe windows; test_every_method.py checks them for all methods."""

import numpy as np

from simmc.data.experiment.load import Request, load_experiment
from simmc.runs.directory import RunDirectory
from tests.cli.conftest import QUICK, contents, latest, outcomes_of, run, words_for


def made_by(command, prepared, home):
    assert run(command, *words_for(prepared, home), *QUICK, "--epochs", 2) == 0
    return latest(home, "simmc" if command == "simmc" else "trackmc_auto")


def test_persons_and_recordings_are_those_of_the_data(prepared, tmp_path):
    found = outcomes_of(made_by("trackmc", prepared, tmp_path))["paper"]
    data = load_experiment(
        Request(prepared("KGBD"), "KGBD", 6, "probe", part_batches="keep"),
        rng=np.random.default_rng(0),
    )
    named = np.array(data.test_identities)[data.probe.identity]
    np.testing.assert_array_equal(found.identity, named)
    np.testing.assert_array_equal(found.recording, data.probe.recording)


def test_descriptors_keep_them_too(prepared, tmp_path):
    where = ["--data_root", prepared("KGBD"), "--model_root", tmp_path]
    assert run("descriptors", "--dataset", "KGBD", *where, "--descriptor", "D13") == 0
    folders = [path.parent for path in tmp_path.rglob("results.json")]
    assert folders
    for folder in folders:
        assert outcomes_of(RunDirectory(folder))


def test_scoring_again_gives_an_old_run_its_files(prepared, tmp_path, capsys):
    made = made_by("trackmc", prepared, tmp_path)
    before = contents(made.path)
    for protocol in ("paper", "label_free"):
        made.probes_path(protocol).unlink()
    words = [*words_for(prepared, tmp_path), "--threads", 1, "--mode", "Eval"]
    assert run("trackmc", *words) == 0
    assert contents(made.path) == before
    assert "probes_" not in capsys.readouterr().err


def test_scoring_with_other_data_leaves_the_files_alone(prepared, tmp_path, capsys):
    made = made_by("trackmc", prepared, tmp_path)
    before = contents(made.path)
    words = [*words_for(prepared, tmp_path), "--threads", 1, "--mode", "Eval"]
    assert run("trackmc", *words, "--stress", "keep:1") == 0
    assert run("trackmc", *words, "--stress", "noise:0.5") == 0
    assert contents(made.path) == before
    assert capsys.readouterr().err.count("probes_*.npz") == 2


def test_two_methods_compared(prepared, tmp_path, capsys):
    ours, theirs = (made_by(command, prepared, tmp_path) for command in ("trackmc", "simmc"))
    capsys.readouterr()
    assert run("report", "compare", ours.path, "--with", theirs.path, "--format", "md") == 0
    text = capsys.readouterr().out
    assert "| A | TrackMC (recordings: auto) | exact | label_free | none | 0 |" in text
    assert "| B | SimMC | released | label_free | none | 0 |" in text
    for side, folder in (("A", ours), ("B", theirs)):
        top1 = folder.read_results()["protocols"]["label_free"]["top1"]
        cells = next(line for line in text.splitlines() if "| top-1 |" in line).split(" | ")
        assert cells["AB".index(side) * 2 + 1] == f"{100 * top1:.1f}"
    same = ours.read_results()["counts"]["probe"] == theirs.read_results()["counts"]["probe"]
    assert ("probe windows differ" in text) != same
    assert "Generated" in text
