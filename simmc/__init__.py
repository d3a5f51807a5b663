"""Person re-identification from 3D skeletons, without labels."""

import os

__version__ = "0.2.0"

# Threads that wait for each other shall sleep, not spin. Where another program has one of the
# cores, spinning makes the thousands of small steps of an epoch take several times as long; on an
# idle machine it gains nothing measurable, but for SGELA (docs/sgela.md). OpenMP reads this
# when torch is loaded; a value that is set already stands.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
