"""Write what an import has read as a dataset, after the recordings that are there already.

Shape letters: N windows, f frames, J joints.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from simmc import __version__, files
from simmc.data import arrays, store
from simmc.data.conventions import METRES, Given, remarks, scale_of
from simmc.data.importing.assign import GALLERY, PROBE, Known, Rule, splits_of
from simmc.data.importing.description import NONE, SPLITS, WHO, Description
from simmc.data.importing.joint_names import skeleton_of
from simmc.data.importing.work import Entry, Work
from simmc.data.manifest import (
    Manifest,
    RecordingEntry,
    describe_skeleton,
    read_skeleton,
    time_attributes,
    write_manifest,
)
from simmc.data.recordings import fill_missing
from simmc.data.skeletons import with_parts
from simmc.data.specs import DatasetSpec
from simmc.errors import UserError, named, numbered

_ROWS = 2**15  # rows of an earlier import that are copied at a time
_NAMED = 5  # recordings and files in a message
_SAMPLE = 200  # windows that are looked at for remarks on unit and axes
_GALLERY_OF = {PROBE: GALLERY}


@dataclass(frozen=True)
class Request:
    """Where an import goes and how.

    Attributes:
        out: folder of the dataset; its name is the dataset's.
        length: frames of a window, f.
        description: of the source.
        rule: which recordings are tested, where the description does not say it.
    """

    out: Path
    length: int
    description: Description
    rule: Rule = field(default_factory=Rule)

    @property
    def target(self) -> Path:
        """The folder of the windows."""
        return self.out / str(self.length)


@dataclass(frozen=True)
class Imported:
    """The result of an import.

    Attributes:
        folder: of the dataset and length.
        manifest: what was written.
        entries: of every source file in this import.
        added: names of the recordings that were added.
        remarks: what does not look right: unit or axes, and a sentence.
        bones_guessed: whether the bones follow from the names of the joints alone.
    """

    folder: Path
    manifest: Manifest
    entries: list[Entry]
    added: list[str]
    remarks: Mapping[str, str]
    bones_guessed: bool


@dataclass(frozen=True, eq=False)
class _Read:
    """What was read of a recording, and where its frames lie."""

    about: Mapping[str, Any]  # of `Entry["bodies"]`
    start: int
    sha256: str


@dataclass(frozen=True, eq=False)
class _New:
    """A recording that is added."""

    known: Known
    read: _Read
    place: int  # in the manifest's list
    split: str
    label: int  # -1: the person is unknown

    @property
    def about(self) -> Mapping[str, Any]:
        """Of `Entry["bodies"]`."""
        return self.read.about


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is written: the recordings that are there already, and those that are added."""

    request: Request
    spec: DatasetSpec
    earlier: Manifest  # empty: there is nothing yet
    entries: list[Entry]
    known: list[Known]  # of all recordings, those that are there first
    new: list[_New]
    scale: float  # of coordinates that are not metres yet

    def added(self, split: str) -> list[_New]:
        """The recordings that are added to a split."""
        return [recording for recording in self.new if recording.split == split]

    def there(self, split: str) -> Mapping[str, int]:
        """The counts of a split as it is."""
        return self.earlier.get("counts", {}).get(split, {})


