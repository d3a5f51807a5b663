"""Preprocess.py under the public README's other spelling."""

import sys

from simmc import cli

if __name__ == "__main__":
    sys.exit(cli.run("preprocess", sys.argv[1:]))
