"""Settings that the commands share: dataset, probe and machine, and the data that methods see.

Named as the public READMEs and programs name them, with what was added.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, ClassVar

from simmc.config.options import Range, Settings, option, switch
from simmc.data import inputs, specs, stress
from simmc.data.manifest import find_spec
from simmc.data.specs import DatasetSpec
from simmc.errors import UserError

MAIN = "main"
TRAINING = "training"
EVALUATION = "evaluation"
FIDELITY = "fidelity switches (released value first, exact second; docs/fidelity.md)"
MACHINE = "files and machine"

COUNT = Range(1)
FRACTION = Range(0, 1)
# Jaccard distances are cut in single precision: it has no number between this one and 1
INSIDE = Range(0, 1 - 2**-25, exclusive=True, note=" in single precision")
POSITIVE = Range(0, exclusive=True)
THREADS = Range(1, 1024)  # with many more the system refuses, and libraries crash


@dataclass(frozen=True)
class PlaceSettings(Settings):
    """Which dataset and probe a command works on, where it lies, and what it computes on."""

    dataset: str = option(
        "KS20", "IAS, KS20, BIWI, KGBD or CASIA_B; or your own (docs/data.md).", group=MAIN
    )
    probe: str = option(
        "probe",
        "'probe' (KS20, KGBD), A or B (IAS), Walking or Still (BIWI), as --probe_type (CASIA_B).",
        group=MAIN,
    )
    probe_type: str = option(
        "",
        "Probe.gallery: nm.nm, bg.bg, cl.cl, cl.nm, bg.nm (CASIA_B; default nm.nm), or views in "
        "degrees such as 0.30 (KS20) or 90.90 (CASIA_B too).",
        group=MAIN,
    )
    length: int = option(
        6, "Frames of a window: 4, 6, 8, 10, 12; 40, 50, 60 on CASIA_B.", limits=COUNT, group=MAIN
    )
    data_root: str = option("Datasets", "Folder of the preprocessed datasets.", group=MACHINE)
    device: str = option(
        "auto", "auto, cpu or cuda.", choices=("auto", "cpu", "cuda"), transient=True, group=MACHINE
    )
    gpu: str = option(
        "", "Number of the GPU; without one the CPU is used.", transient=True, group=MACHINE
    )
    threads: int | None = option(
        None,
        "Worker threads, or 'auto': OMP_NUM_THREADS, else the physical cores.",
        kind=int,
        limits=THREADS,
        words={"auto": None},
        transient=True,
        group=MACHINE,
    )

    @property
    def spec(self) -> DatasetSpec:
        """The dataset: of the table, or the user's own by its manifest."""
        return find_spec(Path(self.data_root), self.dataset, self.length)

    def typed_folders(self, *names: str) -> str:
        """Flags of those folders that are not the default ones, for a command to be run next."""
        return "".join(
            f" --{name} {quote(getattr(self, name))}"
            for name in names
            if getattr(self, name) != getattr(type(self), name)
        )

    def check(self) -> None:
        """Canonical dataset and probe."""
        dataset, probe = chosen_probe(self.spec, self.probe, self.probe_type)
        object.__setattr__(self, "dataset", dataset)
        object.__setattr__(self, "probe", probe)
        object.__setattr__(self, "probe_type", probe if "." in probe else "")


