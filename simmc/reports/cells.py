"""The papers' tables, and the records of the runs that make their cells again.

A table is a file of `configs/tables`: rows, what the paper printed, and the commands that make a
row. A record is a file of `results/records`: one run of such a command, or numbers that an older
version of this project measured ("carried over"). Rates are fractions of 1 in records, and percent
in tables.
"""

import base64
import hashlib
import json
import shlex
import statistics
import tomllib
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from simmc import files
from simmc.errors import UserError
from simmc.evaluation.significance import bootstrap_means, interval
from simmc.files import read_json
from simmc.settings.layers import preset_root

RECORDS = Path("results/records")
RATES = ("top1", "top5", "top10", "mAP", "nauc_roc")
MATCHED = RATES[:4]  # in the order of `persons`
SEED, SET = "seed", "set"  # splits: drawn from the seed; as a folder of sets holds it
_RESAMPLES = 2000
_PAPERS = ("simmc", "himpc", "sgela")  # the first word of their tables' names, by year


class Record(TypedDict, total=False):
    """One run of a cell, or of several seeds where an older page kept no more than their mean."""

    run: list[str]  # the commands, without data, seed and places
    dataset: str
    probe: str
    split: str  # "seed", "set", or the name that a given split was called by
    seed: int
    seeds: list[int]  # of a mean
    key: str  # of the settings, the data and the version; equal keys are the same run
    settings: str  # checksum of the resolved settings
    version: str  # `Method.version` of each command
    data: str  # checksum of the arrays and the skeleton
    carried: str  # where numbers of an older version stand
    protocols: dict[str, dict[str, Any]]  # figures, and the epoch they come from
    deviation: dict[str, dict[str, float]]  # of a mean
    persons: dict[str, str]  # outcomes by person, packed (`pack_persons`)
    epochs: list[dict[str, float]]  # epoch, top1, mAP
    counts: dict[str, Any]
    seconds: float
    load: float  # processes that wanted a core when it ended, a mean of minutes, by core
    peak_rss_bytes: int
    machine: str
    versions: dict[str, str]
    commit: str
    made: str  # date and time, UTC


_NUMBER = (None, float, int)
_SCHEMA = {
    "run": [str],
    "dataset": str,
    "probe": str,
    "split": str,
    "seed?": int,
    "seeds?": [int],
    "protocols": {str: (None, {str: object})},
    "deviation?": {str: {str: _NUMBER}},
    "persons?": {str: str},
    "epochs?": [{str: _NUMBER}],
    "seconds?": _NUMBER,
    "load?": _NUMBER,
    "peak_rss_bytes?": _NUMBER,
    "made?": str,
    "version?": str,
}


@dataclass(frozen=True)
class Row:
    """One method of a table.

    Attributes:
        name: as the paper calls it.
        run: commands that make it, the last of which is scored; none: published only.
        more: further flags of the last command, by dataset.
        printed: "KGBD/probe" -> figure -> percent.
        labels: what the method knows beside windows: "none", "recordings" or "identities".
        split: kind of split that its records have.
        protocol: of ours that the printed numbers compare with.
        figure_of: "" or the part of a run's results that the row is, such as "levels.limb".
    """

    name: str
    run: tuple[str, ...] = ()
    more: Mapping[str, str] = field(default_factory=dict)
    printed: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    labels: str = "none"
    split: str = SEED
    protocol: str = "paper"
    figure_of: str = ""
    note: str = ""

    def commands(self, dataset: str) -> tuple[str, ...]:
        """What is run on a dataset."""
        if not self.run:
            return ()
        return (*self.run[:-1], " ".join([self.run[-1], self.more.get(dataset, "")]).strip())


@dataclass(frozen=True)
class Table:
    """A table of a paper, or one of ours."""

    name: str
    title: str
    paper: str
    number: int | None
    figures: tuple[str, ...]
    columns: tuple[str, ...]  # "dataset/probe"
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    claims: tuple[Mapping[str, Any], ...] = ()

    def row(self, name: str) -> Row:
        """The row of this name."""
        return next(row for row in self.rows if row.name == name)


