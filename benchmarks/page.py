"""From a record to medians, ratios, exponents, tables in Markdown and pictures."""

import math
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.contestants import CONTESTANTS, HOW
from simmc.reports.style import BLUE, GREEN, INK, ORANGE, PURPLE, save

MIB = 2**20
NOTHING = "-"
# ratio -> (time or added memory, above, below)
RATIOS = {
    "dense / ours, time without k-NN": ("time", "dense", "ours"),
    "dense / ours, added memory": ("memory", "dense", "ours"),
    "exact k-NN / product + topk, time": ("time", "exact", "product_topk"),
    "exact k-NN / product, time": ("time", "exact", "product"),
    "exact / approximate k-NN, time": ("time", "exact", "approximate"),
    "faiss / exact k-NN, time": ("time", "faiss", "exact"),
}
STAGES = ("features", "evaluation", "neighbours", "jaccard", "dbscan", "steps")
# The public program on the same data: constants, measured elsewhere.
PUBLIC_SOURCE = (
    "docs/results.md, section 6: measured elsewhere, on a 2-core machine with other work on it"
)
PUBLIC = {"evaluation": 149, "jaccard": 117, "dbscan": 12, "features": 6, "steps": 1}
PUBLIC_TOTAL, PUBLIC_SEARCH, PUBLIC_MEMORY = 286, 16, "13 to 18 GB"
LINES: dict[str, tuple[str, str]] = {
    "ours": (BLUE, "-"),
    "dense": (ORANGE, "-"),
    "exact": (GREEN, "-"),
    "faiss": (ORANGE, ":"),
    "product_topk": (INK, "--"),
    "product": (INK, ":"),
    "approximate": (PURPLE, "-"),
    "whole": (GREEN, "--"),
    "whole_approximate": (PURPLE, "--"),
}
DRAWN = {
    "time": [name for name in LINES if not name.startswith("whole")],
    "memory": [name for name in LINES if name != "product"],
}
AXIS = {"time": "seconds", "memory": "memory added (MiB)"}


class Spread(NamedTuple):
    """Repeats of one measurement."""

    median: float
    low: float
    high: float


class Fit(NamedTuple):
    """y = c * x ** exponent, fitted to `points` points with x from `first` to `last`."""

    exponent: float
    first: int
    last: int
    points: int


def spread(case: dict[str, Any], contestant: str, stage: str | None = None) -> Spread | None:
    """Seconds of a contestant, of one stage or of their sum within each repeat."""
    seconds = (case["time"] or {}).get("seconds") or {}
    parts = [contestant]
    search = {"whole": "exact", "whole_approximate": "approximate"}.get(contestant)
    if search:  # clustering was timed with lists of one kind only
        parts = [search, "ours"] if (case["lists"] or {}).get("kind") == search else []
    chosen: list[list[float]] = []
    for part in parts:
        stages = seconds.get(part, {})
        if not stages or (stage is not None and stage not in stages):
            return None
        chosen += stages.values() if stage is None else [stages[stage]]
    sums = [sum(repeat) for repeat in zip(*chosen, strict=True)]
    return Spread(statistics.median(sums), min(sums), max(sums)) if sums else None


def added(case: dict[str, Any], contestant: str) -> int | None:
    """Bytes of memory that a contestant added to those in use before."""
    value: int | None = (case["memory"].get(contestant) or {}).get("added_bytes")
    return value


def value(case: dict[str, Any], kind: str, contestant: str) -> float | None:
    """Median seconds ("time") or added bytes ("memory") of a contestant."""
    if kind == "memory":
        return added(case, contestant)
    seconds = spread(case, contestant)
    return seconds.median if seconds else None


def ratio(case: dict[str, Any], name: str) -> float | None:
    """A ratio of `RATIOS`; None where a side is missing."""
    kind, above, below = RATIOS[name]
    a, b = value(case, kind, above), value(case, kind, below)
    return a / b if a is not None and b else None


