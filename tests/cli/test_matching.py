"""Further ways of matching a trained run: rows and a file of their own, nothing else touched."""

from functools import cache

import numpy as np
import pytest

from simmc.reports import results
from simmc.runs.directory import RunDirectory
from tests.cli.conftest import QUICK, read_json, run, without_recordings, words_for
from tests.cli.test_finetune import export_coordinates
from tests.cli.test_finetune import words_for as finetune_words
from tests.conftest import contents

COMMANDS = {
    "simmc": ["--epochs", 1],
    "himpc": ["--epochs", 1],
    "trackmc": ["--epochs", 2],
    "supervised": ["--epochs", 1],
    "age": ["--epochs", 1],
}
FIGURES = ("top1", "top5", "top10", "mAP", "mINP", "cmc")


class Run:
    """A trained run and the words that score it."""

    def __init__(self, command, words, home, dataset, probe):
        self.command, self.words, self.home = command, words, home
        folders = [path for path in (home / dataset / probe).iterdir() if path.is_dir()]
        self.folder = RunDirectory(folders[0])

    def score(self, *flags, code=0):
        """Scores it; the rows of matching.json, by protocol."""
        assert run(self.command, *self.words, "--mode", "Eval", *flags) == code
        return read_json(self.folder.matching_path)["protocols"] if flags else None

    def plain(self):
        """The figures of results.json, by protocol."""
        return self.folder.read_results()["protocols"]


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory):
    """Trains once for all tests of this module; scoring changes nothing but matching.json."""

    @cache
    def train(command, dataset="KGBD", probe="probe"):
        home = tmp_path_factory.mktemp("runs")
        words = [*words_for(prepared, home, dataset, probe), *QUICK]
        assert run(command, *words, *COMMANDS[command]) == 0
        return Run(command, words, home, dataset, probe)

    return train


