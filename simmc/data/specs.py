"""The table of datasets: joints, lengths, probes, galleries, windows and cuts (docs/data.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from simmc.data.skeletons import CASIA_14, KGBD_FILE, KINECT_V1, KINECT_V2, Skeleton
from simmc.errors import UserError

KINECT_LENGTHS = (4, 6, 8, 10, 12)
CASIA_LENGTHS = (40, 50, 60)
TRAIN = "train"
# View folder of KS20 -> degrees, as the papers name the views (docs/data.md 2.3).
KS20_VIEWS: Mapping[str, str] = {
    "left_lateral": "0",
    "left_diagonal": "30",
    "frontal": "90",
    "right_diagonal": "130",
    "right_lateral": "180",
}
CASIA_VIEWS = tuple(str(view) for view in range(0, 181, 18))  # degrees
CASIA_CONDITIONS = ("nm", "bg", "cl")
CASIA_PROBES = ("nm.nm", "bg.bg", "cl.cl", "cl.nm", "bg.nm")


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset."""

    name: str
    skeleton: Skeleton
    test_splits: tuple[str, ...]
    gallery_of: Mapping[str, str]  # probe as the user names it -> split it is matched against
    default_length: int = 6
    lengths: tuple[int, ...] = KINECT_LENGTHS
    # Training windows (docs/data.md 5.2): dense overlap as the switch dense_starts says, or f/2
    # apart, or plain, without overlap.
    train_windows: Literal["dense", "stride", "plain"] = "dense"
    train_cut: tuple[int, int] = (0, 0)  # frames cut at start and end of a training recording
    test_cut: tuple[int, int] = (0, 0)
    exact_train_cut: tuple[int, int] | None = None  # if the released cut is a bug
    frame_rate: float | None = None  # nominal, frames a second; None: not stated by its authors
    sampled_by_class: bool = True  # the released loader balances classes (docs/data.md 5.4)
    # divided by view (docs/data.md 4): train on all views but the tested ones, or on adjacent ones
    by_view: Literal["", "others", "adjacent"] = ""
    folder: str = ""  # below the data root; by default the name
    train_folder: str = "train_npy_data"
    test_folder: str = "test_npy_data"
    aliases: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Set the folder."""
        object.__setattr__(self, "folder", self.folder or self.name)

    @property
    def probes(self) -> tuple[str, ...]:
        """The probes that the tables report, as the user names them."""
        return tuple(self.gallery_of)

    @property
    def n_joints(self) -> int:
        """Number of joints J."""
        return self.skeleton.n_joints

    def cut(self, training: bool, ias_cut: str = "asymmetric") -> tuple[int, int]:
        """Frames to drop at start and end of a recording."""
        if not training:
            return self.test_cut
        if ias_cut == "symmetric" and self.exact_train_cut is not None:
            return self.exact_train_cut
        return self.train_cut


DATASETS: dict[str, DatasetSpec] = {
    spec.name: spec
    for spec in (
        DatasetSpec(
            "IAS",
            KINECT_V1,
            ("A", "B"),
            {"A": "B", "B": "A"},
            train_cut=(10, 0),  # a bug of the released code, reproduced (docs/data.md 2.1)
            test_cut=(10, 10),
            exact_train_cut=(10, 10),
            aliases=("IAS-Lab",),
        ),
        DatasetSpec(
            "BIWI",
            KINECT_V1,
            ("Walking", "Still"),
            {"Walking": "Still", "Still": "Walking"},
            frame_rate=10.0,
            train_cut=(10, 10),
            test_cut=(10, 10),
        ),
        DatasetSpec(
            "KGBD",
            KGBD_FILE,
            ("gallery", "probe"),
            {"probe": "gallery"},
            train_windows="plain",
            train_cut=(10, 10),
            test_cut=(10, 10),
            frame_rate=30.0,
            sampled_by_class=False,
        ),
        DatasetSpec("KS20", KINECT_V2, ("gallery", "probe"), {"probe": "gallery"}, frame_rate=30.0),
        DatasetSpec(
            "CASIA_B",
            CASIA_14,
            CASIA_CONDITIONS,
            {probe: probe.partition(".")[2] for probe in CASIA_PROBES},
            default_length=40,
            lengths=CASIA_LENGTHS,
            train_windows="stride",
            train_cut=(10, 10),
            test_cut=(10, 10),
            frame_rate=25.0,
            folder="CASIA_B_match",
            train_folder="CASIA_B_train_npy_data",
            test_folder="CASIA_B_test_npy_data",
            aliases=("CAISA_B", "CASIA-B", "CASIA"),  # the first is the public README's spelling
        ),
    )
}
# KS20 by view, for cross-view evaluation: training and test windows of each view (docs/data.md 4).
KS20_CVE = replace(
    DATASETS["KS20"],
    by_view="others",
    folder="KS20_CVE",
    test_splits=tuple(KS20_VIEWS.values()),
    gallery_of={f"{a}.{b}": b for a in KS20_VIEWS.values() for b in KS20_VIEWS.values()},
)
# CASIA-B by view, for the classification of SGELA's Table 8.
CASIA_CVE = replace(
    DATASETS["CASIA_B"],
    by_view="adjacent",
    folder="CASIA_B_CVE",
    train_folder="train_npy_data",
    test_folder="test_npy_data",
    test_splits=CASIA_VIEWS,
    gallery_of={f"{view}.{view}": view for view in CASIA_VIEWS},
)
BY_VIEW: dict[str, DatasetSpec] = {spec.name: spec for spec in (KS20_CVE, CASIA_CVE)}
_BY_NAME = {
    name.casefold(): spec for spec in DATASETS.values() for name in (spec.name, *spec.aliases)
}
# below the data root, of sets that are divided by view or not
_BY_FOLDER = {spec.folder: spec for spec in (*DATASETS.values(), *BY_VIEW.values())}
# names and folders, case-folded, that a custom set may not have
TAKEN = frozenset([*_BY_NAME, *map(str.casefold, _BY_FOLDER)])


def train_view(view: str) -> str:
    """The split that holds the training windows of one view (CVE)."""
    return f"{TRAIN}/{view}"


def is_training(split: str) -> bool:
    """Whether a split holds training windows."""
    return split.partition("/")[0] == TRAIN


def skeleton_of(spec: DatasetSpec) -> Skeleton:
    """The names by which methods read the joint axis, for every `kgbd_order`."""
    return KINECT_V1 if reads_by_other_names(spec) else spec.skeleton


def reads_by_other_names(spec: DatasetSpec) -> bool:
    """Whether the joint axis is read by Kinect's names although the files have another order.

    Only for the published KGBD (docs/data.md 2.4), not for custom sets in KGBD's order.
    """
    return spec.name == "KGBD"


def splits_of(spec: DatasetSpec, probe: str) -> list[str]:
    """The splits that experiments with this probe read; training first.

    Training does not depend on the probe, so the splits of other probes are included; with views
    it does, because tested views are left out.
    """
    if not spec.by_view:
        return [TRAIN, *spec.test_splits]
    pair = list(dict.fromkeys(probe.split(".")))
    views = [view for view in spec.test_splits if view not in pair]
    if spec.by_view == "adjacent":
        place = {view: i for i, view in enumerate(spec.test_splits)}
        views = [v for v in views if any(abs(place[v] - place[one]) == 1 for one in pair)]
    return [train_view(view) for view in views] + pair


def known(name: str) -> bool:
    """Whether a built-in dataset has that name or alias, ignoring case."""
    return name.casefold() in _BY_NAME


def get(name: str) -> DatasetSpec:
    """The dataset of that name or alias, ignoring case; UserError with the list otherwise."""
    if not known(name):
        raise UserError(f"--dataset {name}: no such dataset; choose one of {', '.join(DATASETS)}")
    return _BY_NAME[name.casefold()]


def in_folder(name: str) -> DatasetSpec | None:
    """The built-in dataset, divided by view or not, whose folder below the data root that is."""
    return _BY_FOLDER.get(name)
