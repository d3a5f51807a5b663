"""From the bodies seen in each frame of a file to recordings, one for each body.

Shape letters: F frames, J joints, P bodies in a frame, A tracks that may go on.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from simmc.data.importing.recording import Body
from simmc.errors import UserError, numbered

LONGEST_GAP = 30  # frames, about a second; a body that comes back later begins a new recording
MOST_BODIES = 100  # in one frame
LIMIT = 1e7  # no position lies beyond, in any unit; sums of squares stay finite


@dataclass
class Track:
    """One body: the frames it was seen in, ascending, and its joints there."""

    frames: list[int] = field(default_factory=list)
    poses: list[np.ndarray] = field(default_factory=list)  # (J, 3) each, NaN: joint not seen
    last: np.ndarray | None = None  # (J, 3), where each joint was seen last

    def add(self, frame: int, pose: np.ndarray) -> None:
        """One more frame."""
        self.frames.append(frame)
        self.poses.append(pose)
        self.last = pose if self.last is None else np.where(np.isnan(pose), self.last, pose)


def check_positions(values: np.ndarray, where: str) -> np.ndarray:
    """The values; UserError, which begins with `where`, if one cannot be a position. NaN can."""
    # `fmin` and `fmax` skip NaN
    if (
        np.fmax.reduce(values, axis=None, initial=0) > LIMIT
        or np.fmin.reduce(values, axis=None, initial=0) < -LIMIT
    ):
        raise UserError(f"{where}: a coordinate is beyond {LIMIT:g}; correct the file")
    return values


def by_id(
    frames: Iterable[tuple[int, Sequence[tuple[Hashable, np.ndarray]]]], path: str
) -> list[Track]:
    """Tracks by the body's number in the file; a number may occur once in a frame.

    `frames` are numbers of frames, ascending, and the bodies in them.
    """
    tracks: dict[Hashable, Track] = {}
    for place, seen in frames:
        for key, pose in seen:
            track = tracks.setdefault(key, Track())
            if track.frames and track.frames[-1] == place:
                raise UserError(
                    f"{path}: body {str(key)[:40]} occurs twice in frame {place + 1}; give every "
                    "body its own number"
                )
            track.add(place, pose)
    return list(tracks.values())


def by_position(frames: Iterable[tuple[int, Sequence[np.ndarray]]], path: str) -> list[Track]:
    """Tracks where the file does not say who is who: each body goes on at the nearest position.

    The distance of two poses is the mean over the joints that both have, where they were seen last.
    A body goes on where the sum of distances is least; further away than half its size it is a new
    body.

    Args:
        frames: numbers of the frames, ascending, and the bodies in them, (J, 3) each.
        path: for messages.
    """
    tracks: list[Track] = []
    active: list[Track] = []
    for place, poses in frames:
        if len(poses) > MOST_BODIES:
            raise UserError(
                f"{path}: {numbered('{} bodies', len(poses))} in frame {place + 1}, and at most "
                f"{MOST_BODIES} can be told apart; keep the bodies that matter"
            )
        poses = [pose for pose in poses if not np.isnan(pose).all()]
        active = [track for track in active if place - track.frames[-1] <= LONGEST_GAP + 1]
        free = set(range(len(poses)))
        if active and poses:
            last = np.stack([track.last for track in active if track.last is not None])
            cost = np.stack([_distances(pose, last) for pose in poses])  # (P, A) in body sizes
            for row, column in zip(*linear_sum_assignment(np.minimum(cost, 1e3)), strict=True):
                if cost[row, column] <= 0.5:
                    active[column].add(place, poses[row])
                    free.discard(int(row))
        for row in sorted(free):
            track = Track()
            track.add(place, poses[row])
            active.append(track)
            tracks.append(track)
    return tracks


def _distances(pose: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Mean distances (A,) of a pose (J, 3) to others (A, J, 3), divided by the larger size."""
    apart = np.sqrt(((others - pose) ** 2).sum(2))  # NaN where one of them has no such joint
    both = ~np.isnan(apart)
    mean = np.where(both, apart, 0).sum(1) / np.maximum(both.sum(1), 1)
    mean[~both.any(1)] = np.inf
    size = np.maximum(_size(others), _size(pose[None]))  # of one of them, few joints may be seen
    return mean / np.maximum(size, 1e-9)


def _size(xyz: np.ndarray) -> np.ndarray:
    """Diagonals (F,) of the bounding boxes of (F, J, 3); 0 where no joint was seen."""
    high, low = np.fmax.reduce(xyz, axis=1), np.fmin.reduce(xyz, axis=1)
    return np.sqrt(np.nan_to_num((high - low) ** 2).sum(1))


def to_bodies(
    path: str,
    tracks: Sequence[Track],
    joints: tuple[str, ...],
    *,
    times: np.ndarray | None = None,
    notes: Sequence[str] = (),
    **about: Any,
) -> list[Body]:
    """A recording of each track, in order of their first frames.

    A body that is lost for more than `LONGEST_GAP` frames begins a new recording; in shorter gaps
    no joint is seen. The notes of the file are those of the first recording.

    Args:
        path: name of the first recording; '#2', '#3', ... is added to the others.
        tracks: at least one frame each.
        joints: names of the J joints.
        times: (frames of the file,) seconds, or None.
        notes: what the reader dropped or guessed.
        about: further fields of `Body`.

    Raises:
        UserError: there is no body.
    """
    pieces: list[tuple[int, np.ndarray]] = []
    for track in tracks:
        numbers = np.array(track.frames)
        cuts = np.flatnonzero(np.diff(numbers) > LONGEST_GAP + 1) + 1
        for part in np.split(np.arange(len(numbers)), cuts):
            first, last = int(numbers[part[0]]), int(numbers[part[-1]])
            xyz = np.full((last - first + 1, len(joints), 3), np.nan)
            xyz[numbers[part] - first] = [track.poses[place] for place in part]
            pieces.append((first, xyz))
    if not pieces:
        raise UserError(f"{path}: no body was seen in any frame; remove the file")
    more = list(notes)
    if len(pieces) > len(tracks):
        many = len(pieces) - len(tracks)
        more.append(
            numbered("{} [recording begins|recordings begin] where a body comes back after ", many)
            + f"more than {LONGEST_GAP} frames"
        )
    pieces.sort(key=lambda piece: piece[0])
    return [
        Body(
            name=path if place == 0 else f"{path}#{place + 1}",
            xyz=xyz,
            joints=joints,
            times=None if times is None else times[first : first + len(xyz)],
            notes=tuple(more) if place == 0 else (),
            **about,
        )
        for place, (first, xyz) in enumerate(pieces)
    ]


def largest(bodies: Sequence[Body]) -> Body:
    """The body with the largest sum of bounding-box diagonals: near, and seen for long."""
    return max(bodies, key=lambda body: float(_size(body.xyz).sum()))
