import json

import pytest
from simmc.benchmarks import record

from simmc.errors import UserError
from tests.benchmarks import make


def test_what_is_written_is_read(tmp_path):
    made = make.record(make.case(1000), make.case(2000), notes=["a note"], epoch=make.epoch())
    file = record.save(tmp_path, made)
    assert record.read(file) == made
    assert {"cases", "fits"} == set(made["summary"])


def test_a_record_is_continued(tmp_path):
    settings = {"repeats": 3}
    fresh = record.begin(tmp_path / "deep" / "out", make.MACHINE, settings)
    assert fresh["cases"] == []
    found = record.case_of(fresh, "b", 400, True)
    found["lists"] = {"kind": "exact"}
    record.save(tmp_path / "deep" / "out", fresh)
    again = record.begin(tmp_path / "deep" / "out", make.MACHINE, settings)
    assert again["cases"] == [found]
    assert record.case_of(again, "b", 400, True) == found
    record.case_of(again, "a", 300, False)
    record.case_of(again, "b", 200, True)
    assert [(c["dataset"], c["n"]) for c in again["cases"]] == [("b", 200), ("b", 400), ("a", 300)]


@pytest.mark.parametrize(
    ("machine", "settings", "named"),
    [({"threads": 1}, {}, "threads 2, not 1"), ({}, {"repeats": 5}, "repeats 3, not 5")],
)
def test_measurements_are_not_mixed(tmp_path, machine, settings, named):
    record.save(tmp_path, record.begin(tmp_path, make.MACHINE, {"repeats": 3}))
    with pytest.raises(UserError, match=named):
        record.begin(tmp_path, make.MACHINE | machine, {"repeats": 3} | settings)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}', '{"format": 0}', "\xff"])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / record.FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=record.FILE):
        record.begin(tmp_path, make.MACHINE, {})


def test_a_file_in_the_folder_s_place(tmp_path):
    (tmp_path / "taken").write_text("")
    for out in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(UserError, match=r"--out .*taken.*another folder"):
            record.begin(out, make.MACHINE, {})


def test_notes_are_kept_once():
    made = make.record()
    for sentence in ("one", "two", "one"):
        record.note(made, sentence)
    assert made["notes"] == ["one", "two"]


def test_the_file_is_strict_json(tmp_path):
    made = make.record(make.case(5, lists={"kind": "exact", "agreement": float("nan")}))
    record.save(tmp_path, made)
    text = (tmp_path / record.FILE).read_text()
    assert "NaN" not in text
    assert json.loads(text)["cases"][0]["lists"]["agreement"] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"machine": {}},
        {"settings": {"repeats": "three"}},
        {"notes": [1]},
        {"fit_from": None},
        {"load": "high"},
        {"epoch": {"seconds": []}},
        {"epoch": make.epoch(seconds=[])},
        {"epoch": make.epoch(windows={})},
        {"cases": [3]},
        {"cases": [make.case(0)]},
        {"cases": [make.case(1000, lists="exact")]},
        {"cases": [make.case(1000, memory={"ours": {"added_bytes": 1}})]},
        {"cases": [make.case(1000, memory={"ours": {"added_bytes": 1, "peak_bytes": None}})]},
        {"cases": [make.case(1000, time={"seconds": {"ours": {"jaccard": [1.0, "x"]}}})]},
        {"cases": [make.case(1000, time={"seconds": {"ours": {"a": [1.0], "b": [1.0, 2.0]}}})]},
    ],
    ids=str,
)
def test_a_record_with_wrong_contents_is_named(tmp_path, changes):
    file = tmp_path / record.FILE
    file.write_text(json.dumps(make.record(**changes)))
    with pytest.raises(UserError, match=record.FILE):
        record.read(file)
