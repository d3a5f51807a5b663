"""The picture of attention matrices: every number in its place."""

import csv
import io
import xml.etree.ElementTree as Xml

import numpy as np
import pytest

from simmc.errors import UserError
from simmc.losses import locality_mask
from simmc.reports import attention as picture

HEADING = "SGELA on KGBD, probe · GENERATED walkers · released · seed 0"


def task(name="rev_rec", length=6, masked=True, seed=0):
    alignments = np.random.default_rng(seed).dirichlet(np.ones(length), (3, length))
    mask = locality_mask(length, length).numpy() if masked else None
    return picture.Task(name, name.title(), alignments, mask)


def texts(file):
    """The texts of an .svg in their order; matplotlib leaves each in a comment or a <text>."""
    parser = Xml.XMLParser(target=Xml.TreeBuilder(insert_comments=True))
    root = Xml.parse(file, parser).getroot()
    return [e.text.strip() for e in root.iter() if e.tag is Xml.Comment and e.text]


@pytest.mark.parametrize("length", [1, 6, 40])
def test_what_is_drawn(length, tmp_path):
    pytest.importorskip("matplotlib")
    tasks = [task(length=length), task("sort", length, masked=False, seed=1)]
    found = texts(picture.draw(tasks, HEADING, "Two tasks.", tmp_path / "a.svg"))
    assert HEADING in found and "Two tasks." in found
    assert found.count("locality mask") == 1  # sorting has none
    assert [found.count(f"axis {axis}") for axis in "xyz"] == [2, 2, 2]
    for one in tasks:
        for value in one.alignments.flatten():
            assert (f"{value:.2f}" in found) == (length <= picture.NUMBERED)
    file = picture.draw(tasks[1:], HEADING, "Sorting.", tmp_path / "b.svg")
    assert "locality mask" not in texts(file)


def test_the_same_matrices_give_the_same_file(tmp_path):
    pytest.importorskip("matplotlib")
    a, b = (picture.draw([task()], HEADING, "x", tmp_path / f"{n}.png") for n in "ab")
    assert a.read_bytes() == b.read_bytes()
    with pytest.raises(UserError, match=r"\.png or \.svg"):
        picture.draw([task()], HEADING, "x", tmp_path / "a.pdf")


def test_the_numbers():
    tasks = [task(length=3), task("sort", 3, masked=False)]
    rows = list(csv.DictReader(io.StringIO(picture.as_csv(tasks))))
    assert len(rows) == 2 * 3 * 9
    for row in rows:
        one = tasks[row["task"] == "sort"]
        t, j = int(row["step"]) - 1, int(row["frame"]) - 1
        wanted = one.alignments["xyz".index(row["axis"]), t, j]
        assert float(row["alignment"]) == pytest.approx(wanted, rel=1e-5)
        if one.mask is None:
            assert row["mask"] == ""
        else:
            assert float(row["mask"]) == pytest.approx(one.mask[t, j], rel=1e-5)
