"""Assigning recordings to splits (docs/data.md 4)."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from simmc.data.recordings import ReadOptions, Recording
from simmc.data.specs import CASIA_CONDITIONS, KS20_VIEWS, TRAIN, DatasetSpec
from simmc.errors import UserError, numbered
from simmc.files import read_json

Assignment = dict[str, list[int]]  # split -> indices of its recordings, in reading order

_SPLIT_OF_SET = {
    "IAS": {"Training": TRAIN, "TestingA": "A", "TestingB": "B"},
    "BIWI": {"Training": TRAIN, "Walking": "Walking", "Still": "Still"},
}


def assign(
    dataset: str,
    recordings: Sequence[Recording],
    rng: np.random.Generator,
    options: ReadOptions | None = None,
) -> Assignment:
    """Recordings by split; KGBD, KS20 and CASIA-B draw from `rng`."""
    options = options or ReadOptions()
    if dataset in _SPLIT_OF_SET:
        return _by_set(recordings, _SPLIT_OF_SET[dataset])
    if dataset == "KGBD":
        return _kgbd(recordings, rng)
    if dataset == "KS20":
        return _ks20(recordings, rng, slip=options.ks20_roles == "slip")
    if dataset == "CASIA_B":
        return _casia(recordings, rng)
    raise UserError(f"--dataset {dataset}: there is no rule for its split")


def views(spec: DatasetSpec, recordings: Sequence[Recording]) -> Assignment:
    """Recordings by view, named by degrees, for cross-view evaluation (CVE)."""
    found: Assignment = {degrees: [] for degrees in spec.test_splits}
    for place, recording in enumerate(recordings):
        view = (
            recording.attributes["view"] if spec.name == "CASIA_B" else KS20_VIEWS[recording.role]
        )
        found[str(int(view))].append(place)
    return found


def _by_set(recordings: Sequence[Recording], split_of: dict[str, str]) -> Assignment:
    found: Assignment = {split: [] for split in split_of.values()}
    for place, recording in enumerate(recordings):
        found[split_of[recording.role]].append(place)
    return found


def _by_identity(recordings: Sequence[Recording]) -> dict[int, list[int]]:
    places: defaultdict[int, list[int]] = defaultdict(list)
    for place, recording in enumerate(recordings):
        places[recording.identity].append(place)
    return dict(sorted(places.items()))


def _kgbd(recordings: Sequence[Recording], rng: np.random.Generator) -> Assignment:
    """Two walks of a person for the gallery, one for the probe, the rest for training.

    Of three walks (Person015) each split gets one.
    """
    found: Assignment = {TRAIN: [], "gallery": [], "probe": []}
    for identity, places in _by_identity(recordings).items():
        if len(places) < 3:
            walks = numbered("{} [walk|walks]", len(places))
            raise UserError(
                f"KGBD person {identity} has {walks}; a split needs at least 3: "
                "add the missing files or remove the person's folder"
            )
        drawn = [places[i] for i in rng.choice(len(places), min(3, len(places) - 1), replace=False)]
        found["gallery"] += sorted(drawn[:-1])
        found["probe"].append(drawn[-1])
        found[TRAIN] += [place for place in places if place not in drawn]
    return found


def _ks20(recordings: Sequence[Recording], rng: np.random.Generator, slip: bool) -> Assignment:
    """RVE: per person one setting for the gallery, one for the probe, the third for training.

    With `slip` the setting of the NEXT recording of the view decides, and the last recording of
    each view is not used, as in the released reader (docs/data.md 2.3 b).
    """
    split_of: dict[tuple[int, str], str] = {}
    for identity, places in _by_identity(recordings).items():
        settings = sorted({recordings[place].attributes["setting"] for place in places})
        if len(settings) < 3:
            raise UserError(
                f"KS20 person with label {identity} has only the settings {', '.join(settings)}; "
                "a split needs gc1, gc2 and gc3: add the missing files"
            )
        split_of |= {(identity, setting): TRAIN for setting in settings}
        gallery, probe = rng.choice(settings, 2, replace=False)
        split_of[identity, str(gallery)] = "gallery"
        split_of[identity, str(probe)] = "probe"
    found: Assignment = {TRAIN: [], "gallery": [], "probe": []}
    for place, recording in enumerate(recordings):
        decides = recording
        if slip:
            following = recordings[place + 1 : place + 2]
            if not following or following[0].role != recording.role:
                continue
            decides = following[0]
        setting = decides.attributes["setting"]
        found[split_of.get((recording.identity, setting), TRAIN)].append(place)
    return found


def _casia(recordings: Sequence[Recording], rng: np.random.Generator) -> Assignment:
    """CME: half of the subjects train, the others are tested by condition (docs/data.md 4.1)."""
    subjects = list(_by_identity(recordings))
    if len(subjects) < 2:
        raise UserError("CASIA_B: a split into train and test needs at least two subjects")
    training = set(rng.permutation(subjects)[: (len(subjects) + 1) // 2].tolist())
    found: Assignment = {split: [] for split in (TRAIN, *CASIA_CONDITIONS)}
    for place, recording in enumerate(recordings):
        split = TRAIN if recording.identity in training else recording.role
        found[split].append(place)
    return found


def read_given(path: Path, recordings: Sequence[Recording], splits: Collection[str]) -> Assignment:
    """The assignment that a file gives: `{folder: {name: split}}`, null for a recording left out.

    Every recording is named once, below the folder that all have in common.

    Args:
        path: a JSON file, as `given_form` makes it.
        recordings: those of the dataset.
        splits: the names of its splits.
    """
    advice = "--write-split FILE writes a file of this form"
    content = read_json(path, {str: {str: (None, str)}}, advice)
    told = {f"{folder}/{name}": split for folder, d in content.items() for name, split in d.items()}
    place_of = {name: place for place, name in enumerate(_short_names(recordings))}
    found: Assignment = {split: [] for split in splits}
    for fault, names in (
        ("names recordings that are not in the raw data", told.keys() - place_of.keys()),
        ("does not name every recording (null leaves one out)", place_of.keys() - told.keys()),
        (
            f"names other splits than {', '.join(splits)}",
            {name for name, split in told.items() if split not in (None, *splits)},
        ),
    ):
        if names:
            some = ", ".join(sorted(names)[:3])
            raise UserError(f"--split {path}: {fault}: {some} ({len(names)} in all); {advice}")
    for name, place in place_of.items():
        if (split := told[name]) is not None:
            found[split].append(place)
    if empty := [split for split, places in found.items() if not places]:
        raise UserError(f"--split {path}: no recording is in {', '.join(empty)}; add some")
    return found


def given_form(
    recordings: Sequence[Recording], assignment: Assignment
) -> Mapping[str, Mapping[str, str | None]]:
    """The content of a file that `read_given` reads."""
    split_of = {place: split for split, places in assignment.items() for place in places}
    content: dict[str, dict[str, str | None]] = {}
    for place, name in enumerate(_short_names(recordings)):
        folder, _, last = name.rpartition("/")
        content.setdefault(folder, {})[last] = split_of.get(place)
    return content


def _short_names(recordings: Sequence[Recording]) -> list[str]:
    """Names of recordings below the folder that all have in common."""
    names = [recording.name for recording in recordings]
    folders = [name.rpartition("/")[0].rpartition("/")[0] for name in names]
    common = os.path.commonpath(folders) if all(folders) else ""
    return [name[len(common) + 1 :] if common else name for name in names]
