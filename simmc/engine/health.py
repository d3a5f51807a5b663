"""Health of a training, from its own records and features: no identity, probe or gallery is used.

`health_of` looks for the ways in which a training fails on data that it was not tuned for, the
surest sign first, and gives one verdict with its reason and the next step. The limits lie between
what is measured on KGBD, where training works, and on sets where it fails (docs/health.md). Shape
letters: N windows, f frames, J joints, T recordings, d features.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from simmc.data.experiment.experiment import Split
from simmc.data.experiment.inputs import bone_lengths
from simmc.data.skeletons import Skeleton
from simmc.engine.method import LABEL_FREE, Method, load_joints
from simmc.engine.selection import means, medians
from simmc.engine.training import Training, weights_path
from simmc.errors import numbered
from simmc.runs.directory import RunDirectory
from simmc.runs.records import EpochRecord, Health, Verdict
from simmc.settings.groups import Clustering

HEALTHY: Verdict = "healthy"
LARGEST = 0.8  # share of the clustered windows in one cluster: 0.94 to 0.99 where it collapses
OUTLIERS = 0.5  # share of the windows that no cluster holds
FEWEST = 3  # windows of a cluster, on average
AGREEMENT = 0.3  # score of the pseudo labels: below 0.1 where it fails, 0.5 to 0.9 on KGBD
UNSURE = 0.25  # share of recordings without a certain cluster: 0.06 on KGBD
GAIN = 0.8  # rank of the partner, trained over raw: 0.5 to 0.7 on KGBD, 0.8 to 1.2 where it fails
PAIRS = 20  # pairs of one build below which their ranks are chance
MOST = 2000  # recordings whose partners are sought; the first ones of a larger set
_LAST = 3  # epochs that count


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
        left_out: recordings behind the first `MOST`, which are not compared.
    """

    pairs: int
    trained: float
    raw: float
    left_out: int = 0


@dataclass(frozen=True)
class Trained:
    """What `health_of` has to know of a training beside its records.

    Attributes:
        windows: number of training windows.
        batch_size: windows of a step.
        eps: of the clustering; None without one.
        partners: the check by body measurements; None where it was not made.
        untrained_by: the number of the record by which the untrained network is the best and is
            kept; empty: a trained one is.
    """

    windows: int
    batch_size: int
    eps: float | None = None
    partners: PartnerRanks | None = None
    untrained_by: str = ""


def health_of(records: Sequence[EpochRecord], about: Trained) -> Health:
    """The verdict on a training from its epochs' records, in their order."""
    learned = [record for record in records if "steps" in record]
    # TrackMC's first stage learns from other clusters than those by which it ends
    ended = [record for record in records if {"ended", "unsure"} <= record.keys()] or learned
    healthy = _health(HEALTHY, "no sign of failure", "")
    return next(_signs(learned, ended, about), healthy)


def trained_by(
    method: Method[Any],
    training: Training[Any],
    run: RunDirectory,
    records: Sequence[EpochRecord],
) -> Trained:
    """What the health of a training is judged by, beside the records of its epochs."""
    settings = training.settings
    clustering = settings.find(Clustering)
    eps = None if clustering is None else clustering.eps
    if clustering is not None and eps is None:  # chosen from the data
        eps = next((record["eps"] for record in records if "eps" in record), None)
    chosen = training.selectors.get(LABEL_FREE)
    return Trained(
        windows=len(training.data.train),
        batch_size=settings.windows.batch_size,
        eps=eps,
        partners=partners_of(method, training, run),
        untrained_by=training.chosen_by(LABEL_FREE) if chosen and chosen.best_epoch == 0 else "",
    )


def partners_of(
    method: Method[Any], training: Training[Any], run: RunDirectory
) -> PartnerRanks | None:
    """The check by body measurements; None where the features or the joints are not known."""
    settings, data, joints = training.settings, training.data, training.data
    recording, path = data.train.recording, weights_path(run, training.protocols[-1])
    if not method.embeds or not path.is_file() or recording is None:
        return None
    if settings.find(Clustering) is None:
        return None  # other methods learn a task that need not bring a person's recordings together
    if data.train.windows.ndim == 3:  # measurements in place of joints
        joints = load_joints(settings)
    if joints.train.recording is None or (joints.train.recording != recording).any():
        return None
    features = method.embedder(path, settings, data, training.runtime).features(data.train)
    return partner_ranks(joints.train, features.cpu().numpy(), data.skeleton)


def in_words(health: Health | Mapping[str, str]) -> str:
    """One line for the console and for notes of tables."""
    rest = f"; {health['next_step']}" if health["next_step"] else ""
    return f"{health['verdict']} ({health['reason']}){rest}"


