import pytest
from simmc.benchmarks import summary

from tests.benchmarks.make import case, record


@pytest.mark.parametrize(("exponent", "factor"), [(1.0, 3.0), (2.0, 1e-9), (1.37, 0.25)])
def test_exact_power_laws_are_found(exponent, factor):
    sizes = [2000, 4000, 8000, 31488]
    found = summary.fit_exponent(sizes, [factor * n**exponent for n in sizes])
    assert found.exponent == pytest.approx(exponent)
    assert found.factor == pytest.approx(factor)
    assert (found.first, found.last, found.points) == (2000, 31488, 4)


def test_values_without_a_logarithm_are_left_out():
    found = summary.fit_exponent([1, 10, 100], [0, 10, 100])
    assert (found.exponent, found.first, found.points) == (pytest.approx(1.0), 10, 2)


@pytest.mark.parametrize("points", [[], [(5, 1.0)], [(5, 1.0), (5, 2.0)], [(5, 1.0), (9, 0.0)]])
def test_one_size_has_no_exponent(points):
    assert summary.fit_exponent([n for n, _ in points], [y for _, y in points]) is None


def test_stages_are_added_up_within_a_repeat():
    found = summary.spread(case(1000), "ours")
    assert (found.median, found.low, found.high) == (3.0, 1.0, 11.0)  # 1 + 0, 2 + 1, 9 + 2
    assert summary.spread(case(1000), "ours", "jaccard").median == 2.0
    assert summary.spread(case(1000), "product") is None
    assert summary.spread(case(1000, time=None), "ours") is None


def test_the_whole_is_search_and_clustering_with_the_same_lists():
    found = summary.spread(case(1000), "whole")
    assert (found.median, found.low, found.high) == (4.0, 4.0, 13.0)  # 3 + 1, 1 + 3, 2 + 11
    assert summary.spread(case(1000), "whole_approximate") is None
    assert summary.spread(case(1000, lists={"kind": "approximate"}), "whole") is None


def test_ratios_are_of_medians():
    found = summary.summarise(record(case(2000)))["cases"][0]
    assert found["ratios"]["dense / ours, time without k-NN"] == pytest.approx(42 * 4 / 5)
    assert found["ratios"]["exact k-NN / product + topk, time"] == pytest.approx(2)
    assert found["ratios"]["dense / ours, added memory"] == pytest.approx(16)
    assert "exact / approximate k-NN, time" not in found["ratios"]
    assert found["labels_identical"] is True


def test_labels_that_differ_and_labels_not_compared():
    assert summary.identical(case(5, time={"seconds": {}, "labels_differing": 3})) is False
    assert summary.identical(case(5, time={"seconds": {}})) is None
    assert summary.identical(case(5, time=None)) is None


def test_exponents_by_data_set_and_from_a_size_on():
    cases = [case(n) for n in (1000, 2000, 4000)] + [case(n, dataset="another") for n in (10, 20)]
    made = summary.summarise(record(*cases, fit_from=2000))["fits"]
    found = {(f["dataset"], f["kind"], f["contestant"]): f for f in made}
    assert {dataset for dataset, _, _ in found} == {"clustered (generated)"}
    dense = found["clustered (generated)", "memory", "dense"]
    assert (dense["exponent"], dense["first"]) == (pytest.approx(2), 2000)
    assert found["clustered (generated)", "memory", "ours"]["exponent"] == pytest.approx(1)
    assert found["clustered (generated)", "time", "exact"]["exponent"] == pytest.approx(2)
