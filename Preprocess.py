"""Raw recordings to windows of equal length: `python Preprocess.py 6`, or `--help`."""

import sys

from simmc import cli

if __name__ == "__main__":
    sys.exit(cli.run("preprocess", sys.argv[1:]))