@dataclass(frozen=True)
class Ours:
    """What the records of a row say under one protocol; percent."""

    records: tuple[Record, ...]
    mean: Mapping[str, float]
    deviation: Mapping[str, float]  # sample standard deviation over seeds
    ends: Mapping[str, tuple[float, float]]  # 95 % over persons; where every run kept them
    n: int
    carried: int  # how many of them are carried over


@cache
def tables() -> dict[str, Table]:
    """Every table by name: the papers' in the order of their years, then ours."""

    def place(table: Table) -> tuple[int, int, str]:
        paper = table.name.split("-")[0]
        return (*_PAPERS, paper).index(paper), table.number or 100, table.name

    found = map(_read_table, (preset_root() / "tables").glob("*.toml"))
    return {table.name: table for table in sorted(found, key=place)}


def _read_table(path: Path) -> Table:
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    figures, columns = tuple(content["figures"]), tuple(content["columns"])
    shared: dict[str, Any] = {
        key: content[key] for key in ("protocol", "labels", "more") if key in content
    }
    if "*/probe" in columns:  # sets of the user's own
        shared["split"] = SET
    rows = []
    for entry in content["row"]:
        values = {**shared, **entry}
        run = values.pop("run", ())
        printed = {}
        for column, cell in zip(columns, values.pop("printed", []), strict=False):
            numbers = zip(figures, cell.split(), strict=True)
            if got := {name: float(text) for name, text in numbers if text != "-"}:
                printed[column] = got
        run = (run,) if isinstance(run, str) else tuple(run)
        rows.append(Row(run=run, printed=printed, **values))
    about = path.stem, content["title"], content.get("paper", ""), content.get("number")
    seeds, claims = tuple(content.get("seeds", [0])), tuple(content.get("claim", ()))
    return Table(*about, figures, columns, seeds, tuple(rows), claims)


def read_records(
    folder: Path, versions: Callable[[Record], str] = lambda record: ""
) -> list[Record]:
    """Every record of a folder, in the order of their names.

    Args:
        folder: of the files.
        versions: the version that each command of a record has now, joined by "-". Records of
            an older one are marked as carried over.
    """
    advice = "move the file away, or take it from the repository again"
    found: list[Record] = [
        read_json(path, _SCHEMA, advice) for path in sorted(folder.glob("*.json"))
    ]
    for record in found:
        parts = record.get("version", "").split("-"), versions(record).split("-")
        for command, then, now in zip(record["run"], *parts, strict=False):
            if then.isdecimal() and now.isdecimal() and int(then) < int(now):
                method = command.partition(" ")[0]
                record.setdefault("carried", f"version {then} of {method}")
    return found


def write_record(folder: Path, record: Record) -> Path:
    """Store a record under a name that says what it is; equal keys replace each other."""
    command = shlex.split(record["run"][-1])[0]
    parts = [command, record["dataset"], record["probe"], record["split"], record["key"]]
    path = folder / ("_".join(parts).replace("/", "-") + ".json")
    lines = [f"{json.dumps(name)}: {files.json_text(value)}" for name, value in record.items()]
    files.write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")  # one line an entry
    return path


def pack_persons(rows: np.ndarray) -> str:
    """Outcomes by person as text.

    Args:
        rows: (P, 7) integers: person, scored windows, hits at 1, 5 and 10, windows that mAP
            averages, and a million times the sum of their average precisions.
    """
    return base64.b85encode(zlib.compress(rows.astype("<i4").tobytes(), 9)).decode()


def unpack_persons(text: str) -> np.ndarray:
    """The (P, 7) int32 array of `pack_persons`."""
    try:
        return np.frombuffer(zlib.decompress(base64.b85decode(text)), "<i4").reshape(-1, 7)
    except (ValueError, zlib.error) as error:
        raise UserError(f"a record's outcomes by person are damaged ({error})") from error


