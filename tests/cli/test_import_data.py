"""`simmc import` and `simmc datasets` as commands."""

import shlex
import shutil

import numpy as np

from simmc import cli
from tests.conftest import contents
from tests.data.imports import csv_text, frames, make


def test_from_files_to_the_table_of_datasets(tmp_path, capsys):
    source, out = make(tmp_path / "raw"), tmp_path / "sets" / "Mine"
    words = [str(source), "--out", str(out)]
    assert cli.run("import", [*words, "--guess"]) == 0
    assert cli.run("import", [*words, "--guess"]) == 2  # it exists
    assert cli.run("import", words) == 0
    found = capsys.readouterr().out
    for text in ("9 recordings added", "3 persons", "train", "look.html", "simmc trackmc"):
        assert text in found
    assert (out / "look.html").is_file()
    before = contents(out)
    assert cli.run("import", words) == 0 and contents(out) == before
    (tmp_path / "sets" / "Broken" / "6").mkdir(parents=True)
    assert cli.run("datasets", ["--data_root", str(tmp_path / "sets")]) == 0
    head, broken, mine = capsys.readouterr().out.splitlines()[-3:]
    assert head.split()[:4] == ["dataset", "f", "persons", "recordings"]
    assert mine.split()[:5] == ["Mine", "6", "3", "9", "27"]
    assert "?" in broken


def test_joints_without_names_need_other_inputs(tmp_path, capsys):
    source, out = tmp_path / "some walks", tmp_path / "my sets" / "Mine"
    source.mkdir()
    for i in range(6):
        np.save(source / f"{i}.npy", np.random.default_rng(i).normal(size=(20, 7, 3)))
    words = ["import", str(source), "--out", str(out)]
    guess = tmp_path / "guess.toml"
    assert cli.run(words[0], [*words[1:], "--guess", "--description", str(guess)]) == 0
    assert f"{shlex.join([*words, '--description', str(guess)])}\n" in capsys.readouterr().out
    assert cli.run(words[0], words[1:]) == 0
    hint = capsys.readouterr().out.splitlines()[-1].partition("-m simmc ")[2]
    assert "--input distances" in hint
    command, *rest = shlex.split(hint)
    assert cli.run(command, [*rest, "--epochs", "1", "--model_root", str(tmp_path / "runs")]) == 0


def test_each_doubt_is_printed_once_with_what_to_do(tmp_path, capsys):
    """Centimetres with z up, wrongly described, then as the messages advise."""
    source, out = tmp_path / "raw", tmp_path / "sets" / "Mine"
    source.mkdir()
    out.mkdir(parents=True)
    for walk in range(3):
        x, y, z = np.moveaxis(100 * frames(walk), -1, 0)
        (source / f"{walk}.csv").write_text(csv_text(np.stack([x, -z, y], -1)))
    (out / "dataset.toml").write_text('up = "-y"')
    words = [str(source), "--out", str(out)]
    assert cli.run("import", words) == 0
    checks = [line for line in capsys.readouterr().out.splitlines() if line.startswith("check:")]
    unit, axes = (line for line in checks if "measures" in line or "Heads" in line)
    assert unit.endswith('They look like centimetres: set unit = "cm" in dataset.toml.')
    assert axes.endswith('Set up = "z" in dataset.toml.')
    assert not any(word in line for line in checks for word in ("not plausible", "long along"))
    (out / "dataset.toml").write_text('up = "-y"\nunit = "cm"')
    assert cli.run("import", words) == 2  # another unit than that of the recordings there
    shutil.rmtree(out / "6")
    assert cli.run("import", [*words, "--page", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (remark,) = (line for line in lines if line.startswith("check:"))
    assert "long along" in remark
    (again,) = (line for line in lines if line.startswith("after a change of dataset.toml"))
    assert f"delete {out / '6'} and run: python -m simmc import" in again
    (out / "dataset.toml").write_text('up = "z"\nunit = "cm"')
    shutil.rmtree(out / "6")
    command, *rest = shlex.split(again.partition("-m simmc ")[2])
    assert cli.run(command, rest) == 0
    text = capsys.readouterr().out
    assert not any(word in text for word in ("measures", "Heads", "plausible", "long along"))


def test_what_is_missing_is_named(tmp_path, capsys):
    for words in ([], [str(tmp_path)], [str(tmp_path / "none"), "--out", str(tmp_path / "Mine")]):
        assert cli.run("import", words) == 2
    assert cli.run("import", [str(tmp_path), "--out", str(tmp_path / "KGBD")]) == 2
    assert "taken" in capsys.readouterr().err
    assert cli.run("datasets", ["--data_root", str(tmp_path / "none")]) == 2
