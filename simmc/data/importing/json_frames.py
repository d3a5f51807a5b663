"""JSON of body trackers and pose estimators: frames, the bodies in them, and their numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simmc.data.importing.tracks import check_positions
from simmc.errors import UserError, numbered
from simmc.files import parse_json

MOST_BYTES = 1 << 30  # of a file: Python's objects take about ten times as much
_ADVICE = "write it again"
# keys of a frame's time, and seconds of its unit; a key without a unit says too little
_TIMES = {
    **dict.fromkeys(("timestampusec", "timestampus", "timeusec", "timeus"), 1e-6),
    **dict.fromkeys(("timestampms", "timestampmsec", "timems", "timemsec"), 1e-3),
    **dict.fromkeys(("timestamps", "timestampsec", "times", "timesec", "seconds"), 1.0),
}
_SPAN = re.compile(r"(?:(\d{1,5})\.)?(\d{1,2}):(\d{1,2}):(\d{1,2}(?:\.\d{1,9})?)")  # d.hh:mm:ss.fff


def parse(path: str, data: bytes) -> Any:
    """The value of a JSON file, or the list of those of its lines (JSON Lines)."""
    if len(data) > MOST_BYTES:
        raise UserError(f"{path}: more than {MOST_BYTES:,} bytes; divide the recording")
    data = data.removeprefix(b"\xef\xbb\xbf")
    lines = [line for line in data.splitlines() if line.strip()]
    # between two values of one JSON text there would be a comma
    if len(lines) > 1 and lines[0].rstrip()[-1:] in b"}]" and lines[1].lstrip()[:1] in b"{[":
        return [
            parse_json(line, object, f"{path}, line {place}", _ADVICE, allow_nan=True)
            for place, line in enumerate(lines, start=1)
        ]
    return parse_json(data, object, path, _ADVICE, allow_nan=True)


def frames_of(path: str, data: bytes) -> list[Any]:
    """The frames of a file: its list, the list 'frames' of its object, or the one object itself."""
    value = parse(path, data)
    found = keyed(value).get("frames", value) if isinstance(value, dict) else value
    found = [found] if isinstance(found, dict) else found
    if not isinstance(found, list) or not found:
        raise UserError(f"{path}: there is no list of frames; {_ADVICE}")
    return found


def keyed(value: Any) -> Mapping[str, Any]:
    """An object by small letters without '_', so that spellings do not matter; empty if none."""
    if not isinstance(value, dict):
        return {}
    return {key.replace("_", "").lower(): entry for key, entry in value.items()}


def listed(value: Any, where: str, what: str) -> list[Any]:
    """A list; UserError if the value is none."""
    if not isinstance(value, list):
        raise UserError(f"{where}: expected a list of {what}; {_ADVICE}")
    return value


def array(value: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Numbers of a shape, float64, null as NaN; UserError if they are others."""
    try:
        found = np.array(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise UserError(f"{where}: a list of numbers is damaged; {_ADVICE}") from None
    wanted = np.prod(shape, dtype=int)
    if found.size != wanted:
        raise UserError(
            f"{where}: {numbered('{} [number|numbers]', found.size)} instead of {wanted}; {_ADVICE}"
        )
    return check_positions(found.reshape(shape), where)


def times_of(frames: Sequence[Any]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Times of frames (F,) in seconds, and a note where they cannot be used."""
    values = [_seconds_of(frame) for frame in frames]
    if all(value is None for value in values):
        return None, ()
    times = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    if np.isfinite(times).all() and (np.diff(times) > 0).all() and np.abs(times).max() < 1e12:
        return times, ()
    return None, ("the times of the frames do not ascend, or some are missing: they are not used",)


def _seconds_of(frame: Any) -> float | None:
    """The time of a frame, if it has one whose unit is known."""
    entries = keyed(frame)
    for key, unit in _TIMES.items():
        value = entries.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value) * unit if abs(value) < 1e30 else math.inf
    span = _SPAN.fullmatch(str(entries.get("relativetime", ""))[:40])
    if span is None:
        return None
    days, hours, minutes = (float(part or 0) for part in span.groups()[:3])
    return ((days * 24 + hours) * 60 + minutes) * 60 + float(span[4])


def counted(sentence: str, count: int) -> list[str]:
    """A note, if there is something to count."""
    return [numbered(sentence, count)] if count else []


def key_of(value: Any) -> str | None:
    """The number or name of a body, short enough to print; None if it has none."""
    return str(value)[:40] if isinstance(value, int | str) and str(value)[:40] else None
