"""Medians, ratios and growth of the measurements in a record."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from simmc.benchmarks.contestants import CONTESTANTS

MIB = 2**20
# ratio -> (kind, above, below); of times or of added memory
RATIOS = {
    "dense / ours, time without k-NN": ("time", "dense", "ours"),
    "dense / ours, added memory": ("memory", "dense", "ours"),
    "exact k-NN / product + topk, time": ("time", "exact", "product_topk"),
    "exact k-NN / product, time": ("time", "exact", "product"),
    "exact / approximate k-NN, time": ("time", "exact", "approximate"),
}


@dataclass(frozen=True)
class Spread:
    """Repeats of one measurement."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Fit:
    """y = factor * x ** exponent through `points` points with x from `first` to `last`."""

    exponent: float
    factor: float
    first: int
    last: int
    points: int


def spread(case: dict[str, Any], contestant: str, stage: str | None = None) -> Spread | None:
    """Seconds of a contestant, of one stage or of all together (added up within each repeat)."""
    seconds = (case.get("time") or {}).get("seconds") or {}
    chosen: list[list[float]] = []
    for part in _parts(case, contestant):
        stages = seconds.get(part, {})
        if not stages or (stage is not None and stage not in stages):
            return None
        chosen += stages.values() if stage is None else [stages[stage]]
    sums = [sum(repeat) for repeat in zip(*chosen, strict=True)]
    return Spread(statistics.median(sums), min(sums), max(sums)) if sums else None


def _parts(case: dict[str, Any], contestant: str) -> tuple[str, ...]:
    """The timed contestants whose times make up that of another."""
    search = {"whole": "exact", "whole_approximate": "approximate"}.get(contestant)
    if search is None:
        return (contestant,)
    # clustering was timed with lists of one kind only
    return (search, "ours") if (case.get("lists") or {}).get("kind") == search else ()


def added(case: dict[str, Any], contestant: str) -> int | None:
    """Bytes of memory that a contestant added to what its process held before."""
    found = (case.get("memory") or {}).get(contestant) or {}
    value: int | None = found.get("added_bytes")
    return value


def value(case: dict[str, Any], kind: str, contestant: str) -> float | None:
    """The one number of a contestant: median seconds ("time") or added bytes ("memory")."""
    if kind == "memory":
        return added(case, contestant)
    seconds = spread(case, contestant)
    return seconds.median if seconds else None


def ratio(case: dict[str, Any], name: str) -> float | None:
    """A ratio of `RATIOS`, of medians of one run or of memory; None where a side is missing."""
    kind, above, below = RATIOS[name]
    a, b = value(case, kind, above), value(case, kind, below)
    return a / b if a is not None and b else None


def fit_exponent(sizes: Sequence[int], values: Sequence[float]) -> Fit | None:
    """Least squares of log(value) over log(size).

    Args:
        sizes: positive.
        values: as many; those that are not positive have no logarithm and are left out.

    Returns:
        None where fewer than two different sizes remain.
    """
    pairs = [(n, y) for n, y in zip(sizes, values, strict=True) if y > 0]
    if len({n for n, _ in pairs}) < 2:
        return None
    x, y = [math.log(n) for n, _ in pairs], [math.log(v) for _, v in pairs]
    slope, intercept = statistics.linear_regression(x, y)
    used = [n for n, _ in pairs]
    return Fit(slope, math.exp(intercept), min(used), max(used), len(pairs))


def fit(
    cases: Sequence[dict[str, Any]], kind: str, contestant: str, fit_from: int = 0
) -> Fit | None:
    """The growth of a contestant over the cases of one data set, from N = fit_from on."""
    points = [
        (case["n"], y)
        for case in cases
        if case["n"] >= fit_from and (y := value(case, kind, contestant)) is not None
    ]
    return fit_exponent([n for n, _ in points], [y for _, y in points])


def by_dataset(record: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The cases of every data set, in the order of the file."""
    sets: dict[str, list[dict[str, Any]]] = {}
    for case in record["cases"]:
        sets.setdefault(case["dataset"], []).append(case)
    return sets


def summarise(record: dict[str, Any]) -> dict[str, Any]:
    """What benchmark.json holds beside the raw measurements."""
    cases = []
    for case in record["cases"]:
        medians = {name: s.median for name in CONTESTANTS if (s := spread(case, name))}
        ratios = {name: r for name in RATIOS if (r := ratio(case, name)) is not None}
        cases.append(
            {"dataset": case["dataset"], "n": case["n"], "median_seconds": medians}
            | {"ratios": ratios, "labels_identical": identical(case)}
        )
    fits = [
        {"dataset": dataset, "kind": kind, "contestant": name, **vars(found)}
        for dataset, members in by_dataset(record).items()
        for kind in ("time", "memory")
        for name in CONTESTANTS
        if (found := fit(members, kind, name, record["fit_from"]))
    ]
    return {"cases": cases, "fits": fits}


def identical(case: dict[str, Any]) -> bool | None:
    """Whether ours and the dense routine gave the same labels; None where not both ran."""
    differing = (case.get("time") or {}).get("labels_differing")
    return None if differing is None else differing == 0
