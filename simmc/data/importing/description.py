"""``dataset.toml``: what the files of a source hold, where it cannot be seen from them."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from simmc.errors import UserError
from simmc.files import Within, fault

FILE = "dataset.toml"
WHO = ("session", "camera", "person")  # fields that mean something to an import
# what the columns of a table can be; every other name in [columns] is a field
ROLES = ("time", "frame", "joint", "x", "y", "z", "body")
_FIELD = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(frozen=True)
class Description:
    """The content of a ``dataset.toml``; every key may be left out (docs/import.md)."""

    # the body
    sensor: str = ""  # a known skeleton; its joints are those of the arrays, in their order
    joints: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)  # name in the files -> name here
    bones: tuple[tuple[str, str], ...] = ()
    root: str = ""
    # coordinates and time
    unit: Literal["", "m", "cm", "mm", "px"] = ""  # "": metres, or what the format says
    up: Literal["", "y", "-y", "z", "-z", "x", "-x"] = ""  # "": y, or what the format says
    frame_rate: float = 0.0  # Hz; 0: from the times of the files
    time_unit: Literal["", "s", "ms", "us", "100ns", "ns"] = ""
    shared_clock: bool = False  # times of all recordings are on one clock
    zeros: Literal["missing", "position"] = "missing"
    # which files, and what their paths say
    files: str = ""  # a glob on paths
    path: str = ""  # a pattern with {names}, or a regular expression with named groups
    # tables
    columns: Mapping[str, str] = field(default_factory=dict)  # role or field -> column or array
    delimiter: str = ""
    decimal: Literal["", ".", ","] = ""
    skip_lines: int = -1  # lines before the header; -1: found
    bad_rows: Literal["refuse", "drop"] = "refuse"
    order: Literal["joints", "axes"] = "joints"  # of numbers without names: x y z x y z, or x x y y
    # arrays
    array: str = ""  # name of the array in a .npz or JSON file
    offsets: str = ""  # array of the first frames of the recordings, and the end
    axes: str = ""  # of an array: f frames, j joints, c coordinates, b bodies
    # which frames and bodies
    bodies: Literal["all", "first", "longest", "largest"] = "all"
    skip_frames: tuple[int, int] = (0, 0)  # at start and end of a recording
    min_frames: int = 0
    resample: float = 0.0  # Hz
    fill_gaps: int = 0  # frames: the longest run that is filled by interpolation
    smooth: float = 0.0  # Hz: cut-off of a low-pass filter
    # which split; the first that fits
    split: tuple[Mapping[str, str], ...] = ()
    split_file: str = ""

    def text(self) -> dict[str, Any]:
        """The keys that differ from the default, for the manifest: lists in place of tuples."""
        empty, found = Description(), {}
        for name in self.__dataclass_fields__:
            if (value := getattr(self, name)) != getattr(empty, name):
                found[name] = list(value) if isinstance(value, tuple) else value
        return found


def read_description(path: Path) -> Description:
    """The description in a file; UserError with the key if anything is wrong."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; write it with --guess") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as TOML ({error}); correct it") from error
    return described(content, str(path))


def described(content: Mapping[str, Any], where: str) -> Description:
    """The description of these keys; UserError, which begins with `where`, if they are wrong."""
    known = [one.name for one in dataclasses.fields(Description)]
    for key in (key for key in content if key not in known):
        close = difflib.get_close_matches(key[:80], known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(known)}"
        raise UserError(f"{where}: there is no key {key[:80]!r}; {hint}")
    if wrong := fault(content, _FORM):
        raise UserError(f"{where}: {wrong}")
    found = Description(**{key: _converted(key, value) for key, value in content.items()})
    _check(found, where)
    return found


_RATE, _FRAMES = Within(0, 10_000), Within(0, 10_000, whole=True)
_FORM: dict[Any, Any] = {
    f"{one.name}?": type(one.default)
    for one in dataclasses.fields(Description)
    if isinstance(one.default, str | bool | int | float)
} | {
    "joints?": [str],
    "rename?": {str: str},
    "bones?": [[str]],
    "columns?": {str: str},
    "split?": [{"to": str, str: str}],
    "skip_frames?": [_FRAMES],
    **dict.fromkeys(("frame_rate?", "resample?", "smooth?"), _RATE),
    **dict.fromkeys(("fill_gaps?", "min_frames?"), _FRAMES),
}


