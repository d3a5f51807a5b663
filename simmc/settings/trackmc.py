"""Settings of TrackMC, our own method (docs/method.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from simmc.errors import UserError
from simmc.settings.common import COUNT, EVALUATION, INSIDE, MAIN, POSITIVE, TRAINING
from simmc.settings.epochs import ClusteredSettings
from simmc.settings.options import Range, option

OFF, POSITIVES, MERGE = "off", "positives", "merge"
APART, IGNORE = "apart", "ignore"


@dataclass(frozen=True)
class TrackMCSettings(ClusteredSettings):
    """Everything that a training or evaluation of TrackMC can be told."""

    COMMAND: ClassVar[str] = "trackmc"
    TAKES_VALUES: ClassVar[bool] = True
    SUMMARY: ClassVar[str] = (
        "Train TrackMC, our own method, without identity labels, and score it by matching probe "
        "against gallery windows, or score a trained run (--mode Eval)."
    )

    recordings: str = option(
        MERGE,
        "What is made of a recording showing one person: nothing (off); its windows share their "
        "clusters (positives); it is clustered as a whole (merge).",
        choices=(OFF, POSITIVES, MERGE),
        group=MAIN,
    )
    overlap: str = option(
        APART,
        "What is made of training recordings that overlap in time, where the data tell times: two "
        "people, never in one cluster (apart), or nothing (ignore).",
        choices=(APART, IGNORE),
        group=TRAINING,
    )
    fidelity: str = option(
        "exact",
        "Sets the switches of data and evaluation: right, or as the public programs of others.",
        choices=("released", "exact"),
        group=MAIN,
    )
    input: str = option(
        "turned+bones+distances",
        "What a frame is described by: joints, turned, bones, distances, angles, motion; several "
        "joined by +.",
        group=TRAINING,
    )
    parts: int = option(
        12, "merge: parts that a recording is clustered in, at most.", limits=COUNT, group=TRAINING
    )
    part_size: int = option(4, "merge: windows of a part, at least.", limits=COUNT, group=TRAINING)
    eps: float = option(
        0.5, "DBSCAN: largest Jaccard distance of neighbours.", limits=INSIDE, group=TRAINING
    )
    doubt: float | None = option(
        0.95,
        "Clusters with parts this near, though not near enough to be joined, may be one person: "
        "they do not repel each other; 'off': all do.",
        kind=float,
        limits=INSIDE,
        words={"off": None},
        group=TRAINING,
    )
    t: float = option(
        0.1, "Temperature of the contrast.", aliases=("tau",), limits=POSITIVE, group=TRAINING
    )
    lr: float = option(
        1e-3, "Learning rate of Adam; falls to 0 along a cosine.", limits=POSITIVE, group=TRAINING
    )
    epochs: int = option(
        20,
        "Epochs; the last one counts, nothing ends a run earlier.",
        limits=Range(0),
        group=TRAINING,
    )
    eval_every: int = option(5, "Epochs between two evaluations.", limits=COUNT, group=EVALUATION)
    mask_x: int = option(
        0, "Frames dropped from a window when it is learned from.", limits=Range(0), group=TRAINING
    )
    D: int = option(1, "Hidden layers of the encoder.", limits=COUNT, group=TRAINING)
    pooling: str = option(
        "mean_std",
        "What is kept of a unit over the frames: its mean, or its deviation as well.",
        choices=("mean", "mean_std"),
        group=TRAINING,
    )
    matching: str = option(
        "unit",
        "Features that are matched: of unit length, as they were learned, or plain.",
        choices=("unit", "plain"),
        group=EVALUATION,
    )

    @classmethod
    def preset_names(cls, values: Mapping[str, Any]) -> list[str]:
        """One for each use of recordings, and none for a dataset: nothing is tuned to one."""
        return [values["recordings"]]

    @property
    def recipe(self) -> str:
        """The command and the use of recordings: the two tiers never share a name."""
        return f"{self.COMMAND}_{self.recordings}"

    @property
    def unit_features(self) -> bool:
        """Whether features are matched at unit length."""
        return self.matching == "unit"

    def check(self) -> None:
        """As above; frames left over."""
        super().check()
        if self.doubt is not None and self.doubt < self.eps:
            raise UserError(
                f"--doubt {self.doubt:g} must not be below --eps {self.eps:g}; give more, or off."
            )
        if self.mask_x >= self.length:
            raise UserError(
                f"--mask_x {self.mask_x} leaves no frame of --length {self.length}; give less."
            )
