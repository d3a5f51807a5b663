"""`simmc trackmc`: every dataset and probe, both tiers under names of their own, whole runs."""

import json
import shlex

import numpy as np
import pytest

from simmc.data.skeletons import Skeleton
from simmc.data.store import write_dataset
from simmc.methods.trackmc import TrackMCSettings
from simmc.settings import resolve
from tests.cli.conftest import QUICK, latest, run, without_recordings, words_for

TIERS = ("auto", "off", "positives", "merge")


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
    hints = [line.partition("-m simmc ")[2] for line in out.splitlines() if "next" in line]
    assert len(hints) == (recordings != "off")
    assert all(run(*shlex.split(hint)) == 0 for hint in hints)


def test_data_without_recordings(prepared, tmp_path, refused):
    copy = without_recordings(prepared("KGBD"), tmp_path / "windows alone")
    words = words_for(prepared, tmp_path, "KGBD", "probe", "--data_root", copy)
    refused("trackmc", *words, *QUICK, said=["--recordings auto", "--recordings off"])
    assert run("trackmc", *words, *QUICK, "--recordings", "off", "--epochs", 1) == 0


JOINTS = ("hip", "neck", "left_shoulder", "right_shoulder", "left_foot", "right_foot")
BONES = (("hip", "neck"), ("neck", "left_shoulder"), ("neck", "right_shoulder"))


def own_data(root, *, told=True, end=5.0):
    """Six persons; two recordings of each to learn from, persons 0 and 1 always together."""
    rng = np.random.default_rng(0)
    body = rng.normal(size=(6, 1, len(JOINTS), 3))

    def windows(numbers):
        recording = np.repeat(numbers, 12)
        person = recording % 6
        return body[person] + 0.1 * rng.normal(size=(72, 6, len(JOINTS), 3)), person, recording

    made = {"train": windows(range(6)), "probe": windows(range(12, 18))}
    more = windows(range(6, 12))
    made["train"] = tuple(np.concatenate(both) for both in zip(made["train"], more, strict=True))
    made["gallery"] = windows(range(18, 24))
    write_dataset(
        root,
        "Mine",
        {split: (x, person) for split, (x, person, _) in made.items()},
        Skeleton("mine", JOINTS, "hip", BONES, (), ()),
        recordings={split: numbers for split, (*_, numbers) in made.items()} if told else None,
        times={0: (0, end), 1: (4.5, 9), 6: (20, 25), 7: (20, 25)} if told else None,
    )
    return ["--dataset", "Mine", "--data_root", root, *QUICK, "--batch_size", 16, "--epochs", 2]


def test_own_data_with_recordings_and_times(tmp_path, capsys):
    words = [*own_data(tmp_path / "sets"), "--model_root", tmp_path / "runs"]
    assert run("trackmc", *words) == 0
    made = latest(tmp_path / "runs", "trackmc_auto", "Mine")
    counts = made.read_results()["counts"]
    assert (counts["tracks"], counts["seen_at_once"]) == (12, 2)
    assert run("trackmc", *words, "--overlap", "ignore") == 0
    ignored = latest(tmp_path / "runs", "trackmc_auto", "Mine").read_results()
    assert "seen_at_once" not in ignored["counts"]
    assert run("trackmc", *words, "--stress", "pieces:2-4") == 0
    pieces = latest(tmp_path / "runs", "trackmc_auto", "Mine").read_results()
    assert pieces["counts"]["tracks"] > 12 and "seen_at_once" not in pieces["counts"]


def test_own_data_with_faults(tmp_path, refused):
    words = own_data(tmp_path / "sets", told=False)
    where = ["--model_root", tmp_path / "runs"]
    refused("trackmc", *words, *where, said=["write_dataset", "--recordings off"])
    words = own_data(tmp_path / "sets")
    refused("trackmc", *words, *where, "--overlap", "some", said=["--overlap 'some'", "apart"])
    manifest = tmp_path / "sets" / "Mine" / "6" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"5.0"', '"-5.0"'))
    refused("trackmc", *words, *where, said=[manifest, "recording '0'", "start before end"])
    content = json.loads(manifest.read_text())
    content["recordings"] = content["recordings"][1:4]
    manifest.write_text(json.dumps(content))
    refused("trackmc", *words, *where, said=["refers to recording 3, but there are at most 3"])


def test_a_dataset_has_its_length():
    for name, length in (("CASIA_B", 40), ("CAISA_B", 40), ("KS20", 6)):
        found = resolve(TrackMCSettings, ["--dataset", name, "--probe_type", ""])
        assert found.settings.place.length == length
    assert resolve(TrackMCSettings, ["--dataset", "CASIA_B"]).origin["length"] == "dataset CASIA_B"
    assert (
        resolve(TrackMCSettings, ["--dataset", "CASIA_B", "--length", "50"]).settings.place.length
        == 50
    )
