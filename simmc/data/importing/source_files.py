"""The files of a source as items of an import: which are read, and which are frames of one."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path, PurePosixPath

from simmc.data.importing.description import FILE, Description, path_pattern
from simmc.data.importing.formats import FORMATS, Format, format_of, is_known, read_bodies
from simmc.data.importing.importer import Item, Read
from simmc.data.importing.members import Member, members
from simmc.errors import UserError

NO_READER = "no reader for this ending"
NOT_CHOSEN = "is not chosen by files in dataset.toml"
NO_MATCH = "its path does not fit path in dataset.toml"
_Group = tuple[str, Format]  # a recording of which every frame is a file
_Frame = tuple[int, str, bytes]  # its number, path and content


def items(source: Path, told: Description) -> Iterator[Item]:
    """The files of a source that an import reads, or says why it does not.

    Where a format has a file for each frame, the files of a recording that follow each other are
    one item.
    """
    seen = (_seen(member, told) for member in members(source))
    for group, found in groupby(seen, key=itemgetter(0)):
        if group is None:
            yield from (item for _, item, _ in found if item is not None)
        else:
            yield _joined(group, [frame for *_, frame in found if frame is not None], told)


def _seen(member: Member, told: Description) -> tuple[_Group | None, Item | None, _Frame | None]:
    """The item of a file, None if it is none; or the recording that it is a frame of."""
    item = _item(member, told)
    for form in FORMATS if item is not None and item.fault in ("", NO_MATCH) else ():
        if form.frame_of is None or not member.path.lower().endswith(form.suffixes):
            continue
        recording, number = form.frame_of(member.path)
        if recording != member.path:
            with suppress(UserError):  # reported when it is read as a recording
                data = member.read()
                if format_of(member.path, data) == form:
                    return (recording, form), None, (number, member.path, data)
    return None, item, None


def _joined(group: _Group, frames: Sequence[_Frame], told: Description) -> Item:
    """The frames of one recording as one item."""
    (name, form), frames = group, sorted(frames, key=itemgetter(0))
    assert form.join is not None
    digest = hashlib.sha256()
    for *_, data in frames:
        digest.update(data)
    sha = digest.hexdigest()
    fields, fault = _path_fields(name, told)
    read = partial(form.join, name, frames)
    return Item(name, sha, lambda: (sha, read), fault, fields)


def _item(member: Member, told: Description) -> Item | None:
    parts = PurePosixPath(member.path).parts
    hidden = any(re.match(r"\.[^.]|__MACOSX$", part) for part in parts)
    if hidden or parts[-1:] == (FILE,):
        return None
    fields: Mapping[str, str] = {}
    if told.files and not fnmatch.fnmatchcase(member.path, told.files):
        fault = NOT_CHOSEN
    elif not is_known(member.path):
        fault = NO_READER
    else:
        fields, fault = _path_fields(member.path, told)
    fault = member.fault or fault

    def read() -> Read:
        data = member.read()
        return hashlib.sha256(data).hexdigest(), partial(read_bodies, member.path, data, told)

    return Item(member.path, f"{member.stamp} {fault}", read, fault, fields)


def _path_fields(path: str, told: Description) -> tuple[Mapping[str, str], str]:
    """What a path says, and what is wrong with it ("" if nothing is)."""
    if not told.path:
        return {}, ""
    match = path_pattern(told.path, FILE).search(path)
    if match is None:
        return {}, NO_MATCH
    return {name: text or "" for name, text in match.groupdict().items()}, ""


def count(source: Path) -> int | None:
    """How many files a folder holds; None for an archive, which would have to be read."""
    return sum(1 for _ in members(source)) if source.is_dir() else None