def same_figures(row, figures):
    for name in FIGURES:
        np.testing.assert_allclose(row[name], figures[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("command", ["simmc", "himpc", "trackmc", "supervised"])
def test_nothing_else_changes(command, trained, capsys):
    made = trained(command)
    made.folder.matching_path.unlink(missing_ok=True)
    before = contents(made.folder.path)
    capsys.readouterr()
    made.score()
    plain = capsys.readouterr().out
    found = made.score("--rerank", "on", "--expand", 2, "--walk", 3)
    out = capsys.readouterr().out
    assert out.startswith(plain)  # further rows below the plain ones
    after = contents(made.folder.path)
    assert after.keys() - before.keys() == {"matching.json"}
    assert all(after[name] == before[name] for name in before)
    title = "expanded by 2 (alpha 3), re-ranked (k1 20, k2 6, lambda 0.3)"
    for tables in found.values():
        assert [row["title"] for row in tables["windows"]] == [title]
        assert [row["title"] for row in tables["walks"]] == ["walks of 3", f"walks of 3, {title}"]
        for row in tables["windows"] + tables["walks"]:
            assert 0 <= row["top1"] <= row["top5"] <= row["cmc"][-1] <= 1
            assert 0 < row["mINP"] <= row["mAP"] <= 1
            assert row["seconds"] >= 0
    below = out.removeprefix(plain)
    assert below.count(f"  {title}\n") == below.count("  walks of 3\n") == len(found)
    assert str(made.folder.matching_path) in below
    # reports see the run as it was
    (shown,) = results.find_all(made.home)
    assert shown.results == made.folder.read_results()
    assert not {"rerank", "expand", "walk"} & shown.settings.keys()


@pytest.mark.parametrize("command", COMMANDS)
def test_ways_that_change_nothing_give_the_plain_figures(command, trained):
    made = trained(command)
    assert read_json(made.folder.config_path)["settings"]["rerank"] == "off"
    flags = ["--rerank", "on", "--rerank_lambda", 1, "--walk", 1, "--eval_sqrt", "clamp"]
    for protocol, tables in made.score(*flags).items():
        figures = made.plain()[protocol]
        assert tables["epoch"] == figures["epoch"]
        same_figures(tables["windows"][0], figures)
        # of TrackMC, unit features are brought to unit length once more: only rounding differs
        assert tables["walks"][0]["top1"] == pytest.approx(figures["top1"], abs=0.02)


def test_finetune_matches_its_own_features(prepared, tmp_path):
    """With the windows as features SimMC-UF is SimMC, whatever the way of matching."""
    home, flags = tmp_path / "runs", ["--rerank", "on", "--expand", 3]
    export_coordinates(prepared("KGBD"), tmp_path / "features")
    words = finetune_words(prepared, home, tmp_path / "features")
    made = []
    for command, more in (("finetune", ["--source", "SGELA"]), ("simmc", [])):
        own = [word for word in words if more or "features" not in str(word)]
        assert run(command, *own, *more) == 0
        folder = f"{'finetune_SGELA_' if more else ''}f6_released_seed0"
        own += [*more, "--run", folder]
        assert run(command, *own, "--mode", "Eval", *flags) == 0
        file = RunDirectory(home / "KGBD" / "probe" / folder).matching_path
        made.append(read_json(file)["protocols"]["paper"]["windows"][0])
    same_figures(*made)


def test_walks_and_whole_recordings(trained, prepared):
    made = trained("trackmc")
    folder = prepared("KGBD") / "KGBD" / "6" / "test_npy_data"
    windows = {path.parent.name: np.load(path) for path in folder.glob("*/recording_*.npy")}
    assert windows.keys() == {"probe", "gallery"}
    found = made.score("--walk", "all")["label_free"]
    (row,) = found["walks"]
    assert "windows" not in found and row["title"] == "whole recordings"
    for side, recording in windows.items():
        assert row[side] == len(np.unique(recording))
    (row,) = made.score("--walk", 4)["label_free"]["walks"]
    for side, recording in windows.items():
        assert row[side] == sum(-(-np.bincount(recording) // 4))
    kept = read_json(made.folder.matching_path)  # of the last call
    assert kept["matching"]["walk"] == 4 and kept["matching"]["rerank"] == "off"
    assert kept["method"] == "TrackMC (recordings: auto)" and kept["peak_rss_bytes"] > 0


def test_probe_and_gallery_are_the_same_windows(trained, refused, capsys):
    made = trained("trackmc", "CASIA_B", "nm.nm")
    plain = made.plain()["paper"]
    found = made.score("--rerank", "on", "--rerank_lambda", 1, "--walk", 1)["paper"]
    same_figures(found["windows"][0], plain)
    found = made.score("--rerank", "on", "--expand", 2, "--expand_gallery", "on", "--walk", "all")
    row = found["paper"]["walks"][1]
    assert row["probe"] == row["gallery"]
    assert "gallery too" in row["title"]
    # windows of a recording, less the window itself
    assert made.score("--expand", 2)["paper"]["windows"][0]["top1"] > 0.5
    capsys.readouterr()
    words = [*made.words, "--mode", "Eval", "--expand", 2]
    said = ["--rerank on --expand 2", "--expand_gallery on"]
    refused("trackmc", *words, "--rerank", "on", said=said)
    said = ["--expand 2", "--same_condition_map skip_first", "--same_condition_map remove_self"]
    refused("trackmc", *words, "--same_condition_map", "skip_first", said=said)


def test_walks_of_one_view(trained):
    made = trained("trackmc", "KS20", "30.30")
    counts = made.folder.read_results()["counts"]
    (row,) = made.score("--walk", 2)["paper"]["walks"]
    assert row["probe"] == row["gallery"] < counts["probe"] == counts["gallery"]
    whole = made.score("--walk", "all")["paper"]["walks"][0]
    assert whole["probe"] < row["probe"]


def test_data_without_recordings(trained, prepared, tmp_path, refused):
    made = trained("simmc")
    copy = without_recordings(prepared("KGBD"), tmp_path / "windows alone")
    words = [*made.words, "--mode", "Eval", "--data_root", copy]
    refused("simmc", *words, "--walk", "all", said=["--walk all", "Preprocess.py", "recording_"])
    assert run("simmc", *words, "--rerank", "on") == 0
