"""`python -m simmc`: the same as the console command."""

import sys

from simmc.cli import main

sys.exit(main())
