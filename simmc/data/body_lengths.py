"""Bone lengths over recordings: how they differ within a person, between persons, and suddenly.

Sensors measure bones with errors that depend on pose and view. What is usual is therefore taken
from the set itself. Shape letters: E bones, R recordings.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from simmc.data.bodies import Bodies, Entry

_CLIP = 4.0
# A change is too large above this distance; or, with a leap of the body, above this; or beyond all
# but 1 % of the recordings by this factor.
_SWITCH, _SWITCH_LEAP, _SWITCH_RATIO = 3.0, 1.9, 1.3
_LEAST = 0.005  # relative: bones of rigid bodies do not vary at all
_SIDE = 4  # windows on each side of a change


def medians(values: Sequence[np.ndarray]) -> np.ndarray:
    """The median of each (n, K) over its rows, together (R, K) float64."""
    return np.stack([nanmedian(value.T) for value in values]).astype(np.float64)


def nanmedian(values: np.ndarray) -> np.ndarray:
    """The median over the last axis of what is not NaN; NaN if nothing is. No warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmedian(values, axis=-1))


def steps(entry: Entry) -> np.ndarray:
    """The way from each window to the next, in sizes of the body."""
    of = entry.measured
    size = float(nanmedian(of.extent)) or 1.0
    before, after = of.last[:-1], of.first[1:]
    if entry.step < of.hashes.shape[1]:  # they overlap: the next one begins inside
        before, after = of.first[:-1], of.first[1:]
    return np.nan_to_num(np.linalg.norm(after - before, axis=1) / size)


def _logs(lengths: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        logs = np.log(lengths)
    return np.where(np.isfinite(logs), logs, np.nan)


def _residuals(logs: np.ndarray, persons: Sequence[int | None]) -> np.ndarray:
    """(R, E) each recording beside the median of the others of its person; NaN without others."""
    found = np.full_like(logs, np.nan)
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for i, person in enumerate(persons):
        if person is not None:
            groups[person].append(i)
    for group in groups.values():
        for i in group if len(group) > 1 else []:
            rest = logs[[j for j in group if j != i]]
            found[i] = logs[i] - nanmedian(rest.T)
    return found


def changes(lengths: np.ndarray, persons: Sequence[int | None]) -> np.ndarray:
    """(R,) the median relative difference of a recording's bones from those of its person."""
    return nanmedian(np.abs(_residuals(_logs(lengths), persons)))


def distances(lengths: np.ndarray, persons: Sequence[int | None]) -> tuple[np.ndarray, np.ndarray]:
    """How far each recording's bones are from the others of its person, and from another person's.

    Args:
        lengths: (R, E) of recordings.
        persons: of each; None: unknown.

    Returns:
        (R,) float64 twice, in spreads between recordings of one person; NaN where unknown. The
        second is to the nearest other person.
    """
    logs = _logs(lengths)
    own = _residuals(logs, persons)
    usable, unknown = ~np.isnan(own).any(1), np.full(len(logs), np.nan)
    if usable.sum() < 6 or not logs.shape[1]:
        return unknown, unknown
    known = sorted({p for p in persons if p is not None})
    middles = np.stack([nanmedian(logs[[p == k for p in persons]].T) for k in known])
    near, far = unknown.copy(), unknown.copy()
    for person in known:
        mine = np.array([p == person for p in persons])
        # what is usual is learned from the others: a body that differs would widen it
        learned = own[usable & ~mine] if (usable & ~mine).sum() >= 6 else own[usable]
        spread = Spread(learned)
        near[mine & usable] = spread.distance(own[mine & usable])
        rest = middles[[k != person for k in known]]
        for i in np.flatnonzero(mine) if len(rest) else []:
            far[i] = np.min(spread.distance(logs[i] - rest))
    return near, far


class Spread:
    """How bones usually differ where nothing is wrong, and the distance in such spreads.

    Differences are whitened: sensors stretch some bones together. Single bones count up to a limit,
    so that one bad joint is no other body.
    """

    def __init__(self, differences: np.ndarray) -> None:
        self.scale = np.maximum(1.4826 * np.median(np.abs(differences), axis=0), _LEAST)
        clipped = np.clip(differences / self.scale, -_CLIP, _CLIP)
        n, e = clipped.shape
        covariance = clipped.T @ clipped / n
        alone = np.diag(np.diag(covariance) + 1e-3)  # few differences say little of how bones agree
        covariance += (alone - covariance) * max(e / (n + e), 0.01)
        self.whiten = np.linalg.inv(np.linalg.cholesky(covariance)).T

    def distance(self, differences: np.ndarray) -> np.ndarray:
        """(n, E) to (n,): about 1 where nothing is wrong; NaN where a bone is unknown."""
        white = np.clip(differences / self.scale, -_CLIP, _CLIP) @ self.whiten
        return np.sqrt((white**2).mean(-1))


def switches(bodies: Bodies) -> dict[int, int]:
    """Recordings in which the bones of all following windows change at once, and in which frame.

    The windows just before are compared with those just after. A leap of the body lends weight.
    """
    before_after = {
        i: _apart(e.measured.bones)
        for i, e in enumerate(bodies.entries)
        if len(e.rows) >= 2 * _SIDE
    }
    known = {i: d for i, d in before_after.items() if not np.isnan(d).any()}
    if sum(map(len, known.values())) < 50:
        return {}
    spread = Spread(np.concatenate(list(known.values())))
    far = {i: spread.distance(differences) for i, differences in known.items()}
    most = np.array([distance.max() for distance in far.values()])
    limit = _SWITCH
    if len(most) >= 10:
        limit = min(limit, _SWITCH_RATIO * max(1.3, float(np.quantile(most, 0.99, method="lower"))))
    found = {}
    for i, distance in far.items():
        leap = steps(bodies.entries[i])[_SIDE - 1 : len(distance) + _SIDE - 1]
        grave = (distance > limit) | ((distance > _SWITCH_LEAP) & (leap > 0.5))
        grave &= np.median(np.abs(known[i]), axis=1) > 0.03
        if grave.any():
            worst = int(np.where(grave, distance, 0).argmax())
            found[i] = (worst + _SIDE) * bodies.entries[i].step
    return found


def _apart(bones: np.ndarray) -> np.ndarray:
    """(n - 7, E): the medians of the windows just after each place less those just before."""
    windows = np.lib.stride_tricks.sliding_window_view(_logs(bones), _SIDE, axis=0)
    middle = np.median(windows, axis=-1)
    return middle[_SIDE:] - middle[:-_SIDE]
