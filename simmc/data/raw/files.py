"""Listing and reading the files of raw data, with a clear error for everything unexpected."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from simmc.errors import UserError

_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def read_bytes(path: Path) -> bytes:
    """The whole file; UserError if it cannot be read or is no plain file."""
    try:
        # at the lowest level, since there are very many files; non-blocking for pipes
        with open(os.open(path, _READ), "rb", buffering=0) as file:  # noqa: PTH123
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UserError(f"{path}: not a plain file; remove it")
            return file.readall()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the file") from error
    except MemoryError as error:
        raise UserError(f"{path}: too large for the memory; check the file") from error


def walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Every folder below, links followed, with its folders and files, without hidden ones.

    The order is that of `os.walk`, files by name. UserError if a folder cannot be listed, a link
    leads to a folder a second time, or a name is not UTF-8.
    """
    if not folder.is_dir():
        raise missing(folder, "the folder is missing; put the raw data there (docs/data.md)")
    places: dict[tuple[int, int], str] = {}
    for path, folders, names in os.walk(folder, onerror=_unlisted, followlinks=True):
        folders[:] = [name for name in folders if name[0] != "."]
        names = sorted(name for name in names if name[0] != ".")
        for name in (path, *folders, *names):
            if not name.isascii() and name != name.encode(errors="replace").decode():
                raise UserError(f"{path}: the name {name!r} is not valid UTF-8; rename it")
        info = Path(path).stat()
        first = places.setdefault((info.st_dev, info.st_ino), path)
        if first != path and info.st_ino:
            raise UserError(f"{path}: the same folder as {first}, by a link; remove one of them")
        yield Path(path), folders, names


def _unlisted(error: OSError) -> None:
    raise UserError(
        f"{error.filename}: cannot be listed ({error.strerror}); check the folder"
    ) from error


def missing(folder: Path, what: str) -> UserError:
    """The error for a missing folder; names one that differs only in case."""
    try:
        names = sorted(path.name for path in folder.parent.iterdir())
    except OSError:
        names = []
    same = folder.name.casefold()
    near = [name for name in names if name.casefold() == same and name != folder.name]
    hint = f" ({near[0]} exists: rename it)" if near else ""
    return UserError(f"{folder}: {what}{hint}")


def list_folder(folder: Path, what: str) -> list[str]:
    """Names in a folder, without hidden ones, sorted as text; `what` should be in it."""
    try:
        return sorted(path.name for path in folder.iterdir() if path.name[0] != ".")
    except OSError as error:
        raise missing(
            folder, f"cannot be listed ({error.strerror}); expected {what} (docs/data.md)"
        ) from error


def leaves(folder: Path, ending: str) -> list[tuple[Path, list[Path]]]:
    """Folders without folders in them, in `os.walk` order, with their frame files (*`ending`)."""
    found = []
    for here, folders, names in walk(folder):
        frames = [here / name for name in names if ending in name]
        odd = next((path for path in frames if not path.name.endswith(ending)), None)
        if odd is not None:
            raise UserError(f"{odd}: the name continues after {ending}; rename or remove it")
        if folders and frames:
            raise UserError(
                f"{frames[0]}: a frame beside the folder {folders[0]}; a recording's folder holds "
                "frames or folders, not both: move one of them"
            )
        if folders:
            continue
        if not frames:
            raise UserError(f"{here}: holds no frame (*{ending}); fill or remove the folder")
        found.append((here, frames))
    return found


def person_number(folder: Path, digits: str, example: str) -> int:
    """The person's number in a folder's name; UserError if it is none."""
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 9):
        raise UserError(
            f"{folder}: the folder's name has to be the person's number, up to nine digits, such "
            f"as {example}; rename it"
        )
    return int(digits)
