"""`simmc import` and `simmc datasets` as commands."""

import shlex

import numpy as np

from simmc import cli
from tests.conftest import contents
from tests.data.imports import make


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


def test_what_is_missing_is_named(tmp_path, capsys):
    for words in ([], [str(tmp_path)], [str(tmp_path / "none"), "--out", str(tmp_path / "Mine")]):
        assert cli.run("import", words) == 2
    assert cli.run("import", [str(tmp_path), "--out", str(tmp_path / "KGBD")]) == 2
    assert "taken" in capsys.readouterr().err
    assert cli.run("datasets", ["--data_root", str(tmp_path / "none")]) == 2
