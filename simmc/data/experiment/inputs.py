"""Inputs of a method: joints, turned joints, and measurements of them.

The papers use root-relative camera coordinates, which depend on the direction of walking. `turned`
removes it, and `levelled` the tilt of the camera as well; lengths, distances and angles depend on
neither. All are defined by joint name or bone, so they exist for every sensor.

Shape letters: N windows, f frames, J joints, d values of a frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from scipy import ndimage

from simmc.data.experiment.experiment import Experiment, Split
from simmc.data.skeletons import ACROSS, Skeleton
from simmc.errors import UserError

JOINTS, TURNED = "joints", "turned"
LEVELLED = "levelled"  # turned as well
COORDINATES = (JOINTS, TURNED, LEVELLED)  # inputs that are still coordinates of joints, in metres
TRUNK = [name for pair in ACROSS for name in pair]  # shoulders, hips
AUTO_INPUT = (TURNED, "bones", "distances")  # `--input auto`, as far as a skeleton has them
_CHUNK = 256  # windows converted at a time; memory of larger blocks is allocated anew each time


def without_view(skeleton: Skeleton, wanted: Sequence[str]) -> str:
    """The inputs of `wanted` (turned, bones, distances) that a skeleton has, for `--input`."""
    has = {
        TURNED: any(set(pair) <= set(skeleton.joints) for pair in ACROSS),
        "bones": bool(skeleton.edges),
    }
    return "+".join([*(name for name in wanted if has.get(name, True))] or [JOINTS])


def turn(windows: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Windows (N, f, J, 3) rotated about the vertical (y) so that all bodies face the same way.

    All frames of a window are rotated by one angle, so that turns within it remain.
    """
    parts = [windows[low : low + _CHUNK] for low in range(0, len(windows), _CHUNK)]
    angle = np.concatenate([heading(part, skeleton) for part in parts])[:, None, None]
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = np.empty_like(windows)
    x, z = windows[..., 0].astype(np.float64), windows[..., 2].astype(np.float64)
    turned[..., 0] = cosine * x + sine * z
    turned[..., 1] = windows[..., 1]
    turned[..., 2] = cosine * z - sine * x
    return turned


