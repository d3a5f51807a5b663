"""The file benchmark.json: every measurement as it was made, kept from call to call.

machine   versions, processor, threads
settings  what must be the same for all measurements of one file
cases     one a data set and size: neighbour lists, seconds, memory, labels
epoch     the training recipe, seconds by stage
load      processes at work on average when each call began, where the system tells
notes     what was left out, and why
fit_from  the smallest N that the exponents are fitted to
summary   medians, ratios and exponents, worked out anew from the cases at every writing
"""

from pathlib import Path
from typing import Any

from simmc import files
from simmc.benchmarks.summary import summarise
from simmc.errors import UserError
from simmc.schema import Within, read_json

FILE = "benchmark.json"
FORMAT = 1

_COUNT = Within(0, 2**62, whole=True)
_SECONDS = Within(0, 1e12)
_SHARE = (None, Within(-1, 1 + 1e-9))
_TIME = {
    "seconds?": {str: {str: [_SECONDS]}},
    **dict.fromkeys(("clusters?", "outliers?", "labels_differing?"), (None, _COUNT)),
}
_MEMORY = {
    "peak_bytes": (None, _COUNT),
    "added_bytes": (None, Within(-(2**62), 2**62, whole=True)),
}
_CASE = {
    "dataset": str,
    "n": Within(1, 2**53, whole=True),
    "lists": (None, {"kind": str, "recall?": _SHARE, "agreement?": _SHARE}),
    "time": (None, _TIME),
    "memory": {str: (None, _MEMORY)},
}
_EPOCH = {
    "seconds": [{str: _SECONDS}],
    "peak_rss_bytes": (None, _COUNT),
    "windows": {"train": _COUNT, "probe": _COUNT, "gallery": _COUNT},
    "generated": bool,
}
_MACHINE: dict[Any, Any] = {
    **{"processor": str, "platform": str, "cores": _COUNT, "threads": _COUNT},
    "memory_bytes?": (None, _COUNT),
    str: (None, str, float),
}
_RECORD = {
    "format": Within(FORMAT, FORMAT, whole=True),
    "machine": _MACHINE,
    "settings": {str: (None, str, float), "repeats": _COUNT},
    "cases": [_CASE],
    "epoch?": (None, _EPOCH),
    "load?": [(None, Within(0, 1e9))],
    "notes": [str],
    "fit_from": _COUNT,
}


def read(file: Path) -> dict[str, Any]:
    """The record in a file.

    Raises:
        UserError: no such file, or not one of this program.
    """
    advice = "name a file of simmc benchmark of this version"
    record: dict[str, Any] = read_json(file, _RECORD, advice)
    for number, case in enumerate(record["cases"]):
        stages = ((case["time"] or {}).get("seconds") or {}).values()
        if len({len(repeats) for one in stages for repeats in one.values()}) > 1:
            raise UserError(f"{file}: cases[{number}]: repeats of unequal number; {advice}")
        for name, found in case["memory"].items():
            if found and found["added_bytes"] is not None and found["peak_bytes"] is None:
                raise UserError(f"{file}: cases[{number}]: {name} has no peak memory; {advice}")
    if record.get("epoch") and not record["epoch"]["seconds"]:
        raise UserError(f"{file}: epoch: it has no seconds; {advice}")
    return record


def begin(out: Path, machine: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The record in the folder `out`: a new one, or that of an earlier call, continued.

    Raises:
        UserError: the folder cannot be written, or holds measurements that were made otherwise.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"--out {out}: {reason}. Name another folder.") from error
    file = out / FILE
    if not file.exists():
        new = {"format": FORMAT, "machine": machine, "settings": settings}
        return new | {"cases": [], "epoch": None, "load": [], "notes": [], "fit_from": 0}
    record = read(file)
    for part, now in (("machine", machine), ("settings", settings)):
        for key, value in now.items():
            before = record[part].get(key)
            if before != value:
                raise UserError(
                    f"--out {out} holds measurements with {key} {before}, not {value}; they cannot "
                    "be mixed. Name another folder, or delete that one."
                )
    return record


def save(out: Path, record: dict[str, Any]) -> Path:
    """Writes the record with its summary."""
    record["summary"] = summarise(record)
    file = out / FILE
    files.write_json(file, record)
    return file


def case_of(record: dict[str, Any], dataset: str, n: int, generated: bool) -> dict[str, Any]:
    """The entry of a data set and size, made where it is missing; cases stay sorted."""
    for case in record["cases"]:
        if (case["dataset"], case["n"]) == (dataset, n):
            found: dict[str, Any] = case
            return found
    new: dict[str, Any] = {"dataset": dataset, "n": n, "generated": generated}
    new |= {"lists": None, "time": None, "memory": {}}
    record["cases"].append(new)
    order = list(dict.fromkeys(case["dataset"] for case in record["cases"]))
    record["cases"].sort(key=lambda case: (order.index(case["dataset"]), case["n"]))
    return new


def note(record: dict[str, Any], sentence: str) -> None:
    """Keeps a remark once."""
    if sentence not in record["notes"]:
        record["notes"].append(sentence)
