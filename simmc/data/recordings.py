"""What every raw reader returns, and the options that change how raw files are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

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
    frames: np.ndarray  # (T, J, 3) float64, metres, camera space, file joint order; not yet cut
    role: str = ""  # IAS, BIWI: the set; KS20: view folder; CASIA_B: condition
    attributes: Mapping[str, str] = field(default_factory=dict)  # view, setting, body, subject, ...
    sha256: str = ""  # hex digest of the bytes of its source file(s), in reading order


@dataclass(frozen=True)
class ReadOptions:
    """Released (first) and exact (second) choices of the raw readers; see docs/data.md."""

    ias_label_order: str = "walk"  # walk | name (datasets.md 2.1)
    ks20_time: str = "text"  # text | number (datasets.md 2.3 a)
