"""Raw BIWI RGBD-ID: ``{Training,Testing/Walking,Testing/Still}/NNN/*skel.txt`` (docs/data.md 2.2).

A file for each frame, in IAS's line format. A file can hold several bodies; only the first 20 lines
are read, and the frame is dropped if one of their joints is lost.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from simmc.data.raw import files, ias
from simmc.data.recordings import Progress, ReadOptions, Recording, silent
from simmc.errors import UserError

SETS = {"Training": "Training", "Walking": "Testing/Walking", "Still": "Testing/Still"}
LAYOUT = replace(ias.LAYOUT, more_lines=True)


def read(
    root: Path, options: ReadOptions | None = None, progress: Progress = silent
) -> list[Recording]:
    """All recordings, set by set; frames (T, 20, 3) float64 in metres, T may be 0.

    The label is the number that names the folder. Folders are sorted by path, so that equal files
    give equal sets.
    """
    jobs = [
        (role, folder, paths)
        for role, part in SETS.items()
        for folder, paths in sorted(files.leaves(root / part, ias.ENDING))
    ]
    return [
        ias.read_leaf(root, folder, paths, LAYOUT, _label(root / SETS[role], folder), role)
        for role, folder, paths in progress(jobs)
    ]


def _label(part: Path, folder: Path) -> int:
    outer = folder.relative_to(part).parts[:-1]
    if any(name.isdecimal() for name in outer):
        raise UserError(
            f"{folder}: lies inside the folder of another person; a person's folder holds only "
            "frames: move it"
        )
    return files.person_number(folder, folder.name, "001")
