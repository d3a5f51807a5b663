"""What a method trains on: training, probe and gallery windows in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from simmc.data.manifest import RecordingEntry
from simmc.data.skeletons import Skeleton
from simmc.errors import UserError, numbered


@dataclass(frozen=True, eq=False)
class Split:
    """Windows of the training, probe or gallery set."""

    # (N, f, J, 3) float32, metres, relative to the root joint of each frame; or (N, f, d) features
    windows: np.ndarray
    # (N,) int64, index into the sorted list of identities; below 0 the label of a window of nobody
    # in the list (junk, a distractor)
    identity: np.ndarray
    # (N,) int64, index into `Experiment.recordings`; pieces (--stress) have further numbers
    recording: np.ndarray | None
    # (N, 2) float64 seconds, begin and end of its recording, NaN if unknown; None: all unknown
    times: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.identity)


@dataclass(frozen=True, eq=False)
class Experiment:
    """The data of a method."""

    train: Split
    probe: Split
    gallery: Split
    identities: list[int]  # labels of the training identities, sorted; none is below 0
    test_identities: list[int]  # labels behind probe.identity and gallery.identity
    same_windows: bool  # probe and gallery are the same list: each probe would match itself
    skeleton: Skeleton  # the names by which methods read the joint axis
    recordings: list[RecordingEntry]  # of the manifest; empty without one
    checksum: str | None  # sha256 of the manifest
    generated: bool = False  # synthetic walkers
    checked: bool = False  # the checksums of the files are those of the manifest
    # number of probe windows with an exact copy in the gallery and train set
    copies: Mapping[str, int] = field(default_factory=dict)
    # windows of incomplete batches that were left out, by set (--part_batches drop)
    dropped: dict[str, int] = field(default_factory=dict)
    # (N, E) metres, length of every bone in each training window; None if not known
    body: np.ndarray | None = None

    def require_labels(self, what: str, remedy: str = "use SimMC.py, which needs none") -> None:
        """UserError if training windows have labels below 0, which no method can learn."""
        junk = int((self.train.identity < 0).sum())
        if junk:
            have = numbered("[has|have] a label below 0", junk)
            raise UserError(
                f"{what}: {junk} of {len(self.train)} training windows {have}, "
                "which is no identity that could be learned. Leave these windows out of the set, "
                f"or {remedy}."
            )

    def require_identities(
        self, what: str, remedy: str = "use SimMC.py, which needs no labels"
    ) -> None:
        """UserError if the training windows have no two identities that could be told apart."""
        self.require_labels(what, remedy)
        if len(self.identities) < 2:
            raise UserError(
                f"{what}: the training windows name fewer than two identities, so there is "
                f"nothing to tell apart. Label them, or {remedy}."
            )


def labels_of(identity: np.ndarray, identities: Sequence[int]) -> np.ndarray:
    """(N,) int64 labels as in the files, from the identities of a split's windows."""
    labels = identity.copy()
    known = identity >= 0
    labels[known] = np.array(identities, np.int64)[identity[known]]
    return labels
