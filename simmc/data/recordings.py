"""Recordings: what every raw reader returns, and how it reads."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

MARKER = "generated.json"  # in every folder of synthetic raw data
# Wraps an iterable to show progress, as `tqdm.tqdm` does.
Progress = Callable[[Iterable[Any]], Iterable[Any]]


def silent(items: Iterable[Any]) -> Iterable[Any]:
    """The progress that shows nothing."""
    return items


def is_generated(root: Path) -> bool:
    """Whether a raw dataset's folder holds synthetic walkers."""
    return (root / MARKER).is_file()


@dataclass(frozen=True, eq=False)
class Recording:
    """One walk of one person in front of one camera."""

    name: str  # posix path relative to the dataset's folder, unique in the dataset
    identity: int  # the label that goes into the files
    frames: np.ndarray  # (T, J, 3) float64, metres, camera space, not yet cut; NaN: not seen
    role: str = ""  # IAS, BIWI: the set; KS20: view folder; CASIA_B: condition
    attributes: Mapping[str, str] = field(default_factory=dict)  # view, setting, body, subject, ...
    sha256: str = ""  # hex digest of the bytes of its source files, in reading order
    files: Sequence[Path] = ()  # its source files
    counts: Mapping[str, int] = field(default_factory=dict)  # what the reader left out or assumed


@dataclass(frozen=True)
class ReadOptions:
    """The preprocess switches, released choice first; see docs/data.md and docs/fidelity.md."""

    ias_label_order: str = "walk"  # walk | name: where IAS labels come from (docs/data.md 2.1)
    ias_cut: str = "asymmetric"  # asymmetric | symmetric: IAS training loses 10+0 or 10+10 frames
    ks20_time: str = "text"  # text | number: how KS20 timestamps compare (docs/data.md 2.3 a)
    ks20_roles: str = "slip"  # slip | own: whose setting decides the split (docs/data.md 2.3 b)
    zero_joints: str = "keep"  # keep | missing: what (0, 0, 0) is (docs/data.md 2.6)
    dense_starts: str = "repeated"  # repeated | once | stride: training starts (docs/data.md 5.2)


def same_recordings(recordings: Sequence[Recording]) -> list[list[str]]:
    """Names of recordings with exactly the same frames, in groups of two and more."""
    groups: defaultdict[bytes, list[str]] = defaultdict(list)
    for recording in recordings:
        if len(recording.frames):
            digest = hashlib.sha256(np.ascontiguousarray(recording.frames).data).digest()
            groups[digest].append(recording.name)
    return [names for names in groups.values() if len(names) > 1]