def write(request: Request, earlier: Manifest, entries: list[Entry], stored: Work) -> Imported:
    """Write all splits and the manifest, after what is there already, and swap them in."""
    told, name, target = request.description, request.out.name, request.target
    known, read = _recordings(earlier, entries)
    if earlier and not read:
        return Imported(target, earlier, entries, [], {}, False)
    abouts = [one.about for one in read]
    _check_zeros(abouts, told, entries)
    persons = _persons(earlier.get("persons", {}), known)
    split = splits_of(known, told, request.rule)
    new = [
        _New(known[place], one, place, split[place], persons.get(known[place].person or "", -1))
        for place, one in enumerate(read, start=len(known) - len(read))
    ]
    skeleton, guessed = _skeleton(earlier, entries, told, name)
    spec = DatasetSpec(name, skeleton, SPLITS[1:], _GALLERY_OF)
    plan = _Plan(request, spec, earlier, entries, known, new, _scale(earlier, abouts, told))
    _check_windows(plan)
    given: Given = {
        "unit": told.unit or "m",
        "up": told.up or next((e["up"] for e in entries if e["bodies"]), "") or "y",
        "dimensions": 2 if any(entry["flat"] for entry in entries) else 3,
        "scale": METRES.get(told.unit or "m", plan.scale),
    }
    seen: list[np.ndarray] = []
    with files.staged_folder(target, store.is_written) as stage:
        counts = {name: _write_split(plan, name, stage, stored, seen) for name in SPLITS}
        content = _manifest(plan)
        content |= {"counts": counts, "persons": persons, "given": given}
        content["frame_rate"] = _rate(earlier, abouts)
        write_manifest(stage, content)
    found = remarks(name, np.concatenate(seen), skeleton, given) if seen else {}
    return Imported(target, content, entries, [r.known.name for r in new], found, guessed)


def _write_split(
    plan: _Plan, name: str, stage: Path, stored: Work, seen: list[np.ndarray]
) -> dict[str, int]:
    """Write one split, the windows that are there first; its counts."""
    spec, length = plan.spec, plan.request.length
    added = [recording for recording in plan.added(name) if recording.about["windows"]]
    windows = [recording.about["windows"] for recording in added]
    index = np.repeat(np.array([r.place for r in added], np.int64), windows)
    label = np.repeat(np.array([r.label for r in added], np.int64), windows)
    blocks: Iterator[np.ndarray] = (
        _block(r, stored, length, spec.n_joints, plan.scale, seen) for r in added
    )
    counts = Counter(plan.there(name))
    if counts["windows"]:
        there = store.read_split(plan.request.out.parent, spec, length, name)  # with checksums
        assert there.recording is not None
        label = np.concatenate([there.labels, label])
        index = np.concatenate([there.recording, index])
        paths = [store.file_path(there.path, spec, length, name, axis) for axis in "xyz"]
        blocks = itertools.chain(_copied(paths), blocks)
    store.write_split(stage, spec, length, name, blocks, label, index)
    counts["windows"] = len(label)
    for recording in plan.added(name):
        for key in ("zero_joints", "unseen_joints"):
            counts[key] += recording.about["counts"].get(key, 0)
    return {key: count for key, count in counts.items() if count}


def _check_windows(plan: _Plan) -> None:
    """UserError if a split has no window, with what can be done."""
    advice = (
        "Without [[split]] in dataset.toml a person needs three recordings (or sessions, cameras) "
        "to be in all splits; use --person_disjoint where persons have two, or --split none to "
        "learn from all recordings but two"
    )
    if plan.request.rule.unit == "none":
        advice = (
            "--split none needs three recordings with a window each and different frames: gallery "
            "and probe get one, so that a run can be tested"
        )
    faults = [f"{entry['path']}: {entry['fault']}" for entry in plan.entries if entry["fault"]]
    left = numbered("{} [file was|files were] left out", len(faults))
    shown = "\n  ".join(["", left + ":", *faults[:_NAMED]]) if faults else ""
    persons = {recording.person for recording in plan.known} - {None}
    who = numbered(" of {} [person|persons]", len(persons)) if persons else ""
    length = plan.request.length
    for name in SPLITS:
        added = plan.added(name)
        if plan.there(name).get("windows") or any(r.about["windows"] for r in added):
            continue
        if added:
            short = numbered("its {} [recording gives|recordings give] no window", len(added))
            short += f" of {length} frames ({named([r.known.name for r in added], _NAMED)})"
            raise UserError(
                f"{plan.request.out}, {name}: {short}; choose a shorter --length{shown}"
            )
        count = numbered("there [is {} recording|are {} recordings]", len(plan.known)) + who
        if empty := [recording.name for recording in plan.known if recording.empty]:
            count += numbered(f", {{}} of them without a window of {length} frames", len(empty))
            count += f" ({named(empty, _NAMED)})"
        raise UserError(f"{plan.request.out}, {name}: no recording; {count}. {advice}{shown}")


