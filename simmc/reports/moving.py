"""What `moving.js` draws: skeletons and their recordings, and the files that go into a page."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from simmc.data.bodies import SIDES, plain_name
from simmc.data.skeletons import Skeleton
from simmc.reports.charts import swatch

MISSING = -32768
PARTS = (
    ("Legs", ("hip", "knee", "ankle", "leg")),
    ("Arms", ("elbow", "wrist", "shoulder", "arm")),
    ("Hands and feet", ("hand", "foot", "thumb", "toe", "heel", "finger", "tip")),
)


def script_data(
    rate: float, skeletons: Sequence[Skeleton], recordings: Sequence[dict[str, Any]]
) -> str:
    """The JSON that the script reads, safe within a script element.

    Args:
        rate: frames a second.
        skeletons: those that the recordings have.
        recordings: as `packed` gives them.
    """
    bodies = [_drawn(skeleton) for skeleton in skeletons]
    content = {"rate": rate, "bodies": bodies, "recordings": recordings}
    return json.dumps(content).replace("<", "\\u003c")


def packed(frames: np.ndarray, body: int = 0) -> dict[str, Any]:
    """Frames (T, J, 3) of one of the skeletons, as 16-bit integers around their middle."""
    known = np.isfinite(frames)
    middle = np.median(frames[known.all(2)], axis=0) if known.all(2).any() else np.zeros(3)
    moved = np.where(known, frames - middle, 0.0)
    scale = float(np.abs(moved).max(initial=0)) / 32767 or 1.0
    whole = np.where(known.all(2, keepdims=True), np.rint(moved / scale), MISSING)
    text = base64.b64encode(whole.astype("<i2").tobytes()).decode()
    return {"body": body, "count": len(frames), "scale": scale, "frames": text}


def controls(slow: float, name: str) -> str:
    """The buttons of all recordings on a page; `slow` is the lower speed, by its name."""
    return (
        '<div class="controls"><button id="play" type="button">Play</button>'
        f'<label>Speed <select id="speed"><option value="{slow}">{name}</option>'
        '<option value="1" selected>1</option><option value="2">2</option></select></label>'
        f'<span><span class="key">{swatch(0, False)}left</span>'
        f'<span class="key">{swatch(1, True)}right (dashed)</span></span></div>'
    )


def part_of(a: str, b: str) -> tuple[str, str]:
    """Side and part of the body of a bone, by the names of its joints."""
    names = plain_name(a), plain_name(b)
    sides = {s for s in SIDES for name in names if name.startswith(f"{s}_")}
    side = sides.pop() if len(sides) == 1 else ""
    ends = [name.removeprefix(f"{side}_") for name in names]
    for part, words in reversed(PARTS):
        if side and any(end.startswith(words) for end in ends):
            trunk = any(not name.startswith(f"{side}_") for name in names)
            return side, "Trunk and head" if trunk else part
    return side, "Trunk and head"


def _drawn(skeleton: Skeleton) -> dict[str, Any]:
    names = [plain_name(joint) for joint in skeleton.joints]
    ends = [
        (names.index(f"{side}_{end}"), side[0].upper())
        for side in SIDES
        for end in ("wrist", "ankle")
        if f"{side}_{end}" in names
    ]
    heads = [i for i, name in enumerate(names) if name in ("head", "nose")]
    return {
        "joints": skeleton.n_joints,
        "bones": [
            [int(i), int(j), part_of(a, b)[0]]
            for (a, b), (i, j) in zip(skeleton.edges, skeleton.edge_indices(), strict=True)
        ],
        "letters": ends,
        "head": heads[0] if heads else -1,
    }
