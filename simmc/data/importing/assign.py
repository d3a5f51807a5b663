"""Which recordings are learned from, and which are gallery and probe."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simmc.data.importing.description import NONE, SPLITS, WHO, Description, compiled
from simmc.errors import UserError

TRAIN, GALLERY, PROBE = SPLITS
# what belongs to one split as a whole; "none": all but two recordings are learned from
KEPT_TOGETHER = ("recording", "session", "camera", "none")


@dataclass(frozen=True)
class Rule:
    """How recordings are divided where the description does not say it.

    Attributes:
        unit: one of `KEPT_TOGETHER`: a recording, or all recordings of a person that share a
            session or a camera; "none": all but two are learned from, because a run needs one each
            in gallery and probe.
        person_disjoint: persons who are learned from are not tested.
        hold_out: share of the units of each person (with `person_disjoint`, of the persons) that
            is tested.
        seed: of the random choice.
    """

    unit: str = "recording"
    person_disjoint: bool = False
    hold_out: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.unit not in KEPT_TOGETHER:
            raise UserError(f"split is {self.unit!r}; choose one of {', '.join(KEPT_TOGETHER)}")
        if self.unit == "none" and self.person_disjoint:
            raise UserError(
                "split none learns from all persons: leave person_disjoint out, or choose another "
                "split"
            )


@dataclass(frozen=True)
class Known:
    """What is known of a recording."""

    name: str
    fields: Mapping[str, str]  # person, session, camera, and others
    split: str | None = None  # of an earlier import; "none" if it was of none
    copy_of: str = ""  # the first recording with the same frames; empty: itself
    empty: bool = False  # gives no window

    @property
    def person(self) -> str | None:
        """Who is shown; None: unknown."""
        return self.fields.get("person")

    @property
    def original(self) -> str:
        """The name that all copies of the same frames share."""
        return self.copy_of or self.name


def splits_of(known: Sequence[Known], told: Description, rule: Rule) -> list[str]:
    """The split of every recording; one that was imported before keeps its own."""
    fresh = [recording for recording in known if recording.split is None]
    if told.split_file:
        given = _listed(Path(told.split_file))
        found = [given.get(recording.name, NONE) for recording in fresh]
        if fresh and not set(found) - {NONE}:
            raise UserError(
                f"{told.split_file}: names none of the recordings, such as {fresh[0].name}"
            )
    elif told.split:
        found = by_rules(fresh, told)
    else:
        return by_chance(known, rule)
    split_of = dict(zip((recording.name for recording in fresh), found, strict=True))
    return [recording.split or split_of[recording.name] for recording in known]


def _listed(path: Path) -> dict[str, str]:
    """Recording -> split from a CSV file with these two columns."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); expected lines recording,split"
        ) from error
    rows = rows[1:] if rows and rows[0][1:] == ["split"] else rows
    for number, row in enumerate(rows, start=1):
        if len(row) != 2 or row[1] not in (*SPLITS, NONE):
            raise UserError(
                f"{path}, row {number}: expected recording,split with a split out of "
                f"{', '.join((*SPLITS, NONE))}; got {','.join(row)[:80]}"
            )
    return {row[0]: row[1] for row in rows}


def by_rules(recordings: Sequence[Known], told: Description) -> list[str]:
    """The split of every recording by the [[split]] tables: the first that fits, or "none"."""
    rules = [
        (rule["to"], {k: compiled(v, k) for k, v in rule.items() if k != "to"})
        for rule in told.split
    ]
    needed = {key for _, patterns in rules for key in patterns}
    found = []
    for recording in recordings:
        texts = {"recording": recording.name, **dict.fromkeys(WHO, ""), **recording.fields}
        if missing := needed - texts.keys():
            raise UserError(
                f"[[split]] asks for {', '.join(sorted(missing))}, which is not known of "
                f"{recording.name}; known: {', '.join(texts)}. Name it in path or [columns]"
            )
        fitting = (to for to, p in rules if all(p[key].fullmatch(texts[key]) for key in p))
        found.append(next(fitting, NONE))
    return found


