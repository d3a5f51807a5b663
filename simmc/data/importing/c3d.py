"""C3D files of motion capture: the markers, as joints.

Only the marker positions are read, by this module itself: the usual library ends the whole process
on some damaged files, and never returns on others. A file is made of blocks of 512 bytes: a header,
parameters (groups of named arrays), and frames of four numbers a marker and the analog channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from simmc.data.importing.recording import Body
from simmc.data.importing.tracks import check_positions
from simmc.errors import UserError, numbered

_BLOCK = 512
_INTEL, _DEC, _MIPS = 84, 85, 86  # the processor that wrote the file
_METRES = {"mm": 1e-3, "cm": 1e-2, "dm": 1e-1, "m": 1.0, "in": 0.0254, "inch": 0.0254, "ft": 0.3048}
_ADVICE = "export it again"


@dataclass(frozen=True)
class _Parameter:
    """A named array of the file."""

    kind: int  # -1: letters, 1: bytes, 2: integers, 4: floats
    shape: tuple[int, ...]
    data: memoryview


class _File:
    """The bytes of a file, as the processor that wrote it orders them."""

    def __init__(self, path: str, data: bytes) -> None:
        self.path, self.data = path, data
        start = (data[0] - 1) * _BLOCK if data else -1
        if len(data) < 2 * _BLOCK or data[1] != 0x50 or not 0 <= start < len(data) - 4:
            raise UserError(f"{path}: it is not a C3D file; {_ADVICE}")
        self.processor = data[start + 3]
        if self.processor not in (_INTEL, _DEC, _MIPS):
            raise UserError(f"{path}: byte {start + 4} names no known processor; {_ADVICE}")
        self.order = ">" if self.processor == _MIPS else "<"
        self.parameters = self._parameters(start + 4)

    def integers(self, data: bytes | memoryview, count: int) -> np.ndarray:
        """Integers of 16 bits without sign, (count,) int64."""
        return np.frombuffer(data, f"{self.order}u2", count).astype(np.int64)

    def floats(self, data: bytes | memoryview, count: int) -> np.ndarray:
        """Floats of 32 bits, (count,) float64."""
        if self.processor == _DEC:  # halves in the other order, and an exponent that is 2 higher
            words = np.frombuffer(data, "<u2", 2 * count).reshape(-1, 2)[:, ::-1]
            return np.ascontiguousarray(words).view("<f4").ravel().astype(np.float64) / 4
        return np.frombuffer(data, f"{self.order}f4", count).astype(np.float64)

    def _parameters(self, at: int) -> dict[str, _Parameter]:
        """All parameters as 'GROUP:NAME'."""
        data, view = self.data, memoryview(self.data)  # arrays may overlap in a damaged file
        groups: dict[int, str] = {}
        found: list[tuple[int, str, _Parameter]] = []
        while at + 2 <= len(data) and data[at]:
            length, group = abs(self._signed(at)), self._signed(at + 1)
            start = at + 2 + length  # behind the name
            name = data[at + 2 : start].decode("latin-1").strip().upper()
            if start + 4 > len(data):
                raise UserError(f"{self.path}: the parameters are cut off; {_ADVICE}")
            if group < 0:
                groups[-group] = name
            else:
                shape = tuple(data[start + 4 : start + 4 + data[start + 3]])
                kind, first = self._signed(start + 2), start + 4 + data[start + 3]
                size = abs(kind) * math.prod(shape)
                if kind not in (-1, 1, 2, 4) or first + size > len(data):
                    raise UserError(
                        f"{self.path}: the parameter {name[:20]!r} is damaged; {_ADVICE}"
                    )
                found.append((group, name, _Parameter(kind, shape, view[first : first + size])))
            step = int(self.integers(data[start : start + 2], 1)[0])
            if not step:
                break
            at = start + step  # ahead in any case
        return {f"{groups.get(group, '')}:{name}": one for group, name, one in found}

    def _signed(self, at: int) -> int:
        return int.from_bytes(self.data[at : at + 1], "little", signed=True)

    def number(self, name: str, otherwise: float) -> float:
        """The first number of a parameter."""
        one = self.parameters.get(name)
        if one is None or one.kind < 1 or not one.data:
            return otherwise
        if one.kind == 1:
            return float(one.data[0])
        return float((self.floats if one.kind == 4 else self.integers)(one.data, 1)[0])

    def texts(self, name: str) -> list[str]:
        """The texts of a parameter; none if it is missing."""
        one = self.parameters.get(name)
        if one is None or one.kind != -1 or not one.shape or not one.shape[0]:
            return []
        width = one.shape[0]
        cells = (bytes(one.data[at : at + width]) for at in range(0, len(one.data), width))
        return [cell.decode("utf-8", "replace").strip("\0 ") for cell in cells]


def read(path: str, data: bytes) -> list[Body]:
    """The recording of a C3D file: its markers by name, in metres if the file states its unit.

    A marker that was not seen in a frame (negative residual) is NaN. Analog channels are not read.

    Raises:
        UserError: the file is damaged, or has no markers.
    """
    file = _File(path, data)
    header = file.integers(data[:24], 12)
    markers, analog = int(header[1]), int(header[2])
    first, last = int(header[3]), int(header[4])
    frames = last - first + 1
    if (long := file.number("POINT:FRAMES", frames)) > frames and last == 0xFFFF:
        frames = int(long) if long < 2**31 else 0
    scale = file.number("POINT:SCALE", float(file.floats(data[12:16], 1)[0]))
    rate = file.number("POINT:RATE", float(file.floats(data[20:24], 1)[0]))
    start = (int(file.number("POINT:DATA_START", header[8])) - 1) * _BLOCK
    size = 4 if scale < 0 else 2  # bytes a number
    width = 4 * markers + analog
    if not markers or frames < 1:
        raise UserError(f"{path}: it has no markers or no frames; nothing can be imported from it")
    if not math.isfinite(scale) or not scale or start < _BLOCK:
        raise UserError(f"{path}: the header is damaged (scale {scale:g}); {_ADVICE}")
    if start + frames * width * size > len(data):
        there = max(0, len(data) - start) // (width * size)
        raise UserError(
            f"{path}: the header names {numbered('{} frames', frames)}, the file has {there:,}; it "
            "is cut off, export it again"
        )
    block = data[start : start + frames * width * size]
    if size == 4:
        values = file.floats(block, frames * width).reshape(frames, width)
    else:
        kind = f"{file.order}i2"
        values = np.frombuffer(block, kind).reshape(frames, width).astype(np.float64)
    points = values[:, : 4 * markers].reshape(frames, markers, 4)
    xyz = points[..., :3] * (scale if size == 2 else 1)
    xyz[(points[..., 3] < 0) | ~np.isfinite(xyz).all(2)] = np.nan
    unit = next(iter(file.texts("POINT:UNITS")), "").lower()
    factor = _METRES.get(unit)
    notes = [f"the unit of the file is {unit[:20]}" if unit else "the file does not state its unit"]
    if analog:
        notes.append("analog channels are not read")
    up = next(iter(file.texts("POINT:Y_SCREEN")), "").lower().removeprefix("+")  # up on a screen
    valid = math.isfinite(rate) and 0 < rate < 1e6
    if not valid:
        notes.append(f"a frame rate of {rate:g} is not valid: there are no times")
    return [
        Body(
            name=path,
            xyz=check_positions(xyz, path) * (factor or 1.0),
            joints=_labels(file, markers, notes),
            times=np.arange(frames) / rate if valid else None,
            notes=tuple(notes),
            metres=factor is not None,
            up=up if up.removeprefix("-") in ("x", "y", "z") else "",
        )
    ]


def _labels(file: _File, markers: int, notes: list[str]) -> tuple[str, ...]:
    """A name for each marker, no two alike."""
    found = file.texts("POINT:LABELS")
    for number in range(2, 256):  # labels beyond 255 lie in LABELS2, LABELS3, ...
        if len(found) >= markers or not (more := file.texts(f"POINT:LABELS{number}")):
            break
        found += more
    labels = [label.rpartition(":")[2] for label in found[:markers]]  # 'subject:LASI'
    if len(set(labels)) < len(labels):
        labels = found[:markers]
    labels += [""] * (markers - len(labels))
    names = [label or str(place) for place, label in enumerate(labels)]
    if bare := labels.count(""):
        notes.append(numbered("{} [marker has|markers have] no name, but a number", bare))
    if len(set(names)) < len(names):
        notes.append("markers share names; their numbers were added")
        names = [f"{name}_{place}" for place, name in enumerate(names)]
    return tuple(names)
