"""Probes without a match, galleries that tell nobody apart, and labels below 0, in every command.

Own sets of six persons whose labels are changed; everything else is the same.
"""

import csv
import io

import numpy as np
import pytest

from simmc.data.experiment.load import Request, load_experiment
from simmc.data.skeletons import KINECT_V1
from simmc.data.store import write_dataset
from simmc.runs.directory import RunDirectory
from simmc.runs.records import ProbeOutcomes
from tests.cli.conftest import SMALL, latest, read_json, run
from tests.reference import metrics as reference

PERSONS, EACH, LENGTH = 6, 8, 6
RATES = ("top1", "top5", "top10", "mAP", "mINP")
COUNTED = "12 of 48 probe"


def labels(kind, split):
    """(48,) labels of a split: two recordings of four windows for each person."""
    person = np.repeat(np.arange(PERSONS), EACH)
    if kind == "shifted" and split == "probe":  # a person and a half is not in the gallery
        return np.where(np.arange(len(person)) < 12, 100 + person, person)
    if kind == "disjoint" and split == "probe":
        return person + 100
    if kind == "one":
        return np.zeros_like(person)
    if kind == "nobody":
        return np.full_like(person, -1)
    if kind == "junk_probe" and split == "probe":
        return -1 - person
    if kind == "junk" and split != "train":
        return np.where(person < 2, -1 - person, person)
    return np.where(person < 2, -1, person) if kind == "junk_train" else person


@pytest.fixture
def words(tmp_path):
    """Writes a set of a kind; the words that name it and where its runs go."""

    def make(kind):
        rng = np.random.default_rng(0)
        body = rng.normal(size=(PERSONS, 1, len(KINECT_V1.joints), 3)).repeat(EACH, 0)
        splits = {}
        for split in ("train", "probe", "gallery"):
            noise = rng.normal(scale=0.7, size=(len(body), LENGTH, *body.shape[2:]))
            splits[split] = (body + noise, labels(kind, split))
        numbers = np.repeat(np.arange(2 * PERSONS), EACH // 2)
        numbers = {split: numbers + 100 * i for i, split in enumerate(splits)}
        if kind == "shifted":
            numbers["probe"][8:12] += 1000  # half of the person has a label of its own
        write_dataset(tmp_path / "sets", "Mine", splits, KINECT_V1, recordings=numbers)
        where = ["--data_root", tmp_path / "sets", "--model_root", tmp_path / "runs"]
        return ["--dataset", "Mine", *where, "--length", LENGTH, "--threads", 1]

    return make


COMMANDS = {
    "simmc": ["--epochs", 2, "--H", 16, "--min_samples", 2, "--mact", "on"],
    "himpc": ["--epochs", 1, "--H", 16, "--min_samples", 2],
    "trackmc": ["--epochs", 2, "--H", 16, "--recordings", "merge"],
    "supervised": ["--epochs", 1, "--H", 16],
    "age": ["--epochs", 1, *SMALL],
    "descriptors": ["--descriptor", "raw_mean"],
}
LEARN_LABELS = ("supervised",)


def made(command, given, tmp_path, code=0):
    """Runs a command; the folder of its run."""
    flags = [*given, *COMMANDS[command], "--batch_size", 16]
    assert run(command, *flags) == code
    found = [p.parent for p in (tmp_path / "runs").glob("*/*/*/results.json")]
    return RunDirectory(found[0]) if found else None


def nans(out):
    """Lines with a number that is none; a setting may be called so."""
    return [line for line in out.splitlines() if " nan" in line and "eval_sqrt" not in line]


def literal(kind):
    """The counts that the labels of a set give."""
    probe, gallery = labels(kind, "probe").tolist(), labels(kind, "gallery").tolist()
    first = [-1 if p < 0 else int(p in gallery) for p in probe]
    numbers = [float("nan") if rank < 1 else 1.0 for rank in first]
    found = reference.rates(first, numbers, numbers, gallery)
    return {name: found[name] for name in ("probes", "unmatched", "averaged")}


@pytest.mark.parametrize("command", COMMANDS)
def test_probes_without_a_match_are_counted(command, words, tmp_path, capsys):
    folder = made(command, words("shifted"), tmp_path)
    out = capsys.readouterr().out
    assert COUNTED in out and not nans(out)
    epochs = [line for line in out.splitlines() if "| top-1/5/10" in line]
    assert all(COUNTED in line for line in epochs)
    for figures in folder.read_results()["protocols"].values():
        assert literal("shifted").items() <= figures.items()
        assert 0 < figures["top1"] <= 36 / 48 < figures["mAP"] + 0.3
    assert run("report", "table", folder.path) == 0
    assert "12 of 48" in capsys.readouterr().out
    assert run("report", "table", folder.path, "--format", "csv") == 0
    (row, *_) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["probes"], row["unmatched"], row["no_rates"]) == ("48", "12", "")


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        *((command, kind) for command in COMMANDS for kind in ("disjoint", "one")),
        *((command, "nobody") for command in ("simmc", "supervised", "descriptors")),
    ],
)
def test_no_rates_where_they_would_say_nothing(command, kind, words, tmp_path, capsys):
    given = words(kind)
    if command in LEARN_LABELS and kind != "disjoint":
        made(command, given, tmp_path, code=2)
        assert "training windows" in capsys.readouterr().err
        return
    folder = made(command, given, tmp_path)
    out = capsys.readouterr().out
    reason = "match in the gallery" if kind == "disjoint" else "the gallery has"
    assert reason in out and not nans(out) and "top-1/5/10" not in out
    for figures in folder.read_results()["protocols"].values():
        assert not any(figures[name] is not None for name in (*RATES, "cmc"))
        assert reason in figures["no_rates"]
        assert literal(kind).items() <= figures.items()
    assert run("report", "table", folder.path) == 0
    table = capsys.readouterr().out
    assert "100.0" not in table and "No rates" in table
    assert run("report", "cmc", folder.path) == 2
    assert reason in capsys.readouterr().err
    if command == "descriptors":
        return
    assert run(command, *given, "--run", folder.path.name, "--mode", "Eval") == 0
    assert reason in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["shifted", "disjoint", "one", "junk"])
