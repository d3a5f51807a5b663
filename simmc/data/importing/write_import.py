"""Write what an import has read as a dataset, after the recordings that are there already.

Shape letters: N windows, f frames, J joints.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from simmc import __version__, files
from simmc.data import arrays, store
from simmc.data.conventions import METRES, Given, remarks, scale_of
from simmc.data.importing.assign import GALLERY, PROBE, Known, Rule, splits_of
from simmc.data.importing.description import NONE, SPLITS, Description
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
from simmc.errors import UserError, numbered

_ROWS = 2**15  # rows of an earlier import that are copied at a time
_SAMPLE = 200  # windows that are looked at for remarks on unit and axes
_GALLERY_OF = {PROBE: GALLERY}


@dataclass(frozen=True)
class Imported:
    """The result of an import.

    Attributes:
        folder: of the dataset and length.
        manifest: what was written.
        entries: of every source file in this import.
        added: names of the recordings that were added.
        remarks: what does not look right, one sentence each.
        bones_guessed: whether the bones follow from the names of the joints alone.
    """

    folder: Path
    manifest: Manifest
    entries: list[Entry]
    added: list[str]
    remarks: list[str]
    bones_guessed: bool


@dataclass(frozen=True, eq=False)
class _New:
    """A recording that is added, and where its frames lie."""

    name: str
    about: Mapping[str, Any]  # of `Entry["bodies"]`
    start: int
    path: str
    sha256: str


@dataclass(frozen=True, eq=False)
class _Plan:
    """Every recording of the dataset, those that are there first, and what becomes of it."""

    target: Path
    spec: DatasetSpec
    length: int
    earlier: Manifest | None
    old: list[RecordingEntry]
    new: list[_New]
    split: list[str]  # of the old ones, then of the new ones
    labels: list[int]
    scale: float  # of coordinates that are not metres yet


def write(
    target: Path,
    length: int,
    told: Description,
    rule: Rule,
    earlier: Manifest | None,
    entries: list[Entry],
    stored: Work,
) -> Imported:
    """Write all splits and the manifest, and swap them in."""
    old = [] if earlier is None else earlier["recordings"]
    new = _named(entries, {entry["name"] for entry in old})
    if earlier is not None and not new:
        return Imported(target, earlier, entries, [], [], False)
    _check_zeros(new, told, entries)
    known = _known(old, [] if earlier is None else earlier.get("copies", ()), new)
    split = splits_of(known, told, rule)
    persons = _persons({} if earlier is None else earlier["persons"], known)
    labels = [persons[r.person] if r.person is not None else -1 for r in known]
    skeleton, guessed = _skeleton(earlier, entries, told, target.parent.name)
    spec = DatasetSpec(target.parent.name, skeleton, SPLITS[1:], _GALLERY_OF)
    plan = _Plan(target, spec, length, earlier, old, new, split, labels, _scale(earlier, new, told))
    _check_windows(plan, known, entries, rule)
    given: Given = {
        "unit": told.unit or "m",
        "up": told.up or next((e["up"] for e in entries if e["bodies"]), "") or "y",
        "dimensions": 2 if _is_flat(earlier, entries) else 3,
        "scale": METRES.get(told.unit or "m", plan.scale),
    }
    seen: list[np.ndarray] = []
    with files.staged_folder(target, store.is_written) as stage:
        counts = {name: _write_split(plan, name, stage, stored, seen) for name in SPLITS}
        content = _manifest(plan, told, rule, entries, known)
        content |= {"counts": counts, "persons": persons, "given": given}
        content["frame_rate"] = _rate(earlier, new)
        write_manifest(stage, content)
    found = remarks(spec.name, np.concatenate(seen), skeleton, given) if seen else []
    return Imported(target, content, entries, [r.name for r in new], found, guessed)


def _write_split(
    plan: _Plan, name: str, stage: Path, stored: Work, seen: list[np.ndarray]
) -> dict[str, int]:
    """Write one split, the windows that are there first; its counts."""
    first, spec, length = len(plan.old), plan.spec, plan.length
    added = [r for r, split in zip(plan.new, plan.split[first:], strict=True) if split == name]
    place = {id(recording): first + at for at, recording in enumerate(plan.new)}
    windows = [int(recording.about["windows"]) for recording in added]
    index = np.repeat(np.array([place[id(r)] for r in added], np.int64), windows)
    label = np.array(plan.labels, np.int64)[index]
    before = {} if plan.earlier is None else plan.earlier["counts"].get(name, {})
    blocks: list[Iterator[np.ndarray]] = [
        (
            _block(r, stored, length, spec.n_joints, plan.scale, seen)
            for r in added
            if r.about["windows"]
        )
    ]
    if before.get("windows", 0):
        there = store.read_split(plan.target.parent.parent, spec, length, name)  # with checksums
        assert there.recording is not None
        label = np.concatenate([there.labels, label])
        index = np.concatenate([there.recording, index])
        path = partial(store.file_path, there.path, spec, length, name)
        blocks.insert(0, _copied([path(axis) for axis in "xyz"]))
    store.write_split(stage, spec, length, name, chain.from_iterable(blocks), label, index)
    counts: Counter[str] = Counter(before)
    counts["windows"] = len(label)
    for recording in added:
        for key in ("zero_joints", "unseen_joints"):
            counts[key] += recording.about["counts"].get(key, 0)
    return {key: count for key, count in counts.items() if count}


def _check_windows(
    plan: _Plan, known: Sequence[Known], entries: Sequence[Entry], rule: Rule
) -> None:
    """UserError if a split has no window, with what can be done."""
    advice = (
        "Without [[split]] in dataset.toml a person needs three recordings (or sessions, cameras) "
        "to be in all splits; use --person_disjoint where persons have two, or --split none to "
        "learn from all recordings but two"
    )
    if rule.unit == "none":
        advice = (
            "--split none needs three recordings with a window each and different frames: gallery "
            "and probe get one, so that a run can be tested"
        )
    first = len(plan.old)
    persons = {recording.person for recording in known}
    faults = [f"{entry['path']}: {entry['fault']}" for entry in entries if entry["fault"]]
    left = numbered("{} [file was|files were] left out", len(faults))
    shown = "\n  ".join(["", left + ":", *faults[:5]]) if faults else ""
    who = numbered(" of {} [person|persons]", len(persons - {None})) if persons - {None} else ""
    for name in SPLITS:
        added = [r for r, split in zip(plan.new, plan.split[first:], strict=True) if split == name]
        there = 0 if plan.earlier is None else plan.earlier["counts"][name]["windows"]
        if there or any(recording.about["windows"] for recording in added):
            continue
        if added:
            short = numbered("its {} [recording gives|recordings give] no window", len(added))
            raise UserError(
                f"{name}: {short} of {plan.length} frames; choose a shorter --length{shown}"
            )
        count = numbered("there [is {} recording|are {} recordings]", len(known)) + who
        if empty := sum(recording.empty for recording in known):
            text = f", {{}} of them without a window of {plan.length} frames"
            count += numbered(text, empty)
        raise UserError(f"{name}: no recording; {count}. {advice}{shown}")


def _named(entries: Sequence[Entry], taken: set[str]) -> list[_New]:
    """The recordings of all entries, with names that no other has."""
    found = []
    for entry in entries:
        for about, start in zip(entry["bodies"], entry["starts"], strict=True):
            name, number = about["name"], 2
            while name in taken:
                name, number = f"{about['name']}#{number}", number + 1
            taken.add(name)
            found.append(_New(name, about, start, entry["path"], entry["sha256"]))
    return found


def _known(
    old: Sequence[RecordingEntry], copies: Sequence[Sequence[str]], new: Sequence[_New]
) -> list[Known]:
    """What is known of all recordings; copies of the same frames point to the first."""
    first = {name: names[0] for names in copies for name in names}
    found = [_known_of(entry, first.get(entry["name"], entry["name"])) for entry in old]
    same: dict[str, str] = {}
    for entry, known in zip(old, found, strict=True):
        if digest := entry.get("frames_sha256"):
            same.setdefault(digest, known.copy_of)
    for recording in new:
        about, copy_of = recording.about, recording.name
        if about["frames"]:
            copy_of = same.setdefault(about["digest"], recording.name)
        found.append(
            Known(
                recording.name,
                person_name(about["person"]),
                about["session"],
                about["camera"],
                about["fields"],
                copy_of=copy_of,
                empty=not about["windows"],
            )
        )
    return found


def _known_of(entry: RecordingEntry, copy_of: str) -> Known:
    """What the manifest says of a recording of an earlier import."""
    fields = dict(entry.get("attributes", {}))
    name, split = entry["name"], entry.get("split") or NONE
    person, session, camera = (fields.pop(key, None) for key in ("person", "session", "camera"))
    return Known(name, person, session, camera, fields, split, copy_of)


def person_name(text: str | None) -> str | None:
    """A person's name: 007 and 7 are the same person; an empty name is nobody's."""
    if text is None or not text.strip():
        return None
    text = text.strip()
    return str(int(text)) if text.isascii() and text.isdecimal() and len(text) < 19 else text


def _persons(earlier: Mapping[str, int], known: Sequence[Known]) -> dict[str, int]:
    """Identity of every person: the number that is the name, or the next that is free."""
    found = dict(earlier)
    names = {r.person for r in known if r.person is not None} - found.keys()
    numbers = {name for name in names if name.isascii() and name.isdecimal() and len(name) < 19}
    used = set(found.values())
    for name in sorted(numbers, key=int):
        if int(name) not in used:
            found[name] = int(name)
            used.add(int(name))
    following = max(used, default=-1) + 1
    for name in sorted(names - found.keys()):
        found[name] = following
        following += 1
    return found


def _skeleton(
    earlier: Manifest | None, entries: Sequence[Entry], told: Description, name: str
) -> tuple[Any, bool]:
    """The skeleton of the dataset, and whether its bones were guessed."""
    if earlier is not None:
        return read_skeleton(earlier["skeleton"]), False
    first = next(entry for entry in entries if entry["bodies"])
    skeleton, guessed = skeleton_of(first["joints"], name)
    bones = told.bones or tuple((one, other) for one, other in first["bones"])
    if bones or told.root:
        bones = bones or skeleton.edges
        skeleton = replace(skeleton, edges=bones, root=told.root or skeleton.root)
        guessed = guessed and not (told.bones or first["bones"])
    skeleton.index(skeleton.root)
    skeleton.edge_indices()
    return with_parts(skeleton), guessed


def _check_zeros(new: Sequence[_New], told: Description, entries: Sequence[Entry]) -> None:
    """UserError for a joint that is at (0, 0, 0) in every frame, if zeros mean not seen."""
    if told.zeros != "missing" or not new:
        return
    always = [set(r.about["always_zero"]) for r in new if not r.about["all_zero"]]
    if always and (common := set.intersection(*always)):
        joint = next(e["joints"] for e in entries if e["bodies"])[min(common)]
        raise UserError(
            f"the joint {joint} is at (0, 0, 0) in every frame. If coordinates are relative to it, "
            'set zeros = "position" in dataset.toml; if it was never seen, leave it out with joints'
        )


def _scale(earlier: Manifest | None, new: Sequence[_New], told: Description) -> float:
    """What coordinates that are not metres yet are multiplied by."""
    if (told.unit or "m") in METRES:
        return 1.0
    if earlier is not None:
        return earlier["given"]["scale"]
    found = [r.about["extent"] for r in new if r.about["extent"] is not None]
    return scale_of(told.unit, np.median(found, axis=0)) if found else 1.0


def _rate(earlier: Manifest | None, new: Sequence[_New]) -> float | None:
    """Frames a second: the median over the recordings; None if none is known."""
    if earlier is not None:
        return earlier["frame_rate"]
    rates = [r.about["rate"] for r in new if r.about["rate"]]
    return round(float(np.median(rates)), 3) if rates else None


def _is_flat(earlier: Manifest | None, entries: Sequence[Entry]) -> bool:
    if earlier is not None:
        return earlier["given"]["dimensions"] == 2
    return any(entry["flat"] for entry in entries)


def _block(
    recording: _New, stored: Work, length: int, n_joints: int, scale: float, seen: list[np.ndarray]
) -> np.ndarray:
    """The windows of a recording as the files hold them, (3, N * f, J); some go to `seen`."""
    frames = stored.frames(recording.start, (recording.about["frames"], n_joints, 3))
    count = len(frames) // length
    windows = frames[: count * length].reshape(count, length, n_joints, 3)
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


def _entry(recording: _New, split: str, label: int) -> RecordingEntry:
    about = recording.about
    attributes = {**about["fields"]}
    for name in ("session", "camera"):
        attributes |= {name: about[name]} if about[name] is not None else {}
    person = person_name(about["person"])
    attributes |= {"person": person} if person is not None else {}
    if about["span"] is not None:
        attributes |= time_attributes(*about["span"])
    return {
        "name": recording.name,
        "identity": label,
        "role": "",
        "split": None if split == NONE else split,
        "attributes": attributes,
        "frames": about["frames"],
        "sha256": recording.sha256,
        "frames_sha256": about["digest"],
    }


def _manifest(
    plan: _Plan,
    told: Description,
    rule: Rule,
    entries: Sequence[Entry],
    known: Sequence[Known],
) -> Manifest:
    """How the set was made; the checksums of its files are added when it is written."""
    earlier, first = plan.earlier, len(plan.old)
    done = {} if earlier is None else dict(earlier["imported"]["files"])
    done |= {e["path"]: e["sha256"] for e in entries if e["bodies"]}
    copies: defaultdict[str, list[str]] = defaultdict(list)
    for recording in known:
        copies[recording.copy_of].append(recording.name)
    groups = [names for names in copies.values() if len(names) > 1]
    content: Manifest = {
        "dataset": plan.spec.name,
        "length": plan.length,
        "code_version": __version__,
        "skeleton": describe_skeleton(plan.spec.skeleton, bones=True),
        "gallery_of": dict(_GALLERY_OF),
        "zeros": told.zeros,
        "seed": rule.seed,
        "imported": {
            "description": {**told.text(), "split_file": Path(told.split_file).name},
            "rule": "description" if told.split or told.split_file else asdict(rule),
            "files": done,
            "left_out": {e["path"]: e["fault"] for e in entries if e["fault"]},
        },
        "recordings": [*plan.old, *map(_entry, plan.new, plan.split[first:], plan.labels[first:])],
    }
    if groups:
        content["copies"] = groups
    return content
