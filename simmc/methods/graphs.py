"""What MG-SCR and SM-SGE share in learning: random subsequences of the frames of a window."""

from typing import TypeVar

import numpy as np

from simmc.data.experiment.load import Experiment
from simmc.engine.pretext import PretextTraining
from simmc.models.source import SourceNetwork
from simmc.runs.runtime import Runtime
from simmc.runs.seeds import Seeds
from simmc.settings import GraphSettings

G = TypeVar("G", bound=GraphSettings)


class GraphTraining(PretextTraining[G]):
    """A training in progress.

    Args:
        settings: of the method.
        data: its training windows in the order of the batches.
        seeds: `masks` draws the frames of the subsequences.
        runtime: device and threads.
        protocols: that it serves.
        network: what is trained.
        frames: of a window, from the first on, that subsequences are drawn from.

    Attributes:
        positions: frames of the subsequences, where they are drawn once (row G2).
    """

    def __init__(
        self,
        settings: G,
        data: Experiment,
        seeds: Seeds,
        runtime: Runtime,
        protocols: tuple[str, ...],
        network: SourceNetwork,
        frames: int,
    ) -> None:
        super().__init__(settings, data, seeds, runtime, protocols, network)
        self.frames = frames
        self.positions = self.draw() if settings.sampled_frames == "once" else None

    def draw(self) -> list[list[int]]:
        """Frames of new subsequences."""
        return drawn_positions(self.seeds.masks, self.frames)

    def next_positions(self) -> list[list[int]]:
        """Frames of a batch's subsequences."""
        return self.positions or self.draw()


def drawn_positions(generator: np.random.Generator, frames: int) -> list[list[int]]:
    """For k = 1 to `frames`: k different frames in their order."""
    return [
        np.sort(generator.choice(frames, size=k, replace=False)).tolist()
        for k in range(1, frames + 1)
    ]
