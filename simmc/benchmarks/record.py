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

import json
from pathlib import Path
from typing import Any

from simmc import files as atomic
from simmc.benchmarks.summary import summarise
from simmc.errors import UserError

FILE = "benchmark.json"
FORMAT = 1


def read(file: Path) -> dict[str, Any]:
    """The record in a file.

    Raises:
        UserError: no such file, or not one of this program.
    """
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file}: {error}.") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{file} is not valid JSON: {error}.") from error
    parts = {"machine": dict, "settings": dict, "cases": list, "notes": list}
    if (
        not isinstance(record, dict)
        or record.get("format") != FORMAT
        or any(not isinstance(record.get(name), kind) for name, kind in parts.items())
    ):
        raise UserError(
            f"{file} is not a record of simmc benchmark, or of another version; name another file."
        )
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
    atomic.write_json(file, record)
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
