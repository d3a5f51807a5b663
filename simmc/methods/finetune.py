"""SimMC-UF: SimMC, unchanged, on the frame features of a source model (SimMC section 3.4).

What stands in place of a window's f frames of coordinates is the f features that the source model
gave them; masks, clusters, losses and scoring are SimMC's.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from simmc.config import FinetuneSettings
from simmc.data.loaders import Experiment
from simmc.methods import simmc
from simmc.methods.matching import match, retrieval_record
from simmc.runs.runtime import Runtime

SMALLEST_DEVIATION = 1e-6  # of a feature that is not taken for a constant


def standardised(data: Experiment) -> Experiment:
    """Every feature with mean 0 and deviation 1 over the frames of the training windows."""
    frames = data.train.windows.reshape(-1, data.train.windows.shape[2])
    mean = frames.mean(0, dtype=np.float64)
    deviation = frames.std(0, dtype=np.float64)
    scale = np.where(deviation > SMALLEST_DEVIATION, 1 / np.maximum(deviation, 1e-300), 0.0)

    def apply(windows: np.ndarray) -> np.ndarray:
        shifted = windows - mean.astype(np.float32)
        shifted *= scale.astype(np.float32)
        return shifted

    probe = replace(data.probe, windows=apply(data.probe.windows))
    gallery = probe
    if not data.same_windows:
        gallery = replace(data.gallery, windows=apply(data.gallery.windows))
    train = replace(data.train, windows=apply(data.train.windows))
    return replace(data, train=train, probe=probe, gallery=gallery)


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
