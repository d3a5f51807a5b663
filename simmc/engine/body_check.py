"""A check of a training from outside its features: whether it keeps persons of one build together.

Two recordings whose bone lengths are mutually the nearest mostly show one person (71 to 99 % on
four sets of real people). Features that tell persons apart bring such partners nearer to each
other than the raw skeleton does. No label, probe or gallery is used.

Shape letters: N windows, f frames, J joints, T recordings, d features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simmc.data.experiment.experiment import Split
from simmc.data.experiment.inputs import bone_lengths
from simmc.data.skeletons import Skeleton

MOST = 2000  # recordings that are compared; the first ones of a larger set


@dataclass(frozen=True)
class PartnerRanks:
    """Geometric mean rank of the partner among the other recordings, 1 at best.

    Attributes:
        pairs: number of pairs of mutually nearest recordings.
        trained: rank by the trained features.
        raw: rank by the joints, relative to the root, averaged over a recording.
    """

    pairs: int
    trained: float
    raw: float


def partner_ranks(joints: Split, features: np.ndarray, skeleton: Skeleton) -> PartnerRanks | None:
    """Ranks of the partners by bone lengths; None without recordings, bones or pairs.

    Args:
        joints: training windows (N, f, J, 3) in metres, with their recordings.
        features: (N, d) trained features of the same windows.
        skeleton: names and bones of the joints.
    """
    if joints.recording is None or not skeleton.edges:
        return None
    place = np.unique(joints.recording, return_inverse=True)[1]
    kept = place < MOST
    place, windows = place[kept], joints.windows[kept]
    lengths = _standardised(_medians(bone_lengths(windows, skeleton).mean(1), place))
    nearest = _squared_distances(lengths).argmin(1)
    one = np.flatnonzero(nearest[nearest] == np.arange(len(nearest)))
    if len(one) < 2:
        return None
    other = nearest[one]
    raw = _means(windows.mean(1).reshape(len(windows), -1), place)
    trained = _means(features[kept], place)
    return PartnerRanks(len(one) // 2, _rank(trained, one, other), _rank(raw, one, other))


def _rank(values: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """Geometric mean rank of recordings `other` among the neighbours of recordings `one`."""
    distance = _squared_distances(values)
    before = distance[one] < distance[one, other][:, None]
    return float(np.exp(np.log1p(before.sum(1)).mean()))


def _squared_distances(values: np.ndarray) -> np.ndarray:
    """(T, T) between rows (T, d); infinite between a row and itself."""
    squares = (values * values).sum(1)
    distance = squares[:, None] + squares - 2 * values @ values.T
    np.fill_diagonal(distance, np.inf)
    return distance


def _standardised(values: np.ndarray) -> np.ndarray:
    spread = values.std(0)
    return (values - values.mean(0)) / np.where(spread > 0, spread, 1.0)


def _means(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    return np.stack([part.mean(0) for part in _by_recording(values, place)]).astype(np.float64)


def _medians(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    return np.stack([np.median(part, axis=0) for part in _by_recording(values, place)])


def _by_recording(values: np.ndarray, place: np.ndarray) -> list[np.ndarray]:
    """The rows (N, d) of every recording; `place` (N,) counts recordings from 0."""
    order = np.argsort(place, kind="stable")
    return np.split(values[order], np.cumsum(np.bincount(place))[:-1])
