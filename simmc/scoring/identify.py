"""The means of recordings and, for each probe recording, the nearest gallery recordings.

Shape letters: N windows, R recordings, d features.
"""

from dataclasses import dataclass

import numpy as np

from simmc.clustering import k_nearest_among, k_nearest_others
from simmc.data.experiment.experiment import Split
from simmc.evaluation.tracklets import of_walks, pooled, walks_of


@dataclass(frozen=True, eq=False)
class Sides:
    """The recordings of a split, one feature each.

    Attributes:
        recording: (R,) int64 positions in the manifest's list, in the order of their first windows.
        identity: (R,) int64.
        features: (R, d) float means of the features of their windows.
    """

    recording: np.ndarray
    identity: np.ndarray
    features: np.ndarray


def recordings_of(split: Split, features: np.ndarray, *, unit: bool) -> Sides:
    """The recordings of a split by the means of their windows' features.

    Args:
        split: with the recording of every window.
        features: (N, d) of the windows.
        unit: scale the means to unit length.
    """
    assert split.recording is not None
    walk = walks_of(split.recording, None)
    return Sides(
        of_walks(split.recording, walk),
        of_walks(split.identity, walk),
        pooled(features, walk, unit=unit),
    )


def nearest(
    probe: Sides, gallery: Sides, count: int, *, same: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The gallery recordings nearest to each probe recording.

    Args:
        probe: R recordings.
        gallery: G recordings.
        count: how many, at most.
        same: both are one list; a recording is then none of its own nearest.

    Returns:
        (R, k) int64 places in `gallery`, ordered by (Euclidean distance, place), and (R, k)
        float64 distances; k is `count`, or all there are.
    """
    if same:
        found = k_nearest_others(gallery.features, count)
    else:
        found = k_nearest_among(probe.features, gallery.features, count)
    return found.indices.astype(np.int64), np.sqrt(found.squared)
