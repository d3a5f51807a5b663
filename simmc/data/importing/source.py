"""The files of a source as items of an import: which are read, and by which reader."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from simmc.data.importing.description import FILE, KNOWN, Description, path_pattern
from simmc.data.importing.formats import FORMATS, format_of
from simmc.data.importing.importer import Item
from simmc.data.importing.members import Member, members
from simmc.data.importing.nested import read_json, read_npy, read_npz, read_text_or_json
from simmc.data.importing.recording import Body
from simmc.data.importing.tables import read_parquet, read_text
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
_HEAD = 4096  # bytes by which a format is recognised
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


def items(source: Path, told: Description) -> Sequence[Item] | Iterator[Item]:
    """The files of a source that an import reads, or says why it does not.

    Of a folder a list, so that it is known how many there are.
    """
    found = filter(None, (_item(member, told) for member in members(source)))
    return list(found) if source.is_dir() else found


def _item(member: Member, told: Description) -> Item | None:
    parts = PurePosixPath(member.path).parts
    if any(part.startswith(".") or part == "__MACOSX" for part in parts) or parts[-1:] == (FILE,):
        return None
    fields: dict[str, str] = {}
    fault = member.fault
    if told.files and not fnmatch.fnmatchcase(member.path, told.files):
        fault = fault or NOT_CHOSEN
    elif not is_known(member.path):
        fault = fault or NO_READER
    elif told.path:
        match = path_pattern(told.path, FILE).search(member.path)
        fault = fault or ("" if match else NO_MATCH)
        fields = {name: text or "" for name, text in (match.groupdict() if match else {}).items()}
    read = partial(_read, member, fields)
    return Item(member.path, f"{member.stamp} {fault}", read, fault)


def _read(member: Member, fields: Mapping[str, str], told: Description) -> tuple[str, list[Body]]:
    data = member.read()
    bodies = read_bodies(member.path, data, told)
    return hashlib.sha256(data).hexdigest(), [with_fields(body, fields) for body in bodies]


def with_fields(body: Body, fields: Mapping[str, str]) -> Body:
    """The body with what its path says; a recording's name there becomes its own."""
    if not fields:
        return body
    who = {key: fields[key] for key in KNOWN if key in fields and key != "recording"}
    rest = {key: text for key, text in fields.items() if key not in KNOWN or key == "recording"}
    return replace(body, **who, fields={**body.fields, **rest})


def check_readable(fault: str) -> bool:
    """Whether a fault is of the file, not of the choice of files."""
    return fault not in (NO_READER, NOT_CHOSEN, NO_MATCH)