def sums_of(
    records: Sequence[Record], protocol: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """(P,) persons, and (R, P, 4) sums and counts of their top-1, 5, 10 and mAP.

    None where a run kept none.
    """
    if not records or not all(protocol in record.get("persons", {}) for record in records):
        return None
    packed = [unpack_persons(record["persons"][protocol]) for record in records]
    persons = np.unique(np.concatenate([rows[:, 0] for rows in packed]))
    sums = np.zeros((len(packed), len(persons), 4))
    counts = np.zeros(sums.shape, np.int64)
    for run, rows in enumerate(packed):
        place = np.searchsorted(persons, rows[:, 0])
        sums[run, place] = np.column_stack([rows[:, 2:5], rows[:, 6] / 1e6])
        counts[run, place] = rows[:, [1, 1, 1, 5]]
    return persons, sums, counts


def records_of(records: Iterable[Record], row: Row, column: str) -> list[Record]:
    """Those of a row with its newest settings and version: the newest run of each seed; means."""
    dataset, _, probe = column.partition("/")
    wanted = list(row.commands(dataset))
    if not wanted:
        return []
    found = [
        record
        for record in records
        if record["run"] == wanted
        and (record["dataset"], record["probe"], record["split"]) == (dataset, probe, row.split)
    ]
    found.sort(key=lambda record: (record.get("made", ""), "carried" not in record))
    if found:
        recipe = _recipe(found[-1])
        # a mean that was carried over is older than versions; `summary` says when it counts
        kinds = {recipe, (recipe[0], None)}
        found = [one for one in found if _recipe(one) in (kinds if "seeds" in one else {recipe})]
    single = {record["seed"]: record for record in found if "seed" in record}
    means = [record for record in found if "seeds" in record]
    return [*(single[seed] for seed in sorted(single)), *means]


def same_splits(
    row: Row, other: Row, column: str, records: Sequence[Record]
) -> list[tuple[Record, Record]]:
    """Records of two rows that have the same seed and data, in the order of their seeds."""
    sides: list[dict[tuple[int, str | None], Record]] = [
        {(r["seed"], r.get("data")): r for r in records_of(records, one, column) if "seed" in r}
        for one in (row, other)
    ]
    return [(record, sides[1][key]) for key, record in sides[0].items() if key in sides[1]]


def _recipe(record: Record) -> tuple[Any, ...]:
    return record.get("settings"), record.get("version")


def figures_of(record: Record, protocol: str, part: str = "") -> Mapping[str, Any]:
    """The figures of a protocol, or of a part of it such as "levels.limb"; empty without any."""
    found: Any = record["protocols"].get(protocol) or {}
    for name in filter(None, part.split(".")):
        found = found.get(name) or {}
    return {name: found[name] for name in (*RATES, "epoch") if found.get(name) is not None}


def summary(records: Sequence[Record], protocol: str, part: str = "") -> Ours | None:
    """Mean, deviation and interval of runs; None where a protocol has no figures.

    A mean that was carried over counts only where it has more seeds than there are single runs.
    """
    found = [record for record in records if figures_of(record, protocol, part)]
    having = [record for record in found if "seeds" not in record]
    means = [record for record in found if len(record.get("seeds", ())) > len(having)]
    having = means[-1:] or having
    if not having:
        return None
    values = [figures_of(record, protocol, part) for record in having]
    names = [name for name in RATES if all(name in one for one in values)]
    mean = {name: 100 * statistics.fmean(one[name] for one in values) for name in names}
    if "seeds" in having[0]:
        kept = having[0].get("deviation", {}).get(protocol, {})
        deviation = {name: 100 * kept[name] for name in names if name in kept}
        count = len(having[0]["seeds"])
        return Ours(tuple(having), mean, deviation, {}, count, count)
    deviation = {}
    if len(values) > 1:
        deviation = {n: 100 * statistics.stdev(one[n] for one in values) for n in names}
    ends: dict[str, tuple[float, float]] = {}
    if not part and (kept_sums := sums_of(having, protocol)):
        drawn = bootstrap_means(*kept_sums[1:], _RESAMPLES, np.random.default_rng(0)).mean(1)
        low, high = 100 * interval(drawn)
        ends = {name: (float(low[i]), float(high[i])) for i, name in enumerate(MATCHED)}
    carried = sum("carried" in record for record in having)
    return Ours(tuple(having), mean, deviation, ends, len(having), carried)


def key_of(parts: Mapping[str, Any]) -> str:
    """What equal runs share: 16 hexadecimal digits."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
