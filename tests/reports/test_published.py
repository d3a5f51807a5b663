import pytest

from simmc.data import specs
from simmc.reports import published


def test_every_row_is_there_and_plausible():
    found = published.rows()
    # 13 methods x 6 probes, 7 x 5 on CASIA_B, 4 x 6 in the ablation
    assert len(found) == 13 * 6 + 7 * 5 + 4 * 6
    for row in found:
        rates = [row.top1, row.top5, row.top10]
        present = [rate for rate in rates if rate is not None]
        assert present == sorted(present)  # a CMC curve never falls
        assert all(0 < rate <= 100 for rate in [*present, row.mAP] if rate is not None)


def test_probes_are_those_of_the_dataset_table():
    for row in published.rows():
        assert row.probe in specs.DATASETS[row.dataset].probes


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
    ],
)
def test_cells(method, dataset, probe, expected):
    row = published.find(method, dataset, probe)
    assert row is not None
    assert (row.top1, row.top5, row.top10, row.mAP) == expected


def test_source_names_the_table():
    row = published.find("MPC", "KGBD", "probe")
    assert row is not None
    assert row.source.endswith("Table 4")


def test_unknown_is_none():
    assert published.find("SimMC", "KS20", "0.30") is None
