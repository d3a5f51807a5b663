"""Settings of the supervised references."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from simmc.errors import UserError
from simmc.settings.common import COUNT, MAIN, TRAINING
from simmc.settings.epochs import EpochSettings
from simmc.settings.options import Range, option

MODELS = ("encoder", "posegait")
SHORTEST = 4  # frames that PoseGait's two poolings need


@dataclass(frozen=True)
class SupervisedSettings(EpochSettings):
    """Which network learns the identities of the training windows, and how."""

    COMMAND: ClassVar[str] = "supervised"
    TAKES_VALUES: ClassVar[bool] = True
    SUMMARY: ClassVar[str] = (
        "SUPERVISED references: train a network on the identities of the training windows and "
        "score its features by matching probe against gallery windows, as SimMC is scored; or "
        "score a trained run (--mode Eval)."
    )

    model: str = option(
        "encoder",
        "encoder (SimMC's, with a linear classifier: the upper reference) or posegait (our "
        "reading of the PoseGait CNN).",
        choices=MODELS,
        group=MAIN,
    )
    epochs: int = option(
        200, "Epochs; nothing ends a run earlier.", limits=Range(0), group=TRAINING
    )
    H: int = option(256, "encoder: its width.", aliases=("hidden",), limits=COUNT, group=TRAINING)
    D: int = option(1, "encoder: hidden layers.", limits=COUNT, group=TRAINING)
    dropout: float = option(
        0.5,
        "posegait: share of units dropped before the last layers.",
        limits=Range(0, 0.99),
        group=TRAINING,
    )
    center_weight: float = option(
        0.003, "posegait: weight of the centre loss.", limits=Range(0), group=TRAINING
    )
    center_rate: float = option(
        0.5,
        "posegait: share of the way that a centre moves towards its batch's features.",
        limits=Range(0, 1),
        group=TRAINING,
    )

    @classmethod
    def preset_names(cls, values: Mapping[str, Any]) -> list[str]:
        """One preset a model."""
        return [values["model"]]

    @property
    def recipe(self) -> str:
        """The command and the model."""
        return f"{self.COMMAND}_{self.model}"

    def check(self) -> None:
        """As above; windows that PoseGait can pool."""
        super().check()
        if self.model == "posegait" and self.input != "joints":
            raise UserError(
                f"--input {self.input}: --model posegait works out its own values from --input "
                "joints."
            )
        if self.model == "posegait" and self.length < SHORTEST:
            raise UserError(
                f"--length {self.length} is too short for --model posegait, which halves the "
                f"frames twice; allowed: {SHORTEST} or more."
            )
