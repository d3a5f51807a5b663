"""What every raw reader returns, and the options that change how raw files are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

# Lies in every folder of generated data, so that nobody takes its walkers for people.
MARKER = "generated.json"
# Wraps an iterable to show progress, as `tqdm.tqdm` does; `silent` shows nothing.
Progress = Callable[[Iterable[Any]], Iterable[Any]]


def silent(items: Iterable[Any]) -> Iterable[Any]:
    """The progress that shows nothing."""
    return items


@dataclass(frozen=True, eq=False)
class Recording:
    """One walk of one person before one camera."""

    name: str  # posix path relative to the dataset's folder, unique in the dataset
    identity: int  # the label that goes into the files
    frames: (
        np.ndarray
    )  # (T, J, 3) float64, metres, camera space, file joint order; not yet cut; NaN: not seen
    role: str = ""  # IAS, BIWI: the set; KS20: view folder; CASIA_B: condition
    attributes: Mapping[str, str] = field(default_factory=dict)  # view, setting, body, subject, ...
    sha256: str = ""  # hex digest of the bytes of its source file(s), in reading order
    files: Sequence[Path] = ()  # its source files
    counts: Mapping[str, int] = field(default_factory=dict)  # what the reader left out or assumed


@dataclass(frozen=True)
class ReadOptions:
    """The preprocess switches, released choice first; see docs/data.md and docs/fidelity.md."""

    ias_label_order: str = "walk"  # walk | name: where IAS labels come from (docs/data.md 2.1)
    ias_cut: str = "asymmetric"  # asymmetric | symmetric: IAS training loses 10+0 or 10+10 frames
    ks20_time: str = "text"  # text | number: how KS20 timestamps compare (docs/data.md 2.3 a)
    ks20_roles: str = "slip"  # slip | own: whose setting decides a role (docs/data.md 2.3 b)
    zero_joints: str = "keep"  # keep | missing: what (0, 0, 0) is (docs/data.md 2.6)
    dense_starts: str = "repeated"  # repeated | once | stride: training starts (docs/data.md 5.2)
