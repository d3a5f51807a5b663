"""Groups of settings that commands share, with the names of the public READMEs and programs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any, ClassVar

from simmc.data import specs
from simmc.data.experiment import inputs
from simmc.data.manifest import find_spec
from simmc.data.specs import DatasetSpec
from simmc.data.synthetic import perturbations
from simmc.errors import UserError
from simmc.settings.options import (
    EVALUATION,
    MACHINE,
    MAIN,
    MATCHING,
    Range,
    Settings,
    option,
    options_of,
    switch,
)

COUNT = Range(1)
FRACTION = Range(0, 1)
# Jaccard distances are cut in single precision: it has no number between this one and 1
INSIDE = Range(0, 1 - 2**-25, exclusive=True, note=" in single precision")
POSITIVE = Range(0, exclusive=True)
THREADS = Range(1, 1024)  # with many more, libraries crash
WHOLE = "all"  # --walk: recordings as they are
_for_one_call = partial(option, transient=True)  # a stored run does not pass it on
_of_files = partial(option, group=MACHINE)

# settings of a dataset without a preset (docs/simmc.md)
AUTO: dict[str, Any] = {
    "eps": None,
    "min_samples": None,
    "part_batches": "keep",
    "best_by": "body",
    "selection": "label_free",
    "epochs": 60,
    "patience": 15,
}


@dataclass(frozen=True)
class Place(Settings):
    """The dataset and probe of a command, and their folder."""

    GROUP: ClassVar[str] = MAIN

    dataset: str = option("KS20", "IAS, KS20, BIWI, KGBD or CASIA_B; or your own (docs/data.md).")
    probe: str = option(
        "probe",
        "'probe' (KS20, KGBD), A or B (IAS), Walking or Still (BIWI), as --probe_type (CASIA_B).",
    )
    probe_type: str = option(
        "",
        "Probe.gallery: nm.nm, bg.bg, cl.cl, cl.nm, bg.nm (CASIA_B; default nm.nm), or views in "
        "degrees such as 0.30 (KS20) or 90.90 (CASIA_B too).",
    )
    length: int = option(
        6, "Frames of a window: 4, 6, 8, 10, 12; 40, 50, 60 on CASIA_B.", limits=COUNT
    )
    data_root: str = _of_files("Datasets", "Folder of the preprocessed datasets.")

    @classmethod
    def other_defaults(cls, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The length of window that a dataset of the table has by default, and its name."""
        if not specs.known(values["dataset"]):
            return "", {}
        spec = specs.get(values["dataset"])
        return f"dataset {spec.name}", {"length": spec.default_length}

    def read_spec(self) -> DatasetSpec:
        """The dataset: of the table, or the user's own, whose manifest is read."""
        return find_spec(Path(self.data_root), self.dataset, self.length)

    def check(self) -> None:
        """Names of the table's datasets and probes as the table spells them."""
        if specs.known(self.dataset):
            dataset, probe = chosen_probe(specs.get(self.dataset), self.probe, self.probe_type)
            object.__setattr__(self, "dataset", dataset)
            object.__setattr__(self, "probe", probe)
            object.__setattr__(self, "probe_type", probe if "." in probe else "")


@dataclass(frozen=True)
class Machine(Settings):
    """What a command computes on."""

    GROUP: ClassVar[str] = MACHINE

    device: str = _for_one_call(
        "auto",
        "auto, cpu or cuda. mps (Apple) is not supported: ranking needs double precision.",
        choices=("auto", "cpu", "cuda"),
    )
    gpu: str = _for_one_call("", "Number of the GPU; without one the CPU is used.")
    threads: int | None = _for_one_call(
        None,
        "Worker threads, or 'auto': OMP_NUM_THREADS, else the physical cores.",
        kind=int,
        limits=THREADS,
        words={"auto": None},
    )


@dataclass(frozen=True)
class Common(Settings):
    """How a run is reproduced."""

    GROUP: ClassVar[str] = MAIN

    fidelity: str = option(
        "released",
        "Sets all fidelity switches: as the published numbers were made, or as the paper says.",
        choices=("released", "exact"),
    )
    seed: int = option(0, "Seed of every random draw of the run.", limits=Range(0, 2**63 - 1))
    config: str = _for_one_call("", "A TOML file of settings, as in configs/simmc.")


@dataclass(frozen=True)
class Windows(Settings):
    """Which windows a method sees, and in which batches."""

    cve_diagonal: str = option(
        "self",
        "KS20 views matched with themselves (such as 90.90): every window against all others, or "
        "repetition gc1 against gc2 and gc3.",
        choices=("self", "settings"),
        group=EVALUATION,
    )
    stress: str = option(
        "",
        "Perturb the data, to see where a method fails: " + perturbations.ALLOWED + ".",
        group=MAIN,
    )
    part_batches: str = switch("part_batches")
    class_sampling: str = switch("class_sampling")
    same_condition_map: str = switch("same_condition_map")
    double_load: str = switch("double_load")
    batch_size: int = option(256, "Windows of a batch.", limits=COUNT)

    def balances_classes(self, dataset: str) -> bool:
        """Whether identities decide which training windows are learned from, and how often."""
        spec = specs.DATASETS.get(dataset)
        released = spec is not None and spec.sampled_by_class
        return self.class_sampling == "all" or (self.class_sampling == "on" and released)


