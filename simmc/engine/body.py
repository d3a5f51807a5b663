"""Whether features follow the bodies of people: a check on a training that its losses cannot fool.

The lengths of a person's bones do not change from one recording to the next. They are measured on
the skeletons themselves, so a training that draws different people together, or tears one person
apart, loses agreement with them, however consistent its clusters become. `BodyAgreement` chooses an
epoch; `partner_ranks` judges the trained features. No label, probe or gallery is used.

Shape letters: N windows, f frames, J joints, E bones, T recordings, d features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.distance import cdist

from simmc.data.experiment.experiment import Split
from simmc.data.experiment.inputs import bone_lengths
from simmc.data.skeletons import Skeleton

REASON = "the one whose features agree best with bone lengths; the untrained one counts"
SAMPLE = 1000  # windows compared, a million pairs
NEAR = 0.05  # share of the pairs that count as bodies of one size
SMALLEST = 1e-9  # deviation of a bone that differs between windows
MOST = 2000  # recordings whose partners are sought; the first ones of a larger set


class BodyAgreement:
    """How well the nearest features find bodies of the same size in other recordings.

    The mean average precision of a sample of windows. Each is searched among those of other
    recordings; right is what has the most similar bone lengths, the nearest `NEAR` of all such
    pairs.

    Args:
        lengths: (N, E) bone lengths of every window.
        recording: (N,) recording of every window, whose median lengths count; None: unknown, each
            window counts by its own lengths.

    Attributes:
        rows: (S,) the windows of the sample, ascending.
    """

    def __init__(self, lengths: np.ndarray, recording: np.ndarray | None = None) -> None:
        if recording is None:
            recording = np.arange(len(lengths))
        rng = np.random.default_rng(0)
        self.rows = np.sort(rng.permutation(len(lengths))[:SAMPLE])
        names, of = np.unique(recording, return_inverse=True)
        if len(names) < len(of):
            lengths = medians(lengths, of)[of]
        spread = lengths.std(0, dtype=np.float64)
        varies = spread > SMALLEST
        sizes = lengths[self.rows][:, varies] / spread[varies]
        self.other = of[self.rows, None] != of[self.rows]
        far = cdist(sizes, sizes)
        inside = far[self.other]
        self.alike = self.other & (far <= np.quantile(inside, NEAR) if inside.size else False)

    def __call__(self, features: np.ndarray | torch.Tensor) -> float:
        """The agreement, from 0 to 1, of (S, d) features of the windows `rows`."""
        rows = np.asarray(features, np.float64)
        order = np.argsort(np.where(self.other, cdist(rows, rows), np.inf), 1, kind="stable")
        right = np.take_along_axis(self.alike, order, 1)
        right = right[right.any(1)]
        if not len(right):
            return 0.0
        precision = right.cumsum(1) / np.arange(1, right.shape[1] + 1)
        return float(((precision * right).sum(1) / right.sum(1)).mean())


@dataclass(frozen=True)
class PartnerRanks:
    """Geometric mean rank of the partner among the other recordings, 1 at best.

    Partners are recordings whose bone lengths are mutually the nearest. Mostly they show one person
    (71 to 99 % on four sets of real people), and features that tell persons apart bring them nearer
    to each other than the raw skeleton does.

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
    lengths = medians(bone_lengths(windows, skeleton).mean(1), place)
    spread = lengths.std(0)
    nearest = _distances(lengths / np.where(spread > 0, spread, 1.0)).argmin(1)
    one = np.flatnonzero(nearest[nearest] == np.arange(len(nearest)))
    if len(one) < 2:
        return None
    other = nearest[one]
    raw = means(windows.mean(1).reshape(len(windows), -1), place)
    trained = means(features[kept], place)
    return PartnerRanks(len(one) // 2, _rank(trained, one, other), _rank(raw, one, other))


def _rank(values: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """Geometric mean rank of recordings `other` among the neighbours of recordings `one`."""
    distance = _distances(values)
    before = distance[one] < distance[one, other][:, None]
    return float(np.exp(np.log1p(before.sum(1)).mean()))


def _distances(values: np.ndarray) -> np.ndarray:
    """(T, T) between rows (T, d); infinite between a row and itself."""
    distance = cdist(values, values)
    np.fill_diagonal(distance, np.inf)
    return distance


def means(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(T, d) means of the rows (N, d) of every recording; `place` (N,) counts recordings from 0."""
    return np.stack([part.mean(0) for part in _by_recording(values, place)])


def medians(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(T, d) medians, as `means`."""
    return np.stack([np.median(part, axis=0) for part in _by_recording(values, place)])


def _by_recording(values: np.ndarray, place: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(place, kind="stable")
    return np.split(values[order], np.cumsum(np.bincount(place))[:-1])
