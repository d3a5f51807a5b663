"""Atomic writing of files and folders.

A file or folder is written under a temporary name beside its target and swapped in at the end.
A crash, a kill or a full disk leaves the previous version untouched.
"""

import glob
import json
import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from simmc.errors import UserError

_SUFFIX = ".part"
_LEFTOVER_SECONDS = 3600


@contextmanager
def open_atomic(path: str | Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file for writing that replaces `path` only when the block ends without an error.

    Args:
        path: the file to create or replace; its folder is created if it is missing.
        mode: "wb" for bytes, "w" for UTF-8 text with plain newlines.

    Raises:
        UserError: the disk is full, the folder is read-only, or the like.
    """
    if mode not in ("wb", "w"):
        raise ValueError(f"mode must be 'wb' or 'w', not {mode!r}")
    path = Path(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _open_new(part, mode) as file:
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


def _open_new(path: Path, mode: str) -> IO[Any]:
    # os.open instead of tempfile: the file gets the user's umask, not 0600
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    if mode == "wb":
        return os.fdopen(handle, "wb")
    return os.fdopen(handle, "w", encoding="utf-8", newline="\n")


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
