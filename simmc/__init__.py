"""Person re-identification from 3D skeletons, without labels."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simmc.api import Run, load_run, train
    from simmc.clustering import ClusterSettings, pseudo_labels
    from simmc.data.importing.from_python import import_recordings
    from simmc.data.skeletons import KINECT_V1, KINECT_V2, Skeleton
    from simmc.data.store import read_split, write_dataset
    from simmc.data.synthetic.walkers import generate
    from simmc.data.windows import windows_of
    from simmc.errors import UserError
    from simmc.evaluation.ranking import evaluate

__version__ = "0.2.0"

# The public interface (docs/python.md). Everything else may move.
__all__ = [
    "KINECT_V1",
    "KINECT_V2",
    "ClusterSettings",
    "Run",
    "Skeleton",
    "UserError",
    "evaluate",
    "generate",
    "import_recordings",
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
    """A public name, imported when it is first used: `import simmc` loads no library."""
    module: Any
    match name:
        case "Run" | "load_run" | "train":
            from simmc import api as module
        case "ClusterSettings" | "pseudo_labels":
            from simmc import clustering as module
        case "KINECT_V1" | "KINECT_V2" | "Skeleton":
            from simmc.data import skeletons as module
        case "import_recordings":
            from simmc.data.importing import from_python as module
        case "read_split" | "write_dataset":
            from simmc.data import store as module
        case "generate":
            from simmc.data.synthetic import walkers as module
        case "windows_of":
            from simmc.data import windows as module
        case "UserError":
            from simmc import errors as module
        case "evaluate":
            from simmc.evaluation import ranking as module
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
