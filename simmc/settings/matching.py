"""Settings of further ways to match the features of a trained run (docs/matching.md)."""

from dataclasses import dataclass

from simmc.errors import UserError
from simmc.settings.common import (
    COUNT,
    EVALUATION,
    FIDELITY,
    FRACTION,
    MACHINE,
    MAIN,
    TRAINING,
    DataSettings,
)
from simmc.settings.options import Range, option

MATCHING = "further ways of matching, with --mode Eval (docs/matching.md)"
WHOLE = "all"  # --walk: recordings as they are


@dataclass(frozen=True)
class MatchingSettings(DataSettings):
    """What is done to features when a trained run is scored, beside matching them as they are."""

    GROUPS = (MAIN, TRAINING, EVALUATION, MATCHING, FIDELITY, MACHINE)

    rerank: str = option(
        "off",
        "k-reciprocal re-ranking of probe and gallery windows together.",
        choices=("off", "on"),
        transient=True,
        group=MATCHING,
    )
    rerank_k1: int = option(
        20, "rerank: nearest neighbours.", limits=COUNT, transient=True, group=MATCHING
    )
    rerank_k2: int = option(
        6, "rerank: windows averaged.", limits=COUNT, transient=True, group=MATCHING
    )
    rerank_lambda: float = option(
        0.3,
        "rerank: share of the original distance.",
        limits=FRACTION,
        transient=True,
        group=MATCHING,
    )
    expand: int = option(
        0,
        "Query expansion by so many gallery windows; 0: none.",
        limits=Range(0),
        transient=True,
        group=MATCHING,
    )
    expand_alpha: float = option(
        3.0,
        "expand: power of the similarity that weighs them.",
        limits=Range(0),
        transient=True,
        group=MATCHING,
    )
    expand_gallery: str = option(
        "off",
        "expand: the gallery's windows as well.",
        choices=("off", "on"),
        transient=True,
        group=MATCHING,
    )
    walk: int | str = option(
        0,
        "Also match means of so many windows of a recording, one after another; 'all': of whole "
        "recordings; 0: none.",
        kind=int,
        limits=Range(0),
        words={WHOLE: WHOLE},
        transient=True,
        group=MATCHING,
    )

    @property
    def unit_features(self) -> bool:
        """Whether features are matched at unit length."""
        return False

    @property
    def other_matching(self) -> list[str]:
        """The flags of further ways of matching that are asked for."""
        flags = []
        if self.rerank == "on":
            flags.append("--rerank on")
        if self.expand:
            flags.append(f"--expand {self.expand}")
        if self.walk:
            flags.append(f"--walk {self.walk}")
        return flags

    def check(self) -> None:
        """As above; details only of what is asked for."""
        super().check()
        for name, needed, there in (
            ("rerank_k1", "--rerank on", self.rerank == "on"),
            ("rerank_k2", "--rerank on", self.rerank == "on"),
            ("rerank_lambda", "--rerank on", self.rerank == "on"),
            ("expand_alpha", "--expand K", bool(self.expand)),
            ("expand_gallery", "--expand K", bool(self.expand)),
        ):
            value = getattr(self, name)
            if value != getattr(MatchingSettings, name) and not there:
                raise UserError(f"--{name} {value} needs {needed}.")


MATCHING_NAMES = tuple(MatchingSettings.__annotations__)