def _recordings(earlier: Manifest, entries: Sequence[Entry]) -> tuple[list[Known], list[_Read]]:
    """What is known of all recordings, and what was read of the last ones, which are added.

    Each has a name that no other has. Copies of the same frames point to the first.
    """
    first = {name: names[0] for names in earlier.get("copies", ()) for name in names}
    found: list[Known] = []
    read: list[_Read] = []
    same: dict[str, str] = {}  # digest of frames -> the first recording that has them
    for old in earlier.get("recordings", []):
        name, split = old["name"], old.get("split") or NONE
        found.append(Known(name, old.get("attributes", {}), split, first.get(name, name)))
        if digest := old.get("frames_sha256"):
            same.setdefault(digest, found[-1].copy_of)
    taken = {known.name for known in found}
    for entry in entries:
        for about, start in zip(entry["bodies"], entry["starts"], strict=True):
            name, number = about["name"], 2
            while name in taken:
                name, number = f"{about['name']}#{number}", number + 1
            taken.add(name)
            fields = dict(about["fields"])
            if (person := person_name(fields.pop("person", ""))) is not None:
                fields["person"] = person
            copy_of = same.setdefault(about["digest"], name) if about["frames"] else name
            found.append(Known(name, fields, copy_of=copy_of, empty=not about["windows"]))
            read.append(_Read(about, start, entry["sha256"]))
    return found, read


def person_name(text: str | None) -> str | None:
    """A person's name: 007 and 7 are the same person; an empty name is nobody's."""
    text = (text or "").strip()
    return str(int(text)) if _is_number(text) else text or None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19


def _persons(earlier: Mapping[str, int], known: Sequence[Known]) -> dict[str, int]:
    """Identity of every person: the number that is the name, or the next that is free."""
    found = dict(earlier)
    names = {r.person for r in known if r.person is not None} - found.keys()
    used = set(found.values())
    for name in sorted(filter(_is_number, names), key=int):
        if int(name) not in used:
            found[name] = int(name)
            used.add(int(name))
    others = sorted(names - found.keys())
    return found | dict(zip(others, itertools.count(max(used, default=-1) + 1), strict=False))


def _skeleton(
    earlier: Manifest, entries: Sequence[Entry], told: Description, name: str
) -> tuple[Any, bool]:
    """The skeleton of the dataset, and whether its bones were guessed."""
    if earlier:
        return read_skeleton(earlier["skeleton"]), False
    first = next(entry for entry in entries if entry["bodies"])
    skeleton, guessed = skeleton_of(first["joints"], name)
    bones = told.bones or tuple((one, other) for one, other in first["bones"])
    skeleton = replace(skeleton, edges=bones or skeleton.edges, root=told.root or skeleton.root)
    skeleton.index(skeleton.root)
    skeleton.edge_indices()
    return with_parts(skeleton), guessed and not bones


def _check_zeros(
    abouts: Sequence[Mapping[str, Any]], told: Description, entries: Sequence[Entry]
) -> None:
    """UserError for a joint that is at (0, 0, 0) in every frame, if zeros mean not seen."""
    if told.zeros != "missing":
        return
    always = [set(about["always_zero"]) for about in abouts if not about["all_zero"]]
    if always and (common := set.intersection(*always)):
        joint = next(e["joints"] for e in entries if e["bodies"])[min(common)]
        raise UserError(
            f"the joint {joint} is at (0, 0, 0) in every frame. If coordinates are relative to it, "
            'set zeros = "position" in dataset.toml; if it was never seen, leave it out with joints'
        )


