import csv
import io
import math
import os
import tomllib

import pytest

from simmc.errors import UserError
from simmc.reports import render, results, tables
from tests.conftest import ROOT


def loaded(*folders):
    return [results.load(folder) for folder in folders]


def by_protocol(table, name):
    return [row for row in table.rows if row.protocol == name and not row.is_published]


def test_mean_and_sample_deviation_over_seeds(make_run):
    runs = loaded(*(make_run(f"s{seed}", 0.5 + 0.02 * seed, seed=seed) for seed in range(3)))
    (row,) = by_protocol(tables.build(runs), "paper")
    assert row.seeds == ("0", "1", "2")
    assert math.isclose(row.rates["top1"].mean, 52.0)
    assert math.isclose(row.rates["top1"].std, 2.0)  # of 50, 52, 54 with n - 1
    assert str(row.rates["top1"]) == "52.0 ± 2.0"


def test_one_run_has_no_deviation(make_run):
    (row,) = by_protocol(tables.build(loaded(make_run())), "label_free")
    assert row.rates["top1"].std is None
    assert str(row.rates["top1"]) == "49.0"
    assert row.epochs == (2,)


def test_protocols_are_never_mixed_and_a_missing_one_is_absent(make_run):
    run = make_run(protocols={"paper": {"top1": 0.5}, "label_free": None})
    table = tables.build(loaded(run), with_published=False)
    assert [row.protocol for row in table.rows] == ["paper"]
    assert set(table.rows[0].rates) == {"top1"}


def test_a_rate_that_one_seed_lacks_is_left_out(make_run):
    runs = loaded(
        make_run("a", seed=0),
        make_run("b", seed=1, protocols={"paper": {"top1": 0.4, "mAP": None}}),
    )
    (row,) = by_protocol(tables.build(runs), "paper")
    assert "mAP" not in row.rates
    assert math.isclose(row.rates["top1"].mean, 45.0)


def test_published_row_stands_beside_ours_once(make_run):
    runs = loaded(make_run("a"), make_run("b", fidelity="exact"))
    table = tables.build(runs)
    assert [row.fidelity for row in table.rows] == [
        *("released", "released", "exact", "exact"),
        "published",
    ]
    assert str(table.rows[-1].rates["top1"]) == "54.9"
    assert not any(row.is_published for row in tables.build(runs, with_published=False).rows)


def test_ablations_stand_apart_beside_their_own_published_rows(make_run):
    runs = loaded(make_run("full"), make_run("mpc", settings={"lambda": 0.0, "q": 2}))
    table = tables.build(runs)
    published = {row.method: str(row.rates["top1"]) for row in table.rows if row.is_published}
    assert published == {"SimMC": "54.9", "MPC": "53.6"}


def test_a_setting_that_differs_splits_the_group_and_is_named(make_run):
    same = {"lambda": 0.5, "q": 2}
    runs = loaded(
        make_run("a", seed=0, settings={**same, "eps": 0.6, "seed": 0, "device": "cpu"}),
        make_run("b", seed=1, settings={**same, "eps": 0.6, "seed": 1, "device": "cuda"}),
        make_run("c", seed=0, settings={**same, "eps": 0.7, "seed": 0}),
    )
    rows = by_protocol(tables.build(runs), "paper")
    assert [(row.settings, len(row.seeds)) for row in rows] == [("eps=0.6", 2), ("eps=0.7", 1)]
    assert "Settings" in render.render(tables.build(runs), "text")


def test_switches_that_fidelity_sets_are_not_named(make_run):
    runs = loaded(
        make_run("a", settings={"root": "first"}),
        make_run("b", fidelity="exact", settings={"root": "sensor"}),
    )
    assert {row.settings for row in tables.build(runs).rows} == {""}


def test_the_same_seed_twice_counts_once_and_is_said(make_run):
    old, new = make_run("old", 0.3), make_run("new", 0.5)
    os.utime(old / "results.json", ns=(1, 1))
    table = tables.build(loaded(new, old))
    (row,) = by_protocol(table, "paper")
    assert str(row.rates["top1"]) == "50.0"
    assert any(str(old) in note for note in table.notes)


def test_the_same_seed_on_another_split_counts(make_run):
    runs = loaded(make_run("a"), make_run("b", data={"manifest_sha256": "b"}))
    (row,) = by_protocol(tables.build(runs), "paper")
    assert len(row.seeds) == 2


def test_generated_data_never_stand_beside_the_paper(make_run):
    runs = loaded(make_run(dataset="KS20", data={"generated": True}))
    table = tables.build(runs)
    assert {row.dataset for row in table.rows} == {"KS20 (generated)"}
    assert not any(row.is_published for row in table.rows)
    assert any("nothing about real people" in note for note in table.notes)