def level(windows: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Windows (N, f, J, 3) rotated about a horizontal line so that trunks are vertical (y).

    A trunk points from the middle of the hips to the middle of the shoulders, on average over the
    frames of a window. All of them are rotated by one matrix, so that sway within a window remains;
    the tilt of the camera goes, and with it how the person leans.
    """
    if not has_trunk(skeleton):
        raise UserError(
            f"--input {LEVELLED} needs the joints {', '.join(TRUNK)}; {skeleton.name} has "
            f"{', '.join(skeleton.joints)}. Give the joints these names, or use another --input."
        )
    up = trunk(windows, skeleton)
    # the smallest rotation that brings `up` to y, by Rodrigues' formula: about their vector product
    axis = np.stack([-up[:, 2], np.zeros(len(up)), up[:, 0]], axis=1)
    cross = np.cross(axis[:, None], np.eye(3)).transpose(0, 2, 1)  # (N, 3, 3) of x -> axis times x
    square = (axis * axis).sum(1)  # of the sine of the angle
    factor = np.divide(1 - up[:, 1], square, out=np.zeros_like(square), where=square > 0)
    matrix = np.eye(3) + cross + factor[:, None, None] * (cross @ cross)
    return np.einsum("nab,nfjb->nfja", matrix, windows)


def has_trunk(skeleton: Skeleton) -> bool:
    """Whether a skeleton has shoulders and hips."""
    return set(TRUNK) <= set(skeleton.joints)


def trunk(windows: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(N, 3) unit vectors from the middle of the hips to that of the shoulders, means of frames."""
    ends = windows[:, :, skeleton.indices(TRUNK)].astype(np.float64).mean(1)  # (N, 4, 3)
    up = ends[:, :2].mean(1) - ends[:, 2:].mean(1)
    size = _norm(up)[:, None]
    return np.divide(up, size, out=np.zeros_like(up), where=size > 0)


def sideways_lean(split: Split, skeleton: Skeleton) -> float | None:
    """How far recordings lean to a side, in degrees: large where cameras are tilted.

    The median over recordings of the distance of a recording's lean (the median over its windows)
    from that of all. People walk upright on average, so most of it is the camera's.

    Args:
        split: windows (N, f, J, 3).
        skeleton: names of the joints.

    Returns:
        None where it cannot be told: no windows, no shoulders or hips, unknown recordings (a single
        window shows a phase of a step), or poses in a plane (z is 0), seen from any side.
    """
    if not len(split) or split.recording is None or not has_trunk(skeleton):
        return None
    if not split.windows[..., 2].any():
        return None
    parts = [split.windows[low : low + _CHUNK] for low in range(0, len(split), _CHUNK)]
    lean = np.concatenate([_lean(part, skeleton) for part in parts])
    own = ndimage.median(lean, split.recording, np.unique(split.recording))
    return float(np.median(np.abs(own - np.median(own))))


def _lean(windows: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(N,) degrees between a trunk and the plane that halves the body, positive to the left."""
    up, angle = trunk(windows, skeleton), heading(windows, skeleton)
    sine = np.cos(angle) * up[:, 0] + np.sin(angle) * up[:, 2]
    return np.asarray(np.degrees(np.arcsin(sine.clip(-1, 1))))


def heading(windows: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """The angle in the ground plane from the x axis to the line across the body, (N,) radians.

    The mean of the lines (shoulders and hips, all frames) within 45 degrees of their medoid, so
    that a few frames with lost joints, or with the back taken for the front, do not matter.
    """
    lines = [pair for pair in ACROSS if set(pair) <= set(skeleton.joints)]
    if not lines:
        wanted = " or ".join(" and ".join(pair) for pair in ACROSS)
        raise UserError(
            f"--input {TURNED} needs the joints {wanted}; {skeleton.name} has "
            f"{', '.join(skeleton.joints)}. Give the joints these names, or use another --input."
        )
    left, right = (skeleton.indices([pair[side] for pair in lines]) for side in (0, 1))
    across = windows[:, :, left].astype(np.float64) - windows[:, :, right]
    across = across[..., [0, 2]].reshape(len(windows), -1, 2)  # (N, f * lines, 2)
    length = np.linalg.norm(across, axis=2, keepdims=True)
    unit = np.divide(across, length, out=np.zeros_like(across), where=length > 0)
    seen = length[..., 0] > 0  # lines of no length have no direction
    cosine = np.einsum("nik,njk->nij", unit, unit).clip(-1, 1)
    distance = np.where(seen[:, None], np.arccos(cosine), 0.0).sum(2)
    medoid = np.where(seen, distance, np.inf).argmin(1)
    near = cosine[np.arange(len(windows)), medoid] > math.cos(math.pi / 4)
    mean = (unit * near[..., None]).sum(1)
    return np.arctan2(mean[:, 1], mean[:, 0])


def bone_lengths(windows: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(N, f, E) lengths of the bones, in metres."""
    start, end = _edges(skeleton, "bones")
    return _norm(windows[:, :, start] - windows[:, :, end])


def body_lengths(windows: np.ndarray, skeleton: Skeleton) -> np.ndarray | None:
    """(N, E) float32, metres: median over the frames of each bone; None where bones have no name.

    Args:
        windows: (N, f, J, 3).
        skeleton: whose bones.
    """
    if not skeleton.edges or not len(windows):
        return None
    parts = [windows[low : low + _CHUNK] for low in range(0, len(windows), _CHUNK)]
    lengths = [np.median(bone_lengths(part, skeleton), axis=1) for part in parts]
    return np.concatenate(lengths).astype(np.float32)


def distances(windows: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(N, f, J (J - 1) / 2) distances of all pairs of joints, in metres."""
    one, other = np.triu_indices(skeleton.n_joints, 1)
    return _norm(windows[:, :, one] - windows[:, :, other])


def angles(windows: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(N, f, A) cosines of the angles between bones that meet, A pairs of them."""
    start, end = _edges(skeleton, "angles")
    pairs = []
    for joint in range(skeleton.n_joints):
        far = [*end[start == joint], *start[end == joint]]
        pairs += [(joint, a, b) for a, b in combinations(sorted(far), 2)]
    if not pairs:
        raise UserError(
            f"--input angles needs bones that meet, and {skeleton.name} has none. Name more bones "
            f"in its Skeleton, or use --input {TURNED} or distances."
        )
    joint, a, b = np.array(pairs).T
    one = windows[:, :, a] - windows[:, :, joint]
    other = windows[:, :, b] - windows[:, :, joint]
    size = _norm(one) * _norm(other)
    product = (one * other).sum(-1)
    return np.divide(product, size, out=np.zeros_like(product), where=size > 0)


def motion(windows: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(N, f, 3 J) metres that each turned joint moves per frame; the last step is repeated."""
    turned = turn(windows, skeleton)
    steps = np.diff(turned, axis=1)
    if steps.shape[1] == 0:
        return np.zeros((*windows.shape[:2], 3 * windows.shape[2]))
    return _flat(np.concatenate([steps, steps[:, -1:]], 1))


# name -> (N, f, J, 3) float64 windows to (N, f, d)
INPUTS: dict[str, Callable[[np.ndarray, Skeleton], np.ndarray]] = {
    JOINTS: lambda windows, skeleton: _flat(windows),
    TURNED: lambda windows, skeleton: _flat(turn(windows, skeleton)),
    LEVELLED: lambda windows, skeleton: _flat(turn(level(windows, skeleton), skeleton)),
    "bones": bone_lengths,
    "distances": distances,
    "angles": angles,
    "motion": motion,
}


def parts_of(text: str) -> tuple[str, ...]:
    """The inputs in a text such as "turned+distances"; UserError for unknown or repeated ones."""
    names = tuple(word.strip().casefold() for word in text.split("+"))
    if not set(names) <= set(INPUTS) or len(set(names)) != len(names):
        raise UserError(
            f"--input {text!r} is not possible; allowed: {', '.join(INPUTS)}, or several of them "
            "joined by +, such as turned+distances."
        )
    return names


def is_measured(names: Sequence[str]) -> bool:
    """Whether inputs are not only coordinates, so that they are scaled."""
    return len(names) > 1 or names[0] not in COORDINATES


def coordinates(windows: np.ndarray, skeleton: Skeleton, name: str) -> np.ndarray:
    """Windows (N, f, J, 3), float32, whose joints have the coordinates that `name` stands for."""
    return windows if name == JOINTS else frames(windows, skeleton, (name,)).reshape(windows.shape)


def described(
    data: Experiment, names: Sequence[str], deviation: float, like: Experiment | None = None
) -> Experiment:
    """An experiment with these inputs (keys of `INPUTS`) instead of its joints (N, f, J, 3).

    One of `COORDINATES` alone stays in metres, (N, f, J, 3). Measurements have different units,
    so every value gets the same deviation over the training frames: those of `like`, another
    experiment of joints, or of `data`.
    """
    if tuple(names) == (JOINTS,):
        return data
    alone = not is_measured(names)
    scale = None
    if like is not None and not alone:
        scale = scale_of(frames(like.train.windows, like.skeleton, names), deviation)

    def apply(split: Split) -> Split:
        if alone:
            return replace(split, windows=coordinates(split.windows, data.skeleton, names[0]))
        return replace(split, windows=frames(split.windows, data.skeleton, names))

    made = _applied(data, apply)
    return made if alone else standardised(made, deviation, scale)


SMALLEST_DEVIATION = 1e-6  # of a feature that is not a constant
Scale = tuple[np.ndarray, np.ndarray]  # (d,) float64 each: mean and factor


def scale_of(windows: np.ndarray, deviation: float = 1.0) -> Scale:
    """The scale by which features (N, f, d) get mean 0 and this deviation; constant ones get 0."""
    rows = windows.reshape(-1, windows.shape[2])
    mean = rows.mean(0, dtype=np.float64)
    spread = rows.std(0, dtype=np.float64)
    varies = spread > SMALLEST_DEVIATION
    return mean, np.divide(deviation, spread, out=np.zeros_like(spread), where=varies)


def standardised(
    data: Experiment, deviation: float = 1.0, scale: Scale | None = None
) -> Experiment:
    """Features (N, f, d) with mean 0 and this deviation over the training frames, or by `scale`."""
    mean, factor = scale_of(data.train.windows, deviation) if scale is None else scale

    def apply(split: Split) -> Split:
        shifted = split.windows - mean.astype(np.float32)
        shifted *= factor.astype(np.float32)
        return replace(split, windows=shifted)

    return _applied(data, apply)


def _applied(data: Experiment, apply: Callable[[Split], Split]) -> Experiment:
    train, probe = apply(data.train), apply(data.probe)
    gallery = probe if data.same_windows else apply(data.gallery)
    return replace(data, train=train, probe=probe, gallery=gallery)


def width(skeleton: Skeleton, names: Sequence[str]) -> int:
    """Number d of values of a frame."""
    return frames(np.zeros((1, 2, skeleton.n_joints, 3), np.float32), skeleton, names).shape[2]


def frames(windows: np.ndarray, skeleton: Skeleton, names: Sequence[str]) -> np.ndarray:
    """The inputs (keys of `INPUTS`) of windows (N, f, J, 3), concatenated: (N, f, d) float32."""
    blocks = []
    for low in range(0, len(windows), _CHUNK):
        part = windows[low : low + _CHUNK].astype(np.float64)
        found = [INPUTS[name](part, skeleton) for name in names]
        blocks.append(np.concatenate(found, axis=2).astype(np.float32))
    return np.concatenate(blocks)


def _edges(skeleton: Skeleton, name: str) -> tuple[np.ndarray, np.ndarray]:
    if not skeleton.edges:
        raise UserError(
            f"--input {name} needs bones, and {skeleton.name} has none. Name them in its Skeleton, "
            f"or use --input {TURNED} or distances."
        )
    start, end = skeleton.edge_indices().T
    return start, end


def _flat(windows: np.ndarray) -> np.ndarray:
    return windows.reshape(*windows.shape[:2], -1)


def _norm(vectors: np.ndarray) -> np.ndarray:
    """(..., 3) to (...): lengths."""
    return np.sqrt(np.einsum("...k,...k->...", vectors, vectors))
