import numpy as np
import pytest

from simmc import cli, files
from simmc.errors import UserError
from simmc.reports import confusion, results
from simmc.reports.style import wrapped

CELLS = [[3, 3, 5], [3, 7, 1], [7, 7, 2], [9, 3, 4]]


@pytest.fixture
def folder(tmp_path):
    found = {
        "method": "SGELA (recognition)",
        "dataset": "KGBD",
        "probe": "probe",
        "protocols": {"supervised": {"top1": 7 / 12, "confusion": CELLS}, "fixed_epochs": None},
    }
    files.write_json(tmp_path / "results.json", found)
    return tmp_path


def test_counts(folder):
    persons, matrix = confusion.counts(results.load(folder), "supervised")
    assert persons == [3, 7, 9]
    assert (matrix == np.array([[5, 1, 0], [0, 2, 0], [4, 0, 0]])).all()


def test_the_command_writes_pictures_and_counts(folder, capsys):
    assert cli.run("report", ["confusion", str(folder)]) == 0
    written = capsys.readouterr().out.split()
    assert [path.rpartition(".")[2] for path in written] == ["png", "svg", "csv"]
    assert (folder / "confusion.png").read_bytes().startswith(b"\x89PNG")
    text = (folder / "confusion.svg").read_text()
    assert "58.3 % of 12 windows classified correctly" in text
    rows = (folder / "confusion.csv").read_text().splitlines()
    assert rows[0] == "true,named,windows"
    assert [list(map(int, row.split(","))) for row in rows[1:]] == CELLS


def test_a_picture_of_another_kind_is_refused(folder, capsys):
    assert cli.run("report", ["confusion", str(folder), "--out", str(folder / "c.pdf")]) == 2
    assert "c.pdf: the name must end in .png or .svg" in capsys.readouterr().err
    assert [file.name for file in folder.iterdir()] == ["results.json"]


def test_a_run_without_one(folder, tmp_path_factory):
    with pytest.raises(UserError, match="simmc recognition"):
        confusion.counts(results.load(folder), "fixed_epochs")


def test_a_long_title_is_broken_between_its_parts():
    title = "SGELA (recognition) on KGBD, probe · GENERATED walkers · released · seed 0"
    lines = wrapped(title, 60).splitlines()
    assert lines == ["SGELA (recognition) on KGBD, probe · GENERATED walkers", "released · seed 0"]
    assert wrapped(title, 200) == title
    assert wrapped(title, 5).splitlines() == title.split(" · ")
