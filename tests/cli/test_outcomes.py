"""The kept outcomes of single probe windows; test_every_method.py checks them for all methods."""

import numpy as np
import pytest

from simmc.data.experiment.load import Request, load_experiment
from simmc.runs.directory import RunDirectory
from tests.cli.conftest import QUICK, latest, outcomes_of, run, words_for
from tests.conftest import contents


@pytest.fixture(scope="module")
def home(prepared, tmp_path_factory):
    """A run of TrackMC and one of SimMC; scoring them again leaves them as they are."""
    folder = tmp_path_factory.mktemp("runs")
    for command in ("trackmc", "simmc"):
        assert run(command, *words_for(prepared, folder), *QUICK, "--epochs", 2) == 0
    return folder


@pytest.fixture
def made(home):
    return latest(home, "trackmc_auto")


def test_persons_and_recordings_are_those_of_the_data(prepared, made):
    found = outcomes_of(made)["paper"]
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


def test_scoring_again_gives_an_old_run_its_files(prepared, home, made, capsys):
    before = contents(made.path)
    for protocol in ("paper", "label_free"):
        made.probes_path(protocol).unlink()
    words = [*words_for(prepared, home), "--threads", 1, "--mode", "Eval"]
    assert run("trackmc", *words) == 0
    assert contents(made.path) == before
    assert "probes_" not in capsys.readouterr().err


def test_scoring_with_other_data_leaves_the_files_alone(prepared, home, made, capsys):
    before = contents(made.path)
    words = [*words_for(prepared, home), "--threads", 1, "--mode", "Eval"]
    assert run("trackmc", *words, "--stress", "keep:1") == 0
    assert run("trackmc", *words, "--stress", "noise:0.5") == 0
    assert contents(made.path) == before
    assert capsys.readouterr().err.count("probes_*.npz") == 2
