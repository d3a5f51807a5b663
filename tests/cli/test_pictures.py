"""`simmc report importance` and `simmc report attention` on runs of generated walkers."""

import csv
import json

import numpy as np
import pytest

from simmc.runs.directory import RunDirectory
from tests.cli.conftest import BATCH, QUICK, SMALL, latest, run, words_for
from tests.conftest import contents

pytest.importorskip("matplotlib")

FLAGS = (*QUICK, "--M", 2, "--epochs", 1, "--label_free_run", "off")


@pytest.fixture(scope="module")
def made(prepared, tmp_path_factory):
    """Trains a small run, once for all tests of this module; its folder."""
    homes = {}

    def train(dataset, *flags):
        key = (dataset, *flags)
        if key not in homes:
            home = tmp_path_factory.mktemp("runs")
            where = ["--data_root", prepared(dataset), "--model_root", home]
            batch = ["--batch_size", BATCH.get(dataset, 8)]
            assert run("himpc", "--dataset", dataset, *where, *batch, *FLAGS, *flags) == 0
            probe = "nm.nm" if dataset == "CASIA_B" else "probe"
            homes[key] = RunDirectory.latest(home, dataset, probe, pointer="latest_himpc").path
        return homes[key]

    return train


def rows(file):
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize(
    ("dataset", "flags", "length", "levels"),
    [
        ("KS20", (), 6, ("joint", "component", "limb")),
        ("KGBD", ("--kgbd_order", "raw", "--levels", "joint"), 6, ("joint",)),
        ("CASIA_B", ("--mining", "easy"), 40, ("joint", "component", "limb")),
    ],
)
def test_pictures_and_numbers(dataset, flags, length, levels, made, capsys):
    folder = made(dataset, *flags)
    before = contents(folder)
    capsys.readouterr()
    assert run("report", "importance", folder.parent, "--count", 2) == 0
    shown = capsys.readouterr().out.split("\n")
    wanted = [folder / f"importance.{ending}" for ending in ("png", "svg", "csv")]
    assert shown[:-1] == [str(file) for file in wanted]
    after = contents(folder)
    assert after.keys() - before.keys() == {file.name for file in wanted}
    assert all(after[name] == content for name, content in before.items())
    numbers = rows(wanted[2])
    assert len(numbers) == 2 * len(levels) * length
    assert {row["level"] for row in numbers} == set(levels)
    assert len({row["person"] for row in numbers}) == 2
    sums: dict[tuple[str, str], float] = {}
    for row in numbers:
        assert int(row["cluster"]) >= 0  # by default windows that are clustered everywhere
        key = row["window"], row["level"]
        sums[key] = sums.get(key, 0.0) + float(row["importance"])
    np.testing.assert_allclose(list(sums.values()), 1, atol=1e-4)
    text = wanted[1].read_text(encoding="utf-8")
    for words in (f"Hi-MPC on {dataset}", "GENERATED", "mean over 2 heads", *levels):
        assert words in text
    assert ("Easy mining" in text) == ("easy" in flags)
    assert run("report", "importance", folder, "--count", 2, "--out", folder / "b.svg") == 0
    assert (folder / "b.png").read_bytes() == wanted[0].read_bytes()
    for file in (*wanted, *folder.glob("b.*")):
        file.unlink()


def test_named_windows_and_outliers_say_so(made, tmp_path):
    folder = made("KS20", "--min_samples", 1000)
    out = tmp_path / "few.png"
    assert run("report", "importance", folder, "--windows", "0, 5", "--out", out) == 0
    numbers = rows(out.with_suffix(".csv"))
    assert [row["window"] for row in numbers] == ["0"] * 18 + ["5"] * 18
    assert {row["importance"] for row in numbers} == {""}
    assert {row["cluster"] for row in numbers} == {"-1"}
    assert "outlier: no importance" in out.with_suffix(".svg").read_text(encoding="utf-8")


