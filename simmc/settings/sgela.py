"""Settings of AGE and SGELA, named as the papers name them."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from simmc.errors import UserError
from simmc.settings.common import COUNT, FIDELITY, MAIN, POSITIVE, TRAINING
from simmc.settings.options import Range, option, switch
from simmc.settings.sources import SourceSettings

TASKS = ("rev_rec", "pred", "sort")
PLUS = "plus"


@dataclass(frozen=True)
class GaitSettings(SourceSettings):
    """What AGE and SGELA have in common."""

    KINDS: ClassVar[tuple[str, ...]] = ("mean", "sc", "last")

    lr: float = option(5e-4, "Learning rate of Adam.", limits=POSITIVE, group=TRAINING)
    batch_size: int = option(128, "Windows of a batch.", limits=COUNT, group=TRAINING)
    epochs: int = option(
        400, "Epochs; nothing ends a run earlier.", limits=Range(0), group=TRAINING
    )
    H: int = option(
        256, "Units of each LSTM layer (paper: K).", aliases=("K",), limits=COUNT, group=TRAINING
    )
    attention: str = option(
        "locality",
        "Attention of reverse reconstruction: locality (LAS), masked (MBAS), basic (BAS) or none. "
        "Prediction and sorting have basic attention, or none.",
        choices=("locality", "masked", "basic", "none"),
        group=TRAINING,
    )
    D: float | None = option(
        None,
        "Reach of the locality mask (Eq. 5), or 'auto': --length.",
        kind=float,
        limits=POSITIVE,
        words={"auto": None},
        group=TRAINING,
    )
    lambda_A: float = option(
        1.0, "Weight of the locality loss L_A (Eq. 16).", limits=Range(0), group=TRAINING
    )
    l2: float = option(
        0.02, "Weight of half the sum of all squared weights.", limits=Range(0), group=TRAINING
    )
    part_batches: str = switch("part_batches", FIDELITY, "sgela")
    class_sampling: str = switch("class_sampling", FIDELITY, "sgela")
    double_load: str = switch("double_load", FIDELITY, "sgela")
    root: str = switch("root", FIDELITY, "sgela")
    decoder_input: str = switch("decoder_input", FIDELITY)
    attention_form: str = switch("attention_form", FIDELITY)
    encoder_windows: str = switch("encoder_windows", FIDELITY)

    @property
    def shuffles(self) -> bool:
        """Never by the loader: pretext tasks ask for windows that follow each other."""
        return False

    @property
    def tasks(self) -> tuple[str, ...]:
        """The pretext tasks, reverse reconstruction first; each has models of its own."""
        return TASKS[:1]

    @property
    def contrast(self) -> float:
        """Weight of the contrast of neighbouring windows; 0: none."""
        return 0.0


@dataclass(frozen=True)
class AgeSettings(GaitSettings):
    """Everything that AGE can be told."""

    COMMAND: ClassVar[str] = "age"
    SUMMARY: ClassVar[str] = (
        "Train AGE, reverse reconstruction with locality-aware attention, on unlabelled skeleton "
        "windows and score its features by matching, or score a trained run (--mode Eval)."
    )


@dataclass(frozen=True)
class SgelaSettings(GaitSettings):
    """Everything that SGELA can be told."""

    COMMAND: ClassVar[str] = "sgela"
    SUMMARY: ClassVar[str] = (
        "Train SGELA, AGE with the contrast of neighbouring windows and other pretext tasks, on "
        "unlabelled skeleton windows and score its features (CAGEs) by matching, or score a "
        "trained run (--mode Eval)."
    )

    task: str = option(
        "rev_rec",
        "Pretext task: rev_rec, pred, sort, several joined by + whose features are joined, or plus "
        "(all three).",
        group=MAIN,
    )
    tau: float = option(
        0.1,
        "Temperature of the contrast (Eq. 14).",
        aliases=("t",),
        limits=POSITIVE,
        group=TRAINING,
    )
    interval: int = option(
        1, "Places between windows that are drawn together (Table 6).", limits=COUNT, group=TRAINING
    )
    lambda_C: float = option(
        1.0, "Weight of the contrast L_C (Eq. 16); 0: none.", limits=Range(0), group=TRAINING
    )
    lcl_batches: str = switch("lcl_batches", FIDELITY)
    lcl_same_window: str = switch("lcl_same_window", FIDELITY)
    plus_data: str = switch("plus_data", FIDELITY)

    @property
    def tasks(self) -> tuple[str, ...]:
        """As above."""
        return TASKS if self.task == PLUS else tuple(self.task.split("+"))

    @property
    def contrast(self) -> float:
        """As above."""
        return self.lambda_C

    @property
    def recipe(self) -> str:
        """The command, and the task if it is not the usual one."""
        return self.COMMAND if self.task == TASKS[0] else f"{self.COMMAND}_{self.task}"

    @property
    def uses_identities(self) -> bool:
        """Also where batches are made within a person."""
        return super().uses_identities or (self.contrast > 0 and self.lcl_batches == "person")

    def without_identities(self) -> Self:
        """Batches then end with a recording, which needs no identity."""
        plain = super().without_identities()
        return replace(plain, lcl_batches="recording") if plain.uses_identities else plain

    def check(self) -> None:
        """As above; tasks that exist, each once, in the usual order; pairs that exist."""
        super().check()
        named = [word.strip().casefold() for word in self.task.split("+")]
        if named != [PLUS] and not (set(named) <= set(TASKS) and len(set(named)) == len(named)):
            raise UserError(
                f"--task {self.task!r} is not possible; allowed: {', '.join(TASKS)}, two or three "
                f"of them joined by +, or {PLUS}."
            )
        ordered = [PLUS] if named == [PLUS] else [task for task in TASKS if task in named]
        object.__setattr__(self, "task", "+".join(ordered))
        if self.contrast and self.interval >= self.batch_size:
            raise UserError(
                f"--interval {self.interval} leaves no pair in a batch of --batch_size "
                f"{self.batch_size} windows; allowed: 1 to {self.batch_size - 1}."
            )