def test_no_numbers_is_an_error(make_run):
    with pytest.raises(UserError, match="no numbers of either protocol"):
        tables.build(loaded(make_run(paper=None)))


@pytest.mark.parametrize("form", render.FORMATS)
def test_every_format_shows_both_protocols_and_the_paper(make_run, form):
    text = render.render(tables.build(loaded(make_run())), form)
    for word in ("paper", "label_free", "published"):
        assert word in text


def test_markdown_is_a_table(make_run):
    lines = render.render(tables.build(loaded(make_run())), "md").splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 3
    assert len({line.count("|") for line in table}) == 1


def test_csv_holds_fractions_that_read_back(make_run):
    runs = loaded(make_run("a", 0.5, seed=0), make_run("b", 0.6, seed=1))
    rows = list(csv.DictReader(io.StringIO(render.render(tables.build(runs), "csv"))))
    assert len(rows) == 3
    assert float(rows[0]["top1_mean"]) == pytest.approx(0.55)
    assert float(rows[0]["top1_std"]) == pytest.approx(0.0707107)
    assert rows[0]["seeds"] == "0 1"
    assert (rows[2]["fidelity"], rows[2]["top1_mean"], rows[2]["top1_std"]) == (
        *("published", "0.549"),
        "",
    )


def test_text_columns_line_up(make_run):
    lines = render.render(tables.build(loaded(make_run())), "text").splitlines()
    start = lines[0].index("top-1")
    assert all(line[start - 1] == " " and line[start] != " " for line in lines[2:5])


CLASSIFIED = {
    "method": "D13 + KNN",
    "protocols": {
        "paper": None,
        "label_free": None,
        "supervised": {"top1": 0.4, "top5": 0.6, "top10": 0.7, "nauc_roc": 0.8, "nauc_cmc": 0.9},
    },
}


def test_a_classification_stands_beside_its_own_published_row(make_run):
    ours, theirs = tables.build(loaded(make_run(**CLASSIFIED))).rows
    assert (ours.protocol, theirs.protocol) == ("supervised", "supervised")
    assert {name: str(value) for name, value in ours.rates.items()} == {
        **{"top1": "40.0", "top5": "60.0", "top10": "70.0"},
        **{"nauc_roc": "80.0", "nauc_cmc": "90.0"},
    }
    assert {name: str(value) for name, value in theirs.rates.items()} == {
        "top1": "46.9",
        "nauc_roc": "90.0",
    }


@pytest.mark.parametrize("form", ["text", "md"])
def test_areas_have_columns_only_where_something_was_classified(make_run, form):
    plain = render.render(tables.build(loaded(make_run())), form)
    assert "nAUC" not in plain and "supervised" not in plain
    both = loaded(make_run("b"), make_run("c", **CLASSIFIED))
    text = render.render(tables.build(both), form)
    assert "nAUC ROC" in text and "nAUC CMC" in text
    assert "trained on identity labels" in " ".join(text.split())


def test_published_rows_name_their_papers(make_run):
    def sources(*methods):
        table = tables.build(loaded(*(make_run(name, method=name) for name in methods)))
        return next(note for note in table.notes if note.startswith("Published rows"))

    assert "Hi-MPC" not in sources("D13")
    assert "Hi-MPC" in sources("D_PG") and "SimMC" in sources("D16")


def test_copies_of_probe_windows_are_shown(make_run):
    counts = {"probe": 40, "probe_copies_in_gallery": 3, "probe_copies_in_train": 0}
    text = render.render(tables.build(loaded(make_run(counts=counts))), "md")
    assert "3 of 40 probe windows" in text and "gallery set" in text and "train set" not in text
    assert "copies" not in render.render(tables.build(loaded(make_run("other"))), "md")


def test_unmatched_probes_and_missing_rates_are_shown(make_run):
    nothing = dict.fromkeys(("top1", "top5", "top10", "mAP", "mINP", "epoch", "cmc"))
    paper = {**nothing, "probes": 40, "unmatched": 40, "no_rates": "no probe window has a match"}
    shown = {"top1": 0.5, "mAP": 0.9, "epoch": 2, "probes": 40, "unmatched": 12}
    run = make_run(protocols={"paper": paper, "label_free": shown})
    text = render.render(tables.build(loaded(run), with_published=False), "md")
    assert "| 40 of 40 |" in text and "| 12 of 40 |" in text
    assert "no probe window has a match" in text
    assert "Unmatched" not in render.render(tables.build(loaded(make_run("old"))), "md")


