"""Synthetic walkers: raw recordings of persons who do not exist, by a simulated sensor.

For trials and tests; results on them say nothing about real people. A person is bones and habits
(`simmc.data.synthetic.gait`); a recording adds the day, clothes, heading, path, phase and pace, and
sensor errors. See docs/walkers.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from simmc.data import specs
from simmc.data.raw import write as raw
from simmc.data.recordings import Progress, Recording, silent
from simmc.data.skeletons import Skeleton
from simmc.data.synthetic import gait
from simmc.data.synthetic.gait import Person
from simmc.data.synthetic.recording_plan import SIZES, Planned, recording_plan
from simmc.errors import UserError

# How much a person differs between recordings: relative spread of the bone lengths that the sensor
# sees, and share of the spread of habits between persons.
DAY = (0.012, 0.45)
# Metres: shift of a joint for a whole recording, flicker from frame to frame, and the bias of a
# joint by heading, equal for all persons.
SHIFT, FLICKER, HEADING_BIAS = 0.010, 0.008, 0.020
FLICKER_MEMORY = 0.7  # correlation of the flicker of successive frames
HIDDEN = 2.0  # factor on the flicker of joints behind the body
LOST_CHANCE = 0.25  # that a recording loses a hand or a foot somewhere
CLOTHES: dict[str, tuple[tuple[float, float], dict[str, float]]] = {
    "": ((0.0, 0.0), {}),
    "other": ((0.015, 0.3), {}),
    "bag": (
        (0.010, 0.5),
        {"right_arm_swing": 0.3, "shoulder_tilt": 1.5, "lean": 1.4, "elbow": 1.3},
    ),
    "coat": (
        (0.025, 0.7),
        {"left_shoulder": 1.06, "right_shoulder": 1.06, "arm_out": 1.6, "knee_swing": 0.93},
    ),
}
_DIGITS = 6  # micrometres, as real files have it
_LAP = 2.5  # metres walked before the walk starts again


@dataclass(frozen=True, eq=False)
class Walk:
    """A recording with all its frames, and which joints the sensor saw."""

    recording: Recording
    tracked: np.ndarray  # (T, J) bool


def generate(
    dataset: str,
    persons: int | None = None,
    seed: int = 0,
    size: str = "small",
    noise: float = 1.0,
    progress: Progress = silent,
) -> list[Recording]:
    """The recordings of synthetic walkers, as the raw reader of a dataset gives them.

    Args:
        dataset: IAS, BIWI, KGBD, KS20 or CASIA_B.
        persons: how many walkers; None takes the number of the size.
        seed: the same seed gives the same walkers and recordings, number for number.
        size: tiny, small or full; see `simmc.data.synthetic.recording_plan`.
        noise: factor on all differences between recordings of a person except path, phase, view
            and clothes; with 0 bones are exactly the same.
        progress: wraps the recording plan.
    """
    return as_read(walks(dataset, persons, seed, size, noise, progress), specs.get(dataset).name)


def walks(
    dataset: str,
    persons: int | None = None,
    seed: int = 0,
    size: str = "small",
    noise: float = 1.0,
    progress: Progress = silent,
) -> list[Walk]:
    """The arguments of `generate`; includes the frames that a reader drops. Input of `write`."""
    spec = specs.get(dataset)
    if size not in SIZES:
        raise UserError(f"--size {size}: choose one of {', '.join(SIZES)}")
    number = list(specs.DATASETS).index(spec.name) + 1
    plan = recording_plan(spec.name, persons, size, np.random.default_rng([seed, number]))
    count: Counter[int] = Counter()
    found = []
    for planned in progress(plan):
        who = planned.person
        # the same person in all datasets, for every number of persons
        person = gait.draw_person(np.random.default_rng([seed, 0, who]))
        person = _dress(person, planned, np.random.default_rng([seed, number, who]), noise)
        count[who] += 1
        rng = np.random.default_rng([seed, number, who, count[who]])
        found.append(_record(person, planned, spec.skeleton, noise, rng))
    return found


def as_read(made: Iterable[Walk], dataset: str) -> list[Recording]:
    """The recordings as the reader gives them: IAS and BIWI without frames with lost joints."""
    if dataset not in ("IAS", "BIWI"):
        return [walk.recording for walk in made]
    return [
        replace(walk.recording, frames=walk.recording.frames[walk.tracked.all(axis=1)])
        for walk in made
    ]


def write(dataset: str, root: Path, made: Sequence[Walk]) -> None:
    """Write walks in the dataset's raw layout below its folder `root`."""
    name = specs.get(dataset).name
    recordings = [walk.recording for walk in made]
    if name in ("IAS", "BIWI"):
        raw.write_ias(root, recordings, {walk.recording.name: walk.tracked for walk in made})
    else:
        raw.WRITERS[name](root, recordings)


def _dress(person: Person, planned: Planned, rng: np.random.Generator, noise: float) -> Person:
    """The person in the clothes of the recording; the same clothes always look the same."""
    (bones, habits), factors = CLOTHES[planned.clothes]
    return person.changed(rng, bones * noise, habits * noise).adjusted(factors)


