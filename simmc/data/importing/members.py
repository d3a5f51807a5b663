"""The files of a source: a folder, a zip or tar archive, or one file. Nothing is unpacked."""

from __future__ import annotations

import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from simmc.data.raw import files as raw
from simmc.errors import UserError

MOST_BYTES = 2**31  # of one file; it is held in memory
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_FAULTS = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(EOFError, ValueError, MemoryError),
    RuntimeError,  # of zipfile: encrypted; its NotImplementedError: packed in another way
)


@dataclass(frozen=True)
class Member:
    """One file of a source."""

    path: str  # in the source, with slashes
    stamp: str  # changes when the file does
    read: Callable[[], bytes]  # its content; UserError if it cannot be read
    fault: str = ""  # why it is not read


def members(source: Path) -> Iterator[Member]:
    """Every file, of folders in the order of names with numbers by value, of archives as stored.

    UserError if the source is missing or no folder, archive or file. Files that are not safe to
    use (links, paths that leave the archive) have a `fault`.
    """
    try:
        mode = source.stat().st_mode
    except OSError as error:
        raise UserError(
            f"{source}: cannot be read ({error.strerror}); give a folder, a file, or a zip or tar "
            "archive of recordings"
        ) from error
    if stat.S_ISDIR(mode):
        yield from _folder(source)
    elif not source.name.lower().endswith(_ARCHIVES):
        yield _file(source, source.name)
    else:
        try:
            yield from (_zip if source.name.lower().endswith(".zip") else _tar)(source)
        except (OSError, *_FAULTS) as error:
            raise UserError(f"{source}: a damaged archive ({error}); fetch it again") from error


def natural(path: str) -> list[tuple[int, int, str]]:
    """A sorting key: numbers in a path count by their value."""
    parts = re.split(r"([0-9]{1,18})", path)
    return [(1, int(p), p) if at % 2 else (0, 0, p) for at, p in enumerate(parts) if p]


def _folder(source: Path) -> Iterator[Member]:
    found = [folder / name for folder, _, names in raw.walk(source) for name in names]
    paths = {path.relative_to(source).as_posix(): path for path in found}
    for name in sorted(paths, key=natural):
        yield _file(paths[name], name)


def _file(path: Path, name: str) -> Member:
    try:
        info = path.stat()
    except OSError as error:
        return Member(name, "", bytes, f"cannot be read ({error.strerror})")
    if not stat.S_ISREG(info.st_mode):
        return Member(name, "", bytes, "is not a plain file")
    stamp = f"{info.st_size} {info.st_mtime_ns}"
    return Member(name, stamp, lambda: raw.read_bytes(path), _too_large(info.st_size))


def _zip(source: Path) -> Iterator[Member]:
    with zipfile.ZipFile(source) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            is_link = stat.S_ISLNK(info.external_attr >> 16)
            name, fault = _safe(info.filename, info.file_size, is_link)
            if info.flag_bits & 1:
                fault = fault or "is encrypted; unpack the archive yourself"
            stamp = f"{info.file_size} {info.CRC}"
            yield Member(name, stamp, _reading(name, archive.open, info, info.file_size), fault)


def _tar(source: Path) -> Iterator[Member]:
    with tarfile.open(source, "r:*", errors="surrogateescape") as archive:
        for info in archive:
            if info.isdir():
                continue
            name, fault = _safe(info.name, info.size, not info.isreg() or info.issparse())
            stamp = f"{info.size} {info.mtime}"
            yield Member(name, stamp, _reading(name, archive.extractfile, info, info.size), fault)
            # a long archive would be kept in memory, name by name
            archive.members = []  # type: ignore[attr-defined]


def _reading(name: str, opened: Callable[[Any], Any], info: Any, size: int) -> Callable[[], bytes]:
    @cache  # to go back in a compressed archive is slow
    def read() -> bytes:
        try:
            with opened(info) as file:
                data: bytes = file.read(size)
        except (OSError, *_FAULTS) as error:
            raise UserError(f"{name}: cannot be read from the archive ({error})") from error
        if len(data) != size:
            raise UserError(f"{name}: is cut short in the archive")
        return data

    return read


def _safe(name: str, size: int, odd: bool) -> tuple[str, str]:
    """A printable path with slashes, and why the file is not read ("" if it is)."""
    name = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
    name = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in name)
    path = re.sub(r"\\(?!x[0-9a-f]{2})", "/", name)  # as Windows writes it
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if odd:
        return path, "is a link or no plain file"
    if path.startswith("/") or ".." in parts or re.match("[A-Za-z]:", path):
        return path, "has a path that leaves the archive"
    return "/".join(parts), _too_large(size)


def _too_large(size: int) -> str:
    return f"has {size:,} bytes, {MOST_BYTES:,} at most; divide it" if size > MOST_BYTES else ""
