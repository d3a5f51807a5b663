"""Perturbations of the data, to see where a method fails (`--stress`).

They change the stored windows before anything else, so that they are the same for all methods.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from simmc.data.experiment.experiment import Sets
from simmc.data.recordings import fill_missing
from simmc.data.store import StoredSplit, joined
from simmc.errors import UserError


def perturbed(sets: Sets, text: str, rng: np.random.Generator) -> Sets:
    """The sets after the perturbations in a text such as "lost:0.4+keep:1", in its order."""
    for word in filter(None, text.split("+")):
        name, _, value = word.strip().partition(":")
        if name not in PERTURBATIONS:
            raise UserError(f"--stress {word!r} is not possible; allowed: {ALLOWED}.")
        sets = PERTURBATIONS[name](sets, value, rng)
    return sets


def noise(sets: Sets, value: str, rng: np.random.Generator) -> Sets:
    """Add normal noise with a standard deviation of METRES to every coordinate."""
    metres = _number("noise", value, 0, 10)

    def add(planes: np.ndarray, recording: np.ndarray | None) -> np.ndarray:
        return planes + metres * rng.normal(size=planes.shape)

    return _moved(sets, add, "noise")


def lost(sets: Sets, value: str, rng: np.random.Generator) -> Sets:
    """Remove a share of the joints of each frame and fill them by `fill_missing`."""
    share = _number("lost", value, 0, 1)

    def remove(planes: np.ndarray, recording: np.ndarray | None) -> np.ndarray:
        return fill_missing(planes, rng.random(planes.shape[1:]) >= share)

    return _moved(sets, remove, "lost")


def camera(sets: Sets, value: str, rng: np.random.Generator) -> Sets:
    """Rotate every recording (or window, if recordings are unknown) as if by another camera.

    It is turned about the vertical, then tilted about a horizontal line through the sensor in a
    random direction; both angles are uniform within the given degrees.
    """
    found = re.fullmatch(r"(\d+)-(\d+)", value)
    if not found:
        raise UserError(
            f"--stress camera:{value} is not possible; give degrees, turn and tilt: camera:180-10."
        )
    turn, tilt = (np.radians(float(word)) for word in found.groups())

    def rotate(planes: np.ndarray, recording: np.ndarray | None) -> np.ndarray:
        n = planes.shape[1]
        group = np.arange(n) if recording is None else recording
        names, inverse = np.unique(group, return_inverse=True)
        about = _turned(rng.uniform(-turn, turn, len(names)))
        way = _turned(rng.uniform(-np.pi, np.pi, len(names)))
        down = _tilted(rng.uniform(-tilt, tilt, len(names)))
        matrix = way.transpose(0, 2, 1) @ down @ way @ about  # (R, 3, 3)
        return np.einsum("nab,bnfj->anfj", matrix[inverse], planes)

    return _moved(sets, rotate, "camera")


def keep(sets: Sets, value: str, rng: np.random.Generator) -> Sets:
    """Keep so many training recordings of every person, or all if there are fewer."""
    count = int(_number("keep", value, 1, 10**6, whole=True))
    return sets._replace(train=sets.train.take(_drawn_recordings(sets.train, "keep", count, rng)))


def borrow(sets: Sets, value: str, rng: np.random.Generator) -> Sets:
    """Add so many gallery recordings of every person to training; they stay in the gallery too."""
    count = int(_number("borrow", value, 1, 10**6, whole=True))
    if sets.gallery is sets.probe:
        raise UserError(
            "--stress borrow: the gallery here is the probe, which may not be used in training."
        )
    chosen = sets.gallery.take(_drawn_recordings(sets.gallery, "borrow", count, rng))
    _recordings(sets.train, "borrow")
    return sets._replace(train=joined([sets.train, chosen]))


def pieces(sets: Sets, value: str, rng: np.random.Generator) -> Sets:
    """Cut training recordings into pieces of FEWEST to MOST windows, each a recording of its own.

    The last piece of a recording may be shorter. Pieces get numbers that no recording of the sets
    has, so that windows joined later (`--train_on train_gallery`) stay separate. Their times are
    unknown.
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
        rows = np.flatnonzero(recording == name)  # stored in the order of time
        lengths = rng.integers(low, high + 1, size=len(rows))
        piece = np.searchsorted(np.cumsum(lengths), np.arange(len(rows)), side="right")
        made[rows] = next_number + piece
        next_number += piece[-1] + 1
    times = None if sets.train.times is None else np.full_like(sets.train.times, np.nan)
    return sets._replace(train=replace(sets.train, recording=made, times=times))


