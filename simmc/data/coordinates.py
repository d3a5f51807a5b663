"""Checking coordinates, and filling joints that were not seen."""

from __future__ import annotations

import numpy as np

from simmc.errors import UserError

LIMIT_METRES = 1000.0  # no body sensor reaches so far; pixels of a small image stay below it


def within_limit(values: np.ndarray, *, allow_nan: bool) -> bool:
    """Whether no coordinate is beyond `LIMIT_METRES` or, unless allowed, NaN."""
    # without a temporary array; fmin and fmax skip NaN, the others return it
    low, high = (np.fmin, np.fmax) if allow_nan else (np.minimum, np.maximum)
    least = low.reduce(values, axis=None, initial=0)
    most = high.reduce(values, axis=None, initial=0)
    return bool(least >= -LIMIT_METRES and most <= LIMIT_METRES)


def check_coordinates(values: np.ndarray, where: str, *, allow_nan: bool = False) -> None:
    """UserError, which begins with `where`, if a coordinate cannot be a position in metres.

    NaN marks a joint that was not seen and may be allowed. Infinity never is.
    """
    if within_limit(values, allow_nan=allow_nan):
        return
    wrong = ~(np.abs(values) <= LIMIT_METRES)
    if allow_nan:
        wrong &= ~np.isnan(values)
    index = np.unravel_index(int(wrong.argmax()), values.shape)
    start = f"{where}: the coordinate at index ({', '.join(str(int(i)) for i in index)}) is"
    if not np.isfinite(values[index]):
        allowed = "; a joint that was not seen is NaN" if allow_nan else ""
        raise UserError(
            f"{start} {values[index]}, which is not finite{allowed}. "
            "Correct the data and run Preprocess.py or write_dataset again"
        )
    raise UserError(
        f"{start} {values[index]:g}. Coordinates are metres, and values beyond {LIMIT_METRES:g} m "
        "are not valid: divide millimetres by 1000 (and large pixel numbers by a constant) and run "
        "Preprocess.py or write_dataset again"
    )


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
