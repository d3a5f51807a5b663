"""SimMC-UF: SimMC, unchanged, on the frame features of a source model (SimMC section 3.4).

What stands in place of a window's f frames of coordinates is the f features that the source model
gave them; masks, clusters, losses and scoring are SimMC's.
"""

from pathlib import Path
from typing import Any

from simmc.data.experiment.load import Experiment
from simmc.methods import simmc
from simmc.runs.runtime import Runtime
from simmc.scoring.match import match, retrieval_record
from simmc.settings import FinetuneSettings


def score(
    path: Path | None,
    settings: FinetuneSettings,
    data: Experiment,
    runtime: Runtime,
    ranks: int,
    *,
    negative_squared: str = "clamp",
) -> dict[str, Any]:
    """As SimMC's, with the row of the source model alone: means of its features over frames."""
    how = {"negative_squared": negative_squared}
    outcome = simmc.score(path, settings, data, runtime, ranks, **how)
    alone = match(None, data, runtime, same_condition=settings.same_condition_map, **how)
    return outcome | {"kinds": {f"{settings.source}": retrieval_record(alone)}}
