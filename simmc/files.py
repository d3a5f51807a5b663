"""Files that are either whole or not there.

Every file is written under a temporary name in its own folder, forced to the disk and swapped in.
A crash, a kill or a full disk leaves the previous version untouched. Nothing of the package but its
error is imported here, so that any module may use it.
"""

import json
import math
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from simmc.errors import UserError

_SUFFIX = ".part"


@contextmanager
def open_atomic(path: str | Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Opens a file for writing that takes the place of `path` only when the block ends well.

    Args:
        path: the file to make or replace; its folder is made if it is missing.
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
    """Writes `data` as the whole of `path`."""
    with open_atomic(path, "wb") as file:
        file.write(data)


def write_text(path: str | Path, text: str) -> None:
    """Writes `text` (UTF-8) as the whole of `path`."""
    with open_atomic(path, "w") as file:
        file.write(text)


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as indented JSON; see `json_text` for what is accepted."""
    write_text(path, json_text(value, indent=2) + "\n")


def json_text(value: Any, indent: int | None = None) -> str:
    """Strict JSON: arrays and their scalars become lists and numbers, paths text, NaN null."""
    return json.dumps(_plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def remove_leftovers(path: str | Path) -> None:
    """Deletes what killed writers of `path` left; only for files with one writer at a time."""
    path = Path(path)
    for part in path.parent.glob(f".{_glob_escaped(path.name)}.*{_SUFFIX}"):
        with suppress(OSError):
            part.unlink()


def cannot_write(path: str | Path, error: OSError) -> UserError:
    """The message for a file that the system refuses to write."""
    reason = error.strerror or str(error)
    return UserError(
        f"cannot write {path}: {reason}. Free some space or pick another folder "
        "(--model_root for runs, --data_root for windows, --raw_root for raw data, --out for "
        "reports); the previous version is untouched."
    )


def _open_new(path: Path, mode: str) -> IO[Any]:
    # os.open instead of tempfile: the file gets the user's umask, not 0600
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    if mode == "wb":
        return os.fdopen(handle, "wb")
    return os.fdopen(handle, "w", encoding="utf-8", newline="\n")


def _sync_folder(folder: Path) -> None:
    """Forces the new name itself to the disk where the system can do that (not on Windows)."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _glob_escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


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
