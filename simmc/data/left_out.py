"""What preprocessing did not use, filled or could not check: counts for the manifest, and text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from simmc.data.raw import files
from simmc.data.recordings import MARKER, Recording, fill_recording
from simmc.errors import named, numbered

TALL, SMALL = 5.0, 0.2  # metres; no body spans more or less
_NAMED = 5  # names in a line; the manifest holds all

Found = dict[str, Any]


def raw_files(root: Path) -> list[Path]:
    """All files below a raw dataset's folder except hidden ones."""
    return [folder / name for folder, _, names in files.walk(root) for name in names]


def unused(root: Path, found: Iterable[Path], recordings: Sequence[Recording]) -> Found:
    """Files that no recording was read from, by ending: how many, and the first."""
    used = {str(path) for recording in recordings for path in recording.files}
    kinds: dict[str, dict[str, Any]] = {}
    for path in sorted(path for path in found if str(path) not in used and path.name != MARKER):
        entry = kinds.setdefault(
            path.suffix.lower(), {"files": 0, "first": path.relative_to(root).as_posix()}
        )
        entry["files"] += 1
    return kinds


def fill_unseen(
    recordings: Sequence[Recording], zeros: bool
) -> tuple[list[Recording], dict[str, int]]:
    """Recordings with missing joints filled; and the counts of the readers and of this step."""
    counts: Counter[str] = Counter()
    done = []
    for recording in recordings:
        frames, found = fill_recording(recording.frames, zeros)
        done.append(replace(recording, frames=frames))
        extent = _extent(frames)
        found["tall_frames"] = int(np.count_nonzero(extent > TALL))
        found["small_frames"] = int(np.count_nonzero(extent < SMALL))
        counts.update(recording.counts)
        counts.update(found)
    return done, {name: count for name, count in sorted(counts.items()) if count}


def _extent(frames: np.ndarray) -> np.ndarray:
    """The longest side of the box around each body, (T,) metres."""
    by_joint = np.ascontiguousarray(np.moveaxis(frames, 1, 0))  # much faster to reduce
    return np.ptp(by_joint, axis=0).max(axis=1, initial=0)


def without_windows(
    names: Sequence[str], people: Sequence[int], having: Collection[int]
) -> Found | None:
    """Recordings of a split that give no window, and persons without any window.

    `names` and `people` are those of the split's recordings; `having` the indices of recordings
    that give a window.
    """
    short = [name for place, name in enumerate(names) if place not in having]
    if not short:
        return None
    left = {people[place] for place in having}
    return {"recordings": short, "persons": sorted(set(people) - left)}


def unmatched(
    gallery_of: Mapping[str, str], people: Mapping[str, set[int]]
) -> dict[str, list[int]]:
    """Persons with windows in the probe but none in its gallery, by the name of the probe."""
    found = {
        probe: sorted(people[probe.partition(".")[0]] - people[gallery])
        for probe, gallery in gallery_of.items()
    }
    return {probe: persons for probe, persons in found.items() if persons}


def lines(found: Found, zeros: bool) -> list[str]:
    """The same as text, one line for each kind."""
    counts: Mapping[str, int] = found["counts"]
    texts = [numbered(text, counts[name]) for name, text in _COUNTS.items() if counts.get(name)]
    if kinds := found["unused_files"]:
        total = sum(entry["files"] for entry in kinds.values())
        shown = sorted(kinds.items(), key=lambda item: -item[1]["files"])[:_NAMED]
        listed = "; ".join(
            f"{entry['files']:,} {kind or 'without ending'}, such as {entry['first']}"
            for kind, entry in shown
        )
        texts.append(f"{numbered('{} [file is|files are] not used', total)}: {listed}")
    if counts.get("zero_joints"):
        texts.append(_zeros(counts, zeros))
    if names := found["recordings_without_split"]:
        without = numbered("{} [recording belongs|recordings belong] to no split", len(names))
        texts.append(f"{without}: {named(names, _NAMED)}")
    for split, entry in found["without_windows"].items():
        persons = entry["persons"]
        gone = f"; persons without any window there: {named(persons, _NAMED)}" if persons else ""
        names = entry["recordings"]
        short = numbered("{} [recording gives|recordings give] no window", len(names))
        texts.append(f"{split}: {short}: {named(names, _NAMED)}{gone}")
    for probe, persons in found["unmatched_probes"].items():
        text = (
            "{} [person has|persons have] no window in the gallery, so their probes have no match"
        )
        texts.append(f"probe {probe}: {numbered(text, len(persons))}: {named(persons, _NAMED)}")
    return texts


_COUNTS = {
    "lost_frames": "{} [frame|frames] with a lost joint (tracking state 0) [is|are] dropped",
    "more_bodies": "{} [file holds|files hold] more than one body; only the first is read",
    "unordered_frames": "{} [frame has|frames have] the same number in the first field of all "
    "lines (a person's), so the order of their joints cannot be checked",
    "flat_arrays": "{} [array (T, 75) is|arrays (T, 75) are] read as x, y, z of the first joint, "
    "then of the second, and so on",
    "nan_joints": "{} [joint is|joints are] NaN, which means not seen",
    "filled_joints": "{} [joint that was not seen is|joints that were not seen are] filled by "
    "the last observation",
    "unseen_frames": "{} [frame|frames] without any joint seen [is|are] dropped",
    "never_seen_joints": "{} [time|times] a joint is never seen in a recording and gets the mean "
    "of its frame's joints (if coordinates are relative to that joint, use --zero_joints keep)",
    "tall_frames": f"{{}} [frame shows|frames show] a body of more than {TALL:g} m: are "
    "coordinates metres?",
    "small_frames": f"{{}} [frame shows|frames show] a body of less than {SMALL:g} m: are "
    "coordinates metres?",
}


def _zeros(counts: Mapping[str, int], zeros: bool) -> str:
    done = (
        "taken as not seen (--zero_joints keep takes them as positions)"
        if zeros
        else "kept as positions (--zero_joints missing takes them as not seen)"
    )
    whole = numbered("{} whole [frame|frames]", counts.get("zero_frames", 0))
    return numbered(
        f"{{}} [joint|joints] ({whole}) [is|are] at exactly (0, 0, 0), which many sensors write "
        f"for joints not seen; {done}",
        counts["zero_joints"],
    )
