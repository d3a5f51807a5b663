"""What MG-SCR and SM-SGE share: random subsequences of the frames of a window."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from simmc.data.graph_levels import GRAPH_LEVELS, skeleton_graph
from simmc.data.skeletons import Skeleton
from simmc.engine.method import a_step, counted, shape_of
from simmc.models.graph_size import IDENTITIES
from simmc.models.simmc import count_parameters

KINDS = ("mean", "lstm", "prefix")


class Positions:
    """Frames of the subsequences, drawn for each batch or once for the whole training (row G2).

    Args:
        generator: draws.
        frames: of a window, from the first on, that subsequences are drawn from.
        once: draw once.
    """

    def __init__(self, generator: np.random.Generator, frames: int, *, once: bool) -> None:
        self.generator, self.frames = generator, frames
        self.kept = drawn_positions(generator, frames) if once else None

    def next(self) -> list[list[int]]:
        """Frames of a batch's subsequences."""
        return self.kept or drawn_positions(self.generator, self.frames)


def drawn_positions(generator: np.random.Generator, frames: int) -> list[list[int]]:
    """For k = 1 to `frames`: k different frames in their order."""
    return [
        np.sort(generator.choice(frames, size=k, replace=False)).tolist()
        for k in range(1, frames + 1)
    ]


def require_graphs(skeleton: Skeleton) -> None:
    """UserError where a skeleton lacks bones or parts that the graphs need."""
    for level in GRAPH_LEVELS:
        skeleton_graph(skeleton, level)


def shuffles_graphs(settings: Any) -> bool:
    """Only where no class sampling has mixed the persons: batches need several of them."""
    return not settings.windows.balances_classes(settings.place.dataset)


def graph_size_text(
    title: str,
    settings: Any,
    size_of: Callable[..., tuple[int, int, int]],
    new_network: Callable[..., Any],
) -> str:
    """Parameters and operations of a training step."""
    dataset, shape = settings.place.dataset, shape_of(settings)
    _, parameters, flops = size_of(settings, shape.skeleton, dataset)
    network = new_network(settings, shape, torch.Generator())
    head = IDENTITIES.get(dataset)
    judged = f"a head for {head} identities" if head else "a head for no identities"
    step = a_step(settings, flops, "pretext task and recognition, products alone")
    return (
        f"{counted(title, settings, parameters)} as the papers count, with {judged}; "
        f"{count_parameters(network):,} without it; {step}"
    )
