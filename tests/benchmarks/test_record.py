"""From a record to numbers, tables and pictures; figures can be checked on paper."""

import json
from pathlib import Path

import pytest

from benchmarks import measure, page
from simmc.errors import UserError
from tests.benchmarks import make
from tests.benchmarks.make import case, epoch, record

STORED = sorted((Path(__file__).parents[2] / "docs" / "benchmark").glob("*.json"))


def cells(text, start):
    """The cells of the one table row that begins so."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("file", STORED, ids=lambda file: file.stem)
def test_stored_records_are_readable(file, tmp_path):
    made = measure.read(file)
    text = page.document(made)
    assert all(f"| {case['n']:,} |" in text for case in made["cases"])
    kept = json.loads(file.read_text())["summary"]["fits"]
    fits = page.summarise(made)["fits"]
    assert [f["exponent"] for f in fits] == pytest.approx([f["exponent"] for f in kept])


def test_seconds_of_stages_and_of_sums():
    found = page.spread(case(1000), "ours")
    assert found == (3.0, 1.0, 11.0)  # 1 + 0, 2 + 1, 9 + 2
    assert page.spread(case(1000), "ours", "jaccard").median == 2.0
    assert page.spread(case(1000), "whole") == (4.0, 4.0, 13.0)  # 3 + 1, 1 + 3, 2 + 11
    assert page.spread(case(1000), "whole_approximate") is None
    assert page.spread(case(1000, lists={"kind": "approximate"}), "whole") is None
    assert page.spread(case(1000, time=None), "ours") is None


def test_ratios_and_exponents():
    cases = [case(n) for n in (1000, 2000, 4000)] + [case(n, dataset="another") for n in (10, 20)]
    made = page.summarise(record(*cases, fit_from=2000))
    ratios = made["cases"][1]["ratios"]
    assert ratios["dense / ours, time without k-NN"] == pytest.approx(42 * 4 / 5)
    assert ratios["dense / ours, added memory"] == pytest.approx(16)
    assert "exact / approximate k-NN, time" not in ratios and made["cases"][1]["labels_identical"]
    fits = {(f["dataset"], f["kind"], f["contestant"]): f for f in made["fits"]}
    assert {dataset for dataset, _, _ in fits} == {"clustered (generated)"}
    for kind, name, exponent in (
        ("memory", "dense", 2),
        ("memory", "ours", 1),
        ("time", "exact", 2),
    ):
        found = fits["clustered (generated)", kind, name]
        assert (found["exponent"], found["first"]) == (pytest.approx(exponent), 2000)


def test_tables():
    text = page.document(record(case(2000), case(1000), notes=["something was left out"]))
    clustering, search, memory = text.split("### ")[1:4]
    row = cells(clustering, "2,000")
    assert row[:3] == ["2,000", "exact", "5.00 (2.00 - 20.0)"]
    assert row[7:] == ["168", "33.6 x", "identical", "7", "11", "14.0 (9.00 - 28.0)"]
    assert cells(search, "2,000") == ["2,000", "8.00 (4.00 - 12.0)", "4.00", "2.00 x"]
    assert cells(memory, "2,000") == ["2,000", "1.91 (102)", "30.5 (131)", "16.0 x"]
    dense = "clustered (generated) | dense Jaccard + scikit-learn DBSCAN"
    assert cells(text, dense)[2:] == ["N^2.00", "1,000 - 2,000 (2)"] * 2
    assert "- something was left out" in text
    made = case(9)
    made["time"]["labels_differing"] = 1234
    assert "| 1,234 differ |" in page.document(record(made))


def test_what_is_missing_is_a_dash_or_left_out():
    bare = case(9, memory={}, time={"seconds": {"ours": {"jaccard": [1.0], "dbscan": [1.0]}}})
    text = page.document(record(bare))
    assert cells(text, "9")[2:8] == ["2.00", "1.00", "1.00", "-", "-", "-"]
    assert "k nearest" not in text and "Peak memory" not in text and "## Growth" not in text
    assert "## clustered" in page.document(record(case(9, time=None, lists=None)))


def test_an_epoch_beside_the_constants():
    text = page.document(record(epoch=epoch()))
    assert "31,488 training windows" in text and "measured elsewhere" in text
    assert cells(text, "neighbours") == ["neighbours", "4.00", "in jaccard"]
    assert cells(text, "all") == ["all", "10.0", "286"]
    assert cells(text, "share of neighbours and evaluation")[1:] == ["0.700", "0.577"]
    assert cells(text, "peak memory of the process")[1:] == ["1.05 GB", "13 to 18 GB"]
    only = epoch(seconds=epoch()["seconds"][:1])
    assert page.medians(only)["total"] == 100.0


def test_pictures_hold_the_exponents(tmp_path):
    pytest.importorskip("matplotlib")
    made = record(case(1000), case(2000), case(500, dataset="KGBD (real)"))
    files = page.draw(made, tmp_path)
    assert [file.name for file in files] == [
        f"benchmark_{kind}.{form}" for kind in ("time", "memory") for form in ("png", "svg")
    ]
    for panel, wanted in zip(page.figure(made, "memory").axes, (2, 0), strict=True):
        labels = [text.get_text() for text in panel.get_legend().get_texts()]
        assert sum("N^" in label for label in labels) == wanted
    assert page.draw(record(), tmp_path) == []


def test_a_record_is_continued_and_never_mixed(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "machine", lambda threads: make.MACHINE | {"threads": threads})
    out = tmp_path / "deep" / "out"
    fresh = measure.begin(out, {"repeats": 3}, 2)
    found = measure.case_of(fresh, "b", 400, True)
    for sentence in ("one", "one"):
        measure.note(fresh, sentence)
    measure.save(out, fresh)
    again = measure.begin(out, {"repeats": 3}, 2)
    assert again["cases"] == [found] and again["notes"] == ["one"]
    measure.case_of(again, "a", 300, False)
    measure.case_of(again, "b", 200, True)
    assert [(c["dataset"], c["n"]) for c in again["cases"]] == [("b", 200), ("b", 400), ("a", 300)]
    with pytest.raises(UserError, match="threads 2, not 1"):
        measure.begin(out, {"repeats": 3}, 1)
    with pytest.raises(UserError, match="repeats 3, not 5"):
        measure.begin(out, {"repeats": 5}, 2)
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match=r"--out .*taken.*another folder"):
        measure.begin(tmp_path / "taken", {}, 2)


@pytest.mark.parametrize(
    "text", ["{", "[]", "\xff", '{"format": 0}', json.dumps(record(cases=[3])), "3"]
)
def test_a_damaged_record_is_named(tmp_path, text):
    (tmp_path / measure.FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=measure.FILE):
        measure.read(tmp_path / measure.FILE)