@dataclass(frozen=True)
class Joints(Settings):
    """How the joints of a frame are read, and what a frame is described by."""

    MAY_BE_AUTO: ClassVar = ("input",)

    input: str = option(
        inputs.JOINTS,
        "What a frame is described by: joints (the papers'), turned, or, where the method takes "
        "any values, levelled, bones, distances, angles, motion; several joined by +.",
    )
    input_scale: float = option(
        0.3,
        "Deviation of every value of an --input that is measured, over the training frames.",
        limits=POSITIVE,
    )
    kgbd_order: str = switch("kgbd_order")
    root: str = switch("root")

    @property
    def parts(self) -> tuple[str, ...]:
        """What a frame is described by."""
        return inputs.parts_of(self.input)

    def check(self) -> None:
        """Inputs that exist."""
        if self.input is not None:
            object.__setattr__(self, "input", "+".join(self.parts))

    def require_coordinates(self, command: str) -> None:
        """UserError where a frame is described by more than coordinates of joints."""
        if len(self.parts) > 1 or self.parts[0] not in inputs.COORDINATES:
            raise UserError(
                f"--input {self.input}: simmc {command} needs coordinates of joints; allowed: "
                f"{', '.join(inputs.COORDINATES)}."
            )


# of a command that can choose its input: None until the skeleton is known
AUTO_JOINTS = {
    "input": option(
        inputs.JOINTS,
        "What a frame is described by: joints (the papers'), turned, levelled, bones, distances, "
        "angles, motion; several joined by +; or 'auto', the default where a dataset has no "
        "preset: turned+bones+distances, as far as the skeleton names joints and bones, with "
        "levelled for turned where recordings lean to a side.",
        words={"auto": None},
    )
}


@dataclass(frozen=True)
class Rematch(Settings):
    """Further ways to match the features of a trained run (docs/matching.md)."""

    GROUP: ClassVar[str] = MATCHING

    rerank: str = _for_one_call(
        "off",
        "k-reciprocal re-ranking of probe and gallery windows together.",
        choices=("off", "on"),
    )
    rerank_k1: int = _for_one_call(20, "rerank: nearest neighbours.", limits=COUNT)
    rerank_k2: int = _for_one_call(6, "rerank: windows averaged.", limits=COUNT)
    rerank_lambda: float = _for_one_call(
        0.3, "rerank: share of the original distance.", limits=FRACTION
    )
    expand: int = _for_one_call(
        0, "Query expansion by so many gallery windows; 0: none.", limits=Range(0)
    )
    expand_alpha: float = _for_one_call(
        3.0, "expand: power of the similarity that weighs them.", limits=Range(0)
    )
    expand_gallery: str = _for_one_call(
        "off", "expand: the gallery's windows as well.", choices=("off", "on")
    )
    walk: int | str = _for_one_call(
        0,
        "Also match means of so many windows of a recording, one after another; 'all': of whole "
        "recordings; 0: none.",
        kind=int,
        limits=Range(0),
        words={WHOLE: WHOLE},
    )

    @property
    def flags(self) -> list[str]:
        """The flags of further ways of matching that are asked for."""
        flags = []
        if self.rerank == "on":
            flags.append("--rerank on")
        if self.expand:
            flags.append(f"--expand {self.expand}")
        if self.walk:
            flags.append(f"--walk {self.walk}")
        return flags

    def check(self) -> None:
        """No details of ways that are off."""
        for entry in options_of(type(self)):
            value = getattr(self, entry.name)
            if "_" not in entry.name or value == entry.default:
                continue
            if entry.name.startswith("rerank") and self.rerank == "off":
                raise UserError(f"--{entry.name} {value} needs --rerank on.")
            if entry.name.startswith("expand") and not self.expand:
                raise UserError(f"--{entry.name} {value} needs --expand K.")


@dataclass(frozen=True)
class Training(Settings):
    """A training in epochs, and its run."""

    mode: str = _for_one_call(
        "Train", "Train, or score a trained run.", choices=("Train", "Eval"), group=MAIN
    )
    lr: float = option(3.5e-4, "Learning rate of Adam.", limits=POSITIVE)
    epochs: int = option(15000, "Maximum number of epochs.", limits=Range(0))
    eval_every: int = option(1, "Epochs between two evaluations.", limits=COUNT, group=EVALUATION)
    model_size: bool = option(
        False, "Print parameters and operations of the model.", group=EVALUATION
    )
    eval_sqrt: str = switch("eval_sqrt")
    model_root: str = _for_one_call("ReID_Models", "Folder of the runs.", group=MACHINE)
    run: str = _for_one_call(
        "",
        "Name of the run; with Eval and --resume, the run to use (default: latest).",
        group=MACHINE,
    )
    save_model: bool = _of_files(True, "Keep the weights of the best epoch.")
    save_flag: str = _of_files("", "Suffix of the run's name.")
    resume: bool = _for_one_call(False, "Continue a run from its last checkpoint.", group=MACHINE)
    checkpoint_every: int = _of_files(1, "Epochs between two checkpoints.", limits=COUNT)
    checkpoint_seconds: float = _of_files(
        0.0, "Seconds between two checkpoints at least.", limits=Range(0)
    )
    tensorboard: bool = _of_files(False, "Also write TensorBoard files.")


