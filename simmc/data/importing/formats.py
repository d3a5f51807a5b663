"""The formats that `simmc import` reads besides tables and arrays: the only list of them."""

from __future__ import annotations

from simmc.data.importing.recording import Format

FORMATS: tuple[Format, ...] = ()


def format_of(path: str, head: bytes) -> Format | None:
    """The format of a file by its name's ending and its first bytes; None if it is none of them."""
    name = path.lower()
    for form in FORMATS:
        if name.endswith(form.suffixes) and form.matches(head):
            return form
    return None
