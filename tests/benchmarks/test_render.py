"""Tables and pictures of records made by hand."""

import pytest
from simmc.benchmarks import plots, tables

from tests.benchmarks.make import case, epoch, record


def cells(text, start):
    """The cells of the one table row that begins so."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_one_row_a_size():
    text = tables.document(record(case(2000)))
    assert "## clustered (generated)" in text
    clustering, search, memory = text.split("### ")[1:4]
    row = cells(clustering, "2,000")
    assert row[:3] == ["2,000", "exact", "5.00 (2.00 - 20.0)"]
    assert row[7:] == ["168", "33.6 x", "identical", "7", "11", "14.0 (9.00 - 28.0)"]
    assert cells(search, "2,000") == (
        ["2,000", "8.00 (4.00 - 12.0)", "-", "4.00", "-", "2.00 x", "-", "-", "-"]
    )
    assert cells(memory, "2,000") == ["2,000", "1.91 (102)", "30.5 (131)", "16.0 x"]


def test_what_is_missing_is_a_dash_or_left_out():
    bare = case(9, memory={}, time={"seconds": {"ours": {"jaccard": [1.0], "dbscan": [1.0]}}})
    text = tables.document(record(bare))
    assert cells(text, "9")[2:8] == ["2.00", "1.00", "1.00", "-", "-", "-"]
    assert "k nearest" not in text and "Peak memory" not in text and "## Growth" not in text
    assert "## clustered" in tables.document(record(case(9, time=None, lists=None)))


def test_labels_that_differ_are_counted():
    made = case(9)
    made["time"]["labels_differing"] = 1234
    assert "| 1,234 differ |" in tables.document(record(made))


def test_growth_and_notes():
    text = tables.document(record(case(1000), case(2000), notes=["something was left out"]))
    growth = text.split("## Growth")[1]
    dense = cells(growth, "clustered (generated) | dense Jaccard + scikit-learn DBSCAN")
    assert dense[2:] == ["N^2.00", "1,000 - 2,000 (2)"] * 2
    assert "- something was left out" in text


def test_an_epoch_beside_the_constants():
    text = tables.document(record(epoch=epoch()))
    assert "31,488 training windows" in text
    assert "measured elsewhere" in text and "docs/results.md" in text
    assert cells(text, "evaluation") == ["evaluation", "3.00", "149"]
    assert cells(text, "neighbours") == ["neighbours", "4.00", "in jaccard"]
    assert cells(text, "all") == ["all", "10.0", "286"]
    assert cells(text, "share of neighbours and evaluation")[1:] == ["0.700", "0.577"]
    assert cells(text, "peak memory of the process")[1:] == ["1.05 GB", "13 to 18 GB"]
    assert "generated walkers" in tables.document(record(epoch=epoch(generated=True)))


@pytest.mark.parametrize(
    ("x", "shown"), [(0.00123, "0.0012"), (0.123, "0.123"), (9.876, "9.88"), (12345, "12,345")]
)
def test_numbers(x, shown):
    assert tables.number(x) == shown


def test_pictures_hold_the_exponents(tmp_path):
    pytest.importorskip("matplotlib")
    made = record(case(1000), case(2000), case(500, dataset="KGBD (real)"))
    files = plots.draw(made, tmp_path)
    assert [file.name for file in files] == [
        f"benchmark_{kind}.{form}" for kind in ("time", "memory") for form in ("png", "svg")
    ]
    for panel, contestant in zip(plots.figure(made, "memory").axes, (2, 0), strict=True):
        labels = [text.get_text() for text in panel.get_legend().get_texts()]
        assert len(labels) == 2
        assert sum("N^2.00" in label for label in labels) == (contestant == 2)
    assert plots.draw(record(), tmp_path) == []