def fit(cases: Sequence[dict[str, Any]], kind: str, name: str, fit_from: int = 0) -> Fit | None:
    """Growth of a contestant by least squares of log(y) over log(N), from N = fit_from on."""
    points = [
        (case["n"], y)
        for case in cases
        if case["n"] >= fit_from and (y := value(case, kind, name)) is not None and y > 0
    ]
    sizes = [n for n, _ in points]
    if len(set(sizes)) < 2:
        return None
    logs = [[math.log(x) for x in axis] for axis in zip(*points, strict=True)]
    return Fit(statistics.linear_regression(*logs).slope, min(sizes), max(sizes), len(points))


def by_dataset(record: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The cases of every data set."""
    sets: dict[str, list[dict[str, Any]]] = {}
    for case in record["cases"]:
        sets.setdefault(case["dataset"], []).append(case)
    return sets


def identical(case: dict[str, Any]) -> bool | None:
    """Whether ours and the dense routine gave the same labels; None where not both ran."""
    differing = (case["time"] or {}).get("labels_differing")
    return None if differing is None else differing == 0


def summarise(record: dict[str, Any]) -> dict[str, Any]:
    """What benchmark.json holds beside the raw measurements."""
    cases = [
        {
            "dataset": case["dataset"],
            "n": case["n"],
            "median_seconds": {n: s.median for n in CONTESTANTS if (s := spread(case, n))},
            "ratios": {name: r for name in RATIOS if (r := ratio(case, name)) is not None},
            "labels_identical": identical(case),
        }
        for case in record["cases"]
    ]
    fits = [
        {"dataset": dataset, "kind": kind, "contestant": name, **found._asdict()}
        for dataset, members in by_dataset(record).items()
        for kind in ("time", "memory")
        for name in CONTESTANTS
        if (found := fit(members, kind, name, record["fit_from"]))
    ]
    return {"cases": cases, "fits": fits}


def document(record: dict[str, Any]) -> str:
    """The whole of benchmark.md."""
    parts = ["# Measurements of `benchmarks/clustering.py`", *_machine(record)]
    for dataset, cases in by_dataset(record).items():
        parts.append(f"## {dataset}")
        for heading, rows in (
            ("Jaccard distance and DBSCAN from given neighbour lists, seconds", _clustering(cases)),
            ("k nearest neighbours, seconds", _search(cases)),
            ("Peak memory added, MiB (in brackets: the whole process)", _memory(cases)),
        ):
            if rows[1:]:
                parts += [f"### {heading}", table(rows)]
    growth = [["data set", "contestant", "time", "over N", "added memory", "over N"]]
    for dataset, cases in by_dataset(record).items():
        for name, contestant in CONTESTANTS.items():
            fits = [fit(cases, kind, name, record["fit_from"]) for kind in AXIS]
            if any(fits):
                growth.append([dataset, contestant.label, *(c for f in fits for c in _fit(f))])
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
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *cells])


def number(x: float) -> str:
    """Three significant digits."""
    digits = 0 if x >= 100 else 1 if x >= 10 else 2 if x >= 1 else 3 if x >= 0.1 else 4
    return f"{x:,.{digits}f}"


def _machine(record: dict[str, Any]) -> list[str]:
    machine, settings = record["machine"], record["settings"]
    memory = machine.get("memory_bytes")
    packages = ("python", "simmc", "torch", "numpy", "scipy", "scikit-learn", "faiss", "numba")
    versions = ", ".join(f"{name} {machine[name]}" for name in packages if name in machine)
    load = [f"{x:g}" for x in record.get("load", []) if x is not None]
    return [
        f"{machine['processor']}, {machine['cores']} cores, "
        + (f"{memory / 2**30:.1f} GiB, " if memory else "")
        + f"{machine['platform']}; {versions}. Threads: {machine['threads']}."
        + (f" Load average when measuring began: {', '.join(load)}." if load else ""),
        f"Medians of {settings['repeats']} repeats, minimum and maximum in brackets; all "
        "contestants of a row run in turn in one process. Memory: each in a process of its own. "
        f"k1 = {HOW.k1}, k2 = {HOW.k2}, eps = {HOW.eps}, min_samples = {HOW.min_samples}, "
        "d = 256, float32. Generated features do not show real people.",
    ]


def _clustering(cases: Sequence[dict[str, Any]]) -> list[list[str]]:
    heads = "N | lists | ours | of it Jaccard | DBSCAN | dense Jaccard | scikit-learn DBSCAN | "
    heads += "dense, both | dense / ours | labels | clusters | outliers | ours with k-NN"
    rows = [heads.split(" | ")]
    for case in cases:
        if spread(case, "ours") is None and spread(case, "dense") is None:
            continue
        same = identical(case)
        labels = "identical" if same else f"{case['time'].get('labels_differing', 0):,} differ"
        counts = (case["time"].get(name) for name in ("clusters", "outliers"))
        rows.append(
            [
                f"{case['n']:,}",
                (case["lists"] or {}).get("kind", NOTHING),
                *(_seconds(spread(case, "ours", part)) for part in (None, "jaccard", "dbscan")),
                *(_seconds(spread(case, "dense", part)) for part in ("jaccard", "dbscan", None)),
                _times(ratio(case, "dense / ours, time without k-NN")),
                NOTHING if same is None else labels,
                *(NOTHING if count is None else f"{count:,}" for count in counts),
                _seconds(spread(case, "whole") or spread(case, "whole_approximate")),
            ]
        )
    return rows


def _search(cases: Sequence[dict[str, Any]]) -> list[list[str]]:
    searches = [
        name
        for name, contestant in CONTESTANTS.items()
        if "neighbours" in contestant.steps and any(spread(case, name) for case in cases)
    ]
    heads = [CONTESTANTS[name].label for name in searches]
    ratios = [name for name in RATIOS if any(k in name for k in ("product", "faiss"))]
    ratios = [name for name in ratios if any(ratio(case, name) for case in cases)]
    last = ["recall of approximate", "its labels, AMI"] * ("approximate" in searches)
    rows = [["N", *heads, *(name.removesuffix(", time") for name in ratios), *last]]
    for case in cases:
        if any(spread(case, name) for name in searches):
            found = [_seconds(spread(case, name)) for name in searches]
            found += [_times(ratio(case, name)) for name in ratios]
            lists = case["lists"] or {}
            found += [_share(lists.get(name)) for name in ("recall", "agreement")][: len(last)]
            rows.append([f"{case['n']:,}", *found])
    return rows


def _memory(cases: Sequence[dict[str, Any]]) -> list[list[str]]:
    names = [name for name in CONTESTANTS if any(name in case["memory"] for case in cases)]
    both = {"ours", "dense"} <= set(names)
    rows = [["N", *(CONTESTANTS[name].label for name in names)] + ["dense / ours"] * both]
    for case in cases:
        if case["memory"]:
            cells = [
                NOTHING
                if (extra := added(case, name)) is None
                else f"{number(extra / MIB)} ({case['memory'][name]['peak_bytes'] / MIB:,.0f})"
                for name in names
            ]
            times = [_times(ratio(case, "dense / ours, added memory"))] * both
            rows.append([f"{case['n']:,}", *cells, *times])
    return rows


def medians(epoch: dict[str, Any]) -> dict[str, float]:
    """Median seconds by stage, and of all, over the epochs that do everything.

    The first is left out, as it loads compiled code and has no earlier search to start from, and
    the last, as it takes no steps; where nothing else is left, all are used.
    """
    chosen = epoch["seconds"][1:-1] or epoch["seconds"]
    found = {stage: statistics.median(s.get(stage, 0.0) for s in chosen) for stage in STAGES}
    return found | {"total": statistics.median(sum(seconds.values()) for seconds in chosen)}


def _epoch(epoch: dict[str, Any]) -> list[str]:
    median, windows = medians(epoch), epoch["windows"]
    rows = [["stage", "seconds, median", "public program (constants)"]]
    for stage in STAGES:
        known = number(PUBLIC[stage]) if stage in PUBLIC else "in jaccard"
        rows.append([stage, number(median[stage]), known])
    rows.append(["all", number(median["total"]), str(PUBLIC_TOTAL)])
    share = (median["neighbours"] + median["evaluation"]) / max(median["total"], 1e-9)
    known_share = (PUBLIC_SEARCH + PUBLIC["evaluation"]) / PUBLIC_TOTAL
    rows.append(["share of neighbours and evaluation", _share(share), _share(known_share)])
    peak = epoch["peak_rss_bytes"]
    memory = NOTHING if peak is None else f"{peak / 1e9:.2f} GB"
    rows.append(["peak memory of the process", memory, PUBLIC_MEMORY])
    what = "synthetic walkers in the layout of KGBD" if epoch["generated"] else "KGBD"
    return [
        f"{what}: {windows['train']:,} training windows, {windows['probe']:,} probes, "
        f"{windows['gallery']:,} gallery windows; both views clustered and the probe scored in "
        f"every epoch. Medians of {max(len(epoch['seconds']) - 2, 1)} epochs. "
        f"Public program: {PUBLIC_SOURCE}.",
        table(rows),
    ]


def _seconds(found: Spread | None) -> str:
    if found is None:
        return NOTHING
    if found.low == found.high:
        return number(found.median)
    return f"{number(found.median)} ({number(found.low)} - {number(found.high)})"


def _times(x: float | None) -> str:
    return NOTHING if x is None else f"{number(x)} x"


def _share(x: float | None) -> str:
    return NOTHING if x is None else f"{x:.4f}" if x > 0.99 else f"{x:.3f}"


def _fit(found: Fit | None) -> tuple[str, str]:
    if found is None:
        return NOTHING, NOTHING
    return f"N^{found.exponent:.2f}", f"{found.first:,} - {found.last:,} ({found.points})"


def draw(record: dict[str, Any], out: Path) -> list[Path]:
    """Draw time and memory, each as .png and .svg, into the folder `out`; the files written."""
    return [
        save(partial(figure, record, kind), out / f"benchmark_{kind}.{form}")
        for kind in DRAWN
        if _panels(record, kind)
        for form in ("png", "svg")
    ]


def figure(record: dict[str, Any], kind: str) -> Any:
    """The matplotlib figure of "time" or "memory": a panel for each data set, axes logarithmic."""
    from matplotlib.figure import Figure

    panels = _panels(record, kind)
    made = Figure(figsize=(5.2 * len(panels), 6.0), layout="constrained")
    grid = made.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (dataset, lines) in zip(grid, panels.items(), strict=True):
        for name, (label, points) in lines.items():
            colour, style = LINES[name]
            n, middle, low, high = zip(*points, strict=True)
            axes.plot(n, middle, style, marker="o", markersize=4, color=colour, label=label)
            axes.vlines(n, low, high, color=colour, linewidth=1)
        axes.set(xscale="log", yscale="log", xlabel="N, rows clustered")
        sizes = sorted({point[0] for _, points in lines.values() for point in points})
        axes.set_xticks(sizes, [_short(n) for n in sizes], fontsize=8)
        axes.minorticks_off()
        axes.set_title(dataset, loc="left")
        axes.legend(
            loc="upper left", bbox_to_anchor=(0, -0.13), fontsize=8, frameon=False, borderaxespad=0
        )
    grid[0].set_ylabel(AXIS[kind])
    return made


def _short(n: int) -> str:
    """2000 as 2k, 1000000 as 1M."""
    for unit, name in ((1_000_000, "M"), (1000, "k")):
        if n >= unit:
            return f"{n / unit:.3g}{name}"
    return str(n)


def _panels(record: dict[str, Any], kind: str) -> dict[str, dict[str, tuple[str, list[Any]]]]:
    """Of every data set with measurements: contestant -> label and (N, median, low, high)."""
    panels = {}
    for dataset, cases in by_dataset(record).items():
        lines = {}
        for name in DRAWN[kind]:
            if kind == "time":
                points = [(case["n"], *s) for case in cases if (s := spread(case, name))]
            else:
                points = [(c["n"], *[x / MIB] * 3) for c in cases if (x := added(c, name))]
            if points:
                growth = fit(cases, kind, name, record["fit_from"])
                label = CONTESTANTS[name].label + (f": N^{growth.exponent:.2f}" if growth else "")
                lines[name] = (label, points)
        if lines:
            panels[dataset] = lines
    return panels
