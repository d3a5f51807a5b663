"""What MG-SCR and SM-SGE share: random subsequences of the frames of a window."""

from collections.abc import Callable
from typing import Any

import numpy as np

from simmc.data.graph_levels import GRAPH_LEVELS, skeleton_graph
from simmc.data.skeletons import Skeleton
from simmc.models.graph_size import IDENTITIES
from simmc.models.simmc import count_parameters
from simmc.runs.runtime import generators

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
    place = settings.place
    skeleton = place.read_spec().skeleton
    _, counted, flops = size_of(settings, skeleton, place.dataset)
    network = new_network(settings, skeleton, generators(0).weights)
    head = IDENTITIES.get(place.dataset)
    judged = f"a head for {head} identities" if head else "a head for no identities"
    return (
        f"{title} on {place.dataset}: {counted:,} parameters ({counted / 1e6:.2f}M) as the "
        f"papers count, with {judged}; {count_parameters(network):,} without it; "
        f"{flops / 1e9:.2f} GFLOP a training step of {settings.windows.batch_size} windows of "
        f"{place.length} frames (pretext task and recognition, products alone)"
    )
