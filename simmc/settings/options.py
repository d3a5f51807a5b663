"""Settings: typed values with flags, allowed ranges, and groups that commands share.

A group (`Place`, `Clustering`, ...) and a command's settings are both a `Settings` dataclass.
Fields are made by `option` or `switch`; a field whose type is a group holds that group. Flags and
files are flat; in code a setting is reached through its group: `settings.clustering.eps`.
"""

import dataclasses
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, TypeVar

from simmc.errors import UserError
from simmc.settings.switches import SWITCHES

# Headings of the help page, in their order.
MAIN = "main"
TRAINING = "training"
EVALUATION = "evaluation"
MATCHING = "further ways of matching, with --mode Eval (docs/matching.md)"
FIDELITY = "fidelity switches (released value first, exact second; docs/fidelity.md)"
MACHINE = "files and machine"
HEADINGS = (MAIN, TRAINING, EVALUATION, MATCHING, FIDELITY, MACHINE)

_TRUE = ("1", "true", "on", "yes")
_FALSE = ("0", "false", "off", "no")
_LONGEST = 4096  # letters of a text, as of a path


@dataclass(frozen=True)
class Range:
    """Numbers between two bounds; an exclusive bound is not itself allowed."""

    low: float = -math.inf
    high: float = math.inf
    exclusive: bool = False
    note: str = ""  # what follows the bounds where they are shown

    def __contains__(self, value: float) -> bool:
        """Whether `value` lies inside; NaN never does."""
        if self.exclusive:
            return self.low < value < self.high
        return self.low <= value <= self.high

    def __str__(self) -> str:
        """The range in words."""
        if math.isinf(self.high):
            return f"above {self.low:g}" if self.exclusive else f"{self.low:g} or more"
        middle = "strictly between" if self.exclusive else "from"
        joined = "and" if self.exclusive else "to"
        return f"{middle} {self.low:g} {joined} {self.high:g}{self.note}"


@dataclass(frozen=True)
class Option:
    """One setting as the user meets it.

    Attributes:
        name: attribute of the settings class; a trailing underscore avoids a Python keyword.
        default: value where no layer sets one.
        kind: str, int, float or bool.
        help: one sentence.
        group: heading under which `--help` lists it.
        aliases: further flag names.
        choices: allowed values of a text, matched without regard to case; empty: any.
        limits: allowed numbers.
        words: texts that stand for a value of a numeric setting.
        is_switch: set by `--fidelity`.
        transient: belongs to one call (mode, machine), so a stored run does not pass it on.
        holder: field of the command's settings that holds its group; "" for the command's own.
    """

    name: str
    default: Any
    kind: type
    help: str
    group: str
    aliases: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    limits: Range | None = None
    words: Mapping[str, Any] = field(default_factory=dict)
    is_switch: bool = False
    transient: bool = False
    holder: str = ""

    @property
    def key(self) -> str:
        """Name in files and, after two dashes, on the command line."""
        return self.name.rstrip("_")

    @property
    def keys(self) -> tuple[str, ...]:
        """All names that mean this setting."""
        return (self.key, *self.aliases)

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        words = [*self.choices, *self.words]
        if self.kind is bool:
            words += ["0", "1"]
        elif self.kind is int:
            words.append(f"a whole number{f' {self.limits}' if self.limits else ''}")
        elif self.kind is float:
            words.append(f"a number{f' {self.limits}' if self.limits else ''}")
        return " or ".join(filter(None, (", ".join(words[:-1]), *words[-1:]))) or "any text"

    def convert(self, value: Any, where: str) -> Any:
        """A text of the command line or a TOML value in this setting's type.

        UserError, which begins with `where` (flag, or file and key), if it is none.
        """
        if value is None and None in self.words.values():
            return None
        if isinstance(value, str) and value.casefold() in self.words:
            return self.words[value.casefold()]
        result: Any
        try:
            result = _CONVERTERS[self.kind](value)
        except (ValueError, OverflowError, RecursionError):
            result = None
        if result is not None and self.choices:
            result = {choice.casefold(): choice for choice in self.choices}.get(result.casefold())
        if result is None or (self.limits is not None and result not in self.limits):
            raise UserError(f"{where} {_shown(value)} is not possible; allowed: {self.allowed}.")
        return result


def option(
    default: Any,
    help: str,
    *,
    group: str = "",
    kind: type | None = None,
    aliases: Iterable[str] = (),
    choices: Iterable[str] = (),
    limits: Range | None = None,
    words: Mapping[str, Any] | None = None,
    transient: bool = False,
) -> Any:
    """A dataclass field that carries an `Option`; the arguments are its attributes.

    Without `group` the help page lists it under the `GROUP` of its class.
    """
    made = Option(
        name="",  # that of the field
        default=default,
        kind=kind or type(default),
        help=help,
        group=group,
        aliases=tuple(aliases),
        choices=tuple(choices),
        limits=limits,
        words=dict(words or {}),
        transient=transient,
    )
    return field(default=default, metadata={"option": made})


def switch(name: str) -> Any:
    """A dataclass field for a row of the table of switches; the default depends on the command."""
    row = SWITCHES[name]
    choices = () if row.open else row.choices
    about = f"{row.help} [{row.quirk}]"
    made = Option(name, row.released, str, about, FIDELITY, choices=choices, is_switch=True)
    return field(default=row.released, metadata={"option": made})


def group_of(**changes: Any) -> Any:
    """A command's field that holds a group of settings with defaults of its own.

    A group as it is needs none of this: `place: Place` is enough.

    Args:
        changes: setting -> the command's default, or an `option` with its own help as well.
    """
    return field(metadata={"changes": changes})


G = TypeVar("G", bound="Settings")


