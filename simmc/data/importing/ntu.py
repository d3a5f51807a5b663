"""NTU RGB+D `.skeleton` files: the bodies of Kinect v2 in every frame, as text.

The number of frames; for each frame the number of bodies; for each body a line of ten numbers that
begins with its id, the number of joints, and a line of twelve numbers for each joint: x, y, z, ...,
tracking state.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import numpy as np

from simmc.data.importing.json_frames import counted
from simmc.data.importing.recording import Body
from simmc.data.importing.tracks import by_id, check_positions, to_bodies
from simmc.data.skeletons import KINECT_V2
from simmc.errors import UserError

RATE = 30.0  # Hz, of all recordings of the dataset
_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})", re.ASCII)
_ADVICE = "fetch it again"


def read(path: str, data: bytes) -> list[Body]:
    """The bodies of a file by their ids; metres, y up, 30 Hz.

    A file named like S001C002P003R002A013 has session S001, camera C002 and, if it holds one body,
    person P003; the action and repetition are fields. Joints that were not tracked are NaN.

    Raises:
        UserError: the file is damaged, or holds no body.
    """
    lines = data.decode("latin-1").split("\n")
    at = 0

    def numbers(least: int) -> list[float]:
        nonlocal at
        try:
            found = [float(word) for word in lines[at].split()]
        except (IndexError, ValueError):
            found = []
        if len(found) < least:
            raise UserError(f"{path}, line {at + 1}: expected {least} numbers or more; {_ADVICE}")
        at += 1
        return found

    frames = []
    lost = inferred = 0
    stated = numbers(1)[0]
    while at < len(lines) and lines[at].strip():
        seen = []
        for _ in range(_count(numbers(1)[0], path, at)):
            numbers(1)
            key = lines[at - 1].split()[0]  # as text: it may have more digits than a float
            if (count := numbers(1)[0]) != KINECT_V2.n_joints:
                raise UserError(f"{path}, line {at}: {count:g} joints, expected 25; {_ADVICE}")
            rows = [numbers(3) for _ in range(KINECT_V2.n_joints)]
            xyz = np.array([row[:3] for row in rows])
            states = np.array([row[11] if len(row) > 11 else 2 for row in rows])
            lost, inferred = lost + int((states == 0).sum()), inferred + int((states == 1).sum())
            xyz[states == 0] = np.nan
            seen.append((key[:40], check_positions(xyz, f"{path}, line {at}")))
        frames.append(seen)
    if len(frames) != stated:
        raise UserError(f"{path}: {len(frames):,} frames instead of {stated:g}; {_ADVICE}")
    notes = [
        *counted("{} [joint was|joints were] not tracked", lost),
        *counted("{} [position is|positions are] inferred by the sensor", inferred),
    ]
    tracks = by_id(enumerate(frames), path)
    fields: dict[str, str] = {}
    if named := _NAME.fullmatch(PurePosixPath(path).name.partition(".")[0].upper()):
        fields = {"session": f"S{named[1]}", "camera": f"C{named[2]}"}
        fields |= {"repetition": named[4], "action": named[5]}
        if len(tracks) == 1:
            fields["person"] = f"P{named[3]}"
        else:
            notes.append(f"several bodies: which one is P{named[3]} is not in the file")
    times = np.arange(len(frames)) / RATE
    joints = KINECT_V2.joints
    return to_bodies(
        path, tracks, joints, times=times, notes=notes, metres=True, up="y", fields=fields
    )


def _count(value: float, path: str, line: int) -> int:
    if not 0 <= value <= 1000 or value != int(value):
        raise UserError(f"{path}, line {line}: {value:g} is not a number of bodies; {_ADVICE}")
    return int(value)