def by_chance(recordings: Sequence[Known], rule: Rule) -> list[str]:
    """The split of every recording; those that have one keep it.

    Copies of the same frames are one recording. Of each person's units, `hold_out` are tested and
    at least one is learned from. The larger half of those tested is the gallery. Persons with too
    few units are only learned from. Recordings without a window do not count.
    """
    if rule.unit == "none":
        return _nothing_held_out(recordings)
    units: defaultdict[str | None, dict[str, list[Known]]] = defaultdict(dict)
    for recording in recordings:
        if not recording.empty:
            shared = "" if rule.unit == "recording" else recording.fields.get(rule.unit, "")
            unit = shared or recording.original
            units[recording.person].setdefault(unit, []).append(recording)
    tested = _tested_persons(units, rule) if rule.person_disjoint else None
    found: dict[str, str] = {}  # by name
    for person, of_person in units.items():
        old = {unit: split for unit, them in of_person.items() if (split := them[0].split)}
        if tested is None:
            count = _held(len(of_person), rule.hold_out)
        else:
            count = len(of_person) if person in tested else 0
        split_of = _divided(sorted(of_person), old, count, _draw(rule, person or ""))
        found |= {r.name: split_of[unit] for unit, them in of_person.items() for r in them}
    return [r.split or found.get(r.name, TRAIN) for r in recordings]


def _held(count: int, share: float) -> int:
    """How many of a person's units are tested: none of fewer than three."""
    return min(max(int(share * count + 0.5), 2), count - 1) if count > 2 else 0


def _divided(
    units: Sequence[str], old: Mapping[str, str], count: int, rng: np.random.Generator
) -> dict[str, str]:
    """The split of each unit, so that `count` in all are tested as far as old ones allow it."""
    new = [unit for unit in units if unit not in old]
    have = {split: list(old.values()).count(split) for split in (GALLERY, PROBE)}
    wanted = {GALLERY: (count + 1) // 2, PROBE: count // 2}
    found = dict(old)
    order = [new[place] for place in rng.permutation(len(new))]
    for split in (GALLERY, PROBE):
        take = max(wanted[split] - have[split], 0)
        found |= dict.fromkeys(order[:take], split)
        order = order[take:]
    return found | dict.fromkeys(order, TRAIN)


def _tested_persons(
    units: Mapping[str | None, Mapping[str, Sequence[Known]]], rule: Rule
) -> set[str]:
    """The persons who are tested; those of an earlier import stay where they are."""
    persons = sorted(person for person in units if person is not None)
    splits = {p: {r.split for them in units[p].values() for r in them} for p in persons}
    tested = {p for p in persons if splits[p] & {GALLERY, PROBE}}
    learned = {p for p in persons if TRAIN in splits[p]} - tested
    free = [p for p in persons if p not in tested | learned and len(units[p]) > 1]
    wanted = min(max(int(rule.hold_out * len(persons) + 0.5), 2), len(persons) - 1)
    order = _draw(rule, "persons").permutation(len(free))
    found = tested | {free[place] for place in order[: max(wanted - len(tested), 0)]}
    if not found:
        raise UserError(
            "--person_disjoint needs persons with two recordings (or sessions, cameras) each and "
            "one more person to learn from; say where the person stands in dataset.toml, or leave "
            "it out"
        )
    return found


def _draw(rule: Rule, text: str) -> np.random.Generator:
    """A random stream of its own for each person, so that new persons change nothing."""
    digest = hashlib.sha256(f"{rule.seed} {text}".encode(errors="replace")).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def _nothing_held_out(recordings: Sequence[Known]) -> list[str]:
    """Everything is learned from, but for what gallery and probe lack: a recording each.

    These are the first by person and name that have a window, with their copies. Copies of what
    was imported before go where that is.
    """
    before = {r.original: r.split for r in recordings if r.split}
    lacking = [split for split in (GALLERY, PROBE) if split not in before.values()]
    usable = [r for r in recordings if r.original not in before and not r.empty]
    usable.sort(key=lambda r: (r.person or "", r.name))
    groups = dict.fromkeys(r.original for r in usable)
    found = {**dict(zip(groups, lacking, strict=False)), **before}
    return [r.split or found.get(r.original) or TRAIN for r in recordings]
