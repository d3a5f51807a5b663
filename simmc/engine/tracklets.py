"""Tracklets: the windows of one recording, and which of them cannot show the same person."""

import numpy as np

from simmc.clustering import CannotLink
from simmc.data.experiment.experiment import Split
from simmc.data.recordings import overlapping
from simmc.errors import UserError
from simmc.settings.groups import Place

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
