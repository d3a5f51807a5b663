"""`simmc import SOURCE --guess`: a ``dataset.toml`` from what the files show, with its doubts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np

from simmc.data.conventions import extents
from simmc.data.importing.clean import frame_rate
from simmc.data.importing.description import Description, toml_text
from simmc.data.importing.formats import is_known, read_bodies
from simmc.data.importing.importer import NOTHING_FOUND
from simmc.data.importing.joint_names import skeleton_of, spelled_joints
from simmc.data.importing.members import members
from simmc.data.importing.recording import Body
from simmc.data.importing.tabular import columns_of
from simmc.data.skeletons import SKELETONS
from simmc.errors import UserError, numbered

_LOOKED_AT = 20  # files that are opened, without frames in which nobody was seen
_PATHS = 20_000
_WORDS = {
    "person": "p person pers subject subj sub s participant user patient actor walker id",
    "session": "session sess ses day date visit setup e episode",
    "camera": "camera cam c view v kinect k device sensor",
}
_FIELD_OF = {word: key for key, words in _WORDS.items() for word in words.split()}
_UNITS = (("m", 0.5, 3.0), ("cm", 50, 300), ("mm", 500, 3000))  # of the longest extent of a body
_ENDS = (("head", "nose", "neck", "shoulder_center"), ("ankle", "foot", "knee", "heel", "toe"))


@dataclass
class _Text:
    """Lines of TOML, each with a doubt as a comment above it if there is one."""

    lines: list[str] = field(default_factory=list)
    doubts: int = 0

    def add(self, key: str, value: object, doubt: str = "", off: bool = False) -> None:
        if doubt:
            self.doubt(doubt)
        self.lines.append(f"{'# ' * off}{key} = {toml_text(value)}")

    def doubt(self, text: str) -> None:
        self.doubts += 1
        self.lines.append(f"# DOUBT: {text}")


def guessed(source: Path) -> tuple[str, int]:
    """The text of a ``dataset.toml`` for a source, and how many doubts it names.

    UserError if no file of the source can be read.
    """
    paths, bodies, columns, faults = _look(source)
    if not bodies:
        shown = "\n  ".join(["no file can be read:", *faults[:5]])
        if paths and not faults:
            shown = f"{source}: no body is seen in its {numbered('{} [file|files]', len(paths))}"
            shown += "; give a source with recordings of people"
        raise UserError(shown if paths else NOTHING_FOUND)
    text = _Text()
    files = numbered("{} [file|files]", len(paths))
    text.lines += [
        f"# Guessed by simmc import --guess from {files} of {source.name} ({len(bodies)} opened).",
        "# Correct what is wrong; every key may be left out. All keys: docs/import.md",
        "",
    ]
    _body(text, bodies)
    _space(text, bodies)
    _who(text, paths, columns)
    text.lines += [f"# not readable: {fault}".replace("\n", " ") for fault in faults[:5]]
    if columns:
        text.lines += ["", "[columns]  # what the columns of the tables are"]
        text.lines += [f"{role} = {toml_text(name)}" for role, name in columns.items()]
    return "\n".join(text.lines) + "\n", text.doubts


def _look(source: Path) -> tuple[list[str], list[Body], dict[str, str], list[str]]:
    """Paths that have a reader, some bodies, roles of columns, and what could not be read."""
    paths: list[str] = []
    bodies: list[Body] = []
    columns: dict[str, str] = {}
    faults: list[str] = []
    for member in islice(members(source), _PATHS):
        if member.fault or not is_known(member.path):
            continue
        paths.append(member.path)
        if len(bodies) + len(faults) >= _LOOKED_AT:
            continue
        try:
            data = member.read()
            found = read_bodies(member.path, data, Description())
            names, of_file = columns_of(member.path, data, Description())
            columns |= {role: names[place] for role, place in of_file.items() if names[place]}
            bodies += found[:1]
        except UserError as error:
            faults.append(str(error)[:300])
    return paths, bodies, columns, faults


def _body(text: _Text, bodies: Sequence[Body]) -> None:
    """Sensor or joints."""
    body = bodies[0]
    joints = spelled_joints(body.joints)
    if all(joint.isdecimal() for joint in joints):
        known = [n for n, s in SKELETONS.items() if s.n_joints == len(joints)]
        text.add(
            "sensor",
            known[0] if known else "",
            f"the files have {len(joints)} joints without names; sensors with as many: "
            f"{', '.join(known) or 'none'}. Without names nothing that needs left and right works: "
            "give sensor, or joints in the order of the files",
            off=True,
        )
        text.add("joints", joints, off=True)
        return
    skeleton, guessed_bones = skeleton_of(joints, "")
    if skeleton.name:
        text.add("sensor", skeleton.name)
    else:
        text.add("joints", joints)
        if guessed_bones:
            doubt = "bones follow from the names of the joints"
            text.add("bones", [list(bone) for bone in skeleton.edges], doubt)
            text.add("root", skeleton.root)
    sets = {spelled_joints(other.joints) for other in bodies}
    if len(sets) > 1:
        shown = ", ".join(map(str, sorted({len(names) for names in sets})))
        text.doubt(
            f"the files have different joints ({shown} of them); files without the joints above "
            "are left out"
        )


def _space(text: _Text, bodies: Sequence[Body]) -> None:
    """Unit, up axis, zeros and frame rate."""
    found = np.array([extents(body.xyz[None]) for body in bodies])
    extent = np.nanmedian(found, axis=0) if np.isfinite(found).any() else np.full(3, np.nan)
    longest = float(np.nanmax(extent)) if np.isfinite(extent).any() else 0.0
    unit = next((name for name, low, high in _UNITS if low <= longest <= high), "px")
    sure = unit != "px" and not bodies[0].flat
    if bodies[0].metres:
        text.lines.append("# the files state their unit, and coordinates become metres")
    else:
        doubt = f"bodies are {longest:.3g} units high; px scales them to the height of an adult"
        text.add("unit", unit, "" if sure else doubt)
    up, doubt = _up(bodies, extent)
    text.add("up", bodies[0].up or up, "" if bodies[0].up else doubt)
    if any((body.xyz == 0).all(2).any() for body in bodies):
        doubt = "some joints are at exactly (0, 0, 0): not seen (missing), or a position?"
        text.add("zeros", "missing", doubt)
    rates = [rate for rate in (frame_rate(body.times, 0) for body in bodies) if rate]
    if rates:
        text.lines.append(f"# frames are {float(np.median(rates)):.4g} a second, by their times")
    else:
        doubt = "the files have no usable times; nothing is resampled or smoothed without a rate"
        text.add("frame_rate", 30, doubt, off=True)


def _up(bodies: Sequence[Body], extent: np.ndarray) -> tuple[str, str]:
    """The axis that points up: from feet to head, or else the longest."""
    body = bodies[0]
    places: list[list[int]] = [[], []]
    for place, joint in enumerate(spelled_joints(body.joints)):
        for end, words in enumerate(_ENDS):
            if joint.removeprefix("left_").removeprefix("right_") in words:
                places[end].append(place)
    if all(places):
        high, low = (np.nanmean(body.xyz[:, which], axis=(0, 1)) for which in places)
        rise = high - low
        axis = int(np.nanargmax(np.abs(rise))) if np.isfinite(rise).any() else 1
        return ("-" if rise[axis] < 0 else "") + "xyz"[axis], ""
    axis = int(np.nanargmax(extent)) if np.isfinite(extent).any() else 1
    return "xyz"[axis], f"bodies are longest along {'xyz'[axis]}; it may point down (-)"


def _who(text: _Text, paths: Sequence[str], columns: dict[str, str]) -> None:
    """How person, session and camera stand in the paths."""
    pattern, doubt = path_of(paths)
    if "person" in columns or "person" in pattern:
        text.add("path", pattern, doubt, off="{" not in pattern)
        return
    text.add("path", pattern or "{person}/*.csv", f"{doubt or 'persons are not known'}", off=True)


def path_of(paths: Sequence[str]) -> tuple[str, str]:
    """A pattern that most paths fit, with {person}, {session}, {camera} where words tell them.

    Also what is doubtful about it, "" if nothing is.
    """
    depth = Counter(len(PurePosixPath(path).parts) for path in paths).most_common(1)[0][0]
    usual = [PurePosixPath(p).parts for p in paths if len(PurePosixPath(p).parts) == depth]
    endings = {PurePosixPath(parts[-1]).suffix for parts in usual}
    doubts = [] if len(usual) == len(paths) else ["some paths have another depth"]
    taken: set[str] = set()
    made = []
    for level in range(depth):
        values = [parts[level] for parts in usual]
        if level == depth - 1:
            values = [PurePosixPath(value).stem for value in values]
        made.append(_part(values, taken, level == depth - 1, doubts))
    if "person" not in taken:
        doubts.append("where the person stands is not clear: put {person} in its place")
    ending = endings.pop() if len(endings) == 1 else ".*"
    while len(made) > 1 and "{" not in made[0]:
        made.pop(0)  # folders that say nothing
    return "/".join(made) + ending, "; ".join(doubts)


def _part(values: Sequence[str], taken: set[str], is_file: bool, doubts: list[str]) -> str:
    """The pattern of one folder level, or of the names of files without their ending."""
    if len(set(values)) == 1 and not is_file:
        return values[0]
    divided = [re.findall(r"[A-Za-z]+|[0-9]+|[^A-Za-z0-9]+", value) for value in values]
    if len({len(tokens) for tokens in divided}) != 1:
        return _whole(taken, is_file, doubts)
    made: list[str] = []
    words = {token.lower() for token in divided[0]}
    # S001P002, as in NTU RGB+D: s is the setup where something else is the person
    other = {"s": "session", "id": ""} if words & {"p", "person", "subject", "sub"} else {}
    fields = {**_FIELD_OF, **other}
    for place, tokens in enumerate(zip(*divided, strict=True)):
        word = next((t.lower() for t in divided[0][:place][:-3:-1] if t.isalpha()), "")
        if len(set(tokens)) == 1 and not (tokens[0].isdecimal() and fields.get(word)):
            made.append(tokens[0])
        elif not all(token.isdecimal() for token in tokens):
            return _whole(taken, is_file, doubts)
        else:
            key = fields.get(word, "")
            key = "person" if not word and not is_file and "person" not in taken else key
            made.append(f"{{{key}}}" if key and key not in taken else "*")
            taken.add(key)
            if word in ("s", "id", "e", "k", "v", "c"):
                doubts.append(f"the number after {word!r} is taken for the {key}")
    return "".join(made)


def _whole(taken: set[str], is_file: bool, doubts: list[str]) -> str:
    """A level whose names differ in letters: the first folder is taken for the person."""
    if is_file or "person" in taken:
        return "*"
    taken.add("person")
    doubts.append("the folder is taken for the person")
    return "{person}"
