"""The golden record: what every method and scoring command computes on small generated walkers.

    python tests/golden/make.py                       writes record.json beside this file
    python tests/golden/make.py --check [PIECE ...]   compares with it
    python tests/golden/make.py --full --out FILE     every number by name: two such files show what
                                                      a difference is

It calls the command line only, so modules may move. Numbers are found by file (metrics.jsonl,
results.json, weights, arrays, CSV files); times, memory, versions, settings and words are left out.

Of every file the record holds a checksum of all its exact numbers, which says whether anything
changed, and plain values of losses, top-1, mAP, weights and features (of more than four numbers the
Euclidean norm), which say how much. A record with other numbers of a method is written only after
its `METHOD.version` was raised, so that `simmc reproduce` makes the method's cells again.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
if str(ROOT) not in sys.path:  # called as a script
    sys.path.insert(0, str(ROOT))

from simmc.methods.registry import METHODS  # noqa: E402
from tests.golden.pieces import FIDELITIES, PERSONS, Data, Runs, pieces  # noqa: E402
from tests.golden.values import (  # noqa: E402
    Record,
    differences,
    machine,
    of_folder,
    of_text,
    shortened,
)

RECORD = Path(__file__).resolve().parent / "record.json"


def piece(name: str, data: Data, home: Path) -> Record:
    """Runs one piece; its numbers by file."""
    if name != "data":
        steps, dataset, fidelity, probe = pieces()[name]
        runs = Runs(data, home, dataset, fidelity, probe)
        steps(runs)
        return of_folder(home) | {name: of_text(name, text) for name, text in runs.printed.items()}
    for dataset in PERSONS:
        for fidelity in FIDELITIES:
            data(dataset, fidelity)
            if dataset == "KS20":
                data(dataset, fidelity, "CVE")
    found: Record = {}
    for path, numbers in of_folder(data.root).items():  # fidelity/dataset/length/...
        place, _, file = path.partition("_npy_data/")
        for key, text in numbers.items():
            found.setdefault("/".join(place.split("/")[:2]), {})[f"{place} {file} {key}"] = text
    return found


NAMES = ("data", *pieces())


def versions() -> dict[str, int]:
    """The version of every method's numbers."""
    return {name: method.version for name, method in METHODS.items()}


def not_raised(old: dict[str, Any], made: dict[str, Any]) -> list[str]:
    """Methods whose numbers are not those of a record, though their version is."""
    changed = {re.split("[-_]", name)[0] for name in made if made[name] != old["pieces"].get(name)}
    return sorted(
        name for name in changed & METHODS.keys() if old["versions"][name] == versions()[name]
    )


def write(record: dict[str, Any], path: Path) -> None:
    """One line a file of a piece, so that a change of the record can be read."""
    lines = ["{"]
    lines += [f'"{name}": {json.dumps(record[name])},' for name in ("machine", "versions")]
    lines += ['"pieces": {']
    blocks = []
    for name, files in record["pieces"].items():
        rows = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in files.items()]
        blocks.append(f"{json.dumps(name)}: {{\n" + ",\n".join(rows) + "\n}")
    path.write_text("\n".join([*lines, ",\n".join(blocks), "}\n}\n"]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the record")
    parser.add_argument("--out", type=Path, default=RECORD, help="file of the record")
    parser.add_argument("--full", action="store_true", help="every number by name")
    parser.add_argument("names", nargs="*", metavar="PIECE", help="these only")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Data(Path(folder) / "data")
        made = {
            name: piece(name, data, Path(folder) / f"runs {name}") for name in given.names or NAMES
        }
    if not given.full:
        made = {name: shortened(numbers) for name, numbers in made.items()}
    old = json.loads(RECORD.read_text())
    if not given.check:
        if given.out == RECORD and old["machine"] == machine() and (names := not_raised(old, made)):
            sys.exit(f"not written: raise METHOD.version of {', '.join(names)}; numbers changed")
        write({"machine": machine(), "versions": versions(), "pieces": made}, given.out)
        return 0
    pieces_of = old["pieces"]
    found = [f"{n}: {line}" for n in made for line in differences(pieces_of[n], made[n])]
    sys.stdout.write("\n".join(found or ["the same to the last digit"]) + "\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
