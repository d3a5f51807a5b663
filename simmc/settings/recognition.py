"""Settings of the recognition stage: a head that learns identities, on a source model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from simmc.data.manifest import find_spec
from simmc.errors import UserError
from simmc.settings.common import (
    COUNT,
    EVALUATION,
    FIDELITY,
    MACHINE,
    MAIN,
    TRAINING,
    chosen_probe,
)
from simmc.settings.epochs import EpochSettings
from simmc.settings.finetune import SOURCES
from simmc.settings.graphs import MGSCRSettings, SMSGESettings
from simmc.settings.matching import MATCHING_NAMES
from simmc.settings.options import Range, option, switch
from simmc.settings.sgela import AgeSettings, SgelaSettings

# the pooled features of each source
KINDS = {
    one.COMMAND: one.KINDS for one in (AgeSettings, SgelaSettings, MGSCRSettings, SMSGESettings)
}
CLASSIFY, MATCH = "classify", "match"
GALLERY_DIVISIONS = ("KGBD", "KS20")  # SGELA leaves one recording a person out, and one a view


@dataclass(frozen=True)
class RecognitionSettings(EpochSettings):
    """Which source model is built upon, what is trained, and how it is scored."""

    COMMAND: ClassVar[str] = "recognition"
    # settled by the source model; and what is classified is not matched
    LACKS: ClassVar[tuple[str, ...]] = (
        *("kgbd_order", "root", "input", "input_scale"),
        *MATCHING_NAMES,
    )
    SUMMARY: ClassVar[str] = (
        "SUPERVISED: train a recognition head on a source model, and name the probe's persons "
        "(SGELA's, MG-SCR's and SM-SGE's own protocol: Rank-1, nAUC) or match its features (+ DF)."
    )

    source: str = option(
        "SM-SGE",
        "Source model: SM-SGE, MG-SCR, SGELA or AGE.",
        choices=tuple(SOURCES),
        group=MAIN,
    )
    score: str = option(
        CLASSIFY,
        "classify: the head names the probe's persons; match: direct fine-tuning, the features are "
        "matched as SimMC's are.",
        choices=(CLASSIFY, MATCH),
        group=MAIN,
    )
    encoder_run: str = option(
        "",
        "Folder of the source model's run, also one of another dataset with the same joints; "
        "default: its newest for this dataset and probe.",
        group=MAIN,
    )
    train: str = option(
        "head",
        "What learns: the head alone (SGELA, SM-SGE), or the whole network (MG-SCR, + DF).",
        choices=("head", "all"),
        group=TRAINING,
    )
    train_on: str = option(
        "auto",
        "Windows that are learned: the training set, or the gallery as well. auto: what SGELA does "
        "to classify KGBD and KS20, else the training set.",
        choices=("auto", "train", "train_gallery"),
        group=TRAINING,
    )
    views: str = option(
        "",
        "What the head judges: ap (frames; a window by their mean), sc (all frames at once), or "
        "prefix (first frames; a window by their sum). Default: the source's own.",
        group=TRAINING,
    )
    kind: str = option(
        "", "With --score match: the pooled feature. Default: the first.", group=EVALUATION
    )
    hidden: int = option(
        256, "Units of the head; 0: as many as features.", limits=Range(0), group=TRAINING
    )
    decay: float = option(
        0.0,
        "Weight of half the sum of squares of what is trained.",
        limits=Range(0),
        group=TRAINING,
    )
    epochs: int = option(
        300, "Epochs; nothing ends a run earlier.", limits=Range(0), group=TRAINING
    )
    patience: int = option(
        10000,
        "Epochs without a better test Rank-1 after which no epoch counts as best.",
        limits=COUNT,
        group=TRAINING,
    )
    identities: str = option(
        "all",
        "all: every training person is a class; test: those of the probe alone (BIWI's 28 of 50).",
        choices=("all", "test"),
        group=TRAINING,
    )
    class_sampling: str = switch("class_sampling", FIDELITY, "recognition")
    double_load: str = switch("double_load", FIDELITY, "recognition")
    order: str = switch("order", FIDELITY, "recognition")
    test_batches: str = switch("test_batches", FIDELITY, "recognition")

    checkpoint_seconds: float = option(
        60.0, "Seconds between two checkpoints at least.", limits=Range(0), group=MACHINE
    )

    @classmethod
    def preset_names(cls, values: Mapping[str, Any]) -> list[str]:
        """`<SOURCE>_<DATASET>`, then `<SOURCE>`."""
        spec = find_spec(Path(values["data_root"]), values["dataset"], values["length"])
        dataset, _ = chosen_probe(spec, values["probe"], values["probe_type"])
        return [f"{values['source']}_{dataset}", values["source"]]

    @property
    def recipe(self) -> str:
        """The command, the source, and what is done with it."""
        ending = "DF" if self.score == MATCH else "recognition"
        return f"{self.source}_{ending}"

    @property
    def shuffles(self) -> bool:
        """Never: the order of an epoch is the switch's."""
        return False

    @property
    def with_gallery(self) -> bool:
        """Whether the gallery's windows are learned."""
        if self.train_on != "auto":
            return self.train_on == "train_gallery"
        divided = self.dataset in GALLERY_DIVISIONS and "." not in self.probe
        return self.score == CLASSIFY and divided

    def check(self) -> None:
        """As above; a pooled feature that the source has, a gallery that is not learned as well."""
        super().check()
        kinds = KINDS[SOURCES[self.source]]
        if self.kind and self.kind not in kinds:
            raise UserError(
                f"--kind {self.kind!r} is not possible with --source {self.source}; allowed: "
                f"{', '.join(kinds)}."
            )
        if self.score == MATCH and self.train_on == "train_gallery":
            raise UserError(
                "--train_on train_gallery: with --score match the gallery is what probes are "
                "matched against; leave one of the two out."
            )
