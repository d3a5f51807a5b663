"""Recordings: what every raw reader returns, how it reads, and when recordings begin and end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from simmc.errors import UserError

MARKER = "generated.json"  # in every folder of synthetic raw data
# Wraps an iterable to show progress, as `tqdm.tqdm` does.
Progress = Callable[[Iterable[Any]], Iterable[Any]]
BEGIN, END = "start", "end"  # attributes of a recording in the manifest, in seconds


def silent(items: Iterable[Any]) -> Iterable[Any]:
    """The progress that shows nothing."""
    return items


def is_generated(root: Path) -> bool:
    """Whether a raw dataset's folder holds synthetic walkers."""
    return (root / MARKER).is_file()


@dataclass(frozen=True, eq=False)
class Recording:
    """One walk of one person in front of one camera."""

    name: str  # posix path relative to the dataset's folder, unique in the dataset
    identity: int  # the label that goes into the files
    frames: np.ndarray  # (T, J, 3) float64, metres, camera space, not yet cut; NaN: not seen
    role: str = ""  # IAS, BIWI: the set; KS20: view folder; CASIA_B: condition
    attributes: Mapping[str, str] = field(default_factory=dict)  # view, setting, body, subject, ...
    sha256: str = ""  # hex digest of the bytes of its source files, in reading order
    files: Sequence[Path] = ()  # its source files
    counts: Mapping[str, int] = field(default_factory=dict)  # what the reader left out or assumed


@dataclass(frozen=True)
class ReadOptions:
    """The preprocess switches, released choice first; see docs/data.md and docs/fidelity.md."""

    ias_label_order: str = "walk"  # walk | name: where IAS labels come from (docs/data.md 2.1)
    ias_cut: str = "asymmetric"  # asymmetric | symmetric: IAS training loses 10+0 or 10+10 frames
    ks20_time: str = "text"  # text | number: how KS20 timestamps compare (docs/data.md 2.3 a)
    ks20_roles: str = "slip"  # slip | own: whose setting decides the split (docs/data.md 2.3 b)
    zero_joints: str = "keep"  # keep | missing: what (0, 0, 0) is (docs/data.md 2.6)
    dense_starts: str = "repeated"  # repeated | once | stride: training starts (docs/data.md 5.2)


def time_attributes(begin: float, end: float) -> dict[str, str]:
    """The times of a recording for the manifest: as text that is read back to the last bit."""
    return {BEGIN: repr(float(begin)), END: repr(float(end))}


def is_span(begin: float, end: float) -> bool:
    """Whether two times can be the beginning and the end of a recording."""
    return math.isfinite(begin) and math.isfinite(end) and begin < end


def recording_times(recordings: Sequence[Mapping[str, Any]], manifest: Path) -> np.ndarray | None:
    """Begin and end of the manifest's recordings: (R, 2) float64 seconds, NaN where unknown.

    None if no recording has times; UserError if the times of a recording are not valid.
    """
    times = np.full((len(recordings), 2), np.nan)
    for place, recording in enumerate(recordings):
        attributes = recording.get("attributes", {})
        given = attributes.get(BEGIN), attributes.get(END)
        if given == (None, None):
            continue
        try:
            begin, end = (float(value) for value in given)
        except (TypeError, ValueError):
            begin = end = math.nan
        if not is_span(begin, end):
            raise UserError(
                f"{manifest}: recording {recording.get('name', place)!r} has the {BEGIN} "
                f"{str(given[0])[:30]} and the {END} {str(given[1])[:30]}; expected seconds, "
                f"{BEGIN} before {END}. Write the set again, or remove both."
            )
        times[place] = begin, end
    return None if np.isnan(times).all() else times


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
