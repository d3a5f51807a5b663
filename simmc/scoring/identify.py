"""Who is who, recording by recording: people among training recordings, and nearest recordings.

Shape letters: N windows, R recordings, T tracks (training recordings), d features.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simmc.clustering import k_nearest_among, k_nearest_others
from simmc.data.experiment.load import Experiment, Split
from simmc.engine.pseudo_labels import load_weights
from simmc.evaluation.tracklets import of_walks, pooled, walks_of
from simmc.methods.trackmc import TrackMC
from simmc.runs.runtime import Runtime
from simmc.runs.seeds import generators
from simmc.settings import TrackMCSettings


@dataclass(frozen=True)
class Believed:
    """Whom a training recording shows, as TrackMC sees it.

    Attributes:
        recording: place in the manifest's list.
        windows: how many of its windows are learned from.
        person: number of a cluster; None where the recording has none.
        share: of its clustered parts that lie in this cluster.
        sure: whether the share is large and no other cluster may be the same person.
        others: clusters that it may belong to as well: those of its other parts by falling share,
            then those that may be the same person as the first, ascending.
    """

    recording: int
    windows: int
    person: int | None
    share: float
    sure: bool
    others: tuple[int, ...]


@dataclass(frozen=True)
class People:
    """What TrackMC believes of its training recordings.

    Attributes:
        recordings: one for each, in the order of the manifest.
        fewest: people at least: if all clusters that may be the same person are.
        likely: people, if none are.
    """

    recordings: list[Believed]
    fewest: int
    likely: int

    @property
    def unsure(self) -> int:
        """Recordings that the method is unsure of."""
        return sum(not one.sure for one in self.recordings)


@dataclass(frozen=True, eq=False)
class Sides:
    """Recordings of a split as they are matched.

    Attributes:
        recording: (R,) int64 places in the manifest's list, in the order of their first windows.
        identity: (R,) int64.
        features: (R, d) float means of the features of their windows.
    """

    recording: np.ndarray
    identity: np.ndarray
    features: np.ndarray


def people(path: Path, settings: TrackMCSettings, data: Experiment, runtime: Runtime) -> People:
    """Cluster the training recordings at the weights in a file, as an epoch of training does.

    Parts are drawn as in a first epoch: by the seed of the run.

    Args:
        path: the weights.
        settings: of the training; it knew recordings.
        data: with the training windows as they were learned from.
        runtime: device and threads.
    """
    assert data.train.recording is not None  # or it could not have been trained
    training = TrackMC(settings, data, generators(settings.seed), runtime, ("label_free",))
    load_weights(training.network, path, "--dataset, --input, --H, --D and --pooling")
    record = training.prepare()
    targets = training.targets
    cluster, share = targets.cluster.cpu().numpy(), targets.share.cpu().numpy()
    known, sure = targets.known.cpu().numpy(), targets.sure.cpu().numpy()
    rivals = targets.rivals.cpu().numpy()
    places, windows = np.unique(data.train.recording, return_counts=True)
    found = []
    for t, place in enumerate(places.tolist()):
        own = cluster[t][share[t] > 0].tolist()
        near = rivals[own[0]].tolist() if own else []
        others = tuple(c for c in dict.fromkeys([*own, *near]) if c != own[0])
        first = own[0] if known[t] else None
        found.append(
            Believed(place, int(windows[t]), first, float(share[t, 0]), bool(sure[t]), others)
        )
    return People(found, record["people_at_least"], record["people"])


def recordings_of(split: Split, features: np.ndarray, *, unit: bool) -> Sides:
    """The recordings of a split by the means of their windows' features.

    Args:
        split: its windows say which recording they come from.
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
