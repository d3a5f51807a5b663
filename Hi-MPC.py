"""Train or evaluate Hi-MPC: `python Hi-MPC.py --help`."""

import sys

from simmc import cli

if __name__ == "__main__":
    sys.exit(cli.run("himpc", sys.argv[1:]))
