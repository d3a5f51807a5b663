"""Settings of SimMC-UF: SimMC on the features of a source model."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from simmc.data.features import FeatureFiles
from simmc.data.manifest import spec_of
from simmc.settings.common import MACHINE, MAIN, TRAINING
from simmc.settings.options import option
from simmc.settings.simmc import SimMCSettings

# as the papers spell them -> the command that trains them
SOURCES = {"AGE": "age", "SGELA": "sgela", "MG-SCR": "mgscr", "SM-SGE": "smsge"}
UNLABELLED = "-label_free"  # ends the name of features in which no label has a part


@dataclass(frozen=True)
class FinetuneSettings(SimMCSettings):
    """Everything that SimMC can be told, and whose features it learns from."""

    COMMAND: ClassVar[str] = "finetune"
    PRESETS: ClassVar[str] = "simmc"  # the public README gives SimMC's own
    # settled by the source model
    LACKS: ClassVar[tuple[str, ...]] = ("kgbd_order", "root", "input", "input_scale")
    SUMMARY: ClassVar[str] = (
        "SimMC-UF: train SimMC on the frame features of a source model and score it beside them, "
        "or score a trained run (--mode Eval)."
    )

    source: str = option(
        "SM-SGE",
        "Source model: SM-SGE, MG-SCR, SGELA or AGE.",
        choices=tuple(SOURCES),
        group=MAIN,
    )
    features: str = option(
        "",
        "Name of the feature files (simmc export-features --name); default: the source model's.",
        group=MAIN,
    )
    standardise: str = option(
        "off",
        "Features as they are, or shifted and scaled to mean 0 and deviation 1 in training.",
        choices=("off", "on"),
        group=TRAINING,
    )
    features_root: str = option(
        "", "Folder of the exported features; default: --data_root.", group=MACHINE
    )

    @property
    def recipe(self) -> str:
        """The command and the source."""
        return f"{self.COMMAND}_{self.features}"

    @property
    def files(self) -> FeatureFiles:
        """Where the features lie."""
        spec = spec_of(Path(self.data_root), self.dataset, self.length, self.probe)
        return FeatureFiles(
            Path(self.features_root or self.data_root), spec, self.length, self.features
        )

    @property
    def remedy(self) -> str:
        """The commands that make the features, where these settings look for them."""
        where = f"--dataset {self.dataset} --probe {self.probe} --length {self.length}"
        where += self.typed_folders("data_root", "model_root")
        return (
            f"make them with: python -m simmc {SOURCES[self.source]} {where}, and then: python -m "
            f"simmc export-features --source {self.source} {where}"
            f"{self.typed_folders('features_root')}"
        )

    @property
    def about(self) -> dict[str, Any]:
        """The manifest of the features."""
        return self.files.read_manifest(self.remedy)

    @property
    def uses_identities(self) -> bool:
        """As for SimMC; or the source model has seen labels."""
        return super().uses_identities or bool(self.about["labels"])

    @property
    def label_free_possible(self) -> bool:
        """Whether there are features in which no label has a part."""
        return self.without_identities().files.manifest.is_file()

    def without_identities(self) -> Self:
        """No class sampling, and features in which no label has a part."""
        plain = super().without_identities()
        return (
            replace(plain, features=self.features + UNLABELLED) if self.about["labels"] else plain
        )

    def check(self) -> None:
        """As for SimMC; a name for the features."""
        super().check()
        object.__setattr__(self, "features", self.features or feature_name(self.source, self.probe))


def feature_name(source: str, probe: str) -> str:
    """Name of a source's features: a pair of KS20 views has a source model of its own."""
    return f"{source}-{probe}" if "." in probe and probe[0].isdecimal() else source
