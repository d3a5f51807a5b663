"""Joints that were not seen: where to put them, since the files have a place for every joint."""

import numpy as np


def held(planes: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Every joint that was not seen put where it was seen last in its window.

    Before it was seen, where it will be seen first; where it is never seen, at the mean of the
    joints seen in that frame, or, where none is, at the sensor.

    Args:
        planes: (3, N, f, J) metres; values of joints that were not seen do not matter.
        seen: (N, f, J) bool.

    Returns:
        (3, N, f, J).
    """
    f = seen.shape[1]
    place = np.where(seen, np.arange(f)[:, None], -1)
    before = np.maximum.accumulate(place, axis=1)
    place = np.where(seen, np.arange(f)[:, None], f)
    after = np.minimum.accumulate(place[:, ::-1], axis=1)[:, ::-1]
    source = np.where(before >= 0, before, after)
    never = source == f
    where = np.broadcast_to(np.where(never, 0, source), planes.shape)
    found = np.take_along_axis(planes, where, axis=2)
    count = seen.sum(2, keepdims=True)
    total = np.where(seen, planes, 0.0).sum(3, keepdims=True)
    return np.where(never, total / np.maximum(count, 1), found)


def filled(frames: np.ndarray, zeros: bool) -> tuple[np.ndarray, dict[str, int]]:
    """A recording without joints that were not seen, and how many there were.

    A joint with a NaN was not seen, with `zeros` also one at exactly (0, 0, 0). It is put where
    `held` puts it, with the whole recording as the window. A frame in which no joint was seen is
    dropped and the recording closes up.

    Args:
        frames: (T, J, 3) metres, NaN allowed.
        zeros: whether (0, 0, 0) means that a joint was not seen.

    Returns:
        (T', J, 3) and counts of joints and frames.
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
    return np.ascontiguousarray(np.moveaxis(held(planes, seen[None])[:, 0], 0, -1)), counts