def _scale(earlier: Manifest, abouts: Sequence[Mapping[str, Any]], told: Description) -> float:
    """What coordinates that are not metres yet are multiplied by."""
    if (told.unit or "m") in METRES:
        return 1.0
    if earlier:
        return earlier["given"]["scale"]
    found = [about["extent"] for about in abouts if about["extent"] is not None]
    return scale_of(told.unit, np.median(found, axis=0)) if found else 1.0


def _rate(earlier: Manifest, abouts: Sequence[Mapping[str, Any]]) -> float | None:
    """Frames a second: the median over the recordings; None if none is known."""
    if earlier:
        return earlier["frame_rate"]
    rates = [about["rate"] for about in abouts if about["rate"]]
    return round(float(np.median(rates)), 3) if rates else None


def cut(frames: np.ndarray, length: int) -> np.ndarray:
    """Windows (N, f, J, 3) of frames (F, J, 3), one after another; a view."""
    count = len(frames) // length
    return frames[: count * length].reshape(count, length, *frames.shape[1:])


def _block(
    recording: _New, stored: Work, length: int, n_joints: int, scale: float, seen: list[np.ndarray]
) -> np.ndarray:
    """The windows of a recording as the files hold them, (3, N * f, J); some go to `seen`."""
    windows = cut(
        stored.frames(recording.read.start, (recording.about["frames"], n_joints, 3)), length
    )
    known = ~np.isnan(windows).any(3)
    full = known.any((1, 2))
    if not full.all():
        windows, known = windows[full], known[full]
    planes = np.moveaxis(windows, -1, 0)
    if not known.all():
        planes = fill_missing(planes, known)
    if scale != 1:
        planes = planes * scale
    if sum(map(len, seen)) < _SAMPLE:
        seen.append(np.moveaxis(planes[:, :: max(1, len(windows) // 5)], 0, -1))
    return planes.reshape(3, -1, n_joints)


def _copied(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """The x, y and z of an earlier import, block by block."""
    for planes in zip(*(arrays.read_rows(path, _ROWS) for path in paths), strict=True):
        yield np.stack(planes)


def _entry(recording: _New) -> RecordingEntry:
    known, about = recording.known, recording.about
    attributes = {key: text for key, text in known.fields.items() if key not in WHO}
    attributes |= {key: known.fields[key] for key in WHO if key in known.fields}
    if about["span"] is not None:
        attributes |= time_attributes(*about["span"])
    return {
        "name": known.name,
        "identity": recording.label,
        "role": "",
        "split": None if recording.split == NONE else recording.split,
        "attributes": attributes,
        "frames": about["frames"],
        "sha256": recording.read.sha256,
        "frames_sha256": about["digest"],
    }


def _manifest(plan: _Plan) -> Manifest:
    """How the set was made; the checksums of its files are added when it is written."""
    told, rule, earlier = plan.request.description, plan.request.rule, plan.earlier
    copies: defaultdict[str, list[str]] = defaultdict(list)
    for recording in plan.known:
        copies[recording.copy_of].append(recording.name)
    groups = [names for names in copies.values() if len(names) > 1]
    content: Manifest = {
        "dataset": plan.spec.name,
        "length": plan.request.length,
        "code_version": __version__,
        "skeleton": describe_skeleton(plan.spec.skeleton, bones=True),
        "gallery_of": dict(_GALLERY_OF),
        "zeros": told.zeros,
        "seed": rule.seed,
        "imported": {
            "description": {**told.text(), "split_file": Path(told.split_file).name},
            "rule": "description" if told.split or told.split_file else asdict(rule),
            "files": earlier.get("imported", {}).get("files", {})
            | {e["path"]: e["sha256"] for e in plan.entries if e["bodies"]},
            "left_out": {e["path"]: e["fault"] for e in plan.entries if e["fault"]},
        },
        "recordings": [*earlier.get("recordings", []), *map(_entry, plan.new)],
    }
    if groups:
        content["copies"] = groups
    return content
