"""Recordings: what every raw reader returns, how it reads, and joints that were not seen."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

MARKER = "generated.json"  # in every folder of synthetic raw data
# Wraps an iterable to show progress, as `tqdm.tqdm` does.
Progress = Callable[[Iterable[Any]], Iterable[Any]]


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


def fill_missing(planes: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Fill joints that were not seen: the last observation in the window is carried forward.

    Before the first observation, the first one is carried backward. A joint that is never seen
    gets the mean of the joints seen in that frame, or 0 if there are none.

    Args:
        planes: (3, N, f, J) metres; values of joints that were not seen do not matter.
        seen: (N, f, J) bool.
    """
    f = seen.shape[1]
    frame = np.where(seen, np.arange(f)[:, None], -1)
    before = np.maximum.accumulate(frame, axis=1)
    frame = np.where(seen, np.arange(f)[:, None], f)
    after = np.minimum.accumulate(frame[:, ::-1], axis=1)[:, ::-1]
    source = np.where(before >= 0, before, after)
    never = source == f
    where = np.broadcast_to(np.where(never, 0, source), planes.shape)
    found = np.take_along_axis(planes, where, axis=2)
    total = np.where(seen, planes, 0.0).sum(3, keepdims=True)
    return np.where(never, total / np.maximum(seen.sum(2, keepdims=True), 1), found)


def fill_recording(frames: np.ndarray, zeros: bool) -> tuple[np.ndarray, dict[str, int]]:
    """A recording (T, J, 3) with missing joints filled, and counts of joints and frames.

    A joint with a NaN is missing; with `zeros` also one at exactly (0, 0, 0). Frames in which all
    joints are missing are dropped.
    """
    x, y, z = np.moveaxis(frames == 0, -1, 0)
    at_zero = x & y & z
    unknown = np.isnan(frames).any(axis=2) if np.isnan(frames.min(initial=0)) else None
    counts = {
        "zero_joints": int(np.count_nonzero(at_zero)),
        "zero_frames": int(np.count_nonzero(at_zero.all(axis=1))),
        "nan_joints": 0 if unknown is None else int(np.count_nonzero(unknown)),
    }
    unseen = at_zero if zeros else np.zeros_like(at_zero)
    unseen = unseen if unknown is None else unseen | unknown
    if not unseen.any():
        return frames, counts
    kept = ~unseen.all(axis=1)
    frames, seen = frames[kept], ~unseen[kept]
    counts |= {
        "filled_joints": int(np.count_nonzero(~seen)),
        "unseen_frames": int(np.count_nonzero(~kept)),
        "never_seen_joints": int(np.count_nonzero(~seen.any(axis=0))) if len(seen) else 0,
    }
    planes = np.where(seen, np.moveaxis(frames, -1, 0), 0.0)[:, None]
    return np.ascontiguousarray(np.moveaxis(fill_missing(planes, seen[None])[:, 0], 0, -1)), counts


def same_recordings(recordings: Sequence[Recording]) -> list[list[str]]:
    """Names of recordings with exactly the same frames, in groups of two and more."""
    groups: defaultdict[bytes, list[str]] = defaultdict(list)
    for recording in recordings:
        if len(recording.frames):
            digest = hashlib.sha256(np.ascontiguousarray(recording.frames).data).digest()
            groups[digest].append(recording.name)
    return [names for names in groups.values() if len(names) > 1]
