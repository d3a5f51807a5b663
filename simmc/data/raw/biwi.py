"""Raw BIWI RGBD-ID: ``{Training,Testing/Walking,Testing/Still}/NNN/*skel.txt`` (docs/data.md 2.2).

One file a frame, in IAS's line format. A file can hold several tracked bodies; only the first 20
lines count, and the frame is dropped if one of their joints is lost.
"""

from __future__ import annotations

from pathlib import Path

from simmc.data.raw import ias, text
from simmc.data.recordings import Progress, ReadOptions, Recording, silent
from simmc.errors import UserError

SETS = {"Training": "Training", "Walking": "Testing/Walking", "Still": "Testing/Still"}
LAYOUT = text.Layout(lines=20, columns=(1, 2, 3, 6), more_lines=True)


def read(
    root: Path, options: ReadOptions | None = None, progress: Progress = silent
) -> list[Recording]:
    """All recordings, set by set; frames (T, 20, 3) float64 in metres, T may be 0.

    The label is the number that names the folder. Folders go by path, not in the order in which the
    file system lists them: no label depends on it here, and equal files should give equal sets.
    """
    jobs = [
        (role, folder, paths)
        for role, part in SETS.items()
        for folder, paths in sorted(text.leaves(root / part, ias.FILES))
    ]
    return [
        ias.read_leaf(root, folder, paths, LAYOUT, _label(folder), role)
        for role, folder, paths in progress(jobs)
    ]


def _label(folder: Path) -> int:
    if not folder.name.isdecimal():
        raise UserError(
            f"{folder}: the folder's name is the person's number in BIWI, such as 001; rename it"
        )
    return int(folder.name)
