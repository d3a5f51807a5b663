"""`simmc trackmc`: every dataset and probe, both tiers under names of their own, whole runs."""

import pytest

from simmc.cli import console
from simmc.config import TrackMCSettings, resolve
from simmc.runs.directory import RunDirectory
from tests.cli.conftest import LENGTHS, QUICK, assert_same_run, latest, run, words_for
from tests.conftest import ROOT

PROBES = [
    *(("IAS", "A"), ("IAS", "B"), ("KS20", "probe"), ("BIWI", "Walking"), ("BIWI", "Still")),
    *(("KGBD", "probe"), ("CASIA_B", "nm.nm"), ("CASIA_B", "cl.nm")),
]
TIERS = ("off", "positives", "merge")


def interrupt_after(last):
    """Stands in for what is printed of an epoch, until somebody presses Ctrl-C."""

    def epoch(record, training, board):
        if record["epoch"] == last:
            raise KeyboardInterrupt

    return epoch


@pytest.mark.parametrize(("dataset", "probe"), PROBES)
def test_every_dataset_and_probe(dataset, probe, prepared, tmp_path):
    words = [*words_for(prepared, tmp_path, dataset, probe), *QUICK, "--epochs", 2]
    assert run("trackmc", *words) == 0
    made = latest(tmp_path, "trackmc_merge", dataset, probe)
    length = LENGTHS.get(dataset, 6)
    assert made.path.name == f"trackmc_merge_f{length}_exact_seed0"
    found = made.read_results()
    assert found["protocols"]["label_free"]["epoch"] == 2
    counts = found["counts"]
    assert 0 < counts["people"] <= counts["tracks"]
    for figures in found["protocols"].values():
        assert 0 <= figures["top1"] <= figures["top5"] <= figures["cmc"][-1] <= 1
    assert "supervised" not in found


@pytest.mark.parametrize("recordings", TIERS)
def test_a_tier_is_named_everywhere(recordings, prepared, tmp_path, capsys):
    words = [*words_for(prepared, tmp_path), *QUICK, "--recordings", recordings, "--epochs", 1]
    assert run("trackmc", *words) == 0
    out = capsys.readouterr().out
    tier = "windows only" if recordings == "off" else f"recordings: {recordings}"
    assert f"TrackMC ({tier})" in out
    assert ("unsure of" in out) == (recordings != "off")
    found = latest(tmp_path, f"trackmc_{recordings}").read_results()
    assert found["method"] == f"TrackMC ({tier})"
    assert ("people" in found["counts"]) == (recordings != "off")


@pytest.mark.parametrize("recordings", TIERS)
def test_continued_and_scored_again(recordings, prepared, tmp_path, capsys, monkeypatch):
    words = [*words_for(prepared, tmp_path), *QUICK, "--recordings", recordings, "--run"]
    assert run("trackmc", *words, "whole", "--epochs", 3) == 0
    home = latest(tmp_path, f"trackmc_{recordings}").path.parent
    whole = latest(tmp_path, f"trackmc_{recordings}")
    with monkeypatch.context() as patch:
        patch.setattr(console, "epoch", interrupt_after(1))
        assert run("trackmc", *words, "parts", "--epochs", 3) == 130
    assert run("trackmc", *words, "parts", "--resume") == 0
    assert_same_run(whole, RunDirectory(home / "parts"))
    capsys.readouterr()
    assert run("trackmc", *words, "whole", "--mode", "Eval") == 0
    shown = capsys.readouterr().out
    for figures in whole.read_results()["protocols"].values():
        assert f"{100 * figures['top1']:.2f}" in shown


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--recordings", "some"], ["--recordings 'some'", "off, positives or merge"]),
        (["--mask_x", 6], ["--mask_x 6", "--length 6"]),
        (["--k1", 3], ["--k2 6", "--k1 3"]),
        (["--lr", 0], ["--lr"]),
        (["--input", "voice"], ["--input 'voice'"]),
        (["--patience", 3], ["no flag --patience"]),
    ],
)
def test_what_cannot_be(flags, said, prepared, tmp_path, refused):
    refused("trackmc", *words_for(prepared, tmp_path), *flags, said=said)


def test_data_without_recordings(prepared, tmp_path, refused):
    root = prepared("KGBD")
    copy = tmp_path / "windows alone"
    for path in (root / "KGBD").rglob("*"):
        if path.is_file() and not path.name.startswith("recording_"):
            target = copy / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    words = words_for(prepared, tmp_path)
    words[words.index("--data_root") + 1] = copy
    refused("trackmc", *words, *QUICK, said=["--recordings merge", "--recordings off"])
    assert run("trackmc", *words, *QUICK, "--recordings", "off", "--epochs", 1) == 0


def test_the_size_of_the_model(capsys):
    assert run("trackmc", "--dataset", "KGBD", "--model_size") == 0
    # 269 values a frame -> 256 units -> their means and deviations -> 256 features
    wanted = (60 + 19 + 190) * 256 + 256 + 512 * 256 + 256
    assert f"{wanted:,} parameters" in capsys.readouterr().out


@pytest.mark.parametrize("recordings", TIERS)
def test_presets(recordings):
    path = ROOT / "configs" / "trackmc" / f"{recordings}.toml"
    command = path.read_text().splitlines()[0].partition("simmc trackmc ")[2]
    found = resolve(TrackMCSettings, command.split())
    assert found.settings.recordings == recordings
    assert found.origin["epochs"] == f"preset {recordings}.toml"
    assert found.settings.kgbd_order == "mapped" and found.settings.class_sampling == "off"
