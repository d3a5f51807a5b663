"""`simmc report compare` on runs made by hand, whose numbers can be checked on paper."""

import csv
import io

import numpy as np
import pytest

from simmc.cli import run
from simmc.runs.records import ProbeOutcomes

IDENTITY = np.repeat([3, 4, 5, 6], 5)  # four persons, five windows each


@pytest.fixture
def scored(make_run):
    """Writes a run with the ranks of its probes, and the numbers that follow from them."""

    def make(
        name,
        ranks,
        identity=IDENTITY,
        recording=None,
        protocols=("label_free", "paper"),
        **changes,
    ):
        ranks = np.broadcast_to(ranks, len(identity))
        precision = 1 / ranks
        figures = {f"top{k}": float(np.mean(ranks <= k)) for k in (1, 5, 10)}
        figures |= {"mAP": float(precision.mean()), "epoch": 3}
        given = {"counts": {"gallery": 40}, "protocols": dict.fromkeys(protocols, figures)}
        folder = make_run(name, **given | changes)
        outcomes = ProbeOutcomes(ranks.astype(np.int32), precision, np.array(identity), recording)
        for protocol in protocols:
            outcomes.write(folder / f"probes_{protocol}.npz")
        return folder

    return make


def compared(capsys, *words, code=0):
    assert run("report", ["compare", *map(str, words)]) == code
    shown = capsys.readouterr()
    return shown.out if code == 0 else shown.err


def numbers(capsys, *words):
    text = compared(capsys, *words, "--format", "csv")
    return {line["side"]: line for line in csv.DictReader(io.StringIO(text))}


def test_intervals_of_one_side(scored, capsys):
    runs = [scored(f"run{s}", [1] * (10 + s) + [7] * (10 - s), seed=s) for s in (1, 0, 10)]
    text = compared(capsys, *runs, "--resamples", 200)
    assert "A     SimMC   released  label_free  none    0 1 10  4        20" in text
    assert "p:" not in text and "A - B" not in text
    found = numbers(capsys, *runs, "--resamples", 200)
    assert list(found) == ["A"]
    line = found["A"]
    assert float(line["top1_mean"]) == pytest.approx((10 + 11 + 20) / 60, abs=1e-5)
    assert float(line["top1_std"]) == pytest.approx(np.std([0.5, 0.55, 1], ddof=1), abs=1e-5)
    assert float(line["top1_low"]) < float(line["top1_mean"]) < float(line["top1_high"])
    assert float(line["top10_low"]) == float(line["top10_high"]) == 1
    assert line["top1_p"] == "" and line["seeds"] == "0 1 10"


def test_a_run_against_itself(scored, capsys):
    one = scored("one", np.arange(1, 21))
    found = numbers(capsys, one, "--with", one)
    for figure in ("top1", "top5", "top10", "mAP"):
        line = found["A - B"]
        parts = ("mean", "low", "high", "p", "std")
        assert [line[f"{figure}_{part}"] for part in parts] == ["0", "0", "0", "1", ""]
        assert found["A"][f"{figure}_low"] == found["B"][f"{figure}_low"]


def test_every_person_better(scored, capsys):
    persons = np.repeat(np.arange(12), 4)
    better = [
        scored(f"a{s}", np.tile([1, 1, 1, 20], 12), persons, seed=s, method="TrackMC")
        for s in range(2)
    ]
    worse = [scored(f"b{s}", np.tile([1, 1, 20, 20], 12), persons, seed=s) for s in range(2)]
    line = numbers(capsys, *better, "--with", *worse)["A - B"]
    for part, expected in (("mean", 0.25), ("std", 0), ("low", 0.25), ("high", 0.25)):
        assert float(line[f"top1_{part}"]) == pytest.approx(expected)
    assert float(line["top1_p"]) == pytest.approx(2 / 2**12, abs=4e-4)
    text = compared(capsys, *better, "--with", *worse)
    assert "TrackMC" in text and "SimMC" in text
    assert "+25.0 ± 0.0" in text and "+25.0 to +25.0" in text
    assert "12 persons" in text and "sign-flip" in text
    for word in ("that differ", "windows differ", "PROTOCOLS", "SUPERVISED"):
        assert word not in text


def test_the_draws_have_a_seed(scored, capsys):
    one = scored("one", np.tile([1, 7], 20) * np.arange(1, 41), np.repeat(np.arange(20), 2))
    same = [numbers(capsys, one, "--resamples", 500, "--seed", s) for s in (0, 0, 1)]
    assert same[0] == same[1]
    assert same[0]["A"] != same[2]["A"]


def test_probe_windows_that_differ_are_paired_over_persons(scored, capsys):
    one = scored("one", 1, IDENTITY[:-3], fidelity="released", counts={"gallery": 38})
    other = scored("other", [7] * 5 + [1] * 15, fidelity="exact")
    text = compared(capsys, one, "--with", other)
    assert "Paired over persons; the probe windows differ: 17 and 20 (seed 0)." in " ".join(
        text.split()
    )
    assert "gallery windows differ: 38 and 40 (seed 0)" in text
    found = numbers(capsys, one, "--with", other)
    assert float(found["B"]["top1_mean"]) == 0.75
    # three persons are alike, one is wholly different: 10 of 37 windows
    assert float(found["A - B"]["top1_mean"]) == pytest.approx(10 / 37, abs=1e-5)
    assert found["A"]["windows"] == "17" and found["A"]["fidelity"] == "released"


