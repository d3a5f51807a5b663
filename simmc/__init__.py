"""Person re-identification from 3D skeletons, without labels."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simmc.api import Run, load_run, train
    from simmc.clustering import ClusterSettings, pseudo_labels
    from simmc.data.skeletons import KINECT_V1, KINECT_V2, Skeleton
    from simmc.data.store import read_split, write_dataset
    from simmc.data.synthetic.walkers import generate
    from simmc.data.windows import windows_of
    from simmc.errors import UserError
    from simmc.evaluation.ranking import evaluate

__version__ = "0.2.0"

# The public interface (docs/python.md): name -> module. Everything else may move.
_HOME = {
    "ClusterSettings": "simmc.clustering",
    "KINECT_V1": "simmc.data.skeletons",
    "KINECT_V2": "simmc.data.skeletons",
    "Run": "simmc.api",
    "Skeleton": "simmc.data.skeletons",
    "UserError": "simmc.errors",
    "evaluate": "simmc.evaluation.ranking",
    "generate": "simmc.data.synthetic.walkers",
    "load_run": "simmc.api",
    "pseudo_labels": "simmc.clustering",
    "read_split": "simmc.data.store",
    "train": "simmc.api",
    "windows_of": "simmc.data.windows",
    "write_dataset": "simmc.data.store",
}
__all__ = [
    "KINECT_V1",
    "KINECT_V2",
    "ClusterSettings",
    "Run",
    "Skeleton",
    "UserError",
    "evaluate",
    "generate",
    "load_run",
    "pseudo_labels",
    "read_split",
    "train",
    "windows_of",
    "write_dataset",
]

# Threads that wait for each other shall sleep, not spin. Where another program has one of the
# cores, spinning makes the thousands of small steps of an epoch take several times as long; on an
# idle machine it gains nothing measurable, but for SGELA (docs/sgela.md). OpenMP reads this
# when torch is loaded; a value that is set already stands.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def __getattr__(name: str) -> Any:
    """A public name, whose module is imported on first use: `import simmc` loads no library."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
