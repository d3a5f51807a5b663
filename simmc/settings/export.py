"""Settings of the export of features."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from simmc.data.features import FRAMES, FeatureFiles
from simmc.data.manifest import spec_of
from simmc.errors import UserError
from simmc.settings.common import MACHINE, MAIN, PlaceSettings
from simmc.settings.finetune import SOURCES, feature_name
from simmc.settings.options import option

KINDS = (FRAMES, "mean", "sc", "last", "lstm", "prefix")


@dataclass(frozen=True)
class ExportSettings(PlaceSettings):
    """Whose features, of which windows, and where they go."""

    COMMAND: ClassVar[str] = "export-features"
    GROUPS: ClassVar[tuple[str, ...]] = (MAIN, MACHINE)
    SUMMARY: ClassVar[str] = (
        "Write the features that a trained source model gives the windows of a dataset, for "
        "SimMC-UF.py; or take in features that were made elsewhere (--from)."
    )

    source: str = option(
        "SM-SGE",
        "Source model: SM-SGE, MG-SCR, SGELA or AGE.",
        choices=tuple(SOURCES),
        group=MAIN,
    )
    kind: str = option(
        FRAMES,
        "frames (what SimMC-UF learns from), or a pooled feature: mean, sc, last, lstm, prefix.",
        choices=KINDS,
        group=MAIN,
    )
    stage: str = option(
        "auto",
        "Weights of the pretext training, or of a recognition stage that trained the whole network "
        "(simmc recognition --score match --train all). auto: the latter for MG-SCR, if there is.",
        choices=("auto", "pretext", "recognition"),
        group=MAIN,
    )
    protocol: str = option(
        "all",
        "Which trainings: the first (paper), the one in which no label has a part (label_free), "
        "or all that there are.",
        choices=("all", "paper", "label_free"),
        group=MAIN,
    )
    name: str = option(
        "", "Name of the files; default: the source's. SimMC-UF.py has --features.", group=MAIN
    )
    from_: str = option(
        "",
        "Folder of features made elsewhere, in the layout of the preprocessed sets, with the "
        "frame_id or ids file of each split.",
        group=MAIN,
    )
    labels: str = option(
        "used",
        "With --from: whether identity labels had a part in making them: used or none.",
        choices=("used", "none"),
        group=MAIN,
    )
    features_root: str = option(
        "", "Folder that the features go to; default: --data_root.", group=MACHINE
    )
    model_root: str = option("ReID_Models", "Folder of the runs.", group=MACHINE)
    run: str = option("", "Name of the run; default: the source's newest.", group=MACHINE)

    def check(self) -> None:
        """As above; a name for the files."""
        super().check()
        object.__setattr__(self, "name", self.name or feature_name(self.source, self.probe))
        if not self.name.replace("-", "").replace(".", "").replace("_", "").isalnum():
            raise UserError(f"--name {self.name!r}: use letters, digits, '-', '_' and '.'.")

    def files(self, name: str) -> FeatureFiles:
        """Where features of a name go."""
        spec = spec_of(Path(self.data_root), self.dataset, self.length, self.probe)
        root = Path(self.features_root or self.data_root)
        return FeatureFiles(root, spec, self.length, name, self.kind)
