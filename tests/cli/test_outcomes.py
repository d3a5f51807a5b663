"""Every method that matches keeps how each probe window fared, and the numbers are its means."""

import numpy as np
import pytest

from simmc.data.experiment.load import Request, load_experiment
from simmc.runs.directory import RunDirectory
from simmc.runs.records import ProbeOutcomes
from tests.cli.conftest import QUICK, TWIN, contents, run, words_for

COMMANDS = {
    "simmc": ["--epochs", 2],
    "himpc": ["--epochs", 1],
    "trackmc": ["--epochs", 2],
    "supervised": ["--epochs", 1],
}


def made_by(command, prepared, home, dataset="KGBD", probe="probe", *flags):
    words = [*words_for(prepared, home, dataset, probe), *QUICK, *COMMANDS[command], *flags]
    assert run(command, *words) == 0
    if command == "simmc":
        return RunDirectory.latest(home, dataset, probe)
    (pointer,) = (home / dataset / probe).glob("latest_*")
    return RunDirectory(pointer.parent / pointer.read_text().strip())


def check(folder: RunDirectory) -> dict[str, ProbeOutcomes]:
    """The files of a run, whose means must be what results.json says."""
    found = {}
    results = folder.read_results()
    for protocol, figures in results["protocols"].items():
        assert figures is not None and "retrieval" not in figures
        kept = found[protocol] = ProbeOutcomes.read(folder.probes_path(protocol))
        assert len(kept) == results["counts"]["probe"]
        for k in (1, 5, 10):
            hits = (kept.first_match_rank >= 1) & (kept.first_match_rank <= k)
            assert hits.mean() == figures[f"top{k}"]
        assert np.nanmean(kept.average_precision) == pytest.approx(figures["mAP"], abs=1e-12)
    assert {path.name for path in folder.path.rglob("probes_*")} == {
        f"probes_{protocol}.npz" for protocol in found
    }
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_method(command, prepared, tmp_path):
    check(made_by(command, prepared, tmp_path))


def test_persons_and_recordings_are_those_of_the_data(prepared, tmp_path):
    found = check(made_by("trackmc", prepared, tmp_path))["paper"]
    data = load_experiment(
        Request(prepared("KGBD"), "KGBD", 6, "probe", part_batches="keep"),
        rng=np.random.default_rng(0),
    )
    named = np.array(data.test_identities)[data.probe.identity]
    np.testing.assert_array_equal(found.identity, named)
    np.testing.assert_array_equal(found.recording, data.probe.recording)


def test_a_run_with_a_training_of_its_own_for_label_free(prepared, tmp_path):
    made = made_by("simmc", prepared, tmp_path, "KS20")
    assert (made.path / TWIN).is_dir()
    assert set(check(made)) == {"paper", "label_free"}


def test_probe_and_gallery_that_are_the_same_windows(prepared, tmp_path):
    check(made_by("simmc", prepared, tmp_path, "CASIA_B", "nm.nm"))


def test_descriptors_keep_them_too(prepared, tmp_path):
    where = ["--data_root", prepared("KGBD"), "--model_root", tmp_path]
    assert run("descriptors", "--dataset", "KGBD", *where, "--descriptor", "D13") == 0
    folders = [path.parent for path in tmp_path.rglob("results.json")]
    assert folders
    for folder in folders:
        check(RunDirectory(folder))


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
