"""Fine-tune a source model's features with SimMC: `python SimMC-UF.py --help`."""

import sys

from simmc import cli

if __name__ == "__main__":
    sys.exit(cli.run("finetune", sys.argv[1:]))
