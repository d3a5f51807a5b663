"""Tracklets: the windows of one recording, and which of them cannot show the same person.

Shape letters: N windows, T tracklets, P parts of tracklets.
"""

from dataclasses import replace

import numpy as np
import torch

from simmc.clustering import CannotLink, Targets, as_arrays, dbscan_cannot_link
from simmc.clustering import Clustering as Clustered
from simmc.data.experiment.experiment import Split
from simmc.errors import UserError
from simmc.evaluation import diagnostics
from simmc.runs.records import EpochRecord
from simmc.settings.groups import Clustering, Place

AUTO, OFF, POSITIVES, MERGE = "auto", "off", "positives", "merge"  # uses of recordings
APART, IGNORE = "apart", "ignore"  # uses of their times


def tracklets_of(split: Split, recordings: str, place: Place) -> np.ndarray:
    """(N,) int64, 0 .. T-1: the tracklet of every window."""
    if recordings == OFF:
        return np.arange(len(split.windows))
    if split.recording is None:
        raise UserError(
            f"--recordings {recordings}: {place.data_root} does not say which "
            f"windows of {place.dataset} come from one recording. Cut them again with "
            "Preprocess.py, which writes recording_*.npy (your own data: pass recordings to "
            "write_dataset), or use --recordings off."
        )
    return np.unique(split.recording, return_inverse=True)[1].astype(np.int64)


def cannot_link_of(split: Split) -> CannotLink | None:
    """Cannot-links of tracklets that overlap in time; None where there are none."""
    if split.recording is None or split.times is None:
        return None
    first = np.unique(split.recording, return_index=True)[1]
    pairs = overlapping(split.times[first])
    return CannotLink.of(pairs, len(first)) if len(pairs) else None


def overlapping(times: np.ndarray) -> np.ndarray:
    """All pairs of recordings that overlap in time; touching ends do not overlap.

    Args:
        times: (T, 2) float64, begin < end; rows with NaN overlap none.

    Returns:
        (K, 2) int64, the lower index first, ascending.
    """
    order = np.flatnonzero(~np.isnan(times).any(1))
    order = order[np.argsort(times[order, 0], kind="stable")]
    begin, end = times[order].T
    place = np.arange(len(order))
    later = np.searchsorted(begin, end) - place - 1  # how many begin after it and before its end
    one = np.repeat(place, later)
    other = one + 1 + np.arange(len(one)) - np.repeat(np.cumsum(later) - later, later)
    pairs = np.sort(np.stack([order[one], order[other]], axis=1), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def constrained(
    found: Clustered, settings: Clustering, tracklet: np.ndarray, cannot_link: CannotLink
) -> Clustered:
    """The clusters of parts anew, under cannot-links of their tracklets (P,)."""
    graph = as_arrays(found.graph).whole()
    near = graph.within(settings.eps)
    labels = dbscan_cannot_link(near, settings.min_samples, tracklet, cannot_link)
    return replace(found, labels=torch.from_numpy(labels).to(found.labels.device), graph=graph)


def cluster_record(
    targets: Targets, tracklet: np.ndarray, split: Split, recordings: bool
) -> EpochRecord:
    """Numbers of the clusters of tracklets; `ami` is a diagnostic from identities.

    Args:
        targets: the clusters.
        tracklet: (N,) int64, the tracklet of every window.
        split: the windows.
        recordings: whether tracklets are recordings; else they are single windows.
    """
    first = targets.cluster[:, 0].cpu().numpy()
    known = targets.known.cpu().numpy()
    of_window = known[tracklet]
    clusters, kept = len(np.unique(first[known])), int(of_window.sum())
    record: EpochRecord = {"kept": kept}
    if recordings:
        record |= {"people": clusters, "people_at_least": targets.fewest()}
        record |= {"tracks": len(first), "unsure": int((~targets.sure).sum())}
    else:
        record |= {"clusters_1": clusters, "outliers": len(first) - kept}
    if kept:
        record["largest"] = diagnostics.largest_share(first[tracklet][of_window])
    of_window &= split.identity >= 0
    if of_window.any():
        record["ami"] = diagnostics.adjusted_mutual_information(
            split.identity[of_window], first[tracklet][of_window]
        )
    return record