def test_windows_of_other_recordings_are_other_windows(scored, capsys):
    runs = [scored(f"r{i}", 1, recording=np.full(20, i, np.int64)) for i in range(2)]
    assert "probe windows differ" in compared(capsys, runs[0], "--with", runs[1])


def test_what_is_unlike_is_said(scored, capsys):
    one = scored("one", 1, settings={"lr": 0.1, "seed": 0, "H": 2, "data_root": "x"})
    other = scored(
        "other",
        1,
        supervised=True,
        protocols=("paper", "fixed_epochs"),
        settings={"lr": 0.2, "seed": 0, "H": 2, "dropout": 1, "data_root": "y"},
        data={"manifest_sha256": "a", "generated": True},
    )
    words = [one, "--with", other, "--with_protocol", "fixed_epochs"]
    text = " ".join(compared(capsys, *words).split())
    assert "TWO PROTOCOLS: A is scored under label_free, B under fixed_epochs" in text
    assert "SUPERVISED: B was trained on identity labels, A was not." in text
    assert "Settings of A / B that differ: lr 0.1 / 0.2." in text
    assert "identities" in text and "Generated" in text
    assert numbers(capsys, *words)["B"]["supervised"] == "true"


def test_markdown_into_a_file(scored, tmp_path, capsys):
    one, out = scored("one", 1), tmp_path / "c.md"
    shown = compared(capsys, one, "--with", one, "--format", "md", "--out", out)
    assert shown.strip() == str(out)
    text = out.read_text()
    assert text.startswith("| Side | Method")
    assert "| Rate | A | 95 % | B | 95 % | A - B | 95 % | p |" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 1}, ["of A has seed 0", "same seed"]),
        ({"data": {"manifest_sha256": "b"}}, ["other data", "a and b"]),
        ({"dataset": "KS20"}, ["dataset KGBD and KS20"]),
        ({"probe": "other"}, ["probe probe and other"]),
        ({"length": 8}, ["length 6 and 8"]),
        ({"identity": IDENTITY + 10}, ["no person in common"]),
    ],
)
def test_runs_that_cannot_be_paired(changes, said, scored, capsys):
    one, other = scored("one", 1), scored("other", 1, **changes)
    error = compared(capsys, one, "--with", other, code=2)
    assert error.startswith("error: ")
    for text in (str(one), str(other), *said):
        assert text in error


def test_data_without_a_manifest_must_have_the_same_probes(scored, capsys):
    nothing = {"manifest_sha256": None}
    runs = [scored(f"r{i}", 1, IDENTITY[i // 2 :], data=nothing) for i in range(3)]
    compared(capsys, runs[0], "--with", runs[1])
    error = compared(capsys, runs[0], "--with", runs[2], code=2)
    assert "20 and 19" in error and "no manifest" in error


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "both have seed 0"),
        ({"seed": 1, "method": "TrackMC"}, "method SimMC and TrackMC"),
        ({"seed": 1, "fidelity": "exact"}, "fidelity released and exact"),
        ({"seed": 1, "settings": {"lambda": 0.4, "encoder": "mlp", "q": 2}}, "lambda 0.5 and 0.4"),
    ],
)
def test_a_side_is_one_method(changes, said, scored, capsys):
    one, other = scored("one", 1), scored("other", 1, **changes)
    error = compared(capsys, one, other, code=2)
    for text in (str(one), str(other), said):
        assert text in error


def test_a_run_from_before_the_files_were_kept(scored, capsys):
    one = scored("one", 1)
    (one / "probes_paper.npz").unlink()
    compared(capsys, one)
    (one / "config.json").write_text('{"command": "trackmc"}')
    error = compared(capsys, one, "--protocol", "paper", code=2)
    command = f"python -m simmc trackmc --dataset KGBD --probe probe --length 6 --model_root {one.parents[2]} --run one --mode Eval"  # noqa: E501
    assert command in error and "probes_paper.npz is missing" in error


def test_a_file_that_belongs_to_other_numbers(scored, capsys):
    one, other = scored("one", 1), scored("other", 7)
    (other / "probes_paper.npz").replace(one / "probes_paper.npz")
    error = compared(capsys, one, "--protocol", "paper", code=2)
    assert "top1 0.0000 and 1.0000" in error and "--mode Eval" in error


def test_other_things_that_cannot_be(scored, capsys):
    one = scored("one", 1)
    lonely = scored("lonely", 1, np.zeros(5, np.int64))
    classifier = scored("named", 1)
    (classifier / "probes_paper.npz").unlink()
    text = (classifier / "results.json").read_text().replace('"mAP"', '"nauc_roc"')
    (classifier / "results.json").write_text(text)
    for words, said in (
        ([one, "--protocol", "fixed_epochs"], "It has: label_free, paper"),
        ([one, "--resamples", 10], "--resamples 10"),
        ([one, "--seed", -1], "--seed -1"),
        ([one, "--protocol", "best"], "--protocol"),
        ([one, "--with"], "--with"),
        ([], "RUN"),
        ([lonely], "one person only"),
        ([classifier], "matches none"),
        ([one.parent / "nowhere"], "nowhere"),
    ):
        assert said in compared(capsys, *words, code=2)
