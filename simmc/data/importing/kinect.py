"""Body tracking as JSON: Kinect v2 and Azure Kinect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from simmc.data.importing.json_frames import (
    array,
    counted,
    frames_of,
    key_of,
    keyed,
    listed,
    times_of,
)
from simmc.data.importing.recording import Body
from simmc.data.importing.tracks import by_id, check_positions, to_bodies
from simmc.data.skeletons import AZURE_KINECT, KINECT_V2
from simmc.errors import UserError

# names of the joints in Kinect v2's programs, in the order of its numbers
_SDK = (
    *("SpineBase", "SpineMid", "Neck", "Head"),
    *(
        f"{name}{side}"
        for side in ("Left", "Right")
        for name in ("Shoulder", "Elbow", "Wrist", "Hand")
    ),
    *(f"{name}{side}" for side in ("Left", "Right") for name in ("Hip", "Knee", "Ankle", "Foot")),
    *("SpineShoulder", "HandTipLeft", "ThumbLeft", "HandTipRight", "ThumbRight"),
)
_NUMBERS = {name.lower(): place for place, name in enumerate(_SDK)}
_STATES = {"nottracked": 0, "inferred": 1, "tracked": 2}


def read_azure_kinect(path: str, data: bytes) -> list[Body]:
    """The bodies of a file of Azure Kinect's offline processor, by `body_id`; metres, y down.

    A joint of confidence 0 (`joint_confidence`, which some programs add) was not seen.

    Raises:
        UserError: the file is damaged, or holds no body.
    """
    frames = frames_of(path, data)
    seen: list[list[tuple[str | None, np.ndarray]]] = []
    unseen = 0
    for place, frame in enumerate(frames, start=1):
        where = f"{path}, frame {place}"
        bodies = []
        for body in listed(keyed(frame).get("bodies"), where, "bodies"):
            entries = keyed(body)
            xyz = array(entries.get("jointpositions"), (AZURE_KINECT.n_joints, 3), where) / 1000
            if (confidence := entries.get("jointconfidence")) is not None:
                lost = ~(array(confidence, (AZURE_KINECT.n_joints,), where) > 0)
                unseen += int(lost.sum())
                xyz[lost] = np.nan
            bodies.append((key_of(entries.get("bodyid")), xyz))
        seen.append(bodies)
    times, notes = times_of(frames)
    return to_bodies(
        path,
        by_id(enumerate(seen), path),
        AZURE_KINECT.joints,
        times=times,
        notes=(*notes, *counted("{} [joint has|joints have] confidence 0: not seen", unseen)),
        metres=True,
        up="-y",
    )


def read_kinect_v2(path: str, data: bytes) -> list[Body]:
    """The bodies of a file of Kinect v2, by tracking number; metres, y up.

    There is no one format: a frame is an object with 'bodies', a list of bodies or one body. Its
    joints are a list in the sensor's order, or have names ('SpineBase') or types; a position is
    x, y, z, 'cameraX', ... or an object 'Position'. Joints that were not tracked are NaN.

    Raises:
        UserError: the file is damaged, or holds no body.
    """
    frames = frames_of(path, data)
    counts = {"lost": 0, "inferred": 0, "untracked": 0}
    seen = []
    for place, frame in enumerate(frames, start=1):
        where = f"{path}, frame {place}"
        entries = keyed(frame)
        bodies = frame if isinstance(frame, list) else entries.get("bodies", [frame])
        found = []
        for body in listed(bodies, where, "bodies"):
            about = keyed(body)
            if about.get("istracked", about.get("tracked", True)) in (False, 0) or not about:
                counts["untracked"] += 1
                continue
            found.append(
                (key_of(about.get("trackingid", about.get("id"))), _pose(about, where, counts))
            )
        seen.append(found)
    times, notes = times_of(frames)
    more = (
        *counted("{} [joint was|joints were] not tracked", counts["lost"]),
        *counted("{} [position is|positions are] inferred by the sensor", counts["inferred"]),
        *counted("{} [entry has|entries have] no tracked body", counts["untracked"]),
    )
    tracks = by_id(enumerate(seen), path)
    return to_bodies(
        path, tracks, KINECT_V2.joints, times=times, notes=(*notes, *more), metres=True, up="y"
    )


def _pose(body: Mapping[str, Any], where: str, counts: dict[str, int]) -> np.ndarray:
    """The joints (25, 3) of a body."""
    joints = body.get("joints")
    if isinstance(joints, dict):
        pairs = list(joints.items())
    else:
        pairs = list(enumerate(listed(joints, where, "joints")))
    xyz = np.full((len(_SDK), 3), np.nan)
    for key, joint in pairs:
        about = keyed(joint)
        name = about.get("jointtype", about.get("name", key))
        number = _NUMBERS.get(name.lower(), name) if isinstance(name, str) else name
        number = int(number) if isinstance(number, str) and number in _DIGITS else number
        if not isinstance(number, int) or not 0 <= number < len(_SDK):
            raise UserError(
                f"{where}: {str(name)[:40]!r} is not a joint of Kinect v2; correct the file"
            )
        state = about.get("trackingstate", about.get("state", 2))
        state = _STATES.get(state.lower(), 2) if isinstance(state, str) else state
        if state == 0:
            counts["lost"] += 1
            continue
        counts["inferred"] += state == 1
        at = about.get("position", joint)
        if isinstance(at, dict):
            axes = keyed(at)
            at = [axes.get(f"camera{axis}", axes.get(axis)) for axis in "xyz"]
        xyz[number] = array(at, (3,), where)
    return check_positions(xyz, where)


_DIGITS = {str(number) for number in range(len(_SDK))}
