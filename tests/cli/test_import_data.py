"""`simmc import` and `simmc datasets` as commands."""

from __future__ import annotations

from simmc import cli
from tests.data.imports import bytes_of, make


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
    before = bytes_of(out)
    assert cli.run("import", words) == 0 and bytes_of(out) == before
    (tmp_path / "sets" / "Broken" / "6").mkdir(parents=True)
    assert cli.run("datasets", ["--data_root", str(tmp_path / "sets")]) == 0
    head, broken, mine = capsys.readouterr().out.splitlines()[-3:]
    assert head.split()[:4] == ["dataset", "f", "persons", "recordings"]
    assert mine.split()[:5] == ["Mine", "6", "3", "9", "27"]
    assert "?" in broken


def test_what_is_missing_is_named(tmp_path, capsys):
    for words in ([], [str(tmp_path)], [str(tmp_path / "none"), "--out", str(tmp_path / "Mine")]):
        assert cli.run("import", words) == 2
    assert cli.run("import", [str(tmp_path), "--out", str(tmp_path / "KGBD")]) == 2
    assert "taken" in capsys.readouterr().err
    assert cli.run("datasets", ["--data_root", str(tmp_path / "none")]) == 2
