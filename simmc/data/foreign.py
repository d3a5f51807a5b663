"""Features that were made elsewhere: whether they are those of our windows, row by row.

Nothing in a file of features says which window a row belongs to. Two things tell: the labels that
come with them, window by window; and that neighbouring windows of a recording are more alike than
random windows of the same person, which no shuffled file can show.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from simmc.data import arrays, store
from simmc.data.features import FRAMES, FeatureFiles, require_finite
from simmc.data.store import StoredSplit
from simmc.errors import UserError

_CHUNK = 4096  # windows looked at at a time
FEWEST_PAIRS, MOST_PAIRS = 200, 4000
DEVIATIONS = 4.0  # above one half that the share of closer neighbours has to lie


def read_foreign(folder: Path, files: FeatureFiles, split: str, stored: StoredSplit) -> np.ndarray:
    """Features (N, f, d) of a split's windows from a folder that mirrors the preprocessed sets.

    Args:
        folder: in the place of the root folder of the preprocessed sets.
        files: the names that they will have.
        split: its name.
        stored: its windows.

    Raises:
        UserError: files that are missing or of another shape; labels or rows in another order.
    """
    spec, length = files.spec, files.length
    base = store.dataset_folder(folder, spec, length)
    home = store.split_folder(base, spec, split)
    path = home / files.path(split).name
    if not path.is_file():
        raise UserError(
            f"{path}: not there. Point --from to the folder that holds {spec.folder}/{length} with "
            "the features, or say with --kind and --name what the files are called"
        )
    features = arrays.read_floats(path)
    each = length if files.kind == FRAMES else 1
    if features.ndim == 2 and len(features) == len(stored) * each:
        features = features.reshape(len(stored), each, -1)  # rows = frames, as coordinates lie
    if features.ndim != 3 or features.shape[:2] != (len(stored), each):
        raise UserError(
            f"{path}: shape {features.shape}, where ({len(stored)}, {each}, features) is due: "
            f"one row of frames for each window of {stored.path}; windows are missing or too many"
        )
    labels = store.read_labels(home, spec, length, split, len(stored))
    if not np.array_equal(labels, stored.labels):
        wrong = int(np.flatnonzero(labels != stored.labels)[0])
        raise UserError(
            f"{path}: window {wrong} belongs to person {labels[wrong]} there and to "
            f"{stored.labels[wrong]} in {stored.path}: the windows are others, or in another order"
        )
    for low in range(0, len(features), _CHUNK):
        with np.errstate(over="ignore"):
            require_finite(features[low : low + _CHUNK].astype(np.float32), path)
    require_order(features, stored, path)
    return features


def require_order(features: np.ndarray, stored: StoredSplit, path: Path) -> None:
    """UserError where neighbouring windows are no more alike than random ones of the same person.

    Args:
        features: (N, f, d).
        stored: the windows, with their recordings if known.
        path: of the features.
    """
    share, pairs = closer_neighbours(features, stored)
    if pairs >= FEWEST_PAIRS and share < 0.5 + DEVIATIONS * 0.5 / pairs**0.5:
        raise UserError(
            f"{path}: only {100 * share:.0f} % of {pairs} neighbouring windows of a recording are "
            "more alike than random windows of the same person: the rows are not in the order of "
            f"the windows in {stored.path}. Export them again in that order"
        )


def closer_neighbours(features: np.ndarray, stored: StoredSplit) -> tuple[float, int]:
    """Share of windows that are nearer to the next one than to a random one of their person.

    Returns:
        The share, equal distances halved, and the number of windows that it is taken over.
    """
    group = stored.labels if stored.recording is None else stored.recording
    first = np.flatnonzero((group[:-1] == group[1:]) & (stored.labels[:-1] == stored.labels[1:]))
    rng = np.random.default_rng(0)
    first = np.sort(rng.permutation(first)[:MOST_PAIRS])
    order = np.argsort(stored.labels, kind="stable")
    values, starts, counts = np.unique(stored.labels[order], return_index=True, return_counts=True)
    place = np.searchsorted(values, stored.labels[first])
    other = order[starts[place] + rng.integers(0, counts[place])]
    usable = (other != first) & (other != first + 1)
    first, other = first[usable], other[usable]
    if len(first) == 0:
        return 1.0, 0
    here, following, elsewhere = (
        features[rows].mean(1, dtype=np.float64) for rows in (first, first + 1, other)
    )
    near = ((here - following) ** 2).sum(1)
    far = ((here - elsewhere) ** 2).sum(1)
    return float(((near < far) + 0.5 * (near == far)).mean()), len(first)
