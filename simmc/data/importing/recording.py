"""What every reader of `simmc import` returns.

Shape letters: F frames, J joints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class Body:
    """One body of one source file, before windows are cut."""

    name: str  # of the recording: the file's path in the source; '#2' is added for a second body
    xyz: np.ndarray  # (F, J, 3) float64, NaN: joint not seen; metres, or the unit of `simmc import`
    joints: tuple[str, ...]  # names; '0', '1', ... where the file has only numbers
    times: np.ndarray | None = None  # (F,) float64 seconds, ascending; None if the file has none
    person: str | None = None
    session: str | None = None
    camera: str | None = None
    flat: bool = False  # 2D: z is 0
    notes: tuple[str, ...] = ()  # what the reader dropped or guessed, one line each
    fields: Mapping[str, str] = field(default_factory=dict)  # what else is known, such as the gait
    metres: bool = False  # the file or format states the unit, and xyz is in metres already
    up: str = ""  # the axis that points up, "y", "-y", "z", ..., if the format fixes it
    bones: tuple[tuple[str, str], ...] = ()  # pairs of joint names, if the file has bones


def with_fields(body: Body, fields: Mapping[str, str]) -> Body:
    """The body with what is known of it besides: person, session, camera and other fields."""
    if not fields:
        return body
    rest = {key: text for key, text in fields.items() if key not in ("person", "session", "camera")}
    return replace(
        body,
        person=fields.get("person") or body.person,
        session=fields.get("session") or body.session,
        camera=fields.get("camera") or body.camera,
        fields={**body.fields, **rest},
    )
