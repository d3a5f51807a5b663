"""Which recordings of an import are learned from, and which are tested."""

import pytest

import simmc
from simmc.cli.import_data import report
from simmc.data.importing.assign import Known, Rule, by_chance, by_rules
from simmc.data.importing.description import described
from simmc.errors import UserError
from tests.data.imports import content, csv_text, frames, load, make


def known(persons, walks, sessions=1) -> list[Known]:
    return [
        Known(f"{p}/{w}", about(p) | {"session": f"s{w % sessions}", "camera": f"c{w}"})
        for p in persons
        for w in range(walks)
    ]


def about(person) -> dict[str, str]:
    return {} if person is None else {"person": str(person)}


@pytest.mark.parametrize("unit", ["recording", "session", "camera"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_units_are_never_divided_and_every_person_is_in_all_splits(unit, share):
    recordings = known(range(6), 8, sessions=4)
    split = by_chance(recordings, Rule(unit, hold_out=share, seed=3))
    for person in range(6):
        mine = [(r, s) for r, s in zip(recordings, split, strict=True) if r.person == str(person)]
        assert {s for _, s in mine} == {"train", "gallery", "probe"}
        if unit != "recording":
            by_unit = {r.fields[unit]: set() for r, _ in mine}
            for r, s in mine:
                by_unit[r.fields[unit]].add(s)
            assert all(len(found) == 1 for found in by_unit.values())
    held = sum(s != "train" for s in split) / len(split)
    assert abs(held - share) <= 0.26
    assert split == by_chance(recordings, Rule(unit, hold_out=share, seed=3))
    other = by_chance(recordings, Rule(unit, hold_out=share, seed=4))
    assert split != other


def test_a_misspelt_unit_does_not_divide_by_recording():
    with pytest.raises(UserError, match="'sesion'; choose one of recording, session, camera, none"):
        Rule("sesion")
    with pytest.raises(UserError, match="choose one of recording"):
        simmc.import_recordings([frames(0)], "unused", split="sesion")


def test_persons_apart_persons_unknown_and_copies():
    recordings = known(range(10), 2)
    split = by_chance(recordings, Rule(person_disjoint=True))
    where = {
        r.person: {s for q, s in zip(recordings, split, strict=True) if q.person == r.person}
        for r in recordings
    }
    assert sorted(map(tuple, map(sorted, where.values()))).count(("train",)) == 5
    assert sum(found == {"gallery", "probe"} for found in where.values()) == 5
    assert set(by_chance(known([None], 9), Rule())) == {"train", "gallery", "probe"}
    with pytest.raises(UserError, match="person"):
        by_chance(known([None], 9), Rule(person_disjoint=True))
    copies = [Known(f"w{n}", about("a"), copy_of="w0" if n < 4 else "") for n in range(8)]
    for seed in range(5):
        assert len(set(by_chance(copies, Rule(seed=seed))[:4])) == 1
    nothing = by_chance(known(range(3), 3), Rule("none"))
    assert sorted(nothing)[:2] == ["gallery", "probe"] and nothing.count("train") == 7


@pytest.mark.parametrize("unit", ["recording", "none"])
def test_copies_of_what_was_imported_before_stay_with_it(tmp_path, unit):
    """Under another name, in a second and a third import."""
    source, out = make(tmp_path / "raw", walks=4), tmp_path / "Mine"
    load(source, out, rule=Rule(unit))
    before = {r["name"]: r["split"] for r in content(out)["recordings"]}
    names = list(before)
    for place, number in ((10, 1), (11, 1), (10, 2)):
        for name in names:
            path = source / name
            new = path.with_name(f"copy{place}_{number}_{path.name}")
            new.write_bytes(path.read_bytes())
        made = load(source, out, rule=Rule(unit))
        assert len(made.added) == len(names)
    found = {r["name"]: r["split"] for r in content(out)["recordings"]}
    groups = content(out)["copies"]
    assert len(groups) == len(names) and {len(group) for group in groups} == {4}
    for first, *copies in groups:
        assert first in before and found[first] == before[first]
        assert {found[name] for name in copies} == {before[first]}
    text = "\n".join(report(made, ""))
    assert f"the same frames, bit by bit: {', '.join(groups[0])}" in text


def test_the_report_counts_copies_and_recordings_without_a_window(tmp_path):
    source = make(tmp_path / "raw")
    for number in range(6):
        (source / "person0" / f"z{number}.csv").write_text(csv_text(frames(1)))  # walk1
        (source / "person1" / f"short{number}.csv").write_text(csv_text(frames(number, 5)))
    lines = report(load(source, tmp_path / "Mine"), "")
    names = ["person0/walk1.csv", *(f"person0/z{number}.csv" for number in range(4))]
    assert f"the same frames, bit by bit: {', '.join(names)} and 2 more" in lines
    assert "6 recordings give no window of 6 frames" in lines


def test_nothing_is_held_out_but_one_recording_each(tmp_path):
    """The first two with a window, by person and name, with their copies."""
    source = make(tmp_path / "raw")
    (source / "person0" / "walk0.csv").write_text(csv_text(frames(5, 3)))  # too short
    (source / "person2" / "walk9.csv").write_text((source / "person0" / "walk1.csv").read_text())
    load(source, tmp_path / "Mine", rule=Rule("none"))
    split = {r["name"]: r["split"] for r in content(tmp_path / "Mine")["recordings"]}
    held = {name: found for name, found in split.items() if found != "train"}
    assert held == {
        "person0/walk1.csv": "gallery",
        "person2/walk9.csv": "gallery",
        "person0/walk2.csv": "probe",
    }
    make(source, walks=5)
    load(source, tmp_path / "Mine", rule=Rule("none"))
    more = [r["split"] for r in content(tmp_path / "Mine")["recordings"][len(split) :]]
    assert more == ["train"] * 6
    few = make(tmp_path / "few", persons=1, walks=2)
    with pytest.raises(UserError, match="--split none needs three recordings"):
        load(few, tmp_path / "Few", rule=Rule("none"))
    with pytest.raises(UserError, match="person_disjoint"):
        Rule("none", person_disjoint=True)


def test_recordings_without_a_window_are_no_part_of_the_choice():
    whole = known(range(3), 3)
    empty = [Known(f"{p}/short", about(p), empty=True) for p in range(3)]
    for rule in (Rule(), Rule(person_disjoint=True)):
        split = by_chance([*empty, *whole], rule)
        assert split == ["train"] * 3 + by_chance(whole, rule)


def test_rules_and_split_files(tmp_path):
    rules = [{"to": "train", "gait": "a.*"}, {"to": "probe", "person": "[12]"}]
    told = described({"split": rules}, "t")
    made = [Known("w", about(p) | {"gait": g}) for p, g in (("1", "ab"), ("2", "b"), ("3", "b"))]
    assert by_rules(made, told) == ["train", "probe", "none"]
    with pytest.raises(UserError, match="gait"):
        by_rules([Known("w", about("1"))], told)
    source = make(tmp_path / "raw")
    rows = [
        f"person{p}/walk{w}.csv,{s}"
        for p in range(3)
        for w, s in ((1, "train"), (2, "probe"), (3, "gallery"))
    ]
    (tmp_path / "split.csv").write_text("\n".join(["recording,split", *rows]))
    load(source, tmp_path / "Mine", split_file=str(tmp_path / "split.csv"))
    assert [f"{r['name']},{r['split']}" for r in content(tmp_path / "Mine")["recordings"]] == rows
