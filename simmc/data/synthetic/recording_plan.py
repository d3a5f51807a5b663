"""Recording plans of synthetic walkers, with the structure of the five datasets.

Names, roles, attributes, labels and order are those of the raw readers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

import numpy as np

from simmc.data.raw import biwi, casia_b, ias, kgbd, ks20
from simmc.data.specs import KS20_VIEWS
from simmc.errors import UserError

Motion = Literal["straight", "turning", "standing"]
SIZES = ("tiny", "small", "full")


@dataclass(frozen=True)
class Planned:
    """One recording to generate."""

    name: str
    person: int  # 0, 1, 2, ...
    identity: int  # the reader's label
    n_frames: tuple[int, int]  # drawn between these
    rate: float  # frames a second
    motion: Motion
    view: float  # heading in degrees: 0 to the sensor's left (+x), 90 towards it, 180 to its right
    role: str = ""
    clothes: str = ""  # "other", "bag" or "coat"
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Size:
    """How much of a dataset to generate."""

    persons: int
    frames: tuple[tuple[int, int], ...]  # lengths by set
    views: tuple[int, ...] = ()  # CASIA-B's cameras


def recording_plan(
    dataset: str, persons: int | None, size: str, rng: np.random.Generator
) -> list[Planned]:
    """All recordings of a dataset; `persons` None takes the number of the size.

    Sizes are tiny (for tests), small (every split fills a batch) and full (as long as the
    original). `rng` draws BIWI's test persons.
    """
    plan = _SIZES[dataset][size]
    count = plan.persons if persons is None else persons
    most = len(ks20.BODIES) if dataset == "KS20" else 999
    if not 2 <= count <= most:
        raise UserError(f"--persons {count}: {dataset} takes from 2 to {most}")
    return _LAYOUTS[dataset](count, plan, rng)


def _ias(count: int, plan: _Size, rng: np.random.Generator) -> list[Planned]:
    clothes = {"TestingA": "other"}
    return [
        Planned(f"{part}/{p + 1:02d}", p, p, n, 15, "turning", 90, part, clothes.get(part, ""))
        for part, n in zip(ias.SETS, plan.frames, strict=True)
        for p in range(count)
    ]


def _biwi(count: int, plan: _Size, rng: np.random.Generator) -> list[Planned]:
    tested = np.sort(rng.permutation(count)[: max(2, round(count * 28 / 50))]).tolist()
    motions: dict[str, tuple[Motion, str]] = {
        "Training": ("turning", ""),
        "Walking": ("straight", "other"),
        "Still": ("standing", "other"),
    }
    return [
        Planned(f"{folder}/{p:03d}", p, p, n, 10, motions[role][0], 90, role, motions[role][1])
        for (role, folder), n in zip(biwi.SETS.items(), plan.frames, strict=True)
        for p in (range(count) if role == "Training" else tested)
    ]


def _kgbd(count: int, plan: _Size, rng: np.random.Generator) -> list[Planned]:
    return [
        Planned(
            f"{kgbd.FOLDER}/Person{p:03d}/{k}.txt", p - 1, p, plan.frames[0], 30, "straight", view
        )
        for p in range(1, count + 1)
        for k, view in enumerate((0, 180, 0, 180, 0), start=1)
    ]


def _ks20(count: int, plan: _Size, rng: np.random.Generator) -> list[Planned]:
    made = []
    for view, setting in product(ks20.VIEWS, ("gc1", "gc2", "gc3")):
        # frame files sort body11 before body1, because 1 comes before the underscore
        for body in sorted(ks20.BODIES[:count], key=lambda b: f"{b}_"):
            label, degrees = ks20.LABELS[body], float(KS20_VIEWS[view])
            name, about = f"{view}/{setting}_body{body}", {"view": view, "setting": setting}
            about["body"] = str(body)
            made.append(
                Planned(
                    *(name, label, label, plan.frames[0], 30, "straight", degrees, view),
                    attributes=about,
                )
            )
    return made


def _casia_b(count: int, plan: _Size, rng: np.random.Generator) -> list[Planned]:
    conditions = [
        *(("bg", f"{k:02d}", "bag") for k in (1, 2)),
        *(("cl", f"{k:02d}", "coat") for k in (1, 2)),
        *(("nm", f"{k:02d}", "") for k in range(1, 7)),
    ]
    return [
        Planned(
            *(
                f"{p:03d}/{condition}-{take}/{view:03d}.npy",
                p - 1,
                p,
                plan.frames[0],
                25,
                "straight",
            ),
            view=90 - float(view),  # camera 000 sees the front, 180 the back
            role=condition,
            clothes=clothes,
            attributes={
                "subject": f"{p:03d}",
                "condition": condition,
                "take": take,
                "view": f"{view:03d}",
            },
        )
        for p in range(1, count + 1)
        for condition, take, clothes in conditions
        for view in plan.views
    ]


_LAYOUTS: dict[str, Callable[[int, _Size, np.random.Generator], list[Planned]]] = {
    "IAS": _ias,
    "BIWI": _biwi,
    "KGBD": _kgbd,
    "KS20": _ks20,
    "CASIA_B": _casia_b,
}
# Full sizes follow the papers (docs/data.md 1, 2); small ones are the smallest that fill a batch of
# 256 windows of the default length in every split.
_SIZES: dict[str, dict[str, _Size]] = {
    "IAS": {
        "tiny": _Size(3, ((36, 44),) * 3),
        "small": _Size(11, ((200, 240), (190, 220), (190, 220))),
        "full": _Size(11, ((640, 740), (620, 700), (690, 770))),
    },
    "BIWI": {
        "tiny": _Size(4, ((36, 44),) * 3),
        "small": _Size(20, ((150, 190), (190, 220), (190, 220))),
        "full": _Size(50, ((330, 410), (180, 210), (120, 150))),
    },
    "KGBD": {
        "tiny": _Size(4, ((36, 44),)),
        "small": _Size(20, ((130, 200),)),
        "full": _Size(164, ((350, 850),)),
    },
    "KS20": {
        "tiny": _Size(4, ((14, 20),)),
        "small": _Size(20, ((28, 44),)),
        "full": _Size(20, ((28, 44),)),
    },
    "CASIA_B": {
        "tiny": _Size(4, ((62, 70),), (0, 90)),
        "small": _Size(26, ((62, 100),), casia_b.VIEWS),
        "full": _Size(124, ((62, 100),), casia_b.VIEWS),
    },
}
