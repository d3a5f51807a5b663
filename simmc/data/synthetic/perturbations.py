"""Data made harder on purpose, to see where a method breaks (`--stress`).

Works on the stored windows, before anything else has seen them, so that all methods meet the same
difficulty. What is drawn depends on the seed alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from simmc.data.missing import held
from simmc.data.store import StoredSplit, joined
from simmc.errors import UserError


class Sets(NamedTuple):
    """The windows of an experiment; probe and gallery may be one object."""

    train: StoredSplit
    probe: StoredSplit
    gallery: StoredSplit

    @property
    def same_windows(self) -> bool:
        """Whether probe and gallery are one list."""
        return self.probe is self.gallery


def stressed(sets: Sets, text: str, rng: np.random.Generator) -> Sets:
    """The sets after every difficulty that a text such as "lost:0.4+keep:1" names, in its order.

    Raises:
        UserError: a difficulty that does not exist, a value it cannot have, or data that do not
            allow it.
    """
    for word in filter(None, text.split("+")):
        name, _, value = word.strip().partition(":")
        if name not in STRESSES:
            raise UserError(f"--stress {word!r} is not possible; allowed: {ALLOWED}.")
        sets = STRESSES[name](sets, value, rng)
    return sets


def noise(sets: Sets, value: str, rng: np.random.Generator) -> Sets:
    """Every coordinate off by a normal deviation of so many metres."""
    metres = _number("noise", value, 0, 10)

    def shaken(planes: np.ndarray, recording: np.ndarray | None) -> np.ndarray:
        return planes + metres * rng.normal(size=planes.shape)

    return _moved(sets, shaken, "noise")


def lost(sets: Sets, value: str, rng: np.random.Generator) -> Sets:
    """A share of the joints of each frame is lost, and put where `simmc.data.missing` puts it."""
    share = _number("lost", value, 0, 1)

    def without(planes: np.ndarray, recording: np.ndarray | None) -> np.ndarray:
        return held(planes, rng.random(planes.shape[1:]) >= share)

    return _moved(sets, without, "lost")


def camera(sets: Sets, value: str, rng: np.random.Generator) -> Sets:
    """Every recording seen by a camera turned and tilted by angles of its own.

    Turned about the vertical, then tilted about a horizontal line through the sensor in a random
    direction; both angles are uniform within the degrees given. Windows without a recording have
    cameras of their own.
    """
    found = re.fullmatch(r"(\d+)-(\d+)", value)
    if not found:
        raise UserError(
            f"--stress camera:{value} is not possible; give degrees, turn and tilt: camera:180-10."
        )
    turn, tilt = (np.radians(float(word)) for word in found.groups())

    def seen(planes: np.ndarray, recording: np.ndarray | None) -> np.ndarray:
        n = planes.shape[1]
        names, own = np.unique(
            np.arange(n) if recording is None else recording, return_inverse=True
        )
        about = _turned(rng.uniform(-turn, turn, len(names)))
        way = _turned(rng.uniform(-np.pi, np.pi, len(names)))
        down = _tilted(rng.uniform(-tilt, tilt, len(names)))
        matrix = way.transpose(0, 2, 1) @ down @ way @ about  # (R, 3, 3)
        return np.einsum("nab,bnfj->anfj", matrix[own], planes)

    return _moved(sets, seen, "camera")


def keep(sets: Sets, value: str, rng: np.random.Generator) -> Sets:
    """Of every person in training, so many recordings, or all if there are fewer."""
    count = int(_number("keep", value, 1, 10**6, whole=True))
    return sets._replace(train=sets.train.take(_drawn_recordings(sets.train, "keep", count, rng)))


def borrow(sets: Sets, value: str, rng: np.random.Generator) -> Sets:
    """Of every person in the gallery, so many recordings are learned from as well.

    They stay in the gallery, which is as hard as before; probes are never learned from. It gives
    persons more recordings than their training split holds.
    """
    count = int(_number("borrow", value, 1, 10**6, whole=True))
    if sets.gallery is sets.probe:
        raise UserError("--stress borrow: the gallery here is the probe, which may not be learned.")
    chosen = sets.gallery.take(_drawn_recordings(sets.gallery, "borrow", count, rng))
    _recordings(sets.train, "borrow")
    return sets._replace(train=joined([sets.train, chosen]))


def pieces(sets: Sets, value: str, rng: np.random.Generator) -> Sets:
    """Training recordings cut into pieces of FEWEST to MOST windows, each a recording of its own.

    The last piece of a recording may be shorter. Pieces get numbers that no recording of the sets
    has, so that windows joined later (`--train_on train_gallery`) stay apart. When a piece begins
    and ends is not known.
    """
    found = re.fullmatch(r"(\d+)-(\d+)", value)
    low, high = map(int, found.groups()) if found else (0, 0)
    if not 1 <= low <= high:
        raise UserError(
            f"--stress pieces:{value} is not possible; give windows, fewest and most: pieces:5-50."
        )
    recording = _recordings(sets.train, "pieces")
    made = np.empty(len(recording), dtype=np.int64)
    sets_recordings = [s.recording for s in sets if s.recording is not None and len(s)]
    next_number = 1 + max((int(r.max()) for r in sets_recordings), default=-1)
    for name in np.unique(recording):
        own = np.flatnonzero(recording == name)  # stored in the order of time
        lengths = rng.integers(low, high + 1, size=len(own))
        piece = np.searchsorted(np.cumsum(lengths), np.arange(len(own)), side="right")
        made[own] = next_number + piece
        next_number += piece[-1] + 1
    times = None if sets.train.times is None else np.full_like(sets.train.times, np.nan)
    return sets._replace(train=replace(sets.train, recording=made, times=times))


def mixed(sets: Sets, value: str, rng: np.random.Generator) -> Sets:
    """A share of the training recordings goes on as another person: a tracker that swaps people.

    Recordings are drawn in pairs of two persons; the second half of each is exchanged. A recording
    keeps its times.
    """
    share = _number("mixed", value, 0, 1)
    recording = _recordings(sets.train, "mixed")
    names, first = np.unique(recording, return_index=True)
    person = sets.train.labels[first]
    order = rng.permutation(len(names))
    order = order[: round(share * len(names) / 2) * 2]
    one, other = order[0::2], order[1::2]
    made = recording.copy()
    for a, b in zip(one, other, strict=True):
        if person[a] == person[b]:
            continue  # two walks of one person: nothing is swapped
        for source, target in ((a, b), (b, a)):
            own = np.flatnonzero(recording == names[source])
            made[own[len(own) // 2 :]] = names[target]
    times = sets.train.times
    if times is not None:
        times = times[first][np.searchsorted(names, made)]
    return sets._replace(train=replace(sets.train, recording=made, times=times))


def strangers(sets: Sets, value: str, rng: np.random.Generator) -> Sets:
    """Half of the persons, drawn at random, in training; the other half as probe and gallery."""
    if value:
        raise UserError(f"--stress strangers:{value}: strangers takes no value.")
    persons = rng.permutation(np.unique(sets.train.labels[sets.train.labels >= 0]))
    known = persons[: len(persons) // 2]
    probe = sets.probe.take(~np.isin(sets.probe.labels, known))
    gallery = probe
    if sets.gallery is not sets.probe:
        gallery = sets.gallery.take(~np.isin(sets.gallery.labels, known))
    train = sets.train.take(np.isin(sets.train.labels, known))
    if not (len(train) and len(probe) and len(gallery)):
        raise UserError("--stress strangers needs two persons at least, in every set.")
    return Sets(train, probe, gallery)


STRESSES: Mapping[str, Callable[[Sets, str, np.random.Generator], Sets]] = {
    "noise": noise,
    "lost": lost,
    "camera": camera,
    "keep": keep,
    "borrow": borrow,
    "pieces": pieces,
    "mixed": mixed,
    "strangers": strangers,
}
ALLOWED = (
    "noise:METRES, lost:SHARE, camera:TURN-TILT, keep:RECORDINGS, borrow:RECORDINGS, "
    "pieces:FEWEST-MOST, mixed:SHARE, strangers; several joined by +"
)


# difficulties for which identities, and for `borrow` the gallery, decide what is learned from
BY_IDENTITY = ("keep", "borrow", "mixed", "strangers")


def by_identity(text: str) -> list[str]:
    """The difficulties in a text that identities decide."""
    names = [word.strip().partition(":")[0] for word in text.split("+")]
    return [name for name in names if name in BY_IDENTITY]


def _number(name: str, value: str, low: float, high: float, *, whole: bool = False) -> float:
    try:
        found = int(value) if whole else float(value)
    except ValueError:
        found = np.nan
    if not low <= found <= high:
        kind = "a whole number" if whole else "a number"
        raise UserError(
            f"--stress {name}:{value} is not possible; give {kind} from {low:g} to {high:g}."
        )
    return found


def _recordings(split: StoredSplit, name: str) -> np.ndarray:
    if split.recording is None:
        raise UserError(
            f"--stress {name}: {split.path} does not say which windows come from one recording. "
            "Cut them again with Preprocess.py, which writes recording_*.npy."
        )
    return split.recording


def _drawn_recordings(
    split: StoredSplit, name: str, count: int, rng: np.random.Generator
) -> np.ndarray:
    """(N,) bool: the windows of so many recordings of every person, drawn at random."""
    recording = _recordings(split, name)
    chosen = []
    for person in np.unique(split.labels):
        own = np.unique(recording[split.labels == person])
        chosen.append(rng.permutation(own)[:count])
    return np.isin(recording, np.concatenate(chosen))


def _turned(angle: np.ndarray) -> np.ndarray:
    """(R, 3, 3) rotations about the y axis, by angles (R,) in radians."""
    c, s, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    rows = [[c, zero, s], [zero, one, zero], [-s, zero, c]]
    return np.moveaxis(np.array(rows), 2, 0)


def _tilted(angle: np.ndarray) -> np.ndarray:
    """(R, 3, 3) rotations about the x axis, by angles (R,) in radians."""
    c, s, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    rows = [[one, zero, zero], [zero, c, -s], [zero, s, c]]
    return np.moveaxis(np.array(rows), 2, 0)


def _moved(
    sets: Sets, move: Callable[[np.ndarray, np.ndarray | None], np.ndarray], name: str
) -> Sets:
    """The sets with other coordinates; `move` gets and gives (3, N, f, J), with the recordings."""
    if sets.train.features is not None:
        raise UserError(
            f"--stress {name} needs joints; give it to the command that trains the source model."
        )

    def apply(split: StoredSplit) -> StoredSplit:
        x, y, z = move(np.stack(split.planes), split.recording)
        return replace(split, planes=(x, y, z))

    train, probe = apply(sets.train), apply(sets.probe)
    return Sets(train, probe, probe if sets.gallery is sets.probe else apply(sets.gallery))
