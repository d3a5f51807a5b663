"""The files of a source as items of an import: which are read, and by which reader."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath

from simmc.data.importing.description import FILE, Description, path_pattern
from simmc.data.importing.formats import FORMATS, format_of
from simmc.data.importing.importer import Item, Read
from simmc.data.importing.members import Member, members
from simmc.data.importing.nested import read_json, read_npy, read_npz, read_text_or_json
from simmc.data.importing.recording import Body, Format, with_fields
from simmc.data.importing.tabular import read_parquet, read_text
from simmc.errors import UserError

Reader = Callable[[str, bytes, Description], list[Body]]
# readers of general files, by ending; the formats of the field are in formats.py
READERS: Mapping[str, Reader] = {
    ".csv": read_text,
    ".tsv": read_text,
    ".tab": read_text,
    ".txt": read_text_or_json,
    ".parquet": read_parquet,
    ".npy": read_npy,
    ".npz": read_npz,
    ".json": read_json,
    ".jsonl": read_json,
    ".ndjson": read_json,
}
_HEAD = 2**16  # bytes by which a format is recognised
NO_READER = "no reader for this ending"
NOT_CHOSEN = "is not chosen by files in dataset.toml"
NO_MATCH = "its path does not fit path in dataset.toml"


def read_bodies(path: str, data: bytes, told: Description) -> list[Body]:
    """The bodies of a file of any known format; UserError if it cannot be read."""
    found = format_of(path, data[:_HEAD])
    if found is not None:
        return found.read(path, data)
    reader = READERS.get(PurePosixPath(path.lower()).suffix)
    if reader is None:
        raise UserError(f"{path}: does not begin as a file of this ending does")
    return reader(path, data, told)


def is_known(path: str) -> bool:
    """Whether there may be a reader for a file, by its ending."""
    endings = (*READERS, *(suffix for form in FORMATS for suffix in form.suffixes))
    return path.lower().endswith(endings)


def items(source: Path, told: Description) -> Iterator[Item]:
    """The files of a source that an import reads, or says why it does not.

    Where a format has a file for each frame, the files of a recording that follow each other are
    one item.
    """
    waiting: list[tuple[int, Member, bytes]] = []
    group: tuple[str, Format] | None = None
    for member in members(source):
        item = _item(member, told)
        usable = item is not None and item.fault in ("", NO_MATCH)
        found = _frame_of(member) if usable else None
        if waiting and (found is None or found[:2] != group):
            yield _joined(waiting, group, told)
            waiting = []
        if found is not None:
            group = found[:2]
            waiting.append((found[2], member, found[3]))
        elif item is not None:
            yield item
    if waiting:
        yield _joined(waiting, group, told)


def _frame_of(member: Member) -> tuple[str, Format, int, bytes] | None:
    """Recording, format, number and content of a file that holds one frame; None for others."""
    for form in FORMATS:
        if form.frame_of is None or not member.path.lower().endswith(form.suffixes):
            continue
        recording, number = form.frame_of(member.path)
        if recording != member.path:
            with suppress(UserError):  # said when it is read as a recording
                data = member.read()
                if format_of(member.path, data[:_HEAD]) == form:
                    return recording, form, number, data
    return None


def _joined(
    waiting: list[tuple[int, Member, bytes]], group: tuple[str, Format] | None, told: Description
) -> Item:
    """The frames of one recording as one item."""
    assert group is not None
    (name, form), frames = group, sorted(waiting, key=lambda frame: frame[0])
    digest = hashlib.sha256()
    for _, _, data in frames:
        digest.update(data)
    sha = digest.hexdigest()

    fields, fault = _path_fields(name, told)

    def bodies() -> list[Body]:
        assert form.join is not None
        parts = [(number, form.read(member.path, data)) for number, member, data in frames]
        return [with_fields(body, fields) for body in form.join(name, parts)]

    return Item(name, sha, lambda _: (sha, bodies), fault)


def _path_fields(path: str, told: Description) -> tuple[dict[str, str], str]:
    """What a path says, and what is wrong with it ("" if nothing is)."""
    if not told.path:
        return {}, ""
    match = path_pattern(told.path, FILE).search(path)
    if match is None:
        return {}, NO_MATCH
    return {name: text or "" for name, text in match.groupdict().items()}, ""


def _item(member: Member, told: Description) -> Item | None:
    parts = PurePosixPath(member.path).parts
    hidden = any(re.match(r"\.[^.]|__MACOSX$", part) for part in parts)
    if hidden or parts[-1:] == (FILE,):
        return None
    fields: dict[str, str] = {}
    fault = member.fault
    if told.files and not fnmatch.fnmatchcase(member.path, told.files):
        fault = fault or NOT_CHOSEN
    elif not is_known(member.path):
        fault = fault or NO_READER
    else:
        fields, wrong = _path_fields(member.path, told)
        fault = fault or wrong
    read = partial(_read, member, fields)
    return Item(member.path, f"{member.stamp} {fault}", read, fault)


def _read(member: Member, fields: Mapping[str, str], told: Description) -> Read:
    data = member.read()

    def bodies() -> list[Body]:
        return [with_fields(body, fields) for body in read_bodies(member.path, data, told)]

    return hashlib.sha256(data).hexdigest(), bodies


def count(source: Path) -> int | None:
    """How many files a folder holds; None for an archive, which would have to be read."""
    return sum(1 for _ in members(source)) if source.is_dir() else None