def test_no_window_clustered_everywhere(made, tmp_path, capsys):
    folder = made("KS20", "--min_samples", 1000)
    assert run("report", "importance", folder, "--out", tmp_path / "x.png") == 2
    assert "--windows" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "words", "named"),
    [
        *(("importance", ("--windows", text), text[-1]) for text in ("0,x", "99999", "-1")),
        ("importance", ("--windows", "1", "--count", 2), "--count"),
        ("importance", ("--count", 0), "--count 0"),
        ("importance", ("--seed", -1), "--seed -1"),
        ("attention", ("--window", 10**6), "--window 1000000"),
        ("attention", ("--window", -1), "--window -1"),
        *((name, ("--out", "x.pdf"), ".png") for name in ("importance", "attention")),
        *((name, ("--data_root", "nowhere"), "nowhere") for name in ("importance", "attention")),
    ],
    ids=str,
)
def test_wrong_flags(name, words, named, made, drawn, refused):
    folder = made("KS20") if name == "importance" else latest(drawn, "age").path
    refused("report", name, folder, *words, said=named)


def test_runs_that_have_no_such_picture(made, drawn, train, tmp_path, refused):
    simmc = train("--epochs", 1, "--label_free_run", "off").path
    unmined = made("KGBD", "--mining", "none", "--levels", "joint")
    for name, folder, named in (
        ("importance", unmined, "--mining none"),
        ("attention", drawn / "KGBD" / "probe" / "none", "--attention none"),
        *((name, simmc, "simmc simmc") for name in ("importance", "attention")),
        *((name, tmp_path, "config.json") for name in ("importance", "attention")),
        ("importance", tmp_path / "nowhere", "no such run"),
    ):
        refused("report", name, folder, said=named)


def test_data_other_than_those_of_the_training_are_refused(made, tmp_path, capsys):
    folder = made("KS20")
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    results = json.loads((copy / "results.json").read_text())
    results["data"]["manifest_sha256"] = "0" * 64
    (copy / "results.json").write_text(json.dumps(results))
    capsys.readouterr()
    assert run("report", "importance", copy) == 2
    assert "other windows" in capsys.readouterr().err


# attention


@pytest.fixture(scope="module")
def drawn(prepared, tmp_path_factory):
    """A run of each kind to draw; its home."""
    pytest.importorskip("matplotlib")
    home = tmp_path_factory.mktemp("runs")
    words = [*words_for(prepared, home), *SMALL, "--epochs", 1]
    assert run("age", *words) == 0
    assert run("sgela", *words, "--task", "rev_rec+sort", "--attention", "masked") == 0
    assert run("sgela", *words, "--attention", "none", "--run", "none") == 0
    words = [*words_for(prepared, home, "CASIA_B", "nm.nm"), *SMALL, "--epochs", 1]
    assert run("sgela", *words) == 0
    return home


def test_attention_matrices(drawn, capsys):
    folder = latest(drawn, "age").path
    capsys.readouterr()
    assert run("report", "attention", folder) == 0
    wanted = [folder / f"attention.{ending}" for ending in ("png", "svg", "csv")]
    assert capsys.readouterr().out.split("\n")[:-1] == [str(file) for file in wanted]
    numbers = rows(wanted[2])
    assert len(numbers) == 3 * 6 * 6
    values = np.array([float(row["alignment"]) for row in numbers]).reshape(3, 6, 6)
    np.testing.assert_allclose(values.sum(2), 1, atol=1e-4)
    assert float(numbers[5]["mask"]) == 1  # the first step decodes the last frame
    assert [row["axis"] for row in numbers[::36]] == ["x", "y", "z"]
    text = wanted[1].read_text(encoding="utf-8")
    for words in ("AGE on KGBD", "GENERATED", "locality mask", "mean over", "Rev. Rec."):
        assert words in text
    one = folder / "one.svg"
    assert run("report", "attention", folder, "--window", 3, "--out", one) == 0
    assert "probe window 3" in one.read_text(encoding="utf-8")
    assert rows(one.with_suffix(".csv")) != numbers


def test_attention_of_several_tasks_and_of_long_windows(drawn, tmp_path):
    out = tmp_path / "a.png"
    folder = latest(drawn, "sgela_rev_rec+sort").path
    assert run("report", "attention", folder, "--out", out) == 0
    numbers = rows(out.with_suffix(".csv"))
    assert {row["task"] for row in numbers} == {"rev_rec", "sort"}
    assert {row["mask"] for row in numbers if row["task"] == "sort"} == {""}
    assert "Masked attention" in out.with_suffix(".svg").read_text(encoding="utf-8")
    assert len(numbers) == 2 * 3 * 36
    home = drawn / "CASIA_B" / "nm.nm"
    assert run("report", "attention", home, "--out", out) == 0
    assert len(rows(out.with_suffix(".csv"))) == 3 * 40 * 40
