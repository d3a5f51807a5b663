import csv
import io
import math
import os

import pytest

from simmc.errors import UserError
from simmc.reports import render, results, tables


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
