"""From the files of a source to a dataset: read, clean, assign splits, cut windows, write.

Reading keeps one file in memory. What was read lies in a hidden folder beside the dataset until
the dataset is swapped in, so that an import that was killed goes on, with the same result.

Shape letters: N windows, f frames, F frames of a recording, J joints.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace

import numpy as np

from simmc import __version__
from simmc.data import custom
from simmc.data.arrays import LIMIT_METRES, within_limit
from simmc.data.conventions import METRES, extents, y_up
from simmc.data.importing import work
from simmc.data.importing.clean import cleaned, frame_rate
from simmc.data.importing.description import SPLITS, Description
from simmc.data.importing.joint_names import known_sensor, spelled_joints
from simmc.data.importing.recording import Body
from simmc.data.importing.tracks import largest
from simmc.data.importing.work import Entry, Work
from simmc.data.importing.write_import import Imported, Request, cut, write
from simmc.data.manifest import NAME, Manifest, read_manifest, read_skeleton
from simmc.data.recordings import Progress, silent
from simmc.errors import UserError, numbered

NOTHING_FOUND = (
    "no file that can be imported was found; known are CSV, TSV, Parquet, .npy, .npz, JSON and the "
    "formats of docs/import.md"
)

_SAMPLE = 200  # frames of a recording that are measured
# keys of a description that decide what the coordinates are
_FRAMES = ("unit", "up", "zeros", "skip_frames", "min_frames", "resample", "fill_gaps", "smooth")


# sha256 of a content, and what makes bodies of it; UserError from either if it is faulty
Read = tuple[str, Callable[[], list[Body]]]


@dataclass(frozen=True)
class Item:
    """One source file, or one array in memory."""

    path: str
    stamp: str  # changes when the content does
    read: Callable[[], Read]
    fault: str = ""  # why it is not read


def import_items(items: Iterable[Item], request: Request, progress: Progress = silent) -> Imported:
    """Read items and write them as a dataset, or add them to the one that is there.

    Recordings that were imported before stay as they are. UserError if nothing can be imported.
    """
    told, out = request.told, request.out
    custom.check_names(out.name, ())
    custom.check_folder(request.target, out.name)
    earlier: Manifest = read_manifest(request.target)[0] or {}
    if earlier:
        _check_earlier(earlier, request)
    key: Entry = {
        "frames": {name: getattr(told, name) for name in _FRAMES},
        "reading": asdict(replace(told, split=(), split_file="")),
        "length": request.length,
        "version": __version__,
    }
    with work.opened(out / f".{request.length}.import", key) as stored:
        read = _Reading(request, earlier, stored)
        for item in progress(items):
            read.take(item)
        stored.sync()
        return write(request, earlier, read.found(), stored)


def _check_earlier(earlier: Manifest, request: Request) -> None:
    target = request.target
    if "imported" not in earlier:
        raise UserError(
            f"{target}: was written by write_dataset, not by an import; choose another --out"
        )
    lacking = [key for key in ("persons", "given", "frame_rate", "skeleton") if key not in earlier]
    lacking += [key for key in ("files", "recordings") if not earlier[key]]
    lacking += [] if set(SPLITS) <= earlier["counts"].keys() else ["counts"]
    try:
        read_skeleton(earlier.get("skeleton", {}))
    except (KeyError, TypeError, ValueError):
        lacking.append("the joints")
    if lacking:
        raise UserError(
            f"{target / NAME}: lacks {', '.join(lacking)}, so nothing can be added; import "
            "everything again with another --out"
        )
    before, now = earlier["imported"]["description"], request.told.text()
    for name in _FRAMES:
        if before.get(name) != now.get(name):
            raise UserError(
                f"{target}: was imported with {name} = {before.get(name, 'its default')!r}, and "
                f"now it is {now.get(name, 'the default')!r}; use the same, or another --out"
            )


class _Reading:
    """What was read so far."""

    def __init__(self, request: Request, earlier: Manifest, stored: Work) -> None:
        self._told, self._length, self._stored = request.told, request.length, stored
        self._before: dict[str, str] = {}  # path -> sha256 of files that were imported
        self._joints, self._flat = _joints_told(request.told), None
        if earlier:
            self._before = earlier["imported"]["files"]
            self._joints = read_skeleton(earlier["skeleton"]).joints
            self._flat = earlier["given"]["dimensions"] == 2
        self._entries: list[Entry] = []

    def take(self, item: Item) -> None:
        """Read an item, or take what an interrupted import has stored of it."""
        entry = self._stored.entries.get((item.path, item.stamp))
        if entry is None or not self._fits(entry):
            entry, frames = self._read(item)
            entry = self._stored.add(entry, frames)
        if entry["bodies"]:
            self._joints = self._joints or tuple(entry["joints"])
            self._flat = entry["flat"] if self._flat is None else self._flat
        self._entries.append(entry)

    def _fits(self, entry: Entry) -> bool:
        """Whether reading a file again would give the stored frames.

        Joints follow from the first file, and that may have been changed or removed since.
        """
        if not entry["bodies"]:
            return False
        if not self._joints:
            return bool(entry["first"])
        return tuple(entry["joints"]) == self._joints and self._flat in (None, entry["flat"])

    def found(self) -> list[Entry]:
        """The entries of all items, in their order; UserError if there is nothing to import."""
        if not self._before and not any(entry["bodies"] for entry in self._entries):
            faults = [f"{e['path']}: {e['fault']}" for e in self._entries if e["fault"]]
            shown = "\n  ".join(faults[:5])
            count = numbered("{} [file was|files were] left out", len(faults))
            raise UserError(
                f"no recording can be imported; {count}:\n  {shown}" if faults else NOTHING_FOUND
            )
        return self._entries

    def _read(self, item: Item) -> tuple[Entry, list[np.ndarray]]:
        entry: Entry = {"path": item.path, "stamp": item.stamp, "sha256": "", "fault": item.fault}
        entry |= {"bodies": [], "joints": [], "flat": False, "known": False}
        if item.fault:
            return entry, []
        try:
            sha, bodies = item.read()
            entry["sha256"] = sha
            if item.path in self._before:
                changed = self._before[item.path] != sha
                entry["known"] = True
                entry["fault"] = "has changed since it was imported; left as it was" * changed
                return entry, []
            return self._fitted(entry, _chosen(bodies(), self._told))
        except UserError as error:
            said = str(error)
            rest = said.removeprefix(item.path)  # of a recording in many files: part of a name
            entry["fault"] = rest.lstrip(":, ") if rest[:1] in tuple(":, ") else said
            return entry, []

    def _fitted(self, entry: Entry, bodies: list[Body]) -> tuple[Entry, list[np.ndarray]]:
        entry["first"] = not self._joints
        frames = []
        for body in bodies:
            fitted = _with_joints(body, self._joints, self._told)
            flat = fitted.flat if self._flat is None else self._flat
            if fitted.flat != flat:
                raise UserError(f"has {2 if fitted.flat else 3} coordinates, others another number")
            done, counts = cleaned(fitted, self._told)
            xyz = _in_metres(done, self._told)
            windows = cut(xyz, self._length)
            blind = int(np.isnan(windows).any(3).all((1, 2)).sum())
            short = len(xyz) < self._told.min_frames
            counts |= {"short": int(short), "blind": blind}
            counts["no_window"] = int(len(xyz) < self._length and not short)
            always, all_zero = _at_zero(fitted.xyz)
            extent = extents(xyz[None, :: max(1, len(xyz) // _SAMPLE)])
            entry["joints"], entry["flat"] = list(fitted.joints), flat
            entry["up"], entry["bones"] = body.up, _bones(fitted)
            entry["bodies"].append(
                {
                    "name": body.name,
                    "fields": dict(body.fields),
                    "frames": len(xyz),
                    "windows": 0 if short else len(windows) - blind,
                    "digest": hashlib.sha256(np.ascontiguousarray(xyz).data).hexdigest(),
                    "rate": frame_rate(done.times, self._told.resample or self._told.frame_rate),
                    "span": _span(done, self._told),
                    "extent": None if np.isnan(extent).any() else extent.tolist(),
                    "always_zero": always,
                    "all_zero": all_zero,
                    "counts": counts,
                    "notes": list(fitted.notes),
                }
            )
            frames.append(xyz)
            self._joints = self._joints or fitted.joints
            self._flat = flat
        return entry, frames


def _chosen(bodies: list[Body], told: Description) -> list[Body]:
    """The bodies of a file that the description asks for."""
    if not bodies:
        raise UserError("holds no body")
    if told.bodies == "longest":
        return [max(bodies, key=lambda body: np.isfinite(body.xyz).sum())]
    if told.bodies == "largest":
        return [largest(bodies)]
    return bodies[:1] if told.bodies == "first" else bodies


def _joints_told(told: Description) -> tuple[str, ...]:
    """The joints that the description names; empty if it does not."""
    if told.joints and told.sensor:
        raise UserError("dataset.toml: give a sensor or joints, not both")
    return known_sensor(told.sensor, "dataset.toml").joints if told.sensor else told.joints


def _with_joints(body: Body, joints: tuple[str, ...], told: Description) -> Body:
    """The body with these joints in this order; with its own, spelled as usual, if none are known.

    UserError if it lacks one.
    """
    names = tuple(told.rename.get(name, name) for name in body.joints)
    usual = spelled_joints(names)
    usual = tuple(told.rename.get(name, name) for name in usual)
    if len(set(usual)) < len(usual):
        usual = names
    if not joints:
        changed = [f"{a} = {b}" for a, b in zip(body.joints, usual, strict=True) if a != b]
        note = f"joints spelled as usual, such as {changed[0]}" if changed else ""
        return replace(body, joints=usual, notes=(*body.notes, *filter(None, [note])))
    if all(name.isdecimal() for name in names) and not set(joints) <= set(names):
        if len(names) != len(joints):
            raise UserError(f"has {len(names)} joints, expected {len(joints)}")
        return replace(body, joints=joints)
    for known in (names, usual):
        if known == joints:
            return replace(body, joints=joints)
        if set(joints) <= set(known):
            order = [known.index(name) for name in joints]
            left = [name for name in known if name not in joints]
            note = numbered("{} [joint|joints] not used", len(left)) + f", such as {left[:1]}"
            notes = (*body.notes, note) if left else body.notes
            return replace(body, xyz=body.xyz[:, order], joints=joints, notes=notes)
    lacking = [name for name in joints if name not in usual and name not in names]
    raise UserError(
        f"has no joint {lacking[0] if lacking else ''!r}; its joints are {', '.join(usual)[:300]}. "
        "Name them alike with [rename], or say with joints which ones to take"
    )


def _bones(body: Body) -> list[tuple[str, str]]:
    """The bones of a file between joints of the dataset, in its spelling."""
    pairs = [spelled_joints(bone) for bone in body.bones]
    return [(a, b) for a, b in pairs if a in body.joints and b in body.joints]


def _in_metres(body: Body, told: Description) -> np.ndarray:
    """Coordinates (F, J, 3) in metres with y up; pixels stay pixels."""
    xyz = y_up(body.xyz, told.up or body.up or "y")
    unit = "m" if body.metres else told.unit or "m"
    if unit not in METRES:
        if np.isinf(xyz).any():
            raise UserError("an infinite coordinate")
        return xyz
    xyz = xyz if unit == "m" else xyz / round(1 / METRES[unit])
    if not within_limit(xyz, allow_nan=True):
        worst = float(np.nanmax(np.abs(xyz)))
        raise UserError(
            f"a coordinate of {worst:g} m, beyond {LIMIT_METRES:g} m; is the unit another? Set "
            'unit = "mm" or "px" in dataset.toml'
        )
    return xyz


def _at_zero(xyz: np.ndarray) -> tuple[list[int], bool]:
    """Joints at (0, 0, 0) in every frame in which they were seen; whether all joints always are."""
    if xyz.size and xyz[:, :, 0].all():
        return [], False
    zero = np.asarray((xyz == 0).all(2))
    unknown = zero | np.isnan(xyz).any(2)
    return np.flatnonzero(unknown.all(0) & zero.any(0)).tolist(), bool(zero.all())


def _span(body: Body, told: Description) -> list[float] | None:
    """Begin and end in seconds, where all recordings share a clock."""
    if not told.shared_clock or body.times is None or len(body.times) < 2:
        return None
    step = float(np.median(np.diff(body.times)))
    return [float(body.times[0]), float(body.times[-1]) + max(step, 1e-9)]


def notes_of(entries: Iterable[Entry]) -> list[tuple[str, int]]:
    """The notes on recordings, those that differ in numbers only together, and how many have it."""
    first: dict[str, str] = {}
    count: Counter[str] = Counter()
    for entry in entries:
        for body in entry["bodies"]:
            for note in body["notes"]:
                alike = re.sub(r"\d[\d,.]*", "0", note)
                first.setdefault(alike, note)
                count[alike] += 1
    return [(first[alike], n) for alike, n in count.items()]
