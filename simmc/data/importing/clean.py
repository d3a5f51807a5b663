"""From the frames of a body to those that windows are cut from; each step is off by default.

Shape letters: F frames, J joints.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import signal

from simmc.data.importing.description import Description
from simmc.data.importing.recording import Body
from simmc.errors import UserError

Counts = dict[str, int]
_ORDER = 4  # of the low-pass filter, run forward and backward
_LATE = 1.5  # frame periods; a longer step has lost frames in it


def frame_rate(times: np.ndarray | None, told: float) -> float:
    """Frames a second: as told, or by the median step of the times; 0 if unknown."""
    if told or times is None or len(times) < 2:
        return told
    step = float(np.median(np.diff(times)))
    return 1 / step if step > 0 else 0.0


def cleaned(body: Body, told: Description) -> tuple[Body, Counts]:
    """The body after every step that `told` asks for, and what was found and done.

    Order: frames cut at both ends, zeros taken as not seen, gaps filled, smoothed, resampled.
    """
    start, end = told.skip_frames
    kept = slice(start, max(start, len(body.xyz) - end))
    xyz = body.xyz[kept]
    times = None if body.times is None else body.times[kept]
    counts: Counts = {"frames_read": len(body.xyz), "cut_frames": len(body.xyz) - len(xyz)}
    if not xyz[:, :, 0].all() and (zero := np.asarray((xyz == 0).all(2))).any():
        counts["zero_joints"] = int(zero.sum())
        if told.zeros == "missing":
            xyz = np.where(zero[..., None], np.nan, xyz)
    lost = np.isnan(xyz.min(initial=0))
    unseen = np.isnan(xyz).any(2) if lost else np.zeros(xyz.shape[:2], bool)
    counts["unseen_joints"] = int(unseen.sum())
    same = np.flatnonzero(xyz[1:, 0, 0] == xyz[:-1, 0, 0])
    counts["repeated_frames"] = int((xyz[same + 1] == xyz[same]).all((1, 2)).sum())
    rate = frame_rate(times, told.frame_rate)
    if times is not None and len(times) > 1 and rate:
        late = np.diff(times) * rate
        counts["gaps"] = int((late > _LATE).sum())
        counts["lost_frames"] = int(np.round(late[late > _LATE] - 1).sum())
    if told.fill_gaps and unseen.any():
        xyz = filled(xyz, unseen, told.fill_gaps)
        counts["filled_joints"] = counts["unseen_joints"] - int(np.isnan(xyz).any(2).sum())
    if told.smooth:
        xyz = smoothed(xyz, _known(rate, "smooth", body), told.smooth)
    if told.resample:
        rate = _known(rate, "resample", body)
        times = np.arange(len(xyz)) / rate if times is None else times
        xyz, times = resampled(xyz, times, told.resample, (told.fill_gaps + _LATE) / rate)
    return replace(body, xyz=xyz, times=times), {key: n for key, n in counts.items() if n}


def _known(rate: float, what: str, body: Body) -> float:
    if not rate:
        raise UserError(
            f"{body.name}: {what} needs the frame rate, which is not known: set frame_rate in "
            "dataset.toml, or name the column of the time"
        )
    return rate


def filled(xyz: np.ndarray, unseen: np.ndarray, most: int) -> np.ndarray:
    """Joints that were not seen for at most `most` frames, between the frames beside them.

    Linear; what is not seen at the beginning and the end stays NaN.
    """
    found = xyz.copy()
    place = np.arange(len(xyz))
    for joint in np.flatnonzero(unseen.any(0)):
        seen = np.flatnonzero(~unseen[:, joint])
        if len(seen) < 2:
            continue
        after = np.searchsorted(seen, place).clip(1, len(seen) - 1)
        inside = (place > seen[0]) & (place < seen[-1]) & unseen[:, joint]
        short = inside & (seen[after] - seen[after - 1] - 1 <= most)
        for axis in range(3):
            known = np.interp(place[short], seen, xyz[seen, joint, axis])
            found[short, joint, axis] = known
    return found


def smoothed(xyz: np.ndarray, rate: float, cut_off: float) -> np.ndarray:
    """Coordinates through a Butterworth low-pass filter without delay, `cut_off` and `rate` in Hz.

    Runs of frames in which a joint was seen are filtered one by one; very short ones stay.
    """
    if cut_off >= rate / 2:
        raise UserError(f"smooth = {cut_off:g} Hz: has to be below half the frame rate, {rate:g}")
    sections = signal.butter(_ORDER, cut_off, fs=rate, output="sos")
    shortest = 3 * (2 * len(sections) + 1) + 1
    found = xyz.copy()
    for joint in range(xyz.shape[1]):
        seen = ~np.isnan(xyz[:, joint]).any(1)
        edges = np.flatnonzero(np.diff(seen, prepend=False, append=False))
        for low, high in edges.reshape(-1, 2):
            if high - low >= shortest:
                found[low:high, joint] = signal.sosfiltfilt(sections, xyz[low:high, joint], axis=0)
    return found


def resampled(
    xyz: np.ndarray, times: np.ndarray, rate: float, longest: float
) -> tuple[np.ndarray, np.ndarray]:
    """Frames `1 / rate` seconds apart, linear between the frames beside them, and their times.

    Where frames are more than `longest` seconds apart, or a joint was not seen in one of them, it
    is NaN.
    """
    if len(times) < 2 or not (np.diff(times) > 0).all():
        raise UserError("resample needs times that rise from frame to frame")
    count = int(np.floor((times[-1] - times[0]) * rate + 1e-6)) + 1
    if count > 100 * len(times) + 1000:
        raise UserError(f"resample to {rate:g} Hz makes {count:,} frames of {len(times):,}")
    new = times[0] + np.arange(count) / rate
    low = (np.searchsorted(times, new, side="right") - 1).clip(0, len(times) - 2)
    share = ((new - times[low]) / (times[low + 1] - times[low])).clip(0, 1)[:, None, None]
    before, after = xyz[low], xyz[low + 1]
    found = np.where(
        share == 0, before, np.where(share == 1, after, before + share * (after - before))
    )
    far = (times[low + 1] - times[low] > longest) & (share[:, 0, 0] > 0) & (share[:, 0, 0] < 1)
    found[far] = np.nan
    return found, new
