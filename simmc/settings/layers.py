"""Settings from layers: defaults, fidelity level, preset, stored run, file, command line.

The later layer wins. Works for any settings class; nothing here knows a method. The help page of a
command is here as well.
"""

import argparse
import difflib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from simmc.errors import UserError
from simmc.settings import switches as fidelity
from simmc.settings.options import HEADINGS, Option, Settings, options_of

S = TypeVar("S", bound=Settings)
TYPED, STORED, NO_PRESET, DERIVED = "command line", "stored run", "no preset", "derived"
FILE = "file "  # begins the layer of --config
SMALL = "_cpu"  # ends the keys of a file that count with `--budget cpu` alone


def by_user(layer: str) -> bool:
    """Whether the user has given the value of a layer, by a flag or in the file of --config."""
    return layer == TYPED or layer.startswith(FILE)


@dataclass(frozen=True)
class Resolved(Generic[S]):
    """Settings and where each value came from.

    Attributes:
        settings: the checked settings.
        origin: setting name -> layer, such as "default", "preset KGBD_probe.toml", "command line";
            `DERIVED` for a default that follows another setting, or the data.
    """

    settings: S
    origin: dict[str, str]

    def describe(self) -> str:
        """A table of name, value and origin."""
        rows = [
            (entry.key, _shown(self.settings.get(entry)), self.origin[entry.name])
            for entry in options_of(type(self.settings))
        ]
        wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
        return "\n".join(f"{key:<{wide[0]}}  {value:<{wide[1]}}  {o}" for key, value, o in rows)

    def to_dict(self) -> dict[str, Any]:
        """What config.json holds; `resolve` takes it back as `stored`."""
        return {
            "command": self.settings.COMMAND,
            "settings": {n.rstrip("_"): value for n, value in self.settings.flat().items()},
            "origin": {name.rstrip("_"): layer for name, layer in self.origin.items()},
        }


def resolve(
    settings: type[S],
    argv: Sequence[str],
    preset_dir: Path | None = None,
    stored: Mapping[str, Any] | None = None,
) -> Resolved[S]:
    """Settings of a command from everything that has a say.

    Args:
        settings: the command's settings class.
        argv: the words after the command's name.
        preset_dir: folder of presets; None: the project's own for this command.
        stored: `Resolved.to_dict()` of an earlier run that is continued or evaluated. It ranks
            above the preset and below what is given now, without the settings of the machine.

    Raises:
        UserError: an unknown name or an impossible value, with flag or file and what is allowed.
    """
    options = {entry.name: entry for entry in options_of(settings)}
    typed = {
        name: options[name].convert(text, flag)
        for name, (flag, text) in typed_flags(settings, argv).items()
    }
    above = [(TYPED, typed)]
    if typed.get("config"):
        path = Path(typed["config"])
        above.insert(0, (f"{FILE}{path}", read_file(path, options.values())))
    if stored is not None:
        above.insert(0, (STORED, _stored(stored, options.values(), typed)))
    defaults = {name: entry.default for name, entry in options.items()}
    layers = [("default", defaults), *above]
    known, origins = _merged(layers)
    layers[1:1] = _fidelity_and_preset(settings, known, origins, preset_dir, options)
    values, origin = _merged(_of_budget(layers, known.get("budget")))
    try:
        built = settings.of(**values)
    except UserError as error:  # settings that do not fit each other: name where they were read
        layers_read = [layer for layer, _ in above if layer != TYPED]
        files = ["the run's config.json" if layer == STORED else layer for layer in layers_read]
        if files:
            raise UserError(f"{error} Settings were read from {' and '.join(files)}.") from error
        raise
    for name, value in built.flat().items():
        if origin[name] == "default" and values[name] != value:
            origin[name] = DERIVED  # such as the probe, from --probe_type
    return Resolved(built, origin)