def _record(
    person: Person, planned: Planned, skeleton: Skeleton, noise: float, rng: np.random.Generator
) -> Walk:
    """One recording, in camera space."""
    person = person.changed(rng, DAY[0] * noise, DAY[1] * noise)
    count = int(rng.integers(planned.n_frames[0], planned.n_frames[1] + 1))
    seconds = np.arange(count) / planned.rate
    cadence = person.habits["cadence"] * (1 + 0.03 * noise * rng.normal())
    pace = cadence * (1 + 0.02 * np.sin(seconds * 0.7 + rng.uniform(0, 2 * np.pi)))
    phase = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.cumsum(pace) / planned.rate
    stride = {"straight": 1.0, "turning": 0.6, "standing": 0.0}[planned.motion]
    joints = gait.pose(person, phase, stride)
    body = np.stack([joints[name] for name in skeleton.joints], axis=1)
    body = body + noise * (
        _bias(planned, skeleton) + SHIFT * rng.normal(size=(skeleton.n_joints, 3))
    )
    heading = _heading(planned, seconds, rng)
    frames = _into_space(body, heading, _path(planned, person, seconds, rng))
    frames = frames + noise * _flicker(frames, rng)
    tracked = np.ones(frames.shape[:2], dtype=bool)
    if rng.random() < LOST_CHANCE * noise:
        _lose(frames, tracked, skeleton, rng)
    recording = Recording(
        name=planned.name,
        identity=planned.identity,
        frames=np.round(frames, _DIGITS),
        role=planned.role,
        attributes=planned.attributes,
    )
    return Walk(recording, tracked)


def _bias(planned: Planned, skeleton: Skeleton) -> np.ndarray:
    """The error of the sensor for this heading, (J, 3) metres in body axes."""
    which = int(planned.view) % 360 if planned.motion == "straight" else 360
    rng = np.random.default_rng([which, skeleton.n_joints])
    return HEADING_BIAS * rng.normal(size=(skeleton.n_joints, 3))


def _heading(planned: Planned, seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Direction of walking, (T,) radians: 0 to the sensor's left (+x), pi/2 towards the sensor."""
    if planned.motion == "turning":
        turns = rng.uniform(0.05, 0.12) * rng.choice([-1, 1])  # a second
        return np.radians(planned.view) + 2 * np.pi * (rng.random() + turns * seconds)
    spread = 25.0 if planned.motion == "standing" else 3.0
    start = planned.view + spread * rng.normal()
    drift = 4.0 * np.sin(0.5 * seconds + rng.uniform(0, 2 * np.pi))
    return np.radians(start + drift)


def _path(
    planned: Planned, person: Person, seconds: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Position of the walker's middle, (T, 3) metres, along the heading."""
    speed = person.speed if planned.motion == "straight" else 0.0
    gone = (seconds - seconds.mean()) * speed
    gone = (gone + _LAP / 2) % _LAP - _LAP / 2
    angle = np.radians(planned.view)
    place = np.array([0.3 * rng.normal(), -1.1, 3.0 + 0.2 * rng.normal()])
    return place + gone[:, None] * np.array([np.cos(angle), 0.0, -np.sin(angle)])


def _into_space(body: np.ndarray, heading: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Body axes to camera space (x to the sensor's left, y up, z away); frames (T, J, 3)."""
    zero, one = np.zeros_like(heading), np.ones_like(heading)
    cosine, sine = np.cos(heading), np.sin(heading)
    forward = np.stack([cosine, zero, -sine], axis=-1)
    up = np.stack([zero, one, zero], axis=-1)
    left = np.cross(up, forward)
    axes = np.stack([forward, up, left], axis=1)
    return body @ axes + path[:, None]


def _flicker(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise (T, J, 3) in metres that lasts a few frames and is stronger behind the body."""
    noise = FLICKER * rng.normal(size=frames.shape)
    noise[1:] *= np.sqrt(1 - FLICKER_MEMORY**2)
    # each frame keeps a share of the one before: the sum over all earlier frames, by doubling
    reach = 1
    while reach < min(len(noise), 128):
        noise[reach:] += FLICKER_MEMORY**reach * noise[:-reach].copy()
        reach *= 2
    depth = frames[..., 2] - frames[..., 2].mean(axis=1, keepdims=True)
    return noise * np.where(depth > 0.08, HIDDEN, 1.0)[..., None]


def _lose(
    frames: np.ndarray, tracked: np.ndarray, skeleton: Skeleton, rng: np.random.Generator
) -> None:
    """A hand or foot freezes, or jumps aside, for a few frames; in place."""
    ends = [j for j in skeleton.joints if j.endswith(("wrist", "hand", "ankle", "foot"))]
    joint = skeleton.index(str(rng.choice(ends)))
    start = int(rng.integers(1, len(frames)))
    stop = start + int(rng.integers(2, 7))
    jump = 0.15 * rng.normal(size=3) if rng.random() < 0.5 else 0.0
    frames[start:stop, joint] = frames[start - 1, joint] + jump
    tracked[start:stop, joint] = False
