"""The command line of a settings class: the flags that were typed, and the help page."""

import argparse
import difflib
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from simmc.errors import UserError
from simmc.settings.options import HEADINGS, Option, Settings, options_of


class _Parser(argparse.ArgumentParser):
    """An argparse parser that raises instead of printing usage and leaving the process."""

    def error(self, message: str) -> NoReturn:
        message = message.removeprefix("argument ")
        raise UserError(f"{message}. See python -m {self.prog} --help.")


def typed(settings: type[Settings], argv: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """What the user typed: setting name -> (flag, text); `--help` prints its page and exits with 0.

    Raises:
        UserError: an unknown flag (with the nearest known one), a missing value, a stray word.
    """
    options = options_of(settings)
    found, unknown = parser(settings).parse_known_args(list(argv))
    for word in unknown:
        if word.startswith("--"):
            flag = word.partition("=")[0]
            raise UserError(f"there is no flag {flag}{nearest(flag, _all_flags(options))}")
    if unknown:
        raise UserError(
            f"{unknown[0]!r} belongs to no flag; every setting is written as --name value. "
            f"See python -m simmc {settings.COMMAND} --help."
        )
    return {name: (f"--{name.rstrip('_')}", text) for name, text in vars(found).items()}


def parser(settings: type[Settings]) -> argparse.ArgumentParser:
    """The parser of a settings class; values stay text, for `Option.convert` to judge."""
    made = _Parser(
        prog=f"simmc {settings.COMMAND}",
        description=settings.SUMMARY,
        epilog=f"{_order(settings)} Flags may be written with - instead of _.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32, width=100),
        usage=f"simmc {settings.COMMAND} [--name value ...]",
    )
    groups = {name: made.add_argument_group(name) for name in HEADINGS}
    for entry in options_of(settings):
        if entry.group not in groups:
            groups[entry.group] = made.add_argument_group(entry.group)
        groups[entry.group].add_argument(
            *_flags(entry, dashed=False),
            dest=entry.name,
            help=_help(entry),
            **_value_rule(entry),
        )
        hidden = sorted({*_flags(entry, dashed=True)} - {*_flags(entry, dashed=False)})
        if hidden:  # the same flags with dashes inside, kept out of the help page
            made.add_argument(
                *hidden, dest=entry.name, help=argparse.SUPPRESS, **_value_rule(entry)
            )
    return made


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a message: '; did you mean X?', or a full stop where nothing is near."""
    names = {name.lstrip("-"): name for name in known}  # shared dashes would make all flags alike
    close = difflib.get_close_matches(word.lstrip("-").replace("-", "_"), names, n=1)
    return f"; did you mean {names[close[0]]}?" if close else "."


def _order(settings: type[Settings]) -> str:
    """Which layers a command has; the later wins."""
    names = {entry.name for entry in options_of(settings)}
    layers = ["defaults"]
    if "fidelity" in names:
        layers.append("--fidelity")
    if settings.preset_names is not Settings.preset_names:
        folder = settings.PRESETS or settings.COMMAND
        layers.append(f"the preset of dataset and probe (configs/{folder})")
    if "config" in names:
        layers.append("the file given with --config")
    return f"Order, later wins: {', '.join(layers)}, what you type."


def _flags(entry: Option, dashed: bool) -> list[str]:
    names = [key.replace("_", "-") if dashed else key for key in entry.keys]
    return [f"--{name}" for name in names]


def _all_flags(options: Iterable[Option]) -> list[str]:
    return ["--help"] + [flag for entry in options for flag in _flags(entry, dashed=False)]


def _value_rule(entry: Option) -> dict[str, Any]:
    if entry.kind is bool:
        return {"nargs": "?", "const": "1", "metavar": "0|1"}
    if entry.choices and len(entry.choices) <= 3:
        return {"metavar": "|".join(entry.choices)}
    return {"metavar": {int: "N", float: "X"}.get(entry.kind, "TEXT")}


def _help(entry: Option) -> str:
    default = entry.default
    if default != "":
        default = next((word for word, value in entry.words.items() if value == default), default)
    if isinstance(default, bool):
        default = int(default)
    shown = f" (default: {default})" if default != "" else ""
    return f"{entry.help}{shown}".replace("%", "%%")