def mixed(sets: Sets, value: str, rng: np.random.Generator) -> Sets:
    """Exchange the second halves of pairs of training recordings, like a tracker that swaps people.

    `value` is the share of the recordings; a recording keeps its times.
    """
    share = _number("mixed", value, 0, 1)
    recording = _recordings(sets.train, "mixed")
    names, first = np.unique(recording, return_index=True)
    person = sets.train.labels[first]
    pairs = min(round(share * len(names) / 2), len(names) // 2)
    made = recording.copy()
    for a, b in rng.permutation(len(names))[: 2 * pairs].reshape(pairs, 2):
        if person[a] == person[b]:
            continue  # two recordings of one person
        for source, target in ((a, b), (b, a)):
            rows = np.flatnonzero(recording == names[source])
            made[rows[len(rows) // 2 :]] = names[target]
    times = sets.train.times
    if times is not None:
        times = times[first][np.searchsorted(names, made)]
    return sets._replace(train=replace(sets.train, recording=made, times=times))


def strangers(sets: Sets, value: str, rng: np.random.Generator) -> Sets:
    """Train on a random half of the persons; probe and gallery show the other half."""
    if value:
        raise UserError(f"--stress strangers:{value}: strangers takes no value.")
    persons = rng.permutation(np.unique(sets.train.labels[sets.train.labels >= 0]))
    known = persons[: len(persons) // 2]
    probe = sets.probe.take(~np.isin(sets.probe.labels, known))
    same = sets.same_windows
    gallery = probe if same else sets.gallery.take(~np.isin(sets.gallery.labels, known))
    train = sets.train.take(np.isin(sets.train.labels, known))
    if not (len(train) and len(probe) and len(gallery)):
        raise UserError("--stress strangers needs at least two persons in every set.")
    return Sets(train, probe, gallery)


def leak(sets: Sets, value: str, rng: np.random.Generator) -> Sets:
    """Divide all windows at random among the sets, whose sizes stay: recordings are in several.

    Numbers of such sets are too good: other windows of the same walk were learned or are matched.
    """
    if value:
        raise UserError(f"--stress leak:{value}: leak takes no value.")
    parts = [sets.train, sets.probe] + [sets.gallery] * (not sets.same_windows)
    whole = joined(parts)
    order = rng.permutation(len(whole))
    ends = np.cumsum([len(part) for part in parts])[:-1]
    made = [
        replace(whole.take(np.sort(rows)), path=part.path)
        for part, rows in zip(parts, np.split(order, ends), strict=True)
    ]
    return Sets(made[0], made[1], made[-1])


PERTURBATIONS: Mapping[str, Callable[[Sets, str, np.random.Generator], Sets]] = {
    "noise": noise,
    "lost": lost,
    "camera": camera,
    "keep": keep,
    "borrow": borrow,
    "pieces": pieces,
    "mixed": mixed,
    "strangers": strangers,
    "leak": leak,
}
ALLOWED = (
    "noise:METRES, lost:SHARE, camera:TURN-TILT, keep:RECORDINGS, borrow:RECORDINGS, "
    "pieces:FEWEST-MOST, mixed:SHARE, strangers, leak; several joined by +"
)
# perturbations that select training windows by identity or from the gallery
BY_IDENTITY = ("keep", "borrow", "mixed", "strangers")


def names_of(text: str) -> list[str]:
    """The names of the perturbations in a text."""
    return [word.strip().partition(":")[0] for word in text.split("+")]


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
            f"--stress {name}: the recordings of {split.path} are unknown; run Preprocess.py again "
            "to write recording_*.npy."
        )
    return split.recording


def _drawn_recordings(
    split: StoredSplit, name: str, count: int, rng: np.random.Generator
) -> np.ndarray:
    """(N,) bool: the windows of so many random recordings of every person."""
    recording = _recordings(split, name)
    chosen = []
    for person in np.unique(split.labels):
        recordings = np.unique(recording[split.labels == person])
        chosen.append(rng.permutation(recordings)[:count])
    return np.isin(recording, np.concatenate(chosen))


def _turned(angle: np.ndarray) -> np.ndarray:
    """(R, 3, 3) rotations about the y axis, by angles (R,) in radians."""
    c, s, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    return np.moveaxis(np.array([[c, zero, s], [zero, one, zero], [-s, zero, c]]), 2, 0)


def _tilted(angle: np.ndarray) -> np.ndarray:
    """(R, 3, 3) rotations about the x axis, by angles (R,) in radians."""
    c, s, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    return np.moveaxis(np.array([[one, zero, zero], [zero, c, -s], [zero, s, c]]), 2, 0)


def _moved(
    sets: Sets, move: Callable[[np.ndarray, np.ndarray | None], np.ndarray], name: str
) -> Sets:
    """The sets with other coordinates; `move` maps (3, N, f, J) and recordings to (3, N, f, J)."""
    if sets.train.features is not None:
        raise UserError(
            f"--stress {name} needs joints; use it with the command that trains the source model."
        )

    def apply(split: StoredSplit) -> StoredSplit:
        x, y, z = move(np.stack(split.planes), split.recording)
        return replace(split, planes=(x, y, z))

    train, probe = apply(sets.train), apply(sets.probe)
    return Sets(train, probe, probe if sets.same_windows else apply(sets.gallery))