def test_figures_are_those_of_the_reference(kind, words, tmp_path):
    folder = made("descriptors", words(kind), tmp_path)
    request = Request(tmp_path / "sets", "Mine", LENGTH, "probe", part_batches="keep")
    data = load_experiment(request, np.random.default_rng(0))
    probe, gallery = (s.windows.mean(1).reshape(len(s), -1) for s in (data.probe, data.gallery))
    squares = reference.squared_distances(probe, gallery)
    ids = labels(kind, "gallery").tolist()
    found = reference.evaluate(squares, labels(kind, "probe").tolist(), ids)
    wanted = reference.rates(*found, ids)
    figures = folder.read_results()["protocols"]["paper"]
    assert {name: figures[name] for name in wanted} == pytest.approx(wanted, abs=1e-6)
    kept = ProbeOutcomes.read(folder.probes_path("paper"))
    np.testing.assert_array_equal(kept.first_match_rank, found[0])
    np.testing.assert_array_equal(kept.identity, labels(kind, "probe"))


def test_labels_below_zero_are_not_scored(words, tmp_path, capsys):
    given = words("junk")
    folder = made("simmc", given, tmp_path)
    out = capsys.readouterr().out
    assert "16 of 48 probe windows" in out and "below 0: probe 16, gallery 16" in out
    results = folder.read_results()
    assert results["counts"]["labels_below_0"] == {"train": 0, "probe": 16, "gallery": 16}
    assert results["counts"]["identities"] == PERSONS - 2
    for figures in results["protocols"].values():
        assert literal("junk").items() <= figures.items()
    assert run("report", "compare", folder.path, "--format", "csv") == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["persons"], row["windows"], row["unmatched"]) == ("4", "32", "0")


@pytest.mark.parametrize(("kind", "unmatched", "recordings"), [("shifted", 12, 3), ("junk", 0, 0)])
def test_further_ways_of_matching(kind, unmatched, recordings, words, tmp_path, capsys):
    given = words(kind)
    folder = made("simmc", given, tmp_path)
    flags = ["--mode", "Eval", "--rerank", "on", "--walk", "all", "--expand", 2]
    assert run("simmc", *given, *flags) == 0
    for tables in read_json(folder.matching_path)["protocols"].values():
        assert tables["windows"][0]["unmatched"] == unmatched
        probes = 4 * 2 if kind == "junk" else 12
        for row in tables["walks"]:
            assert (row["probes"], row["unmatched"]) == (probes, recordings)
    below = capsys.readouterr().out.partition("further ways")[2]
    assert ("3 of 12 probes unmatched" in below) == (kind == "shifted")


@pytest.mark.parametrize("kind", ["shifted", "disjoint", "one", "nobody", "junk"])
def test_identify_says_whom_its_check_leaves_out(kind, words, tmp_path, capsys):
    given = words(kind)
    made("simmc", given, tmp_path)
    capsys.readouterr()
    assert run("identify", *given, "--method", "simmc", "--protocol", "label_free") == 0
    check = capsys.readouterr().out.partition("check against")[2]
    if kind == "shifted":
        assert "of 12 probe recordings; 3 of them" in check
    elif kind == "junk":
        assert "of 8 probe recordings; 4 with a label below 0" in check
    else:
        assert "top-1" not in check and "no rate" in check
    (matches,) = (tmp_path / "runs").rglob("matches.csv")
    with matches.open() as file:
        shown = {int(row["gallery_identity"]) for row in csv.DictReader(file)}
    assert shown <= set(labels(kind, "gallery").tolist())


