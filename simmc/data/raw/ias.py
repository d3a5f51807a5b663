"""Raw IAS-Lab: ``{Training,TestingA,TestingB}/.../*skel.txt``, a file for each frame.

Each folder without folders in it is one recording of one person (docs/data.md 2.1). A line is joint
id, x, y, z (metres), two image coordinates, tracking state, quality and, in some files, six more
fields about the joint's orientation. Frames with a lost joint (state 0) are dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from simmc.data.raw import files, text
from simmc.data.recordings import Progress, ReadOptions, Recording, silent
from simmc.errors import UserError

SETS = ("Training", "TestingA", "TestingB")
ENDING = "skel.txt"
LOST = 0  # tracking state of a joint that the sensor does not see
LAYOUT = text.Layout(lines=20, fields=(8, 14), state=6, person_ids=True)
Leaf = tuple[str, Path, list[Path]]  # set, folder, frame files

_log = logging.getLogger("simmc")


def read(
    root: Path, options: ReadOptions | None = None, progress: Progress = silent
) -> list[Recording]:
    """All recordings, set by set; frames (T, 20, 3) float64 in metres, T may be 0.

    With ``ias_label_order="walk"`` (released) persons are numbered in the order of `os.walk`, in
    each set separately; with "name" by folder name, in all sets alike.
    """
    by_name = options is not None and options.ias_label_order == "name"
    leaves = []
    for part in SETS:
        found = files.leaves(root / part, ENDING)
        leaves += [(part, *leaf) for leaf in (sorted(found) if by_name else found)]
    people = [_person(root, leaf) for leaf in leaves]
    labels = _labels_by_name(root, leaves, people) if by_name else _labels_by_walk(leaves, people)
    jobs = list(zip(leaves, labels, strict=True))
    return [
        read_leaf(root, folder, paths, LAYOUT, label, part)
        for (part, folder, paths), label in progress(jobs)
    ]


def read_leaf(
    root: Path, folder: Path, paths: Sequence[Path], layout: text.Layout, label: int, role: str
) -> Recording:
    """One recording without frames that have lost joints; BIWI uses it too."""
    found = text.read_frames(paths, layout)
    seen = (found.states != LOST).all(axis=1)
    return Recording(
        name=folder.relative_to(root).as_posix(),
        identity=label,
        frames=found.coordinates[seen],
        role=role,
        sha256=found.sha256,
        files=paths,
        counts={
            "lost_frames": int(np.count_nonzero(~seen)),
            "more_bodies": found.more_bodies,
            "unordered_frames": found.unordered,
        },
    )


def _person(root: Path, leaf: Leaf) -> str:
    """The person's name: the folder directly below the set."""
    part, folder, _ = leaf
    inner = folder.relative_to(root / part).parts
    if not inner:
        raise UserError(
            f"{folder}: frames lie directly in the set's folder; give each person a folder"
        )
    return inner[0]


def _labels_by_name(root: Path, leaves: Sequence[Leaf], people: Sequence[str]) -> list[int]:
    known = sorted(
        {name for (part, *_), name in zip(leaves, people, strict=True) if part == SETS[0]}
    )
    for (part, folder, _), name in zip(leaves, people, strict=True):
        if name not in known:
            raise UserError(
                f"{folder}: {root / SETS[0]} has no folder {name} ({part}); give a person's folder "
                "the same name in all sets, or use --ias_label_order walk"
            )
    return [known.index(name) for name in people]


def _labels_by_walk(leaves: Sequence[Leaf], people: Sequence[str]) -> list[int]:
    """Place of the folder in its set, as the file system lists it."""
    labels: list[int] = []
    order: dict[str, list[str]] = {part: [] for part in SETS}
    for (part, *_), name in zip(leaves, people, strict=True):
        labels.append(len(order[part]))
        order[part].append(name)
    first, *others = order.values()
    for part, names in zip(SETS[1:], others, strict=True):
        if names != first and set(names) & set(first):
            _log.warning(
                "IAS: the file system lists the persons of %s in another order than those of %s, "
                "so the same label is not the same person (the released numbering); "
                "--ias_label_order name numbers them by folder name",
                *(part, SETS[0]),
            )
    return labels