def _converted(key: str, value: Any) -> Any:
    """A TOML value in the type of its key: tuples for lists, floats for whole numbers."""
    if key == "bones":
        return tuple(tuple(bone) for bone in value)
    if isinstance(value, list):
        return tuple(value)
    return float(value) if isinstance(getattr(Description(), key), float) else value


def _check(found: Description, where: str) -> None:
    for key, hint in get_type_hints(Description).items():
        given, allowed = getattr(found, key), get_args(hint)
        if get_origin(hint) is Literal and given not in allowed:
            choose = ", ".join(filter(None, allowed))
            raise UserError(f"{where}: {key} = {given!r}; choose one of {choose}")
    names = (*found.joints, *sum(found.bones, ()), *found.rename.values(), *found.columns.values())
    if not all((*names, *(text for rule in found.split for text in rule.values()))):
        raise UserError(
            f"{where}: joints, bones, [rename], [columns] or [[split]] has an empty text"
        )
    if len(found.delimiter) > 1 or found.delimiter in ('"', "\n", "\r"):
        raise UserError(f"{where}: delimiter = {found.delimiter!r}: expected one character")
    if len(found.skip_frames) != 2:
        raise UserError(f"{where}: skip_frames: expected two numbers, such as [5, 5]")
    if any(len(bone) != 2 for bone in found.bones):
        raise UserError(f'{where}: bones: expected pairs of joints, such as [["hip", "knee"]]')
    if twice := sorted({j for j in found.joints if found.joints.count(j) > 1}):
        raise UserError(f"{where}: joints has {twice[0]!r} twice")
    if not set(found.axes) <= set("fjcb") or len(set(found.axes)) != len(found.axes):
        raise UserError(f"{where}: axes = {found.axes!r}: expected letters of fjcb, each once")
    if found.axes and not {"f", "j", "c"} <= set(found.axes):
        raise UserError(f"{where}: axes = {found.axes!r}: needs f (frames), j (joints) and c")
    for name in found.columns:
        if not _FIELD.fullmatch(name):
            raise UserError(f"{where}: [columns] {name!r}: use small letters, digits and _")
    path_pattern(found.path, where)
    for rule in found.split:
        for key, pattern in rule.items():
            if key == "to" and pattern not in (*SPLITS, NONE):
                choose = ", ".join((*SPLITS, NONE))
                raise UserError(f"{where}: [[split]] to = {pattern!r}; choose one of {choose}")
            compiled(pattern, f"{where}: [[split]] {key}")


SPLITS = ("train", "gallery", "probe")
NONE = "none"  # of no split


def compiled(pattern: str, where: str) -> re.Pattern[str]:
    """A regular expression of the user; UserError if it is none."""
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UserError(
            f"{where} = {pattern[:80]!r} is not a valid regular expression: {error}"
        ) from error


def path_pattern(pattern: str, where: str) -> re.Pattern[str]:
    """What is searched for in every path: a regular expression, or a pattern with {names}.

    A name stands for as few characters as possible without a slash; the pattern fits the end of
    the path.
    """
    if not pattern or "(?P<" in pattern:
        return compiled(pattern, f"{where}: path")
    parts = re.split(r"\{([^{}]*)\}", pattern)
    wrong = [name for name in parts[1::2] if not _FIELD.fullmatch(name)]
    if wrong or len(set(parts[1::2])) != len(parts[1::2]) or set("{}") & set("".join(parts[::2])):
        raise UserError(
            f"{where}: path = {pattern!r}: expected names in braces, each once, such as "
            '"{person}/{session}_{camera}.csv"'
        )
    text = "".join(
        f"(?P<{part}>[^/]+?)" if place % 2 else re.escape(part).replace(r"\*", "[^/]*")
        for place, part in enumerate(parts)
    )
    return re.compile(f"(?:^|/){text}$")


def toml_text(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, str):
        # JSON's escapes are TOML's, except for half of a surrogate pair
        return json.dumps(value.encode(errors="replace").decode())
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_text, value))}]"
    return repr(value)
