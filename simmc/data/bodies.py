"""What a stored set shows of bodies and recordings, measured in one pass over its files.

The files are mapped and read in blocks; of each window only a few numbers are kept.
Shape letters: N windows, f frames, J joints, E bones, R recordings.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from simmc.data import specs, store
from simmc.data.conventions import Given
from simmc.data.importing.joint_names import spelled
from simmc.data.manifest import Manifest, find_spec, read_manifest, recording_times
from simmc.data.recordings import Progress, silent
from simmc.data.skeletons import Skeleton
from simmc.data.specs import DatasetSpec
from simmc.data.store import StoredSplit
from simmc.errors import UserError

_BLOCK = 2**18  # coordinates of one axis in memory at a time
_CENTRE = 1e-5  # share of the body: nearer to the mean of all joints only lies a filled joint
HEADS, FEET = ("head", "nose", "head_top", "neck"), ("ankle", "foot", "toe", "heel")
SIDES = ("left", "right")


@dataclass(frozen=True, eq=False)
class StoredSet:
    """A dataset of one length on disk."""

    folder: Path
    spec: DatasetSpec
    length: int
    manifest: Manifest | None
    splits: dict[str, StoredSplit]

    @property
    def skeleton(self) -> Skeleton:
        """Its joints by name."""
        return self.spec.skeleton


class Windows(NamedTuple):
    """Numbers of each window of a split, or of all splits one after another."""

    bones: np.ndarray  # (N, E) float32, mean length
    up: np.ndarray  # (N, 3) float32, from the feet to the head; NaN: such joints have no such name
    extent: np.ndarray  # (N,) float32, longest side of the box around the body
    first: np.ndarray  # (N, 3) float32, middle of the body in the first frame
    last: np.ndarray  # (N, 3) float32, the same in the last frame
    toes: np.ndarray  # (N,) float32, how far the toes are ahead of the ankles, if left is left
    sides: np.ndarray  # (N, P) float32, left minus right of a pair along the shoulders' direction
    lost: np.ndarray  # (N, J) uint16, frames in which a joint was not seen
    still: np.ndarray  # (N, J) uint16, frames in which a joint alone is exactly where it was
    repeated: np.ndarray  # (N,) uint16, frames that are exactly the frame before
    hashes: np.ndarray  # (N, f) uint64, equal for equal frames

    def take(self, rows: np.ndarray) -> Windows:
        """The windows of some rows."""
        return Windows(*(numbers[rows] for numbers in self))


@dataclass(frozen=True, eq=False)
class Entry:
    """One recording; of sets that do not name recordings, a run of windows with one label."""

    name: str
    split: str
    place: int | None  # in the manifest's list; None: not known to be one recording
    person: int | None  # None: unknown, or several
    rows: np.ndarray  # of its windows in the split, each frame once, in the order of time
    step: int  # frames from one of these windows to the next
    windows: int  # as stored, overlapping ones included
    measured: Windows  # of `rows`
    span: tuple[float, float] | None = None  # begin and end, s

    @property
    def frames(self) -> int:
        """Number of different frames."""
        return (len(self.rows) - 1) * self.step + int(self.measured.hashes.shape[1])


@dataclass(frozen=True, eq=False)
class Bodies:
    """All recordings of a set, measured."""

    stored: StoredSet
    entries: list[Entry]
    pairs: tuple[str, ...]  # of the columns of `Windows.sides`
    flat: bool  # 2D: z is 0 everywhere
    rate: float | None  # frames a second

    @property
    def recordings_known(self) -> bool:
        """Whether the set names its recordings."""
        return all(entry.place is not None for entry in self.entries)

    @property
    def names(self) -> dict[int, str]:
        """Names of persons, where the manifest has some."""
        return {v: k for k, v in (self.stored.manifest or {}).get("persons", {}).items()}

    @property
    def imported(self) -> bool:
        """Whether `simmc import` wrote the set, by a description."""
        return "imported" in (self.stored.manifest or {})

    @property
    def given(self) -> Given:
        """How coordinates were given, if the manifest has it; else metres with y up."""
        usual: Given = {"unit": "m", "up": "y", "dimensions": 3, "scale": 1.0}
        return (self.stored.manifest or {}).get("given", usual)

    def who(self, person: int | None) -> str:
        """A person by name or number; "" if unknown."""
        return "" if person is None else self.names.get(person, str(person))

    @property
    def persons_known(self) -> bool:
        """Whether labels tell at least two persons apart."""
        return len({entry.person for entry in self.entries} - {None}) > 1


def open_set(folder: Path) -> StoredSet:
    """The set in ``<data_root>/<dataset>/<f>``; UserError if there is none, or it is damaged."""
    folder = Path(folder)
    if not (folder.name.isdecimal() and folder.is_dir()):
        raise UserError(
            f"{folder}: no folder of windows; give one such as Datasets/KGBD/6, whose name is the "
            "number of frames"
        )
    length, root = int(folder.name), folder.absolute().parents[1]
    name = folder.absolute().parent.name
    spec = specs.in_folder(name) or find_spec(root, name, length)
    # by view, the training windows are those of the same recordings once more
    wanted = spec.test_splits if spec.by_view else (specs.TRAIN, *spec.test_splits)
    here = [s for s in wanted if store.split_folder(folder, spec, s).is_dir()] or wanted[:1]
    splits = {split: store.read_split(root, spec, length, split) for split in here}
    return StoredSet(folder, spec, length, read_manifest(folder)[0], splits)


def measure(stored: StoredSet, progress: Progress = silent) -> Bodies:
    """Measure every window and gather recordings; `progress` wraps the blocks that are read."""
    finder = _Finder(stored)
    step = max(1, _BLOCK // (stored.length * stored.skeleton.n_joints))
    places = [(s, low) for s, of in stored.splits.items() for low in range(0, len(of), step)]
    blocks: dict[str, list[Windows]] = {split: [] for split in stored.splits}
    for split, low in progress(places):
        planes = (np.asarray(p[low : low + step]) for p in stored.splits[split].planes)
        with np.errstate(all="ignore"):
            blocks[split].append(finder.measured(*planes))
    spans = None
    if stored.manifest is not None:
        spans = recording_times(stored.manifest["recordings"], stored.folder / "manifest.json")
    entries: list[Entry] = []
    for name, split in stored.splits.items():
        windows = Windows(*map(np.concatenate, zip(*blocks.pop(name), strict=True)))
        entries += _entries(stored, name, split, windows, spans)
    return Bodies(stored, entries, finder.pairs, finder.flat, _rate(stored.manifest, entries))


def frames_of(stored: StoredSet, entry: Entry, most: int | None = None) -> np.ndarray:
    """The first `most` frames of a recording, (T, J, 3) float64, or all."""
    f, step = stored.length, entry.step
    count = entry.frames if most is None else min(most, entry.frames)
    rows = entry.rows[: max(1, -(-(count - f) // step) + 1)]
    x, y, z = (plane[rows] for plane in stored.splits[entry.split].planes)
    windows = np.stack([x, y, z], axis=-1).astype(np.float64, copy=False)
    later = windows[1:, f - step :].reshape(-1, *windows.shape[2:])
    return np.concatenate([windows[0], later])[:count]


def plain_name(joint: str) -> str:
    """A joint's name as this project writes it: LeftKnee, l_knee and knee-L are left_knee."""
    return spelled(joint.rpartition(":")[2])