def read_file(path: Path, options: Any) -> dict[str, Any]:
    """A flat TOML file of settings: name -> value. Names may be any of a setting's flag names.

    `<name>_cpu` is the value with `--budget cpu`, of a command that has this flag.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"--config: there is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}.") from error
    except (ValueError, RecursionError) as error:  # also numbers and nesting beyond all bounds
        raise UserError(f"{path} is not valid TOML: {error}.") from error
    by_key = {key: entry for entry in options for key in entry.keys if entry.key != "config"}
    if "budget" in by_key:
        small = {f"{key}{SMALL}": entry for key, entry in by_key.items()}
        by_key |= {key: replace(entry, name=entry.name + SMALL) for key, entry in small.items()}
    result: dict[str, Any] = {}
    for key, value in content.items():
        entry = by_key.get(key.replace("-", "_"))
        if entry is None:
            near = nearest(key[:80], by_key)
            raise UserError(f"{path}: there is no setting {key[:80]!r}{near}")
        if entry.name in result:
            raise UserError(f"{path}: {key} sets {entry.key} a second time; keep one of the two.")
        result[entry.name] = entry.convert(value, f"{path}: {key} =")
    return result


def preset_root() -> Path:
    """The folder `configs`: inside an installed package, beside the package in a checkout."""
    package = Path(str(resources.files("simmc")))
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def _fidelity_and_preset(
    settings: type[Settings],
    known: Mapping[str, Any],
    origins: Mapping[str, str],
    preset_dir: Path | None,
    options: Mapping[str, Option],
) -> list[tuple[str, dict[str, Any]]]:
    """The layers just above the defaults; which ones they are, the other layers decide."""
    layers: list[tuple[str, dict[str, Any]]] = []
    source, values = settings.other_defaults(known)
    if other := {n: v for n, v in values.items() if n in options and v != options[n].default}:
        layers.append((source, other))
    if "fidelity" in options:
        switches = fidelity.values(settings.COMMAND, known["fidelity"])
        admitted = {name: value for name, value in switches.items() if name in options}
        layers.append((f"fidelity {known['fidelity']}", admitted))
    folder = preset_dir or preset_root() / (settings.PRESETS or settings.COMMAND)
    presets = {path.stem: path for path in folder.glob("*.toml")}
    for name in settings.preset_names(known):
        if path := presets.get(name):  # a stored dataset can have any name, also one of no file
            layers.append((f"preset {path.name}", read_file(path, options.values())))
            break
    else:
        values = dict(settings.WITHOUT_PRESET)
        if origins.get("fidelity", "default") != "default":  # it was asked for: switches follow it
            values = {name: v for name, v in values.items() if not options[name].is_switch}
        layers.append((NO_PRESET, values))
    return layers


def _stored(stored: Mapping[str, Any], options: Any, typed: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an earlier run; unknown names (of another version) are passed over."""
    kept = stored.get("settings")
    if not isinstance(kept, Mapping):
        raise UserError("the stored run has no settings in its config.json; start a new run.")
    result = {}
    for entry in options:
        # a level typed now outranks the switches of the stored run
        outranked = entry.is_switch and "fidelity" in typed
        if entry.key in kept and not entry.transient and not outranked:
            result[entry.name] = entry.convert(kept[entry.key], f"config.json: {entry.key} =")
    return result


def _of_budget(
    layers: Sequence[tuple[str, Mapping[str, Any]]], budget: str | None
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Layers without the keys for the small budget: with that budget they follow as a layer."""
    for layer, content in layers:
        small = {n.removesuffix(SMALL): v for n, v in content.items() if n.endswith(SMALL)}
        yield layer, {n: v for n, v in content.items() if not n.endswith(SMALL)}
        if budget == "cpu":
            yield f"{layer} with --budget cpu", small


def _merged(
    layers: Iterable[tuple[str, Mapping[str, Any]]],
) -> tuple[dict[str, Any], dict[str, str]]:
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for layer, content in layers:
        values.update(content)
        origin.update(dict.fromkeys(content, layer))
    return values, origin


def _shown(value: Any) -> str:
    if value is None:
        return "auto"
    return json.dumps(value) if isinstance(value, bool) else str(value)


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises instead of printing usage and leaving the process."""

    def error(self, message: str) -> NoReturn:
        """What argparse calls where a flag is wrong."""
        message = message.removeprefix("argument ")
        raise UserError(f"{message}. See python -m {self.prog} --help.")


def typed_flags(settings: type[Settings], argv: Sequence[str]) -> dict[str, tuple[str, Any]]:
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
    made = Parser(
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