@dataclass(frozen=True)
class Settings:
    """Base of every group and every command's settings; values set in code are checked as well."""

    COMMAND: ClassVar[str] = ""
    SUMMARY: ClassVar[str] = ""
    PRESETS: ClassVar[str] = ""  # folder of presets; the command's name where left out
    MAY_BE_AUTO: ClassVar[tuple[str, ...]] = ()  # None where a command's own option allows it
    WITHOUT_PRESET: ClassVar[Mapping[str, Any]] = {}  # name -> value where no preset fits
    GROUP: ClassVar[str] = TRAINING  # heading of the options that name none

    def __post_init__(self) -> None:
        for entry in options_of(type(self)):
            auto = entry.name in self.MAY_BE_AUTO and getattr(self, entry.name) is None
            if not entry.holder and not auto:
                value = entry.convert(getattr(self, entry.name), f"--{entry.key}")
                object.__setattr__(self, entry.name, value)
        self.check()

    def check(self) -> None:
        """Refuse values that do not go together; the message names the flags."""

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Settings from flat values; what is left out has its default.

        Raises:
            TypeError: a name that is no setting of this class.
        """
        entries = options_of(cls)
        if unknown := values.keys() - {entry.name for entry in entries}:
            raise TypeError(f"{cls.__name__} has no setting {', '.join(sorted(unknown))}")
        own: dict[str, Any] = {}
        held: dict[str, dict[str, Any]] = {name: {} for name in _groups(cls)}
        for entry in entries:
            value = values.get(entry.name, entry.default)
            (held[entry.holder] if entry.holder else own)[entry.name] = value
        groups = _groups(cls)
        return cls(**{name: groups[name](**held[name]) for name in groups}, **own)

    def flat(self) -> dict[str, Any]:
        """Every setting by name, those of the groups included."""
        return {entry.name: self.get(entry) for entry in options_of(type(self))}

    def get(self, entry: Option) -> Any:
        """The value of one setting."""
        return getattr(getattr(self, entry.holder) if entry.holder else self, entry.name)

    def find(self, kind: type[G]) -> G | None:
        """The group of a type; None where these settings have none."""
        held = _groups(type(self)).items()
        return next((getattr(self, name) for name, group in held if group is kind), None)

    def but(self, **changes: Any) -> Self:
        """The same settings with some values changed."""
        return type(self).of(**self.flat() | changes)

    @staticmethod
    def preset_names(values: Mapping[str, Any]) -> list[str]:
        """Presets that fit these flat values, best first, without folder and ending."""
        return []

    @classmethod
    def other_defaults(cls, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Defaults that follow these flat values, and what they come from: those of a group."""
        found = (group.other_defaults(values) for group in _groups(cls).values())
        return next((one for one in found if one[1]), ("", {}))


_OPTIONS: dict[type[Settings], tuple[Option, ...]] = {}


def options_of(settings: type[Settings]) -> tuple[Option, ...]:
    """The settings of a group or command, in the order of the class; collected once."""
    if settings not in _OPTIONS:
        _OPTIONS[settings] = tuple(_collected(settings))
    return _OPTIONS[settings]


def _collected(settings: type[Settings]) -> list[Option]:
    found: list[Option] = []
    groups = _groups(settings)
    for entry in dataclasses.fields(settings):
        if entry.name not in groups:
            found.append(_option(entry, settings, settings.COMMAND))
            continue
        changes, group = entry.metadata.get("changes", {}), groups[entry.name]
        for inner in dataclasses.fields(group):
            made = _option(inner, group, settings.COMMAND)
            changed = changes.get(inner.name, made.default)
            if isinstance(changed, dataclasses.Field):
                changed.name = inner.name
                made = _option(changed, group, settings.COMMAND)
            else:
                made = dataclasses.replace(made, default=changed)
            found.append(dataclasses.replace(made, holder=entry.name))
    return found


def _groups(settings: type[Settings]) -> dict[str, type[Settings]]:
    """Field -> group that it holds: the fields whose type is a group."""
    found = {}
    for entry in dataclasses.fields(settings):
        if isinstance(entry.type, type) and issubclass(entry.type, Settings):
            found[entry.name] = entry.type
        elif "option" not in entry.metadata:
            raise TypeError(
                f"{settings.__name__}.{entry.name}: neither an option nor a group (in a file with "
                "`from __future__ import annotations` the type of a group is not known)"
            )
    return found


def _option(entry: dataclasses.Field[Any], owner: type[Settings], command: str) -> Option:
    """The option of a field; a switch has the released value of its command as default."""
    made: Option = entry.metadata["option"]
    default = SWITCHES[entry.name].released_by(command) if made.is_switch else made.default
    group = made.group or owner.GROUP
    return dataclasses.replace(made, name=entry.name, default=default, group=group)


def _shown(value: Any) -> str:
    """A value that is refused, in few letters: it may be of any type and size."""
    if isinstance(value, str):
        return repr(value if len(value) <= 80 else f"{value[:77]}...")
    # str() of a huge integer may be refused
    if isinstance(value, int | float) and (isinstance(value, float) or value.bit_length() < 256):
        return str(value)
    return f"({type(value).__name__})"


def _to_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError
    text = str(value)
    if "\0" in text or len(text) > _LONGEST:
        raise ValueError
    os.fsencode(text)  # a ValueError where it could name no file
    return text


def _to_int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError
    return number


def _to_float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _to_bool(value: Any) -> bool:
    text = str(value).casefold()
    if text not in _TRUE + _FALSE:
        raise ValueError
    return text in _TRUE


_CONVERTERS = {str: _to_text, int: _to_int, float: _to_float, bool: _to_bool}
