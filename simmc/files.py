"""Files: written whole or not at all, and JSON that a user may have changed, checked when read.

A file or folder is written under a temporary name beside its target and swapped in at the end.
A crash, a kill or a full disk leaves the previous version untouched.

A schema is written as the value looks:

* ``int`` (fits int64), ``float`` (a finite number), ``str``, ``bool``, ``None``, or ``object`` for
  anything;
* ``[S]``: a list of S;
* ``{"a": S, "b?": S}``: an object with the key a and perhaps b; other keys are ignored;
* ``{str: S}``: an object with any keys;
* ``Within(low, high)``: a number in this range, including the ends;
* ``(S, T)``: one of them; the message names the last.
"""

from __future__ import annotations

import csv
import glob
import io
import json
import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from simmc.errors import UserError

_SUFFIX = ".part"
_LEFTOVER_SECONDS = 3600
INT64 = range(-(2**63), 2**63)
_NAMES: dict[Any, str] = {int: "an integer of 64 bits", float: "a finite number", str: "text"}
_NAMES |= {bool: "true or false", None: "null"}


@contextmanager
def open_atomic(path: str | Path, mode: Literal["wb", "w"] = "wb") -> Iterator[IO[Any]]:
    """Open a file for writing that replaces `path` only when the block ends without an error.

    Args:
        path: the file to create or replace; its folder is created if it is missing.
        mode: "wb" for bytes, "w" for UTF-8 text with plain newlines.

    Raises:
        UserError: the disk is full, the folder is read-only, or the like.
    """
    text: dict[str, Any] = {} if mode == "wb" else {"encoding": "utf-8", "newline": "\n"}
    path = Path(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # not tempfile: the file gets the user's umask, not 0600
            with part.open(mode.replace("w", "x"), **text) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            # after the swap there is nothing left under this name
            with suppress(OSError):
                part.unlink()
        _sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def write_bytes(path: str | Path, data: bytes | memoryview) -> None:
    """Write `data` as the whole of `path`."""
    with open_atomic(path, "wb") as file:
        file.write(data)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` (UTF-8) as the whole of `path`."""
    with open_atomic(path, "w") as file:
        file.write(text)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON; see `json_text` for what is accepted."""
    write_text(path, json_text(value, indent=2) + "\n")


def json_text(value: Any, indent: int | None = None) -> str:
    """Strict JSON: arrays and their scalars become lists and numbers, paths text, NaN null."""
    return json.dumps(_plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as CSV, with plain newlines."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def remove_leftovers(path: str | Path) -> None:
    """Delete what killed writers of `path` left; only for files with one writer at a time."""
    path = Path(path)
    for part in path.parent.glob(f".{glob.escape(path.name)}.*{_SUFFIX}"):
        with suppress(OSError):
            part.unlink()


def cannot_write(path: str | Path, error: OSError) -> UserError:
    """The error for a file that cannot be written."""
    reason = error.strerror or str(error)
    return UserError(
        f"cannot write {path}: {reason}. Free some space or pick another folder "
        "(--model_root for runs, --data_root for windows, --raw_root for raw data, --out for "
        "reports); the previous version is untouched."
    )


@contextmanager
def staged_folder(target: Path, replaces: Callable[[str], bool] | None = None) -> Iterator[Path]:
    """An empty folder beside `target` that replaces it only when the block ends without an error.

    A kill in between leaves the previous `target`, and at worst a hidden folder that the next
    writer removes. If `target` is a symbolic link, the folder that it leads to is replaced.

    Args:
        target: the folder to create or replace.
        replaces: whether a file of that name is replaced; all others of the previous folder are
            kept. None: the whole folder is replaced.
    """
    if target.is_symlink():
        target = Path(os.path.realpath(target))
    if target.exists() and not target.is_dir():
        raise UserError(f"{target}: is a file, not a folder; move it away")
    token = secrets.token_hex(4)
    stage = target.with_name(f".{target.name}.{token}.part")
    previous = target.with_name(f".{target.name}.{token}.old")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _tidy(target)
        stage.mkdir()
        yield stage
        if target.exists():
            if replaces is not None:
                _keep_others(target, stage, replaces)
            target.replace(previous)
        try:
            stage.replace(target)
        except OSError:
            if previous.exists():
                previous.replace(target)
            raise
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if target.exists():
            shutil.rmtree(previous, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    """Force the new name itself to the disk, where the system can (not on Windows)."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy and torch scalars and arrays, without importing either
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _keep_others(folder: Path, stage: Path, replaces: Callable[[str], bool]) -> None:
    """Link or copy the files that are not replaced, such as features, into the stage."""
    for path in folder.rglob("*"):
        place = stage / path.relative_to(folder)
        if replaces(path.name) or place.exists() or (path.is_dir() and not path.is_symlink()):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):
            os.link(path, place, follow_symlinks=False)
            continue
        shutil.copy2(path, place, follow_symlinks=False)  # no links on this disk


def _tidy(target: Path) -> None:
    """Restore what a kill between the two renames left; remove what killed writers left."""
    name = glob.escape(target.name)
    for old in target.parent.glob(f".{name}.*.old"):
        if not target.exists():
            old.replace(target)
    for part in target.parent.glob(f".{name}.*.part"):
        if time.time() - part.stat().st_mtime > _LEFTOVER_SECONDS:  # not another writer at work
            shutil.rmtree(part, ignore_errors=True)


@dataclass(frozen=True)
class Within:
    """A number in a range, including its ends; with `whole`, an integer."""

    low: float
    high: float
    whole: bool = False


def read_json(path: Path, schema: Any, advice: str) -> Any:
    """The content of a JSON file.

    UserError, which ends with `advice`, if it cannot be read, is no JSON or does not fit.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: the file is missing; {advice}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); {advice}") from error
    return parse_json(data, schema, str(path), advice)


def parse_json(
    data: bytes | str, schema: Any, where: str, advice: str, *, allow_nan: bool = False
) -> Any:
    """The value of a JSON text; UserError, which begins with `where`, if it does not fit.

    Infinity is refused, and NaN unless it is allowed.
    """

    def constant(text: str) -> float:
        if allow_nan and text == "NaN":
            return math.nan
        raise ValueError(f"{text} is no number")

    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        value = json.loads(text, parse_float=_finite, parse_constant=constant)
        if "\\u" in text:  # half of a surrogate pair cannot be printed
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{where}: not valid JSON ({_short(str(error))}); {advice}") from error
    if wrong := fault(value, schema):
        raise UserError(f"{where}: {wrong}; {advice}")
    return value


def fault(value: Any, schema: Any, place: str = "") -> str:
    """What is wrong with a value, and where; "" if nothing."""
    return next(_faults(value, schema, place), "")


def _faults(value: Any, schema: Any, place: str) -> Iterator[str]:
    if isinstance(schema, tuple):
        either = [fault(value, one, place) for one in schema]
        if all(either):
            yield either[-1]
    elif isinstance(schema, list) and isinstance(value, list):
        for at, item in enumerate(value):
            yield from _faults(item, schema[0], f"{place}[{at}]")
    elif isinstance(schema, dict) and isinstance(value, dict):
        inner = f"{place}." if place else ""
        for key, form in schema.items():
            if key is str:
                for name, item in value.items():
                    yield from _faults(item, form, f"{inner}{name}")
            elif (name := key.removesuffix("?")) in value:
                yield from _faults(value[name], form, f"{inner}{name}")
            elif name == key:
                yield f"{inner}{name} is missing"
    elif not _fits(value, schema):
        place = f"{_short(place)}: " if place else ""
        yield f"{place}{_named(schema)} is expected, not {_short(_shown(value))}"


def _fits(value: Any, kind: Any) -> bool:
    if isinstance(kind, Within):
        return _fits(value, int if kind.whole else float) and kind.low <= value <= kind.high
    if kind is object:
        return True
    if kind is None:
        return value is None
    if isinstance(value, bool):
        return kind is bool
    if isinstance(value, int):
        return kind in (int, float) and value in INT64
    if kind is float:
        return isinstance(value, float) and math.isfinite(value)
    return isinstance(kind, type) and isinstance(value, kind)


def _named(schema: Any) -> str:
    if isinstance(schema, list | dict):
        return "a list" if isinstance(schema, list) else "an object with keys"
    if isinstance(schema, Within):
        what = "an integer" if schema.whole else "a number"
        return f"{what} from {schema.low:g} to {schema.high:g}"
    return _NAMES[schema]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object with {len(value)} keys"
    # str() of a huge integer may be refused
    if isinstance(value, int) and not isinstance(value, bool) and value not in INT64:
        return f"an integer of {value.bit_length()} bits"
    return json.dumps(value, ensure_ascii=False)


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def _finite(text: str) -> float:
    if math.isfinite(value := float(text)):
        return value
    raise ValueError(f"{_short(text)} is not finite")
