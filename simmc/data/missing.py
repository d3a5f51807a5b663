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
