"""Train or evaluate SimMC: `python SimMC.py --help`."""

import sys

from simmc import cli

if __name__ == "__main__":
    sys.exit(cli.run("simmc", sys.argv[1:]))
