from collections import Counter

import pytest

from simmc.data import specs
from simmc.reports import published


def test_every_row_is_there_and_plausible():
    found = published.rows()
    counts = Counter(row.source for row in found)
    # SimMC: 13 methods x 3 probes and one more of ours, 13 x 3, 7 x 5, 4 x 6; Hi-MPC's 8 rows x 6
    assert [counts[f"SimMC, IJCAI 2022, Table {n}"] for n in (1, 2, 3, 4)] == [40, 39, 35, 24]
    assert counts["Hi-MPC, IJCV 2024, Table 4"] == 5 * 25
    assert counts["public repositories of AGE, MG-SCR and SM-SGE"] == 14
    for row in found:
        present = [rate for rate in (row.top1, row.top5, row.top10) if rate is not None]
        assert present == sorted(present)  # a CMC curve never falls
        rates = [*present, row.mAP, row.nauc_roc]
        assert all(0 < rate <= 100 for rate in rates if rate is not None)
        assert row.nauc_roc is None or (row.mAP is None and row.protocol == "supervised")


def test_probes_are_those_of_the_dataset_table():
    for row in published.rows():
        by_view = specs.BY_VIEW.get(row.dataset)
        known = specs.DATASETS[row.dataset].probes + (by_view.probes if by_view else ())
        assert row.probe in known


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
    ],
)
def test_cells(method, dataset, probe, expected):
    row = published.find(method, dataset, probe)
    assert row is not None
    assert (row.top1, row.top5, row.top10, row.mAP) == expected


@pytest.mark.parametrize(
    ("method", "dataset", "probe", "rank_1", "area"),
    [
        ("D13 + KNN", "KGBD", "probe", 46.9, 90.0),
        ("D13 + KNN", "KS20", "probe", 58.3, 78.0),
        ("D16 + Adaboost", "KGBD", "probe", 69.9, 90.6),
        ("D16 + AdaBoost", "IAS", "B", 39.2, 78.2),
        ("D13 + SVM", "BIWI", "Walking", 17.9, None),
    ],
)
def test_classified_cells(method, dataset, probe, rank_1, area):
    row = published.find(method, dataset, probe)
    assert row is not None
    assert (row.top1, row.nauc_roc, row.mAP) == (rank_1, area, None)
    assert (row.protocol, row.source) == ("supervised", "SGELA, TPAMI 2021, Table 2")


def test_cells_that_were_not_printed_are_no_rows():
    assert published.find("D13 + SVM", "KGBD", "probe") is None


def test_source_names_the_table():
    row = published.find("MPC", "KGBD", "probe")
    assert row is not None
    assert row.source.endswith("Table 4")


def test_unknown_is_none():
    assert published.find("SimMC", "KS20", "no.probe") is None
