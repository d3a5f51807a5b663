"""Windows of f frames from recordings, in the public order (docs/data.md 5.2).

Windows never cross recordings; a recording shorter than f gives none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from simmc.errors import UserError

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


def seconds_of(length: int | str) -> float | None:
    """The seconds of a length such as "0.2s"; None where it is a number of frames."""
    text = str(length).strip().casefold()
    try:
        value = float(text.removesuffix("s"))
    except ValueError:
        value = math.nan
    seconds = text.endswith("s")
    if not 0 < value < math.inf or not (seconds or value.is_integer()):
        raise UserError(
            f"--length {length!r} is not possible; allowed: a whole number 1 or more of frames, or "
            "seconds such as 0.2s"
        )
    return value if seconds else None


def frames_in(length: int | str, frame_rate: float | None) -> int:
    """Frames of a length: a number of frames, or seconds ("0.2s") at frames a second.

    Seconds are rounded to the nearest whole frame, at least one. UserError for another text, and
    for seconds where the frame rate is not known.
    """
    seconds = seconds_of(length)
    if seconds is None:
        return int(length)
    if frame_rate is None:
        raise UserError(f"--length {length}: the frame rate is not known; give frames instead")
    return max(1, round(seconds * frame_rate))


def cut(frames: np.ndarray, start: int, end: int) -> np.ndarray:
    """Frames (T, J, 3) without the first `start` and the last `end`; a view."""
    return frames[start : max(start, len(frames) - end)]


def starts(n_frames: int, length: int, mode: Mode) -> list[np.ndarray]:
    """Starts of the windows of L frames, one (n,) int64 array for each offset.

    "plain" windows start at 0, f, 2f, ... For the others and offset s the starts are s + i * f/2 up
    to L - f. Released ("repeated"): offsets 0 to f-1, twice the stride, so that nearly every start
    occurs twice. "once" takes the offsets below the stride, "stride" only the first.
    """
    step = length if mode == "plain" else max(1, length // 2)
    offsets = {"plain": 1, "repeated": length, "once": step, "stride": 1}[mode]
    stop = n_frames - length + 1
    return [np.arange(offset, max(stop, offset), step, dtype=np.int64) for offset in range(offsets)]


def plan(n_frames: Sequence[int], length: int, mode: Mode) -> Plan:
    """Windows of recordings of these lengths: offset outermost, then recording, then start."""
    by_recording = [starts(n, length, mode) for n in n_frames]
    recording, start = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for offset in zip(*by_recording, strict=True):
        for place, found in enumerate(offset):
            recording.append(np.full(len(found), place))
            start.append(found)
    return Plan(np.concatenate(recording), np.concatenate(start), length)


def coordinates(
    frames: Sequence[np.ndarray], windows: Plan, n_joints: int, axes: int = 3
) -> np.ndarray:
    """The planned windows as the files hold them: (3, N * f, J) float64, a plane per coordinate."""
    f = windows.length
    planes = np.empty((axes, len(windows) * f, n_joints))
    # windows from the same recording are copied together
    edges = np.flatnonzero(np.diff(windows.recording, prepend=-1, append=-1))
    for low, high in pairwise(edges):
        rows = (windows.start[low:high, None] + np.arange(f)).ravel()
        block = frames[windows.recording[low]]
        in_line = rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all()
        block = block[rows[0] : rows[-1] + 1] if in_line else block[rows]
        planes[:, low * f : high * f] = np.moveaxis(block, -1, 0)
    return planes


def windows_of(
    frames: Sequence[np.ndarray],
    length: int | str,
    mode: Mode = "plain",
    frame_rate: float | None = None,
) -> np.ndarray:
    """Windows (N, f, J, D) of cut recordings (T, J, D), in the public order.

    `length` is f, or seconds such as "0.2s", which need the frame rate in frames a second.
    """
    length = frames_in(length, frame_rate)
    which = plan([len(f) for f in frames], length, mode)
    n_joints, axes = frames[0].shape[1:] if frames else (0, 3)
    planes = coordinates(frames, which, n_joints, axes)
    return np.moveaxis(planes, 0, -1).reshape(len(which), length, n_joints, axes)
