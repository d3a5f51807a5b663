"""`simmc benchmark`: the script benchmarks/clustering.py of a checkout (docs/benchmark.md)."""

import sys
from pathlib import Path

import simmc
from simmc.errors import UserError

ROOT = Path(simmc.__file__).resolve().parents[1]


def main(argv: list[str]) -> int:
    """Run the script; UserError where the folder `benchmarks` is not there."""
    if not (ROOT / "benchmarks" / "clustering.py").is_file():
        raise UserError(
            f"the benchmark is a script of the source code, not of the installed package: {ROOT} "
            "has no benchmarks/clustering.py. Get the source code of this version, go to its "
            "folder and run: python benchmarks/clustering.py"
        )
    sys.path.insert(0, str(ROOT))
    from benchmarks import clustering

    return clustering.main(argv)
