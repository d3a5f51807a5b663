"""What every reader of `simmc import` returns.

Shape letters: F frames, J joints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from simmc.data.importing.description import WHO


@dataclass(frozen=True, eq=False)
class Body:
    """One body of one source file, before windows are cut."""

    name: str  # of the recording: the file's path in the source; '#2' is added for a second body
    xyz: np.ndarray  # (F, J, 3) float64, NaN: joint not seen; metres, or the unit of `simmc import`
    joints: tuple[str, ...]  # names; '0', '1', ... where the file has only numbers
    times: np.ndarray | None = None  # (F,) float64 seconds, ascending; None if the file has none
    flat: bool = False  # 2D: z is 0
    notes: tuple[str, ...] = ()  # what the reader dropped or guessed, one line each
    # what is known of it: person, session, camera, and others such as the gait
    fields: Mapping[str, str] = field(default_factory=dict)
    metres: bool = False  # the file or format states the unit, and xyz is in metres already
    up: str = ""  # the axis that points up, "y", "-y", "z", ..., if the format fixes it
    bones: tuple[tuple[str, str], ...] = ()  # pairs of joint names, if the file has bones


def with_fields(body: Body, fields: Mapping[str, str | None]) -> Body:
    """The body with what is known of it besides.

    An empty person, session or camera adds nothing; None removes what the file says.
    """
    known = {key: text for key, text in fields.items() if text or key not in WHO or text is None}
    found = {**body.fields, **known}
    return replace(body, fields={key: text for key, text in found.items() if text is not None})
