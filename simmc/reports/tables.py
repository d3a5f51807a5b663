"""Result tables: mean ± sample standard deviation over seeds, beside the paper's row.

Runs are averaged only if they differ in nothing but seed and place: a setting that differs splits
the group and is shown in the table, so no mean includes an ablation.
"""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from simmc.data import specs
from simmc.engine.health import HEALTHY, in_words
from simmc.errors import UserError, numbered
from simmc.reports import cells
from simmc.reports.results import PROTOCOLS, Run

RATES = ("top1", "top5", "top10", "mAP", "mINP")
AREAS = ("nauc_roc", "nauc_cmc")  # of classifiers only
SUPERVISED = "supervised"
# papers that print Rank-1 and nAUC
CLASSIFYING = ("SGELA, TPAMI 2021", "public repositories of AGE, MG-SCR and SM-SGE")
# Settings that say where and how a run was made, not what was computed.
INCIDENTAL = frozenset(
    [
        *("seed", "device", "gpu", "threads", "data_root", "model_root", "run", "resume", "mode"),
        *("config", "save_model", "save_flag", "checkpoint_every", "model_size", "tensorboard"),
        "checkpoint_seconds",
        *("executor", "address", "label_free_run", "mact"),
        *("fidelity", "dataset", "probe", "probe_type", "length"),  # these have their own columns
    ]
)
_NOTE = (
    "Rates in percent, mean ± sample standard deviation over seeds. Protocol paper: the epoch with "
    "the best top-1 of the probe itself, as the published rows were chosen. Protocol label_free: "
    "no label, probe or gallery had any influence before the one evaluation."
)
_NOTE_SUPERVISED = (
    "Protocol supervised: a classifier trained on identity labels names the probes. nAUC ROC: area "
    "under the micro-averaged ROC curve (SGELA's program, and its printed nAUC); nAUC CMC: area "
    "under the CMC over all ranks (its paper's text). Do not compare with the other protocols."
)
UNMATCHED = (
    "Unmatched: probe windows without a match in the gallery (of a classifier: whose person has no "
    "training window). They are misses in top-k; mAP and mINP are means over the others "
    "(docs/metrics.md)."
)
_NOTE_D_PG = "D_PG: our definition of PoseGait's 81 features; the published one is not known."
_NOTE_PUBLISHED = (
    "Published rows: {}; averages of an unstated number of runs, at their own sequence length."
)
NOTE_GENERATED = (
    "Generated: these walkers are synthetic. The numbers say nothing about real people or about "
    "the paper."
)


@dataclass(frozen=True)
class Value:
    """Mean and sample standard deviation (None for a single run), in percent."""

    mean: float
    std: float | None = None

    def __str__(self) -> str:
        """As the tables print it."""
        return f"{self.mean:.1f}" + ("" if self.std is None else f" ± {self.std:.1f}")


@dataclass(frozen=True)
class Row:
    """One line of the table; `rates` misses what is not known.

    Of each run that says so: `epochs`, `probes` that were scored, and those `unmatched`.
    `no_rates` says why there are no rates.
    """

    dataset: str
    probe: str
    length: str
    method: str
    fidelity: str
    protocol: str
    seeds: tuple[str, ...]
    rates: Mapping[str, Value]
    epochs: tuple[int, ...] = ()
    probes: tuple[int, ...] = ()
    unmatched: tuple[int, ...] = ()
    no_rates: str = ""
    health: tuple[str, ...] = ()  # the verdict on each run that was judged
    settings: str = ""
    is_published: bool = False
    source: str = ""


@dataclass(frozen=True)
class Table:
    """Rows in their order, and notes."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())


def build(runs: Sequence[Run], with_published: bool = True) -> Table:
    """Group finished runs, with the papers' rows below them; synthetic data have none."""
    families: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        dataset = run.text("dataset") + (" (generated)" if run.generated else "")
        families.setdefault((dataset, run.text("probe"), run.method_name), []).append(run)
    rows: list[Row] = []
    notes = [_NOTE]
    for names in sorted(families):
        ours, repeated = _family_rows(families[names])
        rows += ours
        notes += repeated
        if ours and with_published and not families[names][0].generated:
            rows += published_rows(*names)
    if not rows:
        raise UserError(
            "no results to show: the runs have no numbers of either protocol. Let a run finish, or "
            "give another one."
        )
    if any(any(row.unmatched) for row in rows):
        notes.append(UNMATCHED)
    for row in rows:
        if row.no_rates:
            names_of = (row.dataset, row.probe, row.method, row.fidelity, row.protocol)
            notes.append(f"No rates for {', '.join(names_of)}: {row.no_rates}.")
    notes += dict.fromkeys(note for run in runs for note in _copies(run))
    ill = [run for run in runs if run.health.get("verdict", HEALTHY) != HEALTHY]
    notes += [f"Health of {run.path}: {in_words(run.health)}." for run in ill]
    if any(row.protocol == SUPERVISED for row in rows):
        notes.append(_NOTE_SUPERVISED)
    if any(row.method == "D_PG" for row in rows):
        notes.append(_NOTE_D_PG)
    if sources := sorted({row.source for row in rows if row.is_published}):
        notes.append(_NOTE_PUBLISHED.format("; ".join(sources)))
    if any(run.generated for run in runs):
        notes.append(NOTE_GENERATED)
    return Table(tuple(rows), tuple(notes))