@dataclass(frozen=True)
class DataSettings(PlaceSettings):
    """Which windows a method sees, and in which form.

    Attributes:
        TAKES_VALUES: whether a frame may be any values, not only coordinates of joints.
    """

    TAKES_VALUES: ClassVar[bool] = False
    GROUPS: ClassVar[tuple[str, ...]] = (MAIN, TRAINING, EVALUATION, FIDELITY, MACHINE)

    fidelity: str = option(
        "released",
        "Sets all fidelity switches: as the published numbers were made, or as the paper says.",
        choices=("released", "exact"),
        group=MAIN,
    )
    seed: int = option(
        0, "Seed of every random draw of the run.", limits=Range(0, 2**63 - 1), group=MAIN
    )
    config: str = option(
        "", "A TOML file of settings, as in configs/simmc.", transient=True, group=MAIN
    )
    cve_diagonal: str = option(
        "self",
        "KS20 views matched with themselves (such as 90.90): every window against all others, or "
        "repetition gc1 against gc2 and gc3.",
        choices=("self", "settings"),
        group=EVALUATION,
    )
    input: str = option(
        inputs.JOINTS,
        "What a frame is described by: joints (the papers'), turned, or, where the method takes "
        "any values, bones, distances, angles, motion; several joined by +.",
        group=TRAINING,
    )
    input_scale: float = option(
        0.3,
        "Deviation of every value of an --input that is measured, over the training frames.",
        limits=POSITIVE,
        group=TRAINING,
    )
    stress: str = option(
        "",
        "Make the data harder, to see where a method breaks: " + stress.ALLOWED + ".",
        group=MAIN,
    )
    part_batches: str = switch("part_batches", FIDELITY)
    class_sampling: str = switch("class_sampling", FIDELITY)
    same_condition_map: str = switch("same_condition_map", FIDELITY)
    double_load: str = switch("double_load", FIDELITY)
    kgbd_order: str = switch("kgbd_order", FIDELITY)
    root: str = switch("root", FIDELITY)
    batch_size: int = option(256, "Windows of a batch.", limits=COUNT, group=TRAINING)

    @classmethod
    def preset_names(cls, values: Mapping[str, Any]) -> list[str]:
        """`<DATASET>_<probe>`, then `<DATASET>_probe`: the KS20 views have none of their own."""
        spec = find_spec(Path(values["data_root"]), values["dataset"], values["length"])
        dataset, probe = chosen_probe(spec, values["probe"], values["probe_type"])
        return [f"{dataset}_{probe}", f"{dataset}_probe"]

    @classmethod
    def other_defaults(cls, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The length of window that a dataset of the table has by default."""
        try:
            spec = specs.get(values["dataset"])
        except UserError:  # a dataset of the user's own
            return "", {}
        return f"dataset {spec.name}", {"length": spec.default_length}

    @property
    def input_parts(self) -> tuple[str, ...]:
        """What a frame is described by."""
        return inputs.parts_of(self.input)

    @property
    def shuffles(self) -> bool:
        """Whether the training windows are brought into a random order once."""
        return True

    @property
    def with_gallery(self) -> bool:
        """Whether the gallery's windows are learned as well."""
        return False

    def check(self) -> None:
        """As above; a form that the method takes, a root that the skeleton has."""
        super().check()
        parts = inputs.parts_of(self.input)
        object.__setattr__(self, "input", "+".join(parts))
        if not self.TAKES_VALUES and (len(parts) > 1 or parts[0] not in inputs.COORDINATES):
            raise UserError(
                f"--input {self.input}: simmc {self.COMMAND} needs coordinates of joints; allowed: "
                f"{', '.join(inputs.COORDINATES)}."
            )
        inputs.width(specs.skeleton_of(self.spec), parts)  # joints and bones that the input needs
        joints = self.spec.skeleton.joints
        if self.root not in ("first", "sensor", "none", *joints):
            raise UserError(
                f"--root {self.root!r} is not possible; allowed: first, sensor, none or a joint of "
                f"{self.dataset}: {', '.join(joints)}."
            )


def chosen_probe(spec: DatasetSpec, probe: str, probe_type: str) -> tuple[str, str]:
    """Dataset and probe by their proper names.

    CASIA_B and the view protocol of KS20 name probe and gallery at once ("nm.nm", "0.30"), with
    `--probe_type` or `--probe`; such a pair is returned as the probe.
    """
    pairs = _pairs(spec.name)
    if probe_type and not pairs:
        raise UserError(
            f"--probe_type {probe_type} is for CASIA_B and KS20; with {spec.name} use --probe: "
            f"{', '.join(spec.probes)}."
        )
    plain = probe.casefold() == "probe"
    if probe_type and not plain and probe != probe_type:
        raise UserError(
            f"--probe {probe} and --probe_type {probe_type} disagree; give one of them."
        )
    wanted = probe_type or ("nm.nm" if spec.name == "CASIA_B" and plain else probe)
    allowed = dict.fromkeys((*spec.probes, *pairs))
    for name in allowed:
        if name.casefold() == wanted.casefold():
            return spec.name, name
    flag = "--probe_type" if probe_type else "--probe"
    raise UserError(
        f"{flag} {wanted!r} is not possible with {spec.name}; allowed: {', '.join(allowed)}."
    )


def _pairs(dataset: str) -> tuple[str, ...]:
    """Probe.gallery pairs of a dataset; none for most."""
    views = tuple(specs.BY_VIEW[dataset].gallery_of) if dataset in specs.BY_VIEW else ()
    return (*specs.CASIA_PROBES, *views) if dataset == "CASIA_B" else views
