"""The descriptors command: every sensor, both ways of scoring, what it leaves and refuses."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from simmc import cli
from simmc.cli.descriptors import NAMES, DescriptorSettings
from simmc.engine.method import load
from simmc.methods.descriptors import d13
from simmc.reports import render, results, tables
from simmc.runs.directory import RunDirectory
from simmc.settings import resolve
from tests.cli.conftest import LENGTHS, read_json, run, words_for

BATCH = {"KGBD": 10}  # the tiny sets hold fewer windows than a batch of 256


def scored(prepared, home, dataset, probe, *flags, code=0):
    """Runs the command on tiny walkers; the runs by method."""
    words = ["--dataset", dataset, "--probe", probe, "--data_root", prepared(dataset)]
    words += ["--length", LENGTHS.get(dataset, 6), "--model_root", home, "--threads", 1]
    assert run("descriptors", *words, "--batch_size", BATCH.get(dataset, 8), *flags) == code
    if code:
        return {}
    return {found.results["method"]: found for found in results.find_all(home)}


@pytest.mark.parametrize(
    ("dataset", "probe"), [("KS20", "probe"), ("KGBD", "probe"), ("IAS", "B"), ("CASIA_B", "cl.cl")]
)
def test_every_descriptor_on_every_sensor(dataset, probe, prepared, tmp_path, capsys):
    runs = scored(prepared, tmp_path, dataset, probe)
    assert set(runs) == set(NAMES)
    out = capsys.readouterr().out
    for name, made in runs.items():
        found = made.results
        assert found["settings"]["descriptor"] == name
        assert found["protocols"]["paper"] == found["protocols"]["label_free"]
        figures = found["protocols"]["paper"]
        rates = [figures[rate] for rate in ("top1", "top5", "top10", "mAP", "mINP")]
        assert all(0 <= rate <= 1 for rate in rates)
        assert [figures["cmc"][k - 1] for k in (1, 5, 10)] == rates[:3]
        assert found["timing"]["evaluation"] > 0
        line = next(line for line in out.splitlines() if line.startswith(f"{name} "))
        assert line.split()[1:6] == [f"{100 * rate:.2f}" for rate in rates]
        assert line.endswith(str(made.path))
        assert ("note" in found) == (name == "D_PG")
    assert "our definition" in out
    assert "no label used" in out and "SUPERVISED" not in out
    if dataset == "KGBD":  # on walkers of all lengths even tiny bodies differ
        assert all(made.protocol("paper")["top1"] > 1.5 / 12 for made in runs.values())


def test_d13_and_d16_score_all_windows_and_the_others_whole_batches(prepared, tmp_path):
    runs = scored(prepared, tmp_path, "KGBD", "probe")
    whole = read_json(prepared.data / "KGBD" / "6" / "manifest.json")["counts"]["probe"]["windows"]
    assert whole % 10  # else the test shows nothing
    for name, made in runs.items():
        expected = whole if name in ("D13", "D16") else whole // 10 * 10
        assert made.results["counts"]["probe"] == expected
    origin = read_json(runs["D13"].path / "config.json")["origin"]
    assert origin["part_batches"] == "preset D13.toml"
    kept = scored(prepared, tmp_path / "exact", "KGBD", "probe", "--fidelity", "exact")
    assert {made.results["counts"]["probe"] for made in kept.values()} == {whole}
    typed = scored(
        prepared, tmp_path / "d", "KGBD", "probe", "--descriptor", "D13", "--part_batches", "drop"
    )
    assert typed["D13"].results["counts"]["probe"] == whole // 10 * 10


def test_joint_order_matters_to_names_and_the_root_to_raw_coordinates_alone(prepared, tmp_path):
    def figures(folder, *flags):
        runs = scored(prepared, tmp_path / folder, "KGBD", "probe", *flags)
        return {name: made.protocol("paper")["mAP"] for name, made in runs.items()}

    first, mapped, unrooted = (
        figures("a"),
        figures("b", "--kgbd_order", "mapped"),
        figures("c", "--root", "none"),
    )
    for name in ("D13", "D16", "D_PG"):
        assert first[name] != mapped[name]
        assert math.isclose(first[name], unrooted[name], abs_tol=1e-3)  # but for float32
    for name in ("raw_flat", "raw_mean"):
        assert math.isclose(first[name], mapped[name], abs_tol=1e-9)  # the same joints, the head
        assert not math.isclose(first[name], unrooted[name], abs_tol=1e-3)


def test_raw_mean_is_simmc_without_an_encoder(prepared, tmp_path, train):
    other = train("--encoder", "none", dataset="KGBD").read_results()["protocols"]["paper"]
    flags = ("--descriptor", "raw_mean", "--batch_size", 8)  # as the fixture has it
    made = scored(prepared, tmp_path / "own", "KGBD", "probe", *flags)["raw_mean"]
    assert made.protocol("paper")["cmc"] == pytest.approx(other["cmc"])


@pytest.mark.parametrize("name", ["knn", "svm", "adaboost"])
def test_a_classifier_is_called_supervised_everywhere(name, prepared, tmp_path, capsys):
    flags = ("--descriptor", "D16", "--classifier", name, "--depth", 3)
    ((method, made),) = scored(prepared, tmp_path, "KGBD", "probe", *flags).items()
    assert method.casefold() == f"d16 + {name}"
    protocols = made.results["protocols"]
    assert protocols["paper"] is None and protocols["label_free"] is None
    figures = protocols["supervised"]
    assert 1.5 / 12 < figures["top1"] <= figures["top5"] <= figures["top10"] <= 1
    assert 0.5 < figures["nauc_roc"] < 1 and 0.5 < figures["nauc_cmc"] < 1
    assert len(figures["cmc"]) == 12 and figures["cmc"][-1] == 1
    out = capsys.readouterr().out
    assert "SUPERVISED" in out and "no label used" not in out
    assert f"{100 * figures['nauc_cmc']:.2f}" in out
    assert {"features", "classifier", "evaluation"} == set(made.results["timing"])
    (row,) = (row for row in tables.build([made]).rows if not row.is_published)
    assert row.protocol == "supervised"
    text = render.render(tables.build([made]), "text")
    assert "nAUC ROC" in text and "trained on identity labels" in text


def test_a_classifier_may_learn_the_gallery_as_well(prepared, tmp_path):
    flags = ("--descriptor", "D16", "--classifier", "knn")
    few = scored(prepared, tmp_path / "a", "KGBD", "probe", *flags)["D16 + KNN"]
    more = scored(prepared, tmp_path / "b", "KGBD", "probe", *flags, "--train_on", "train_gallery")[
        "D16 + KNN"
    ]
    assert few.protocol("supervised")["top1"] != more.protocol("supervised")["top1"]
    assert more.settings["train_on"] == "train_gallery"


def test_frames_vote_for_their_window(prepared, tmp_path):
    flags = ("--descriptor", "D13", "--classifier", "knn", "--unit", "frame")
    made = scored(prepared, tmp_path, "KGBD", "probe", *flags)["D13 + KNN"]
    words = ["--dataset", "KGBD", "--data_root", str(prepared("KGBD")), "--descriptor", "D13"]
    how = resolve(DescriptorSettings, words).settings
    data = load(how)
    train, probe = (
        d13(torch.from_numpy(split.windows).double(), data.skeleton).float().numpy()
        for split in (data.train, data.probe)
    )
    known = train.reshape(-1, 13)
    place = []
    for window, person in zip(probe, data.probe.identity, strict=True):
        votes = np.zeros(12)
        for frame in window:
            nearest = int(((known - frame) ** 2).sum(1).argmin())
            votes[data.train.identity[nearest // len(window)]] += 1
        place.append(np.argsort(-votes, kind="stable").tolist().index(person) + 1)
    expected = [np.mean(np.array(place) <= k) for k in range(1, 13)]
    assert made.protocol("supervised")["cmc"] == pytest.approx(expected)
    whole = scored(prepared, tmp_path / "w", "KGBD", "probe", *flags[:-2])["D13 + KNN"]
    assert whole.protocol("supervised")["cmc"] != pytest.approx(expected)


def test_a_training_stays_the_newest_run(train, prepared, tmp_path):
    made = train("--epochs", 1, dataset="KGBD")
    scored(prepared, made.path.parents[2], "KGBD", "probe", "--descriptor", "D13")
    assert RunDirectory.latest(made.path.parents[2], "KGBD", "probe") == made
    assert run(
        *("simmc", "--mode", "Eval", "--dataset", "KGBD", "--data_root", prepared("KGBD")),
        *("--model_root", made.path.parents[2], "--threads", 1),
    ) == 0  # fmt: skip


def test_generated_walkers_are_called_that(prepared, tmp_path, capsys):
    scored(prepared, tmp_path, "KS20", "probe", "--descriptor", "D13")
    assert "say nothing about real people" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("dataset", "probe", "flags", "said"),
    [
        ("CASIA_B", "nm.nm", [], ["--classifier knn", "nm.nm", "CASIA_B"]),
        ("KS20", "90.90", ["--train_on", "train_gallery"], ["--train_on train_gallery"]),
    ],
)
def test_what_a_classifier_must_not_learn(dataset, probe, flags, said, prepared, tmp_path, refused):
    typed = words_for(prepared, tmp_path, dataset, probe, "--descriptor", "D13")
    refused("descriptors", *typed, "--classifier", "knn", *flags, said=said)
    if flags:
        assert run("descriptors", *typed, "--classifier", "knn") == 0


def test_every_preset_is_of_a_descriptor():
    folder = Path(cli.__file__).parents[2] / "configs" / "descriptors"
    for path in folder.glob("*.toml"):
        assert path.stem in NAMES
        found = resolve(DescriptorSettings, ["--descriptor", path.stem])
        assert f"preset {path.name}" in found.origin.values()
