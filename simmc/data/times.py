"""When recordings begin and end, as the manifest tells it, and which of them overlap.

Shape letters: R recordings of a manifest, T recordings in question, K pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simmc.errors import UserError

BEGIN, END = "start", "end"  # attributes of a recording, in seconds


def as_attributes(begin: float, end: float) -> dict[str, str]:
    """How a manifest tells of a recording's time: as text that is read back to the last bit."""
    return {BEGIN: repr(float(begin)), END: repr(float(end))}


def is_span(begin: float, end: float) -> bool:
    """Whether two times can be the beginning and the end of a recording."""
    return math.isfinite(begin) and math.isfinite(end) and begin < end


def recording_times(recordings: Sequence[Mapping[str, Any]], manifest: Path) -> np.ndarray | None:
    """Beginning and end of every recording.

    Args:
        recordings: the manifest's list.
        manifest: its file, for the message to the user.

    Returns:
        (R, 2) float64 seconds, NaN where a recording has none; None where no recording has any.
    """
    times = np.full((len(recordings), 2), np.nan)
    for place, recording in enumerate(recordings):
        attributes = recording.get("attributes", {})
        told = attributes.get(BEGIN), attributes.get(END)
        if told == (None, None):
            continue
        try:
            begin, end = (float(value) for value in told)
        except (TypeError, ValueError):
            begin = end = math.nan
        if not is_span(begin, end):
            raise UserError(
                f"{manifest}: recording {recording.get('name', place)!r} has the {BEGIN} "
                f"{str(told[0])[:30]} and the {END} {str(told[1])[:30]}, where seconds are due, "
                f"{BEGIN} before {END}; write the set again, or take both out."
            )
        times[place] = begin, end
    return None if np.isnan(times).all() else times


def overlapping(times: np.ndarray) -> np.ndarray:
    """All pairs that overlap: one begins while the other goes on (its end is not part of it).

    Args:
        times: (T, 2) float64, begin < end; rows with NaN overlap none.

    Returns:
        (K, 2) int64, the lower place first, ascending.
    """
    order = np.flatnonzero(~np.isnan(times).any(1))
    order = order[np.argsort(times[order, 0], kind="stable")]
    begin, end = times[order].T
    place = np.arange(len(order))
    later = np.searchsorted(begin, end) - place - 1  # that begin after it, and before its end
    one = np.repeat(place, later)
    other = one + 1 + np.arange(len(one)) - np.repeat(np.cumsum(later) - later, later)
    pairs = np.sort(np.stack([order[one], order[other]], axis=1), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