def _family_rows(runs: Sequence[Run]) -> tuple[list[Row], list[str]]:
    """Rows of one dataset, probe and method, and notes on runs that were not counted."""
    varying = _varying_settings(runs)
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        settings = ", ".join(f"{key}={plain(run.settings.get(key))}" for key in varying)
        key = (run.text("length"), run.text("fidelity"), settings)
        groups.setdefault(key, []).append(run)
    rows, notes = [], []
    # released before exact, as everywhere
    for key in sorted(groups, key=lambda key: (key[0], key[1] != "released", key)):
        counted, passed_over = _one_per_seed(groups[key])
        if passed_over:
            notes.append(
                "Same seed and data more than once; only the newest counts. Left out: "
                + ", ".join(str(run.path) for run in passed_over)
            )
        names = (*PROTOCOLS, SUPERVISED)
        rows += [row for name in names if (row := _row(counted, name, key)) is not None]
    return rows, notes


def _row(runs: Sequence[Run], protocol: str, key: tuple[str, str, str]) -> Row | None:
    having = [(run, found) for run in runs if (found := run.protocol(protocol)) is not None]
    if not having:
        return None
    first = having[0][0]
    rates = {}
    for name in (*RATES, *AREAS):
        values = [100 * float(found[name]) for _, found in having if _is_number(found.get(name))]
        if len(values) == len(having):  # no mean over some of the seeds
            spread = statistics.stdev(values) if len(values) > 1 else None
            rates[name] = Value(statistics.fmean(values), spread)
    return Row(
        dataset=first.text("dataset") + (" (generated)" if first.generated else ""),
        probe=first.text("probe"),
        length=key[0],
        method=first.method_name,
        fidelity=key[1],
        protocol=protocol,
        seeds=tuple(run.text("seed") for run, _ in having),
        rates=rates,
        epochs=_counts(having, "epoch"),
        probes=_counts(having, "probes"),
        unmatched=_counts(having, "unmatched"),
        no_rates=next((str(f["no_rates"]) for _, f in having if f.get("no_rates")), ""),
        health=tuple(verdict for run, _ in having if (verdict := run.health.get("verdict"))),
        settings=key[2],
    )


def _copies(run: Run) -> list[str]:
    """How many probe windows of a run have an exact copy in a set; nothing where none has."""
    where = f"{run.text('dataset')}, probe {run.text('probe')}, f = {run.text('length')}"
    return [
        f"Exact copies in {where}: {count:,} of {run.counts.get('probe', 0):,} probe windows "
        f"{numbered('[is|are]', count)} also in the {side} set."
        for side in ("gallery", "train")
        if _is_number(count := run.counts.get(f"probe_copies_in_{side}")) and count
    ]


def _counts(having: Sequence[tuple[Run, Mapping[str, object]]], name: str) -> tuple[int, ...]:
    """A whole number of each run that has it."""
    found = (numbers.get(name) for _, numbers in having)
    return tuple(int(value) for value in found if isinstance(value, int) and _is_number(value))


def published_rows(dataset: str, probe: str, method: str) -> list[Row]:
    """The first row that a paper prints for a method, whatever its case; empty for none.

    SimMC's Tables 1 and 2 also stand in the public README, with the same numbers. Its own rows are
    averages of an unstated number of runs; most comparison rows fit single runs (the shares are
    multiples of one over the number of probes). Every epoch was chosen by the probe's own top-1,
    as in our `paper` protocol. Descriptors of SGELA's Table 2 and the repositories were classified.
    """
    wanted = ("Baseline" if method in ("raw_flat", "raw_mean") else method).casefold()
    for table in cells.tables().values():
        for row in table.rows if table.paper else ():
            printed = row.printed.get(f"{dataset}/{probe}", {})
            if row.name.casefold() == wanted and "top1" in printed:
                return [
                    Row(
                        dataset=dataset,
                        probe=probe,
                        length=str(specs.get(dataset).default_length),
                        method=row.name,
                        fidelity="published",
                        protocol=SUPERVISED if table.paper in CLASSIFYING else PROTOCOLS[0],
                        seeds=(),
                        rates={name: Value(printed[name]) for name in printed},
                        is_published=True,
                        source=table.paper,
                    )
                ]
    return []


def _varying_settings(runs: Sequence[Run]) -> list[str]:
    """Settings that differ between runs of the same fidelity (its name says the rest)."""
    varying = set()
    for fidelity in {run.text("fidelity") for run in runs}:
        alike = [run.settings for run in runs if run.text("fidelity") == fidelity]
        for key in set().union(*alike) - INCIDENTAL:
            if len({plain(settings.get(key)) for settings in alike}) > 1:
                varying.add(key)
    return sorted(varying)


def _one_per_seed(runs: Iterable[Run]) -> tuple[list[Run], list[Run]]:
    """The newest run of each seed and data, and the others: repeats would reduce the spread."""
    newest: dict[tuple[str, str], Run] = {}
    others = []
    for run in sorted(runs, key=lambda run: (_modified(run), str(run.path))):
        key = (run.text("seed"), run.checksum)
        if key in newest:
            others.append(newest[key])
        newest[key] = run
    return sorted(newest.values(), key=lambda run: (run.text("seed"), run.checksum)), others


def _modified(run: Run) -> int:
    try:
        return (run.path / "results.json").stat().st_mtime_ns
    except OSError:
        return 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def plain(value: object) -> str:
    """A setting as text, the same for equal ones."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