def _signs(
    learned: Sequence[EpochRecord], ended: Sequence[EpochRecord], about: Trained
) -> Iterator[Health]:
    """The ways in which a training has failed, the surest one first."""
    if not learned:
        yield _health("nothing learned", "no epoch was trained", "give --epochs 1 or more")
        return
    empty = sum(not record["steps"] for record in learned)
    if empty > len(learned) / 2 or not learned[-1]["steps"]:
        kept = learned[-1].get("kept", about.windows)
        yield _health(
            "nothing learned",
            f"{empty} of {numbered('{} [epoch|epochs]', len(learned))} took no step; {kept:,} of "
            f"{about.windows:,} windows are in a cluster, a batch has {about.batch_size:,}",
            "use --part_batches keep, a smaller --batch_size, or a larger --eps",
        )
    if about.untrained_by:
        yield _health(
            "nothing learned",
            f"by {about.untrained_by} no epoch was better than the untrained network, which is "
            "kept: its features are random projections of the input",
            "train with other settings, or use the raw skeleton (simmc descriptors)",
        )
    largest = _recent(learned, lambda record: record.get("largest"))
    if largest is not None and largest > LARGEST:
        yield _health(
            "collapsed",
            f"one cluster holds {100 * largest:.0f} % of the clustered windows",
            f"lower --eps (it is {about.eps:g}), or raise --min_samples",
        )
    left = _recent(learned, lambda record: _share(record, "outliers", about.windows))
    if left is not None and left > OUTLIERS:
        yield _health(
            "over-split",
            f"{100 * left:.0f} % of the windows are in no cluster",
            f"raise --eps (it is {about.eps:g}), or lower --min_samples",
        )
    size = _recent(learned, lambda record: _share(record, "kept", record.get("clusters_1", 0)))
    if size is not None and size < FEWEST:
        yield _health(
            "over-split",
            f"a cluster has {size:.1f} windows on average",
            f"raise --eps (it is {about.eps:g})",
        )
    unsure = _recent(ended, lambda record: _share(record, "unsure", record.get("tracks", 0)))
    if unsure is not None and unsure > UNSURE:
        last = next(record for record in reversed(ended) if "tracks" in record)
        fewest, likely = last["people_at_least"], last["people"]
        span = f"{fewest:,} to " if fewest < likely else ""
        people = numbered("{} [person is|people are] found", likely)
        auto = any("reach" in record for record in ended)
        yield _health(
            "unsure",
            f"{100 * unsure:.0f} % of the recordings have no certain cluster; {span}{people}",
            f"{'' if auto else 'use --recordings auto, and '}do not rely on the people that simmc "
            "identify lists",
        )
    score = _recent(learned, lambda record: record.get("label_free_score"))
    if score is not None and score < AGREEMENT:
        yield _health(
            "unstable",
            f"the pseudo labels agree by {score:.2f} between views or epochs (1: fully)",
            "try another --eps and --min_samples",
        )
    first, end = _loss(learned[0]), _loss(learned[-1])
    # where no clusters change what the loss is of, it has to fall
    if len(learned) > 1 and about.eps is None and first and not end < first:
        yield _health(
            "nothing learned",
            f"the loss was {first:.3g} in the first epoch and is {end:.3g} in the last",
            "use a smaller --lr",
        )
    ranks = about.partners
    if ranks is not None and ranks.pairs >= PAIRS and ranks.trained >= GAIN * ranks.raw:
        yield _health(
            "nothing learned",
            f"of two recordings with the same bone lengths, one has the rank {ranks.trained:.1f} "
            f"among the neighbours of the other, and {ranks.raw:.1f} by the raw skeleton; "
            f"{ranks.pairs} pairs, geometric mean"
            + (f", {ranks.left_out:,} recordings not compared" if ranks.left_out else ""),
            "train with other settings, or use the raw skeleton (simmc descriptors)",
        )


def _recent(
    learned: Sequence[EpochRecord], value_of: Callable[[EpochRecord], float | None]
) -> float | None:
    """The median of a number over the last epochs that have it; None where none has."""
    values = [value for record in learned if (value := value_of(record)) is not None]
    return statistics.median(values[-_LAST:]) if values else None


def _share(record: Mapping[str, Any], name: str, of: int) -> float | None:
    return record[name] / of if name in record and of else None


def _loss(record: Mapping[str, Any]) -> float:
    """The sum of the losses of an epoch."""
    return sum(float(value) for key, value in record.items() if key.startswith("loss_"))


def _health(verdict: Verdict, reason: str, next_step: str) -> Health:
    return {"verdict": verdict, "reason": reason, "next_step": next_step}


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
    kept, left_out = place < MOST, max(0, int(place.max(initial=-1)) + 1 - MOST)
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
    near, far = (_rank(values, one, other) for values in (trained, raw))
    return PartnerRanks(len(one) // 2, near, far, left_out)


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
