"""What the columns of a table are, by their names: joints and axes, time, person, and so on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simmc.data.importing.description import Description
from simmc.errors import UserError

_GAP = r"[\s_.\-:/|\[(]*"
_UNIT = r"(?:[\s_(\[]+(?P<unit>mm|cm|m|px)[\])]*)?"
_KIND = rf"(?:pos(?:ition)?|loc(?:ation)?|coords?|(?<=[\s_.\-:])t){_GAP}"
_AXIS_LAST = re.compile(rf"(?P<stem>.+?){_GAP}(?:{_KIND})?(?P<axis>[xyz])[\])\s]*{_UNIT}", re.I)
_AXIS_FIRST = re.compile(rf"(?:{_KIND})?(?P<axis>[xyz]){_GAP}(?P<stem>.+)", re.I)
_BARE = re.compile(rf"(?:{_KIND})?(?P<axis>[xyz]){_UNIT}", re.I)
_LONGEST = 200  # letters of a column's name; the patterns take too long for damaged ones
# triples that are no positions
_OTHER = re.compile(
    r"(rot|rotation|quat|quaternion|orientation|orient|euler|angles?|vel|velocity)$"
)
NOT_USED = "-"  # in [columns]: no column has this role
_USUAL: Mapping[str, str] = {
    "time": "time timestamp t ts seconds sec times timems timesec timeseconds timestampms elapsed "
    "timestamps timeus timestampus datetime",
    "frame": "frame frameid framenumber frameno framenum frameindex framenr frames idx index nr",
    "person": "person personid subject subjectid subj participant participantid identity pid "
    "userid user actor walker patient patientid",
    "session": "session sessionid visit day date",
    "camera": "camera cameraid cam camid view viewid device deviceid kinect",
    "recording": "recording recordingid sequence sequenceid seq seqid trial take walk clip video "
    "file filename recordingname",
    "body": "body bodyid bodyindex skeleton skeletonid track trackid",
    "joint": "joint jointname jointid jointtype jointindex keypoint keypointid marker markername "
    "landmark landmarkid bodypart part node",
}
_ROLE_OF = {word: role for role, words in _USUAL.items() for word in words.split()}


@dataclass(frozen=True, eq=False)
class Columns:
    """Which column holds what.

    Attributes:
        joints: names of a wide table (a row a frame); empty for a long one (a row a joint).
        places: (J, 3) int64 columns of x, y, z; (1, 3) for a long table; z is -1 where there is
            none.
        roles: role or field -> column.
        guesses: what was concluded from names, one line each.
        unit: of the coordinates, by the names of their columns; "" if these name none.
    """

    joints: tuple[str, ...]
    places: np.ndarray
    roles: Mapping[str, int]
    guesses: tuple[str, ...]
    unit: str

    @property
    def long(self) -> bool:
        """Whether a row is a joint."""
        return not self.joints

    @property
    def flat(self) -> bool:
        """Whether there is no z."""
        return bool((self.places < 0).any())


def find_columns(names: Sequence[str], told: Description, where: str) -> Columns:
    """What the columns of these names are; names are "" where a file has none.

    UserError, which begins with `where`, if there are no coordinates or a named column is missing.
    """
    roles = _told(names, told, where)
    guesses = []
    for place, name in enumerate(names):
        role = _ROLE_OF.get(re.sub(r"[^a-z]", "", name.lower()), "")
        free = role and role not in told.columns and role not in roles and role not in told.path
        if free and place not in roles.values():
            roles[role] = place
            guesses.append(f"the column {name!r} is the {role}")
    bare = {axis: roles[axis] for axis in "xyz" if axis in roles} or _bare(names)
    if "joint" in roles and {"x", "y"} <= bare.keys():
        places = np.array([[bare.get(axis, -1) for axis in "xyz"]])
        return Columns((), places, roles, tuple(guesses), _unit(names, places, told, where))
    roles.pop("joint", None)
    used = set(roles.values())
    joints, places = _triples(names, used)
    if not joints:
        joints, places, found = _numbered(names, used, told, where)
        guesses += found
    return Columns(joints, places, roles, tuple(guesses), _unit(names, places, told, where))


def _told(names: Sequence[str], told: Description, where: str) -> dict[str, int]:
    """The columns that the description names, by role."""
    found = {}
    for role, name in told.columns.items():
        if name == NOT_USED:
            continue
        place = names.index(name) if name in names else -1
        if place < 0 and name.isdecimal() and int(name) < len(names) and not any(names):
            place = int(name)
        if place < 0:
            shown = ", ".join(filter(None, names)) if any(names) else f"0 to {len(names) - 1}"
            raise UserError(
                f"{where}: has no column {name!r}, which {role!r} of [columns] names; its columns "
                f"are {shown[:500]}"
            )
        found[role] = place
    return found


def _matched(pattern: re.Pattern[str], name: str) -> re.Match[str] | None:
    name = name.strip()
    return pattern.fullmatch(name) if len(name) <= _LONGEST else None


def _bare(names: Sequence[str]) -> dict[str, int]:
    """Columns that are named x, y and z alone."""
    found: dict[str, int] = {}
    for place, name in enumerate(names):
        if match := _matched(_BARE, name):
            found.setdefault(match["axis"].lower(), place)
    return found


def _unit(names: Sequence[str], places: np.ndarray, told: Description, where: str) -> str:
    """The unit in the names of the coordinates' columns, "" if there is none.

    UserError if they name several, and the description none.
    """
    found: dict[str, str] = {}  # unit -> the first column
    for place in places[places >= 0].tolist():
        name = names[place].strip()
        match = _matched(_BARE, name) or _matched(_AXIS_LAST, name)
        if match and match["unit"]:
            found.setdefault(match["unit"].lower(), name)
    if len(found) > 1 and not told.unit:
        raise UserError(
            f"{where}: the columns {' and '.join(map(repr, found.values()))} have different units; "
            "write all coordinates in one unit, or set the unit of all in dataset.toml"
        )
    return ", ".join(found)


def _triples(names: Sequence[str], used: set[int]) -> tuple[tuple[str, ...], np.ndarray]:
    """Joints whose x, y (and z) columns have names of one kind; none if there are none."""
    best: dict[str, dict[str, int]] = {}
    for pattern in (_AXIS_LAST, _AXIS_FIRST):
        stems: dict[str, dict[str, int]] = {}
        for place, name in enumerate(names):
            match = None if place in used else _matched(pattern, name)
            if match and not _OTHER.search(match["stem"].lower()):
                stems.setdefault(match["stem"], {}).setdefault(match["axis"].lower(), place)
        whole = {stem: axes for stem, axes in stems.items() if set(axes) == set("xyz")}
        flat = {stem: axes for stem, axes in stems.items() if set(axes) == set("xy")}
        best = max(best, whole or flat, key=len)
    places = [[axes.get(axis, -1) for axis in "xyz"] for axes in best.values()]
    return tuple(best), np.array(places, np.int64).reshape(-1, 3)


def _numbered(
    names: Sequence[str], used: set[int], told: Description, where: str
) -> tuple[tuple[str, ...], np.ndarray, list[str]]:
    """Joints of columns whose names say nothing: as many numbers as joints and axes give."""
    free = [place for place in range(len(names)) if place not in used]
    n = len(told.joints)
    for axes in (3, 2):
        count = n * axes if n else len(free) // axes * axes
        rest = len(free) - count
        if count and rest in (0, 1) and (n or not any(names)):
            places = np.array(free[rest:])
            by_joint = told.order == "joints"
            places = places.reshape(-1, axes) if by_joint else places.reshape(axes, -1).T
            full = np.full((len(places), 3), -1)
            full[:, :axes] = places
            letters = ", ".join("xyz"[:axes])
            order = "of each joint in turn" if by_joint else "of all joints, an axis at a time"
            guesses = [f"{count} columns without names of joints are {letters} {order}"]
            if rest:
                guesses.append("the first column is not a coordinate and is not used")
            return tuple(map(str, range(len(places)))), full, guesses
    shown = ", ".join(filter(None, names))[:300] or f"{len(names)} without names"
    raise UserError(
        f"{where}: no columns are recognised as the coordinates of joints, such as head_x, head_y, "
        f"head_z, or x, y, z and joint; its columns are {shown}. Write a dataset.toml with --guess"
    )