@dataclass(frozen=True)
class LabelFree(Settings):
    """The second training of an unsupervised method whose first training uses identities."""

    label_free_run: str = option(
        "on",
        "Where the training uses identities (as in class sampling), train a second time without "
        "them, for the label-free numbers.",
        choices=("on", "off"),
    )


@dataclass(frozen=True)
class Stopping(Settings):
    """When a training ends, and which epoch counts."""

    patience: int = option(100, "Epochs without a better one before the run ends.", limits=COUNT)
    selection: str = switch("selection")
    best_by: str = option(
        "labels",
        "What chooses the epoch without labels: consistent pseudo labels, or agreement of the "
        "features with bone lengths (body), which may choose the untrained epoch 0.",
        choices=("labels", "body"),
    )


@dataclass(frozen=True)
class Clustering(Settings):
    """How pseudo labels are computed, and on what machine."""

    MAY_BE_AUTO: ClassVar = ("eps", "min_samples")

    eps: float = option(0.8, "DBSCAN: largest Jaccard distance of neighbours.", limits=INSIDE)
    min_samples: int = option(
        2, "DBSCAN: neighbours of a core point, itself included.", limits=COUNT
    )
    k1: int = option(20, "Nearest neighbours behind the Jaccard distance.", limits=COUNT)
    k2: int = option(6, "Neighbours averaged in its query expansion.", limits=COUNT)
    neighbors: str = option(
        "exact",
        "Neighbour search of the clustering: exact, or approximate for very many windows.",
        choices=("exact", "approximate"),
    )
    recall: float = option(
        0.97,
        "Share of the true neighbours that an approximate search should find.",
        limits=Range(0.01, 1),
    )
    executor: str = _for_one_call(
        "local",
        "Clustering on the CPU: in threads of this process, or on Ray (docs/cluster.md).",
        choices=("local", "ray"),
        group=MACHINE,
    )
    address: str = _for_one_call(
        "",
        "Ray cluster: host:port, or auto; without one Ray is started on this machine alone.",
        group=MACHINE,
    )

    def check(self) -> None:
        """k1 is at least k2; an address is for Ray only."""
        if self.address and self.executor != "ray":
            raise UserError(f"--address {self.address} needs --executor ray.")
        if self.k2 > self.k1:
            raise UserError(f"--k2 {self.k2} must not exceed --k1 {self.k1}.")


# of a command that can choose eps and min_samples: None until they are chosen
AUTO_CLUSTERING = {
    "eps": option(
        0.8,
        "DBSCAN: largest Jaccard distance of neighbours; or 'auto', the default where a dataset "
        "has no preset: that of the most consistent pseudo labels of the untrained network.",
        limits=INSIDE,
        words={"auto": None},
    ),
    "min_samples": option(
        2,
        "DBSCAN: neighbours of a core point, itself included; or 'auto', as --eps.",
        limits=COUNT,
        words={"auto": None},
    ),
}


@dataclass(frozen=True)
class Pretext(Settings):
    """The training of a source model, whose features SimMC-UF fine-tunes."""

    budget: str = option(
        "full",
        "Epochs of the preset: as published, or fewer (epochs_cpu), for a machine without a GPU.",
        choices=("full", "cpu"),
    )
    train_on: str = option(
        "train",
        "Windows that are learned: the training set, or the gallery as well (SGELA's division of "
        "KGBD and KS20 to classify them; nothing may be matched against such a gallery).",
        choices=("train", "train_gallery"),
    )
    kind: str = option(
        "",
        "Pooled feature that the tables show; the results hold all. Default: the method's first.",
        group=EVALUATION,
    )

    @property
    def with_gallery(self) -> bool:
        """Whether the gallery's windows are learned as well."""
        return self.train_on == "train_gallery"


def typed_folders(settings: Settings, *names: str) -> str:
    """Flags of those folders that are not the default ones, for a command to be run next."""
    values, defaults = settings.flat(), type(settings).of().flat()
    changed = [name for name in names if values[name] != defaults[name]]
    return "".join(f" --{name} {quote(values[name])}" for name in changed)


def dataset_and_probe(values: Mapping[str, Any]) -> tuple[str, str]:
    """Dataset and probe of flat values, as the table spells them where it has them."""
    if not specs.known(values["dataset"]):
        return values["dataset"], values["probe"]
    return chosen_probe(specs.get(values["dataset"]), values["probe"], values["probe_type"])


def presets_of_probe(values: Mapping[str, Any]) -> list[str]:
    """`<DATASET>_<probe>`, then `<DATASET>_probe`: the KS20 views have none of their own."""
    dataset, probe = dataset_and_probe(values)
    return [f"{dataset}_{probe}", f"{dataset}_probe"]


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
