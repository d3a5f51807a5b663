"""Settings of the hand-crafted descriptors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from simmc.settings.common import COUNT, MACHINE, MAIN, TRAINING, DataSettings
from simmc.settings.options import option

ALL = "all"
NAMES = ("D13", "D16", "D_PG", "raw_flat", "raw_mean")


@dataclass(frozen=True)
class DescriptorSettings(DataSettings):
    """Which descriptor, and what is done with it."""

    COMMAND: ClassVar[str] = "descriptors"
    SUMMARY: ClassVar[str] = (
        "Score hand-crafted descriptors by matching probe against gallery windows, which takes no "
        "training and no label; or, with --classifier, by a classifier trained on identities."
    )

    descriptor: str = option(
        ALL,
        "D13, D16, D_PG (our definition), raw_flat or raw_mean; or all, one run each.",
        choices=(ALL, *NAMES),
        group=MAIN,
    )
    classifier: str = option(
        "none",
        "Match windows (none), or train a classifier on the identities of the training windows.",
        choices=("none", "knn", "svm", "adaboost"),
        group=MAIN,
    )
    train_on: str = option(
        "train",
        "Windows that a classifier learns: the training set, or the gallery as well (SGELA's "
        "division of KGBD and KS20).",
        choices=("train", "train_gallery"),
        group=TRAINING,
    )
    unit: str = option(
        "window",
        "What a classifier learns and judges: windows, or single frames, whose mean score is their "
        "window's (what SGELA calls average prediction).",
        choices=("window", "frame"),
        group=TRAINING,
    )
    scaling: str = option(
        "none",
        "Features of --classifier knn as they are, or over their standard deviation in training. "
        "svm always has the latter, trees do not care.",
        choices=("none", "deviation"),
        group=TRAINING,
    )
    neighbors: int = option(1, "Votes of --classifier knn.", limits=COUNT, group=TRAINING)
    depth: int = option(
        10, "Depth of the trees of --classifier adaboost.", limits=COUNT, group=TRAINING
    )
    model_root: str = option("ReID_Models", "Folder of the runs.", transient=True, group=MACHINE)
    save_flag: str = option("", "Suffix of the run's name.", group=MACHINE)

    @classmethod
    def preset_names(cls, values: Mapping[str, Any]) -> list[str]:
        """One preset a descriptor: what its published rows were scored on."""
        return [values["descriptor"]]