@pytest.mark.parametrize(
    ("method", "dataset", "probe", "expected"),
    [
        ("SimMC", "KGBD", "probe", (54.9, 66.2, 70.6, 11.7)),
        ("SimMC", "KS20", "probe", (66.4, 80.7, 87.0, 22.3)),
        ("simmc", "IAS", "A", (44.8, 65.3, 72.9, 18.7)),
        ("SimMC", "IAS", "B", (46.3, 68.1, 77.0, 22.9)),
        ("SimMC", "BIWI", "Walking", (24.5, 36.7, 44.5, 19.9)),
        ("SimMC", "BIWI", "Still", (41.7, 66.6, 76.8, 12.3)),
        ("SimMC", "CASIA_B", "nm.nm", (84.8, 92.3, 93.7, 10.8)),
        ("SimMC", "CASIA_B", "bg.nm", (42.0, 59.8, 68.9, 7.1)),
        ("ELF", "CASIA_B", "cl.nm", (5.6, 16.0, 26.3, None)),
        ("NPC", "KGBD", "probe", (53.0, None, None, 11.0)),
        ("Baseline", "BIWI", "Still", (24.8, None, None, 9.3)),
        ("raw_flat", "KGBD", "probe", (34.5, None, None, 6.4)),
        ("D13", "KGBD", "probe", (17.0, 34.4, 44.2, 1.9)),
        ("D16", "KS20", "probe", (51.7, 77.1, 86.9, 24.0)),
        ("D_PG", "KGBD", "probe", (30.0, 49.1, 58.1, 2.1)),
        ("D_PG", "KS20", "probe", (35.2, 61.5, 70.5, 11.3)),
        ("Hi-MPC", "KGBD", "probe", (56.9, 70.2, 75.1, 10.2)),
        ("Hi-MPC", "KS20", "probe", (69.6, 83.5, 87.1, 22.0)),
        ("Hi-MPC", "BIWI", "Walking", (27.3, 40.3, 48.8, 22.6)),
        ("Hi-MPC", "IAS", "B", (48.2, 70.2, 77.8, 25.3)),
        ("Hi-MPC", "CASIA_B", "nm.nm", (85.5, 94.9, 95.8, 11.2)),
        ("Hi-MPC", "CASIA_B", "bg.nm", (50.1, 65.5, 72.1, 7.5)),
        ("SGELA + SimMC", "KGBD", "probe", (51.7, 62.7, 67.9, 15.1)),
        ("D_PG", "IAS", "A", (16.4, 39.5, 53.4, 11.0)),
        ("D_PG", "IAS", "B", (16.0, 41.2, 57.3, 10.6)),
        ("D_PG", "BIWI", "Walking", (6.5, 15.5, 20.3, 8.7)),
        ("D_PG", "BIWI", "Still", (18.5, 45.4, 63.8, 6.7)),
        ("D13 + KNN", "KGBD", "probe", (46.9, 90.0)),
        ("D13 + KNN", "KS20", "probe", (58.3, 78.0)),
        ("D16 + Adaboost", "KGBD", "probe", (69.9, 90.6)),
        ("D16 + AdaBoost", "IAS", "B", (39.2, 78.2)),
        ("D13 + SVM", "BIWI", "Walking", (17.9, None)),
    ],
)
def test_printed_cells(method, dataset, probe, expected):
    (row,) = tables.published_rows(dataset, probe, method)
    names = ("top1", "nauc_roc") if len(expected) == 2 else ("top1", "top5", "top10", "mAP")
    wanted = {name: rate for name, rate in zip(names, expected, strict=True) if rate is not None}
    assert {name: value.mean for name, value in row.rates.items()} == wanted
    assert row.protocol == ("supervised" if len(expected) == 2 else "paper")
    assert row.source == papers(row.method, f"{dataset}/{probe}", wanted)[0]


def papers(method, column, rates):
    """The papers that print these rates, by year: the files of the tables as they stand."""
    found = []
    for path in (ROOT / "configs" / "tables").glob("*.toml"):
        table = tomllib.loads(path.read_text("utf-8"))
        for row in table["row"] if "paper" in table and column in table["columns"] else ():
            place, cells = table["columns"].index(column), row.get("printed", [])
            cell = dict(zip(table["figures"], cells[place].split(), strict=True)) if cells else {}
            printed = {name: float(text) for name, text in cell.items() if text != "-"}
            if row["name"].casefold() == method.casefold() and printed == rates:
                found.append(table["paper"])
    return sorted(found, key=lambda paper: paper != "SimMC, IJCAI 2022")


@pytest.mark.parametrize("cell", [("KGBD", "probe", "D13 + SVM"), ("KS20", "no.probe", "SimMC")])
def test_what_is_not_printed_has_no_row(cell):
    assert not tables.published_rows(*cell)
