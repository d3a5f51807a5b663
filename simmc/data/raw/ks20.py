"""Raw KS20: five view folders, with a text file for each frame or a ``.mat`` for each recording.

Text: ``<view>/gc1_body7_<timestamp>.txt`` (any ending or none), 25 lines ``joint id,x,y,z``
(docs/data.md 2.3). MATLAB: ``<view>/gc1_body7.mat`` with one array (T, 25, 3), or (T, 75) of x, y,
z of the first joint, then of the second and so on; and, if there are timestamps, ``time`` (T,).
Metres, camera space. Nothing is filtered.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from simmc.data.raw import files, mat, text
from simmc.data.recordings import Progress, ReadOptions, Recording, silent
from simmc.errors import UserError

VIEWS = ("frontal", "left_diagonal", "left_lateral", "right_diagonal", "right_lateral")
BODIES = (*range(1, 5), *range(7, 10), *range(11, 18), *range(19, 25))
LABELS = {body: label for label, body in enumerate(BODIES)}
N_JOINTS = 25
LAYOUT = text.Layout(lines=N_JOINTS, fields=(4,))
_TEXT = re.compile(r"(gc[123])_body(\d+)_(\d+(?:\.\d+)?)(?:\.[A-Za-z]\w*)?", re.ASCII)
_MAT = re.compile(r"(gc[123])_body(\d+)\.mat", re.IGNORECASE | re.ASCII)
_NAMES = "gc1_body7_<timestamp>.txt or gc1_body7.mat"


@dataclass
class _Source:
    """The files of one recording."""

    view: str
    setting: str
    body: int
    paths: list[Path] = field(default_factory=list)
    times: list[str] = field(default_factory=list)  # empty for .mat

    @property
    def key(self) -> str:
        """Sorts recordings like the names of their frame files, `body11` before `body1`."""
        return f"{self.setting}_body{self.body}_"


def read(
    root: Path, options: ReadOptions | None = None, progress: Progress = silent
) -> list[Recording]:
    """All recordings by view and then by file name; frames (T, 25, 3) float64 in metres.

    With ``ks20_time="text"`` (released) frames are sorted by timestamp as text, so that 10 comes
    before 9; with "number" by its value.
    """
    as_text = options is None or options.ks20_time == "text"
    sources = [source for view in VIEWS for source in _sources(root / view)]
    return [_read_source(as_text, source) for source in progress(sources)]


def _sources(folder: Path) -> list[_Source]:
    """The recordings of one view, in the order of their file names."""
    found: dict[tuple[str, int], _Source] = {}
    names = files.list_folder(folder, f"one view of KS20 ({_NAMES})")
    for name in names:
        match = _TEXT.fullmatch(name) or _MAT.fullmatch(name)
        if match is None:
            raise UserError(f"{folder / name}: not named like {_NAMES}; rename or remove it")
        body = int(match[2])
        if body not in LABELS:
            raise UserError(
                f"{folder / name}: KS20 has no body {body}, only {', '.join(map(str, BODIES))}; "
                "rename or remove the file"
            )
        setting = match[1].lower()
        source = found.setdefault((setting, body), _Source(folder.name, setting, body))
        time = match[3] if match.re is _TEXT else None
        if source.paths and (time is None or not source.times):
            raise UserError(
                f"{folder / name}: {source.paths[0].name} holds the same recording; keep only one"
            )
        source.paths.append(folder / name)
        if time is not None:
            source.times.append(time)
    for source in found.values():
        _check_times(source)
    if not found:
        raise UserError(f"{folder}: holds no file named like {_NAMES}; put the raw data there")
    return sorted(found.values(), key=lambda source: source.key)


def _check_times(source: _Source) -> None:
    """UserError if two files have the same time."""
    known: dict[Decimal, Path] = {}
    for time, path in zip(source.times, source.paths, strict=False):
        first = known.setdefault(Decimal(time), path)
        if first != path:
            raise UserError(f"{path}: {first.name} has the same time; keep only one of them")


def _read_source(as_text: bool, source: _Source) -> Recording:
    if source.times:
        paths = [source.paths[place] for place in _order(source.times, as_text)]
        found = text.read_frames(paths, LAYOUT)
        frames, digest, counts = found.coordinates, found.sha256, {}
    else:
        array = mat.read_frames(source.paths[0], N_JOINTS)
        digest, counts = array.sha256, {"flat_arrays": int(array.flat)}
        frames = array.frames
        frames = frames if array.times is None else frames[_order(array.times, as_text)]
    return Recording(
        name=f"{source.view}/{source.setting}_body{source.body}",
        identity=LABELS[source.body],
        frames=frames,
        role=source.view,
        attributes={"view": source.view, "setting": source.setting, "body": str(source.body)},
        sha256=digest,
        files=source.paths,
        counts=counts,
    )


def _order(times: Sequence[str], as_text: bool) -> list[int]:
    """Places of the frames in order of time; equal times keep their order."""
    if as_text:
        return sorted(range(len(times)), key=times.__getitem__)
    return sorted(range(len(times)), key=lambda place: Decimal(times[place]))
