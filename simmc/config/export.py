"""Settings of the export of features."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from simmc.config.common import COUNT, MACHINE, MAIN, chosen_probe
from simmc.config.finetune import SOURCES, feature_name
from simmc.config.options import Settings, option
from simmc.data.features import FRAMES, FeatureFiles
from simmc.data.loaders import spec_of
from simmc.data.manifest import find_spec
from simmc.errors import UserError

KINDS = (FRAMES, "mean", "sc", "last", "lstm", "prefix")


@dataclass(frozen=True)
class ExportSettings(Settings):
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
    dataset: str = option("KS20", "IAS, KS20, BIWI, KGBD or CASIA_B; or your own.", group=MAIN)
    probe: str = option("probe", "The probe that the source model was trained for.", group=MAIN)
    probe_type: str = option("", "Probe.gallery, as of simmc simmc.", group=MAIN)
    length: int = option(6, "Frames of a window.", limits=COUNT, group=MAIN)
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
    data_root: str = option("Datasets", "Folder of the preprocessed datasets.", group=MACHINE)
    features_root: str = option(
        "", "Folder that the features go to; default: --data_root.", group=MACHINE
    )
    model_root: str = option("ReID_Models", "Folder of the runs.", group=MACHINE)
    run: str = option("", "Name of the run; default: the source's newest.", group=MACHINE)
    device: str = option(
        "auto", "auto, cpu or cuda.", choices=("auto", "cpu", "cuda"), group=MACHINE
    )
    gpu: str = option("", "Number of the GPU; without one the CPU is used.", group=MACHINE)
    threads: int | None = option(
        None,
        "Worker threads, or 'auto': OMP_NUM_THREADS, else the physical cores.",
        kind=int,
        limits=COUNT,
        words={"auto": None},
        group=MACHINE,
    )

    def check(self) -> None:
        """Canonical dataset and probe; a name for the files."""
        spec = find_spec(Path(self.data_root), self.dataset, self.length)
        dataset, probe = chosen_probe(spec, self.probe, self.probe_type)
        object.__setattr__(self, "dataset", dataset)
        object.__setattr__(self, "probe", probe)
        object.__setattr__(self, "name", self.name or feature_name(self.source, probe))
        if not self.name.replace("-", "").replace(".", "").replace("_", "").isalnum():
            raise UserError(f"--name {self.name!r}: use letters, digits, '-', '_' and '.'.")

    def files(self, name: str) -> FeatureFiles:
        """Where features of a name go."""
        spec = spec_of(Path(self.data_root), self.dataset, self.length, self.probe)
        root = Path(self.features_root or self.data_root)
        return FeatureFiles(root, spec, self.length, name, self.kind)
