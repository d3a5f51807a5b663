"""`simmc report importance` on runs of generated walkers."""

import csv
import json

import numpy as np
import pytest

from simmc.runs.directory import RunDirectory
from tests.cli.conftest import BATCH, QUICK, contents, run

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
    ("words", "message"),
    [
        (("--windows", "0,x"), "'x' is no training window; they are numbered from 0 to "),
        (("--windows", "99999"), "'99999' is no training window"),
        (("--windows", "-1"), "no training window"),
        (("--windows", "1", "--count", 2), "not allowed with"),
        (("--count", 0), "--count 0 must be at least 1"),
        (("--seed", -1), "--seed -1 at least 0"),
        (("--out", "x.pdf"), ".png or .svg"),
        (("--data_root", "nowhere"), "nowhere"),
    ],
    ids=str,
)
def test_wrong_flags(words, message, made, capsys):
    folder = made("KS20")
    capsys.readouterr()
    assert run("report", "importance", folder, *words) == 2
    assert message in capsys.readouterr().err


def test_runs_that_have_no_importance(made, train, tmp_path, capsys):
    folder = made("KGBD", "--mining", "none", "--levels", "joint")
    simmc = train("--epochs", 1, "--label_free_run", "off").path
    empty = tmp_path / "empty"
    empty.mkdir()
    for path, message in (
        (folder, "was trained with --mining none"),
        (simmc, "is a run of simmc simmc, which does not weigh frames"),
        (empty, "has no config.json"),
        (tmp_path / "nowhere", "there is no such run"),
    ):
        capsys.readouterr()
        assert run("report", "importance", path) == 2
        assert message in capsys.readouterr().err


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
