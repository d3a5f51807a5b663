"""Settings of Hi-MPC, named as in SimMC wherever they mean the same."""

import math
from dataclasses import dataclass
from typing import ClassVar

from simmc.config.common import COUNT, EVALUATION, FIDELITY, POSITIVE, TRAINING
from simmc.config.epochs import TrainingSettings
from simmc.config.options import Range, option, switch
from simmc.data.levels import BODY_LEVELS, BodyLevel
from simmc.data.skeletons import require_parts
from simmc.data.specs import skeleton_of
from simmc.errors import UserError


@dataclass(frozen=True)
class HiMPCSettings(TrainingSettings):
    """Everything that a training or evaluation of Hi-MPC can be told."""

    COMMAND: ClassVar[str] = "himpc"
    SUMMARY: ClassVar[str] = (
        "Train Hi-MPC with hard skeleton mining on unlabelled skeleton windows and score it by "
        "matching probe against gallery windows, or score a trained run (--mode Eval)."
    )

    patience: int = option(
        50, "Epochs without a better one before the run ends.", limits=COUNT, group=TRAINING
    )
    levels: str = option(
        ",".join(BODY_LEVELS),
        "Body levels to learn from, of joint, component, limb; joined by commas.",
        group=TRAINING,
    )
    M: int = option(
        8,
        "Meta-transformation heads of a level; 0: contrast without any (Table 6, DPC).",
        aliases=("heads",),
        limits=Range(0),
        group=TRAINING,
    )
    t: float | None = option(
        None,
        "Temperature of the contrast, or 'auto': the root of --H.",
        kind=float,
        aliases=("tau",),
        limits=POSITIVE,
        words={"auto": None},
        group=TRAINING,
    )
    D: int = option(1, "Hidden layers of each encoder.", limits=COUNT, group=TRAINING)
    mining: str = option(
        "hard",
        "Weigh frames by hard skeleton mining (Eq. 6-9), by its opposite, or not at all (Eq. 5).",
        choices=("hard", "easy", "none"),
        group=TRAINING,
    )
    level_scores: str = option(
        "last",
        "Score single levels with the chosen weights only, or in every evaluated epoch as well.",
        choices=("last", "epoch"),
        group=EVALUATION,
    )
    level_reduction: str = switch("level_reduction", FIDELITY)
    mining_scale: str = switch("mining_scale", FIDELITY)
    unmined_loss: str = switch("unmined_loss", FIDELITY)
    mining_gradient: str = switch("mining_gradient", FIDELITY)
    outlier_rule: str = switch("outlier_rule", FIDELITY)
    kgbd_order: str = switch("kgbd_order", FIDELITY, command="himpc")

    @property
    def level_names(self) -> tuple[BodyLevel, ...]:
        """The chosen levels, in the paper's order."""
        return tuple(name for name in BODY_LEVELS if name in self.levels.split(","))

    @property
    def temperature(self) -> float:
        """Tau."""
        return math.sqrt(self.H) if self.t is None else self.t

    def check(self) -> None:
        """As above; levels that exist and that the skeleton has, in the paper's order."""
        super().check()
        wanted = {name.strip().casefold() for name in self.levels.split(",")}
        if unknown := wanted - set(BODY_LEVELS):
            raise UserError(
                f"--levels {self.levels}: there is no level {sorted(unknown)[0]!r}; allowed: "
                f"{', '.join(BODY_LEVELS)}, joined by commas."
            )
        names = [name for name in BODY_LEVELS if name in wanted]
        object.__setattr__(self, "levels", ",".join(names))
        for level in names:
            if level != "joint":
                require_parts(skeleton_of(self.spec), level)