@pytest.mark.parametrize(("kind", "code"), [("shifted", 0), ("one", 2)])
def test_compare_counts_and_refuses(kind, code, words, tmp_path, capsys):
    folder = made("simmc", words(kind), tmp_path)
    capsys.readouterr()
    assert run("report", "compare", folder.path) == code
    out, err = capsys.readouterr()
    assert ("Unmatched" in out and " 12\n" in out) == (code == 0)
    assert ("the gallery has" in err) == (code == 2)
    assert run("report", "curves", folder.path) == 0


@pytest.mark.parametrize("score", ["match", "classify"])
def test_recognition(score, words, tmp_path, capsys):
    given = words("junk")
    assert run("age", *given, *COMMANDS["age"], "--batch_size", 16) == 0
    assert latest(tmp_path / "runs", "age", "Mine").best.is_file()
    flags = ["--source", "AGE", "--score", score, "--epochs", 1, "--batch_size", 16]
    capsys.readouterr()
    assert run("recognition", *given, *flags) == 0
    out = capsys.readouterr().out
    assert "16 of 48 probe windows are not scored" in out
    found = [read_json(path) for path in (tmp_path / "runs").glob("*/*/*/results.json")]
    (results,) = (one for one in found if one["method"] != "AGE")
    for figures in results["protocols"].values():
        assert (figures["probes"], figures["unmatched"]) == (32, 0)


@pytest.mark.parametrize("classifier", ["knn", "adaboost"])
def test_classifiers_name_known_persons_alone(classifier, words, tmp_path, capsys):
    flags = ["--descriptor", "raw_mean", "--batch_size", 16, "--classifier", classifier]
    given = words("junk")
    assert run("descriptors", *given, *flags, "--train_on", "train_gallery") == 2
    assert "--train_on train" in capsys.readouterr().err
    assert run("descriptors", *given, *flags, "--train_on", "train") == 0
    assert "16 of 48 probe windows are not scored" in capsys.readouterr().out


KNN = ["--descriptor", "raw_mean", "--classifier", "knn"]


@pytest.mark.parametrize(
    ("kind", "command", "flags", "said"),
    [
        ("junk_train", "supervised", ["--H", 16], "label below 0"),
        ("junk_train", "simmc", ["--class_sampling", "all"], "label below 0"),
        ("junk_train", "descriptors", KNN, "label below 0"),
        ("junk_probe", "descriptors", KNN, "--classifier knn"),
        *(
            ("one", "descriptors", [*KNN[:-1], name], f"--classifier {name}")
            for name in ("knn", "svm", "adaboost")
        ),
    ],
)
def test_labels_that_nothing_can_be_learned_from(kind, command, flags, said, words, refused):
    assert "--" in refused(command, *words(kind), *flags, "--batch_size", 16, said=said)


def test_training_labels_below_zero_do_not_matter_without_labels(words, tmp_path):
    """And the diagnostics leave these windows out."""
    folder = made("simmc", words("junk_train"), tmp_path)
    records = folder.read_metrics()
    assert all("ami" in record and "mACT" in record for record in records)


def test_trained_weights_are_of_use_without_rates(words, tmp_path, capsys):
    """No epoch can be chosen by rates, so the commands take the weights of the label-free one."""
    given = words("one")
    folder = made("himpc", given, tmp_path)
    assert not folder.best.is_file()
    capsys.readouterr()
    assert run("embed", *given, "--method", "himpc", "--protocol", "label_free") == 0
    assert run("report", "importance", folder.path, "--windows", "0") == 0
    assert "label_free.pt" in capsys.readouterr().err


def test_incomplete_batches_are_counted(words, tmp_path, capsys):
    flags = ["--descriptor", "raw_mean", "--batch_size", 10, "--part_batches"]
    given = words("full")
    assert run("descriptors", *given, *flags, "drop") == 0
    assert "train 8, probe 8, gallery 8" in capsys.readouterr().out
    (path,) = (tmp_path / "runs").rglob("results.json")
    assert read_json(path)["counts"]["dropped"] == {"train": 8, "probe": 8, "gallery": 8}
    assert run("descriptors", *given, *flags, "keep") == 0
    assert "incomplete batches" not in capsys.readouterr().out


def test_there_is_nobody_to_name(words, tmp_path, refused):
    given = words("junk_probe")
    assert run("age", *given, *COMMANDS["age"], "--batch_size", 16) == 0
    flags = ["--source", "AGE", "--score", "classify", "--epochs", 1, "--batch_size", 16]
    refused("recognition", *given, *flags, said=["--probe probe", "label below 0"])
