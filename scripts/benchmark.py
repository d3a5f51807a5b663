#!/usr/bin/env python3
"""Time and memory of the clustering beside the published dense routine: see --help."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from simmc import cli

if __name__ == "__main__":
    sys.exit(cli.run("benchmark", sys.argv[1:]))
