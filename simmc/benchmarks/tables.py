"""The tables of a record, as Markdown."""

from collections.abc import Sequence
from typing import Any

from simmc.benchmarks import epoch as training
from simmc.benchmarks.contestants import CONTESTANTS, HOW
from simmc.benchmarks.summary import (
    MIB,
    RATIOS,
    Fit,
    Spread,
    added,
    by_dataset,
    fit,
    identical,
    ratio,
    spread,
)

NOTHING = "-"
DENSE_TIME, DENSE_MEMORY, FLOOR, BARE, _ = RATIOS


def document(record: dict[str, Any]) -> str:
    """The whole of benchmark.md."""
    parts = ["# Measurements of `simmc benchmark`", *_machine(record)]
    for dataset, cases in by_dataset(record).items():
        parts.append(f"## {dataset}")
        for heading, rows in (
            ("Jaccard distance and DBSCAN from given neighbour lists, seconds", _clustering(cases)),
            ("k nearest neighbours, seconds", _search(cases)),
            ("Peak memory added, MiB (in brackets: the whole process)", _memory(cases)),
        ):
            if rows[1:]:
                parts += [f"### {heading}", table(rows)]
    growth = _growth(record)
    if growth[1:]:
        parts += ["## Growth", "Exponent of N by least squares in log-log.", table(growth)]
    if record.get("epoch"):
        parts += ["## One epoch of training", *_epoch(record["epoch"])]
    if record["notes"]:
        parts += ["## Remarks", "\n".join(f"- {sentence}" for sentence in record["notes"])]
    return "\n\n".join(parts) + "\n"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, the headings first, as a Markdown table."""
    heads, *cells = rows
    lines = [heads, ["---"] * len(heads), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(x: float) -> str:
    """Three digits that say something."""
    digits = 0 if x >= 100 else 1 if x >= 10 else 2 if x >= 1 else 3 if x >= 0.1 else 4
    return f"{x:,.{digits}f}"


def _machine(record: dict[str, Any]) -> list[str]:
    machine, settings = record["machine"], record["settings"]
    memory = machine.get("memory_bytes")
    packages = ("python", "simmc", "torch", "numpy", "scipy", "scikit-learn", "numba")
    versions = ", ".join(f"{name} {machine[name]}" for name in packages if name in machine)
    load = [f"{x:g}" for x in record.get("load", []) if x is not None]
    return [
        f"{machine['processor']}, {machine['cores']} cores, "
        + (f"{memory / 2**30:.1f} GiB, " if memory else "")
        + f"{machine['platform']}; {versions}. Threads: {machine['threads']}."
        + (f" Load average when measuring began: {', '.join(load)}." if load else ""),
        f"Medians of {settings['repeats']} repeats, least and most in brackets; all contestants of "
        "a row in turn in one process. Memory: each in a process of its own. "
        f"k1 = {HOW.k1}, k2 = {HOW.k2}, eps = {HOW.eps}, min_samples = {HOW.min_samples}, "
        "d = 256, float32. Generated features come out of a program and stand for nobody.",
    ]


def _clustering(cases: Sequence[dict[str, Any]]) -> list[list[str]]:
    heads = "N | lists | ours | of it Jaccard | DBSCAN | dense Jaccard | scikit-learn DBSCAN | "
    heads += "dense, both | dense / ours | labels | clusters | outliers | ours with k-NN"
    rows = [heads.split(" | ")]
    for case in cases:
        if spread(case, "ours") is None and spread(case, "dense") is None:
            continue
        rows.append(
            [
                f"{case['n']:,}",
                (case["lists"] or {}).get("kind", NOTHING),
                *(_seconds(spread(case, "ours", part)) for part in (None, "jaccard", "dbscan")),
                *(_seconds(spread(case, "dense", part)) for part in ("jaccard", "dbscan", None)),
                _times(ratio(case, DENSE_TIME)),
                _labels(case),
                *(_count(case["time"].get(name)) for name in ("clusters", "outliers")),
                _seconds(spread(case, "whole") or spread(case, "whole_approximate")),
            ]
        )
    return rows


def _search(cases: Sequence[dict[str, Any]]) -> list[list[str]]:
    heads = "N | exact | matrix product | product + topk | exact / product | "
    heads += "exact / product + topk | approximate | its recall | its labels, AMI"
    rows = [heads.split(" | ")]
    names = ("exact", "product", "product_topk", "approximate")
    for case in cases:
        found = {name: spread(case, name) for name in names}
        if not any(found.values()):
            continue
        lists = case["lists"] or {}
        rows.append(
            [
                f"{case['n']:,}",
                *(_seconds(found[name]) for name in names[:3]),
                *(_times(ratio(case, name)) for name in (BARE, FLOOR)),
                _seconds(found["approximate"]),
                *(_share(lists.get(name)) for name in ("recall", "agreement")),
            ]
        )
    return rows


def _memory(cases: Sequence[dict[str, Any]]) -> list[list[str]]:
    names = [name for name in CONTESTANTS if any(name in case["memory"] for case in cases)]
    both = {"ours", "dense"} <= set(names)
    rows = [["N", *(CONTESTANTS[name].label for name in names)] + ["dense / ours"] * both]
    for case in cases:
        if case["memory"]:
            cells = [_bytes(case, name) for name in names]
            rows.append([f"{case['n']:,}", *cells] + [_times(ratio(case, DENSE_MEMORY))] * both)
    return rows


def _growth(record: dict[str, Any]) -> list[list[str]]:
    rows = [["data set", "contestant", "time", "over N", "added memory", "over N"]]
    for dataset, cases in by_dataset(record).items():
        for name, contestant in CONTESTANTS.items():
            fits = [fit(cases, kind, name, record["fit_from"]) for kind in ("time", "memory")]
            if any(fits):
                cells = [cell for found in fits for cell in _fit(found)]
                rows.append([dataset, contestant.label, *cells])
    return rows


def _epoch(epoch: dict[str, Any]) -> list[str]:
    median, windows = training.medians(epoch), epoch["windows"]
    public: dict[str, float] = dict(training.PUBLIC_SECONDS)
    rows = [["stage", "seconds, median", "public program (constants)"]]
    for stage in training.STAGES:
        known = number(public[stage]) if stage in public else "in jaccard"
        rows.append([stage, number(median[stage]), known])
    rows.append(["all", number(median["total"]), str(training.PUBLIC_TOTAL)])
    share = training.search_share(median)
    known_share = (training.PUBLIC_SEARCH + public["evaluation"]) / training.PUBLIC_TOTAL
    rows.append(["share of neighbours and evaluation", _share(share), _share(known_share)])
    peak = epoch["peak_rss_bytes"]
    memory = NOTHING if peak is None else f"{peak / 1e9:.2f} GB"
    rows.append(["peak memory of the process", memory, training.PUBLIC_MEMORY])
    what = "generated walkers in the layout of KGBD" if epoch["generated"] else "KGBD"
    return [
        f"{what}: {windows['train']:,} training windows, {windows['probe']:,} probes, "
        f"{windows['gallery']:,} gallery windows; both views clustered and the probe scored in "
        f"every epoch. Medians of {max(len(epoch['seconds']) - 2, 1)} epochs. "
        f"Public program: {training.PUBLIC_SOURCE}.",
        table(rows),
    ]


def _seconds(found: Spread | None) -> str:
    if found is None:
        return NOTHING
    if found.low == found.high:
        return number(found.median)
    return f"{number(found.median)} ({number(found.low)} - {number(found.high)})"


def _bytes(case: dict[str, Any], name: str) -> str:
    extra = added(case, name)
    if extra is None:
        return NOTHING
    return f"{number(extra / MIB)} ({case['memory'][name]['peak_bytes'] / MIB:,.0f})"


def _times(x: float | None) -> str:
    return NOTHING if x is None else f"{number(x)} x"


def _share(x: float | None) -> str:
    return NOTHING if x is None else f"{x:.4f}" if x > 0.99 else f"{x:.3f}"


def _count(x: int | None) -> str:
    return NOTHING if x is None else f"{x:,}"


def _labels(case: dict[str, Any]) -> str:
    same = identical(case)
    if same is None:
        return NOTHING
    return "identical" if same else f"{case['time']['labels_differing']:,} differ"


def _fit(found: Fit | None) -> tuple[str, str]:
    if found is None:
        return NOTHING, NOTHING
    return f"N^{found.exponent:.2f}", f"{found.first:,} - {found.last:,} ({found.points})"
