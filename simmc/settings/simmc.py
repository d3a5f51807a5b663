"""Settings of SimMC, named as the public README and program name them, with what was added."""

from dataclasses import dataclass
from typing import ClassVar

from simmc.errors import UserError
from simmc.settings.common import (
    COUNT,
    EVALUATION,
    FIDELITY,
    FRACTION,
    POSITIVE,
    TRAINING,
)
from simmc.settings.epochs import TrainingSettings
from simmc.settings.options import Range, option, switch


@dataclass(frozen=True)
class SimMCSettings(TrainingSettings):
    """Everything that a training or evaluation of SimMC can be told."""

    COMMAND: ClassVar[str] = "simmc"
    TAKES_VALUES: ClassVar[bool] = True
    SUMMARY: ClassVar[str] = (
        "Train SimMC on unlabelled skeleton windows and score it by matching probe against gallery "
        "windows, or score a trained run (--mode Eval)."
    )

    mask_x: int = option(
        2, "Frames dropped by the first mask (paper: x).", limits=Range(0), group=TRAINING
    )
    mask_x_2: int | str = option(
        "same",
        "Frames dropped by the second mask, or 'same'.",
        kind=int,
        limits=Range(0),
        words={"same": "same"},
        group=TRAINING,
    )
    q: int = option(
        2, "Masks of a window: 2, or 1 (ablation NPC).", limits=Range(1, 2), group=TRAINING
    )
    lambda_: float = option(
        0.5,
        "Weight of MIC; MPC has the rest (Eq. 7).",
        aliases=("mask_lambda",),
        limits=FRACTION,
        group=TRAINING,
    )
    t: float = option(
        0.08, "Temperature of MPC (Eq. 5).", aliases=("tau",), limits=POSITIVE, group=TRAINING
    )
    encoder: str = option(
        "mlp",
        "mlp, or none: raw coordinates without training (Table 4, Baseline).",
        choices=("mlp", "none"),
        group=TRAINING,
    )
    D: int = option(1, "Hidden layers of the encoder.", limits=COUNT, group=TRAINING)
    mact: bool = option(False, "Log mACT and mRCL of the training features.", group=EVALUATION)
    mask_scope: str = switch("mask_scope", FIDELITY)
    mask_replay: str = switch("mask_replay", FIDELITY)
    mpc_reduction: str = switch("mpc_reduction", FIDELITY)
    zero_label_guard: str = switch("zero_label_guard", FIDELITY)

    @property
    def is_trained(self) -> bool:
        """Whether there is an encoder, or raw coordinates are matched."""
        return self.encoder != "none"

    @property
    def second_mask_x(self) -> int:
        """Frames dropped by the second mask."""
        return self.mask_x if isinstance(self.mask_x_2, str) else self.mask_x_2

    def check(self) -> None:
        """Canonical dataset and probe; combinations that cannot work."""
        super().check()
        for flag, dropped in (("--mask_x", self.mask_x), ("--mask_x_2", self.second_mask_x)):
            if dropped >= self.length:
                raise UserError(
                    f"{flag} {dropped} leaves no frame of a window of --length {self.length}; "
                    f"allowed: 0 to {self.length - 1}."
                )
        if self.q == 1 and self.lambda_ > 0:
            raise UserError(
                "--q 1 has no second mask for MIC to compare with; add --lambda 0 (the ablation "
                "NPC is --q 1 --mask_x 0 --lambda 0)."
            )
