"""A walking skeleton: a person's bones and habits, and the pose at every phase of the stride.

A smooth, made-up model of gait with plausible sizes; nobody was measured. Body axes are forward, up
and left (metres; up = 0 is the ground). Phase 0 is the left heel's strike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

# Bone -> (share of the stature, spread between persons relative to that).
_BONES: dict[str, tuple[float, float]] = {
    "waist": (0.125, 0.06),  # hip centre to spine
    "chest": (0.150, 0.05),  # spine to the height of the shoulders
    "neck": (0.045, 0.09),
    "head": (0.085, 0.05),
    "nose": (0.055, 0.06),
    "shoulder": (0.108, 0.06),  # from the middle to one side
    "upper_arm": (0.165, 0.05),
    "forearm": (0.145, 0.05),
    "hand": (0.048, 0.07),
    "finger": (0.045, 0.07),
    "thumb": (0.035, 0.08),
    "pelvis": (0.052, 0.08),  # from the middle to one side
    "thigh": (0.245, 0.045),
    "shank": (0.240, 0.045),
    "foot": (0.075, 0.07),
}
_SIDED = ("shoulder", "upper_arm", "forearm", "hand", "thigh", "shank", "foot")
_STATURE = (1.70, 0.085)  # metres
_ASYMMETRY = 0.008
SIDES = ("left", "right")

# Habit -> (mean, spread between persons); radians, Hz and metres.
_HABITS: dict[str, tuple[float, float]] = {
    "cadence": (0.92, 0.07),  # strides a second
    "hip_swing": (0.42, 0.05),
    "hip_offset": (0.06, 0.04),
    "knee_rest": (0.10, 0.05),
    "knee_swing": (0.95, 0.10),
    "knee_load": (0.20, 0.07),
    "stance_width": (0.035, 0.025),  # legs away from the vertical
    "toe_out": (0.14, 0.09),
    "pelvis_turn": (0.10, 0.04),
    "pelvis_drop": (0.06, 0.025),
    "lean": (0.05, 0.04),
    "sway": (0.04, 0.02),
    "sway_delay": (0.3, 0.4),
    "hunch": (0.16, 0.08),
    "nod": (0.05, 0.09),
    "shoulder_turn": (0.11, 0.05),
    "shoulder_slope": (0.25, 0.08),
    "shoulder_tilt": (0.0, 0.03),
    "arm_offset": (0.02, 0.06),
    "left_arm_swing": (0.35, 0.12),
    "right_arm_swing": (0.35, 0.12),
    "arm_out": (0.13, 0.05),
    "arm_delay": (0.15, 0.2),
    "elbow": (0.35, 0.12),
    "elbow_swing": (0.30, 0.10),
}


@dataclass(frozen=True)
class Person:
    """Bone lengths in metres and habits of walking, by name."""

    bones: Mapping[str, float]
    habits: Mapping[str, float]

    def changed(self, rng: np.random.Generator, bones: float = 0.0, habits: float = 0.0) -> Person:
        """The same person on another day.

        `bones` is the relative spread of the bone lengths, `habits` that of the habits as a share
        of the spread between persons.
        """
        shifts = zip(self.bones.items(), rng.normal(size=len(self.bones)).tolist(), strict=True)
        new_bones = {name: length * (1 + bones * shift) for (name, length), shift in shifts}
        shifts = zip(self.habits.items(), rng.normal(size=len(self.habits)).tolist(), strict=True)
        new_habits = {n: value + habits * _HABITS[n][1] * shift for (n, value), shift in shifts}
        return Person(new_bones, new_habits)

    def adjusted(self, factors: Mapping[str, float]) -> Person:
        """The same person with some bones and habits multiplied."""
        return Person(
            {name: value * factors.get(name, 1.0) for name, value in self.bones.items()},
            {name: value * factors.get(name, 1.0) for name, value in self.habits.items()},
        )

    @property
    def speed(self) -> float:
        """Metres a second: two steps a stride."""
        leg = self.bones["left_thigh"] + self.bones["left_shank"]
        return 4 * leg * float(np.sin(self.habits["hip_swing"])) * self.habits["cadence"]


def draw_person(rng: np.random.Generator) -> Person:
    """A new person, drawn at random."""
    stature = rng.normal(*_STATURE)
    bones: dict[str, float] = {}
    for name, (share, spread) in _BONES.items():
        length = stature * share * (1 + spread * rng.normal())
        if name in _SIDED:
            bones |= {f"{s}_{name}": length * (1 + _ASYMMETRY * rng.normal()) for s in SIDES}
        else:
            bones[name] = length
    habits = {name: rng.normal(mean, spread) for name, (mean, spread) in _HABITS.items()}
    return Person(bones, habits)


def pose(person: Person, phase: np.ndarray, stride: float = 1.0) -> dict[str, np.ndarray]:
    """Joints (T, 3) in body axes, by the names of all sensors together.

    `phase` is (T,) radians, 2 pi for each stride; `stride` is 1 for walking, 0 for standing.
    """
    habits = person.habits

    def wave(habit: str, delay: float = 0.0) -> np.ndarray:
        return stride * habits[habit] * np.cos(phase - delay)

    joints = {"hip_center": np.zeros((len(phase), 3))}
    _trunk(person, joints, wave)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        _leg(person, joints, side, phase if sign > 0 else phase + np.pi, stride, wave)
        _arm(person, joints, side, wave)
    # The lower foot is on the ground, so that the body moves up and down twice a stride.
    heights = np.stack([joints[f"{side}_ankle"][:, 1] for side in SIDES])
    sharp = 60.0
    ground = -np.logaddexp(*(-sharp * heights)) / sharp - 0.07
    lift = np.stack([np.zeros_like(ground), -ground, np.zeros_like(ground)], axis=-1)
    return {name: place + lift for name, place in joints.items()}


Wave = Callable[..., np.ndarray]


def _towards(forward: np.ndarray | float, left: np.ndarray | float) -> np.ndarray:
    """Unit vectors (T, 3) that tip from straight up by these angles."""
    forward, left = np.broadcast_arrays(forward, left)
    cosine = np.cos(left)
    return np.stack([np.sin(forward) * cosine, np.cos(forward) * cosine, np.sin(left)], axis=-1)


def _hanging(forward: np.ndarray | float, left: np.ndarray | float) -> np.ndarray:
    """Unit vectors (T, 3) that swing from straight down by these angles."""
    return _towards(forward, left) * (1, -1, 1)


def _sideways(turn: np.ndarray, rise: np.ndarray | float) -> np.ndarray:
    """Unit vectors (T, 3) to the left, turned about the vertical and raised."""
    cosine = np.cos(rise)
    turn, rise, cosine = np.broadcast_arrays(turn, rise, cosine)
    return np.stack([np.sin(turn) * cosine, np.sin(rise), np.cos(turn) * cosine], axis=-1)


def _trunk(person: Person, joints: dict[str, np.ndarray], wave: Wave) -> None:
    bones, habits = person.bones, person.habits
    sway = wave("sway", habits["sway_delay"] + np.pi / 2)
    back = habits["lean"] + 0.3 * habits["hunch"]
    joints["spine"] = joints["hip_center"] + bones["waist"] * _towards(habits["lean"], sway)
    top = joints["spine"] + bones["chest"] * _towards(back, sway)
    joints["spine_shoulder"] = top
    upright = _towards(habits["lean"] + habits["hunch"], 0.5 * sway)
    joints["shoulder_center"] = top + bones["neck"] * upright
    face = habits["lean"] + 0.6 * habits["hunch"] + habits["nod"]
    joints["head"] = joints["shoulder_center"] + bones["head"] * _towards(face, 0.3 * sway)
    joints["neck"] = joints["shoulder_center"]
    joints["nose"] = joints["head"] + bones["nose"] * _towards(face + np.pi / 2, 0.0 * sway)
    turn = -wave("shoulder_turn")
    hips = wave("pelvis_turn")
    for side, sign in (("left", 1.0), ("right", -1.0)):
        drop = sign * habits["shoulder_tilt"] - habits["shoulder_slope"]
        axis = _sideways(sign * turn, drop + 0.5 * sign * sway) * (1, 1, sign)
        joints[f"{side}_shoulder"] = top + bones[f"{side}_shoulder"] * axis
        list_ = -0.5 - sign * wave("pelvis_drop", np.pi / 2)  # hip joints lie below the centre
        axis = _sideways(sign * hips, list_) * (1, 1, sign)
        joints[f"{side}_hip"] = joints["hip_center"] + bones["pelvis"] * axis


def _leg(
    person: Person,
    joints: dict[str, np.ndarray],
    side: str,
    phase: np.ndarray,
    stride: float,
    wave: Wave,
) -> None:
    bones, habits = person.bones, person.habits
    sign = 1.0 if side == "left" else -1.0
    swing = sign * wave("hip_swing")
    thigh = habits["hip_offset"] + swing + 0.12 * stride * habits["hip_swing"] * np.cos(2 * phase)
    # The knee bends most in mid-swing and a little when it takes the weight.
    swinging = habits["knee_swing"] * np.exp(2.2 * (np.cos(phase - 4.4) - 1))
    loading = habits["knee_load"] * np.exp(3.0 * (np.cos(phase - 0.6) - 1))
    knee = habits["knee_rest"] + stride * (swinging + loading)
    out = np.full_like(phase, sign * habits["stance_width"])
    shank = thigh - knee
    joints[f"{side}_knee"] = joints[f"{side}_hip"] + bones[f"{side}_thigh"] * _hanging(thigh, out)
    ankle = joints[f"{side}_knee"] + bones[f"{side}_shank"] * _hanging(shank, out)
    joints[f"{side}_ankle"] = ankle
    pitch = 0.8 * shank - 0.25
    toe = sign * habits["toe_out"]
    ahead = np.stack(
        [np.cos(pitch) * np.cos(toe), np.sin(pitch), np.cos(pitch) * np.sin(toe)], axis=-1
    )
    joints[f"{side}_foot"] = ankle + bones[f"{side}_foot"] * ahead


def _arm(person: Person, joints: dict[str, np.ndarray], side: str, wave: Wave) -> None:
    bones, habits = person.bones, person.habits
    sign = 1.0 if side == "left" else -1.0
    delay = habits["arm_delay"]
    upper = habits["arm_offset"] - sign * wave(f"{side}_arm_swing", delay)
    bend = habits["elbow"] - sign * 0.5 * wave("elbow_swing", delay + 0.3)
    lower = upper + bend
    out = np.full_like(upper, sign * habits["arm_out"])
    inner = 0.4 * out
    joint = joints[f"{side}_shoulder"] + bones[f"{side}_upper_arm"] * _hanging(upper, out)
    joints[f"{side}_elbow"] = joint
    joint = joint + bones[f"{side}_forearm"] * _hanging(lower, inner)
    joints[f"{side}_wrist"] = joint
    joints[f"{side}_thumb"] = joint + bones["thumb"] * _hanging(lower + 0.6, inner - sign * 0.3)
    joint = joint + bones[f"{side}_hand"] * _hanging(lower + 0.1, inner)
    joints[f"{side}_hand"] = joint
    joints[f"{side}_hand_tip"] = joint + bones["finger"] * _hanging(lower + 0.2, inner)
