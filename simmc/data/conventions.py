"""Bringing coordinates to metres with y up, and saying where they do not look like it.

Shape letters: N windows, f frames, J joints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypedDict

import numpy as np

from simmc.data.skeletons import ACROSS, Skeleton
from simmc.errors import UserError

METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}  # a unit in metres
PIXELS = "px"  # pixels or any other unit: the body gets the height `USUAL_HEIGHT`
USUAL_HEIGHT = 1.7  # metres
PLAUSIBLE = (0.5, 3.0)  # metres, the longest extent of a body, sitting children included
_CLEARLY = 1.25  # times as long: an axis that is longer than y
_SAMPLE = 2000  # windows that are looked at
# axis that points up -> (axis, sign) of the new x, y and z; rotations, so that no side is mirrored
_TURNS = {
    "y": ((0, 1), (1, 1), (2, 1)),
    "-y": ((0, 1), (1, -1), (2, -1)),
    "z": ((0, 1), (2, 1), (1, -1)),
    "-z": ((0, 1), (2, -1), (1, 1)),
    "x": ((1, -1), (0, 1), (2, 1)),
    "-x": ((1, 1), (0, -1), (2, 1)),
}
_MIXED = 0.2  # share of mirrored windows; up to 0.06 are taken so by noise on real sets
_ANKLES, _FEET = ("left_ankle", "right_ankle"), ("left_foot", "right_foot")
_HIGH = ("head", "nose", "neck", "shoulder_center")  # joints of the upper end of a body
_LOW = ("left_foot", "right_foot", "left_ankle", "right_ankle", "left_knee", "right_knee")


class Given(TypedDict):
    """How coordinates were given; stored ones are metres with y up and have three axes."""

    unit: str
    up: str
    dimensions: int
    scale: float  # what they were multiplied by


def check_given(name: str, unit: str, up: str, frame_rate: float | None) -> None:
    """UserError unless unit, axis and frame rate (Hz) are known ones."""
    if unit not in (*METRES, PIXELS):
        raise UserError(f"{name}: unit is {unit!r}; choose one of {', '.join(METRES)}, {PIXELS}")
    if up not in _TURNS:
        raise UserError(f"{name}: up is {up!r}; choose one of {', '.join(_TURNS)}")
    if frame_rate is not None and not 0 < frame_rate <= 10_000:
        raise UserError(f"{name}: frame_rate is {frame_rate}; expected frames a second, or None")


def three_axes(windows: np.ndarray) -> np.ndarray:
    """Windows (N, f, J, 2) or (N, f, J, 3) with three axes: z is 0 where it is not given."""
    if windows.shape[-1] == 3:
        return windows
    flat = np.zeros((*windows.shape[:-1], 3))
    flat[..., :2] = windows
    flat[np.isnan(windows).any(-1)] = np.nan
    flat[(windows == 0).all(-1)] = 0.0
    return flat


def y_up(windows: np.ndarray, up: str) -> np.ndarray:
    """Windows (N, f, J, 3) rotated so that y points up."""
    if up == "y":
        return windows
    turned = np.stack([sign * windows[..., axis] for axis, sign in _TURNS[up]], axis=-1)
    return turned + 0.0  # no negative zeros


def given_axis(up: str, axis: int, sign: float) -> str:
    """The axis, such as "-z", of coordinates given with `up` that y_up made `sign` times `axis`."""
    own, turn = _TURNS[up][axis]
    return f"{'-' if sign * turn < 0 else ''}{'xyz'[own]}"


def in_metres(coordinates: np.ndarray, unit: str) -> np.ndarray:
    """Coordinates of any shape in metres, of those in a unit of `METRES`."""
    return coordinates if unit == "m" else coordinates / round(1 / METRES[unit])


def extents(windows: np.ndarray) -> np.ndarray:
    """Median extent of the body along x, y and z over the frames of windows (N, f, J, 3), (3,).

    Joints that were not seen are NaN, and joints that are infinitely far count as not seen; frames
    without a body do not count. NaN if none does.
    """
    some = windows[:: max(1, len(windows) // _SAMPLE)]
    some = np.where(np.isfinite(some), some, np.nan)
    high, low = np.fmax.reduce(some, axis=2), np.fmin.reduce(some, axis=2)
    extent = (high - low).reshape(-1, 3)
    extent = extent[extent.max(1) > 0]
    return np.asarray(np.median(extent, axis=0)) if len(extent) else np.full(3, np.nan)


def scale_of(unit: str, extent: np.ndarray) -> float:
    """The factor to metres; `extent` (3,) is that of the bodies in the unit given."""
    if unit in METRES:
        return METRES[unit]
    longest = float(np.max(extent))
    return USUAL_HEIGHT / longest if longest > 0 and math.isfinite(longest) else 1.0


def remarks(name: str, windows: np.ndarray, skeleton: Skeleton, given: Given) -> dict[str, str]:
    """Sentences on windows (N, f, J, 3) that do not look like metres with y up.

    The keys are "unit" and "axes". Joints that were not seen are NaN. `given` is what was declared;
    nothing is changed.
    """
    extent = extents(windows)
    longest, axis = float(extent.max()), int(extent.argmax())
    if not math.isfinite(longest):
        return {}
    found: dict[str, str] = {}
    if not PLAUSIBLE[0] <= longest <= PLAUSIBLE[1]:
        found["unit"] = (
            f"{name}: bodies are {longest:.3g} m tall, which is not plausible "
            f'(unit="{given["unit"]}"); if the unit is another, write the set again with '
            f'unit="mm" or "cm", or "{PIXELS}" for pixels and units that are not known'
        )
    if longest > _CLEARLY * extent[1]:
        found["axes"] = (
            f"{name}: bodies are {longest:.3g} m long along {'xyz'[axis]} and {extent[1]:.3g} m "
            f'along y, which is taken as the vertical (up="{given["up"]}"); if {"xyz"[axis]} '
            "points up, write the set again with the axis that points up in your coordinates, "
            'such as up="z" or up="-y"'
        )
    elif _head_height(windows, skeleton) < -extent[1] / 2:
        found["axes"] = (
            f'{name}: heads are below feet (up="{given["up"]}"); if y points down, as in images, '
            'write the set again with up="-y"'
        )
    return found


def mirrored_remarks(name: str, sets: Mapping[str, np.ndarray], skeleton: Skeleton) -> list[str]:
    """A sentence where some windows are mirror images of the others; else nothing.

    Args:
        name: of the set.
        sets: split -> windows (N, f, J, 3) with y up; NaN: not seen.
        skeleton: whose names say where shoulders or hips, ankles and feet are.
    """
    shares = {split: _mirrored_share(windows, skeleton) for split, windows in sets.items()}
    known = {split: share for split, share in shares.items() if not math.isnan(share)}
    if not known or max(known.values()) < _MIXED or min(known.values()) > 1 - _MIXED:
        return []
    found = ", ".join(f"{100 * share:.0f} % in {split}" for split, share in known.items())
    return [
        f"{name}: feet point backwards in a part of the windows ({found}): left and right are "
        "swapped there, or an axis is mirrored, and they will not match the others; negate x, or "
        "exchange the names of left and right joints, in these recordings"
    ]


def _mirrored_share(windows: np.ndarray, skeleton: Skeleton) -> float:
    """Share of the windows in which feet point backwards, seen from the line across the body."""
    lines = [pair for pair in ACROSS if set(pair) <= set(skeleton.joints)]
    if not lines or not {*_ANKLES, *_FEET} <= set(skeleton.joints):
        return math.nan
    some = windows[:: max(1, len(windows) // _SAMPLE)]
    left, right = (some[:, :, skeleton.index(name)] for name in lines[0])
    ankles, feet = (some[:, :, skeleton.indices(names)].sum(2) for names in (_ANKLES, _FEET))
    across, ahead = right - left, feet - ankles
    turn = across[..., 0] * ahead[..., 2] - across[..., 2] * ahead[..., 0]
    turn = np.nansum(turn, axis=1)
    return float((turn > 0).sum() / max(np.count_nonzero(turn), 1)) if turn.any() else math.nan


def _head_height(windows: np.ndarray, skeleton: Skeleton) -> float:
    """Median height of the head above the feet; NaN where the joints or their names are unknown."""
    some = windows[:: max(1, len(windows) // _SAMPLE), ..., 1]
    ends = [[name for name in names if name in skeleton.joints] for names in (_HIGH, _LOW)]
    if not all(ends):
        return math.nan
    high, low = (np.fmax.reduce(some[:, :, skeleton.indices(names)], axis=2) for names in ends)
    known = ~np.isnan(high - low)
    return float(np.median((high - low)[known])) if known.any() else math.nan
