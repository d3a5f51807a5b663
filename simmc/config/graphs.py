"""Settings of MG-SCR and SM-SGE, named as the papers name them."""

from dataclasses import dataclass
from typing import ClassVar

from simmc.config.common import COUNT, FIDELITY, POSITIVE, TRAINING
from simmc.config.options import Range, option, switch
from simmc.config.sources import SourceSettings
from simmc.data.graphs import GRAPH_LEVELS, containing, skeleton_graph
from simmc.data.specs import skeleton_of


@dataclass(frozen=True)
class GraphSettings(SourceSettings):
    """What both have in common."""

    KINDS: ClassVar[tuple[str, ...]] = ("mean", "lstm", "prefix")

    class_sampling: str = switch("class_sampling", FIDELITY, "mgscr")
    double_load: str = switch("double_load", FIDELITY, "mgscr")
    sampled_frames: str = switch("sampled_frames", FIDELITY)

    @property
    def shuffles(self) -> bool:
        """Only where no class sampling has mixed the persons: batches need several of them."""
        return not self.uses_identities

    def check(self) -> None:
        """As above; bones and parts that the graphs need."""
        super().check()
        for level in GRAPH_LEVELS:
            skeleton_graph(skeleton_of(self.spec), level)


@dataclass(frozen=True)
class MGSCRSettings(GraphSettings):
    """Everything that MG-SCR can be told."""

    COMMAND: ClassVar[str] = "mgscr"
    SUMMARY: ClassVar[str] = (
        "Train MG-SCR's pretext task, sparse sequential prediction on multi-level skeleton graphs, "
        "on unlabelled skeleton windows and score its features by matching, or score a trained run "
        "(--mode Eval). Its supervised stage: simmc recognition --source MG-SCR."
    )

    lr: float = option(5e-3, "Learning rate of Adam.", limits=POSITIVE, group=TRAINING)
    epochs: int = option(
        150, "Epochs; nothing ends a run earlier.", limits=Range(0), group=TRAINING
    )
    H: int = option(128, "Units of each LSTM layer.", limits=COUNT, group=TRAINING)
    lambda_: float = option(
        0.3, "Weight of the coarse levels in the fusion.", limits=Range(0), group=TRAINING
    )
    gathering: str = switch("gathering", FIDELITY)
    last_frame: str = switch("last_frame", FIDELITY)

    def check(self) -> None:
        """As above; every joint in one part, whose features it gets."""
        super().check()
        containing(skeleton_of(self.spec), "component")
        containing(skeleton_of(self.spec), "limb")


@dataclass(frozen=True)
class SMSGESettings(GraphSettings):
    """Everything that SM-SGE can be told."""

    COMMAND: ClassVar[str] = "smsge"
    SUMMARY: ClassVar[str] = (
        "Train SM-SGE, multi-scale skeleton reconstruction on skeleton graphs of four levels, on "
        "unlabelled skeleton windows and score its features by matching, or score a trained run "
        "(--mode Eval)."
    )

    lr: float = option(5e-3, "Learning rate of Adam.", limits=POSITIVE, group=TRAINING)
    epochs: int = option(
        120, "Epochs; nothing ends a run earlier.", limits=Range(0), group=TRAINING
    )
    H: int = option(256, "Units of each LSTM layer.", limits=COUNT, group=TRAINING)
    extra_prefix: str = switch("extra_prefix", FIDELITY)
