"""Windows of f frames from recordings, in the public order (docs/data.md 5.2).

Windows never cross recordings; a recording shorter than f gives none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

# plain: no overlap; repeated: the released dense starts, nearly all twice; once: each dense start
# once; stride: f/2 apart (the SGELA text)
Mode = Literal["plain", "repeated", "once", "stride"]


@dataclass(frozen=True, eq=False)
class Plan:
    """Which frames make which window, before any frame is copied."""

    recording: np.ndarray  # (N,) int64, index of the recording
    start: np.ndarray  # (N,) int64, first frame, counted after cutting
    length: int  # f

    def __len__(self) -> int:
        return len(self.start)


def cut(frames: np.ndarray, start: int, end: int) -> np.ndarray:
    """Frames (T, J, 3) without the first `start` and the last `end`; a view."""
    return frames[start : max(start, len(frames) - end)]


def starts_plain(n_frames: int, length: int) -> np.ndarray:
    """Starts 0, f, 2f, ... of floor(L / f) windows; (n,) int64."""
    return np.arange(n_frames // length, dtype=np.int64) * length


def starts_dense(n_frames: int, length: int, mode: Mode = "repeated") -> list[np.ndarray]:
    """Starts of overlapping windows, one (n,) int64 array for each offset.

    For offset s the starts are s + i * f/2 up to L - f. Released ("repeated"): offsets 0 to f-1,
    twice the stride, so that nearly every start occurs twice. "once" takes the offsets below the
    stride, "stride" only the first.
    """
    step = max(1, length // 2)
    offsets = {"repeated": length, "once": step, "stride": 1}[mode]
    stop = n_frames - length + 1
    return [np.arange(offset, max(stop, offset), step, dtype=np.int64) for offset in range(offsets)]


def plan(n_frames: Sequence[int], length: int, mode: Mode) -> Plan:
    """Windows of recordings of these lengths: offset outermost, then recording, then start."""
    by_recording = [
        [starts_plain(n, length)] if mode == "plain" else starts_dense(n, length, mode)
        for n in n_frames
    ]
    pieces = [
        (np.full(len(starts), place, dtype=np.int64), starts)
        for offset in zip(*by_recording, strict=True)
        for place, starts in enumerate(offset)
    ]
    if not pieces:
        return Plan(np.empty(0, np.int64), np.empty(0, np.int64), length)
    recording, start = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
    return Plan(recording, start, length)


def coordinates(frames: Sequence[np.ndarray], windows: Plan, n_joints: int) -> np.ndarray:
    """The planned windows as the files hold them: (3, N * f, J) float64, a plane per coordinate."""
    f = windows.length
    planes = np.empty((3, len(windows) * f, n_joints))
    # windows from the same recording are copied together
    edges = np.flatnonzero(np.diff(windows.recording, prepend=-1, append=-1))
    for low, high in pairwise(edges):
        rows = (windows.start[low:high, None] + np.arange(f)).ravel()
        block = frames[windows.recording[low]]
        in_line = rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all()
        block = block[rows[0] : rows[-1] + 1] if in_line else block[rows]
        planes[:, low * f : high * f] = np.moveaxis(block, -1, 0)
    return planes


def windows_of(frames: Sequence[np.ndarray], length: int, mode: Mode = "plain") -> np.ndarray:
    """Windows (N, f, J, 3) of cut recordings (T, J, 3), in the public order."""
    which = plan([len(f) for f in frames], length, mode)
    n_joints = frames[0].shape[1] if frames else 0
    planes = coordinates(frames, which, n_joints)
    return np.moveaxis(planes, 0, -1).reshape(len(which), length, n_joints, 3)