class _Finder:
    """Which joints to compare, and the measuring of windows by blocks."""

    def __init__(self, stored: StoredSet) -> None:
        self.stored = stored
        self.bones = stored.skeleton.edge_indices().reshape(-1, 2)
        place = {plain_name(joint): i for i, joint in enumerate(stored.skeleton.joints)}
        ends = [[i for name, i in place.items() if name.endswith(what)] for what in FEET]
        self.head = next((place[name] for name in HEADS if name in place), None)
        self.feet = next((found for found in ends if len(found) > 1), [])
        both = [n[5:] for n in place if n.startswith("left_") and f"right_{n[5:]}" in place]
        self.left, self.right = ([place[f"{s}_{n}"] for n in both] for s in SIDES)
        self.pairs = tuple(both)
        across = [name for name in ("shoulder", "hip") if name in both]
        self.across = both.index(across[0]) if across else None
        toe = next((t for t in ("foot", "toe", "big_toe", "foot_index", "toes") if t in both), None)
        heel = next((t for t in ("ankle", "heel") if t in both), None)
        self.toe = [(place[f"{s}_{toe}"], place[f"{s}_{heel}"]) for s in SIDES if toe and heel]
        self.zeros_lost = (stored.manifest or {}).get("zeros") != "position"
        self.flat = True
        rng = np.random.default_rng(0)
        shape = 3, stored.skeleton.n_joints
        self.factors = 2 * rng.integers(2**63, size=shape, dtype=np.uint64) + 1  # odd

    def measured(self, *planes: np.ndarray) -> Windows:
        """The numbers of some windows; `planes` are x, y and z, each (n, f, J)."""
        hashes = self._hashes(planes)
        missing = np.isnan(planes[0]) | np.isnan(planes[1]) | np.isnan(planes[2])
        if self.flat and np.any(planes[2][~missing]):
            self.flat = False
        xyz = np.stack(planes, axis=2).astype(np.float32)  # (n, f, 3, J)
        one, other = xyz[..., self.bones[:, 0]], xyz[..., self.bones[:, 1]]
        bones = _mean(np.sqrt(((one - other) ** 2).sum(2)), 1)
        middle = _mean(xyz, 3)
        extent = np.fmax.reduce(np.fmax.reduce(xyz, 3) - np.fmin.reduce(xyz, 3), 2)
        lost, still, repeated = self._lost(xyz, missing, middle, extent, hashes)
        up = np.full((*xyz.shape[:2], 3), np.nan, dtype=np.float32)
        if self.head is not None and self.feet:
            up = xyz[..., self.head] - _mean(xyz[..., self.feet], 3)
        toes = np.full(xyz.shape[:2], np.nan, dtype=np.float32)
        sides = np.full((*xyz.shape[:2], len(self.pairs)), np.nan, dtype=np.float32)
        if self.across is not None:
            apart = xyz[..., self.left] - xyz[..., self.right]  # (n, f, 3, P)
            left = apart[..., self.across]
            sides = (apart * left[..., None]).sum(2) / (left**2).sum(2)[..., None]
            ahead = np.cross(left, up)  # of the person, in a right-handed system of axes
            ahead /= np.linalg.norm(ahead, axis=2, keepdims=True)
            if self.toe:
                foot = sum(xyz[..., toe] - xyz[..., heel] for toe, heel in self.toe) / 2
                toes = (foot * ahead).sum(2)
        return Windows(
            bones, _mean(up, 1), _mean(extent, 1), middle[:, 0], middle[:, -1], _mean(toes, 1),
            _mean(sides, 1), lost, still, repeated, hashes,
        )  # fmt: skip

    def _lost(
        self,
        xyz: np.ndarray,
        missing: np.ndarray,
        middle: np.ndarray,
        extent: np.ndarray,
        hashes: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How often joints were not seen or did not move, and frames were repeated."""
        if self.zeros_lost:
            missing = missing | (xyz == 0).all(2)
        # a joint that is not seen in a whole window was filled by the mean of the others
        near = np.abs(xyz - middle[..., None]).max(2) <= _CENTRE * extent[..., None]
        lost = missing | near
        again = hashes[:, 1:] == hashes[:, :-1]
        same = (xyz[:, 1:] == xyz[:, :-1]).all(2) & ~again[..., None] & ~lost[:, 1:]
        counts = (lost.sum(1), same.sum(1), again.sum(1))
        return tuple(count.astype(np.uint16) for count in counts)

    def _hashes(self, planes: tuple[np.ndarray, ...]) -> np.ndarray:
        """A number for each frame, (n, f) uint64, from its exact coordinates."""
        total = np.zeros(planes[0].shape[:2], dtype=np.uint64)
        for plane, factors in zip(planes, self.factors, strict=True):
            bits = np.ascontiguousarray(plane, dtype=np.float64).view(np.uint64)
            # the last bits of round numbers are 0, so the first ones are mixed in
            total += ((bits ^ (bits >> np.uint64(29))) * factors).sum(2, dtype=np.uint64)
        return total


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """The mean of what is not NaN, float32; NaN if nothing is."""
    seen = ~np.isnan(values)
    if seen.all():
        return values.mean(axis, dtype=np.float32)
    total = np.where(seen, values, 0).sum(axis, dtype=np.float32)
    count = seen.sum(axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _entries(
    stored: StoredSet, split: str, of: StoredSplit, windows: Windows, spans: np.ndarray | None
) -> list[Entry]:
    """The recordings of a split, in the order of their numbers."""
    places = of.recording
    listed = [] if stored.manifest is None else stored.manifest["recordings"]
    if places is None:  # runs of one label
        groups = np.split(np.arange(len(of)), np.flatnonzero(np.diff(of.labels)) + 1)
    else:
        order = np.argsort(places, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(places[order])) + 1)
    labels_known = len(np.unique(of.labels)) > 1 or not specs.is_training(split)
    found = []
    for number, rows in enumerate(groups):
        labels = np.unique(of.labels[rows])
        person = int(labels[0]) if labels_known and len(labels) == 1 and labels[0] >= 0 else None
        place = None if places is None else int(places[rows[0]])
        name, span = f"{split}, run {number + 1}", None
        if place is not None:
            name = str(listed[place].get("name", place)) if place < len(listed) else str(place)
            if spans is not None and not np.isnan(spans[place]).any():
                span = float(spans[place][0]), float(spans[place][1])
        kept, step = in_time(windows.hashes[rows])
        kept = rows[kept]
        found.append(
            Entry(name, split, place, person, kept, step, len(rows), windows.take(kept), span)
        )
    return found


def in_time(hashes: np.ndarray) -> tuple[np.ndarray, int]:
    """Which windows of a recording follow each other, and the frames from one to the next.

    Overlapping windows may be stored pass by pass, each beginning a frame later; the first pass has
    nearly all frames. Without overlap all windows count.

    Args:
        hashes: (n, f) of its frames.
    """
    n, f = hashes.shape
    for step in range(f - 1, 0, -1):
        if n > 1 and np.array_equal(hashes[1, : f - step], hashes[0, step:]):
            follows = (hashes[1:, : f - step] == hashes[:-1, step:]).all(1)
            end = n if follows.all() else int(follows.argmin()) + 1
            return np.arange(end), step
    return np.arange(n), f


def _rate(manifest: Manifest | None, entries: list[Entry]) -> float | None:
    """Frames a second: as the manifest says, or the median over recordings with times."""
    if stated := (manifest or {}).get("frame_rate"):
        return float(stated)
    rates = [e.frames / (e.span[1] - e.span[0]) for e in entries if e.span is not None]
    return float(np.median(rates)) if rates else None
