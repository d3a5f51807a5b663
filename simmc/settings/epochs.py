"""Settings of the methods that learn in epochs, and of those that learn without labels.

Named as the public READMEs and programs name them, with what was added.
"""

from dataclasses import dataclass, replace
from typing import Self

from simmc.errors import UserError
from simmc.settings.common import (
    COUNT,
    EVALUATION,
    FIDELITY,
    INSIDE,
    MACHINE,
    MAIN,
    POSITIVE,
    TRAINING,
)
from simmc.settings.matching import MatchingSettings
from simmc.settings.options import Range, option, switch


@dataclass(frozen=True)
class EpochSettings(MatchingSettings):
    """What all methods that learn in epochs have in common."""

    mode: str = option(
        "Train",
        "Train, or score a trained run.",
        choices=("Train", "Eval"),
        transient=True,
        group=MAIN,
    )
    lr: float = option(3.5e-4, "Learning rate of Adam.", limits=POSITIVE, group=TRAINING)
    epochs: int = option(15000, "Most epochs.", limits=Range(0), group=TRAINING)
    eval_every: int = option(1, "Epochs between two evaluations.", limits=COUNT, group=EVALUATION)
    model_size: bool = option(
        False, "Print parameters and operations of the model.", group=EVALUATION
    )
    eval_sqrt: str = switch("eval_sqrt", FIDELITY)
    model_root: str = option("ReID_Models", "Folder of the runs.", transient=True, group=MACHINE)
    run: str = option(
        "",
        "Name of the run; with Eval and --resume, the run to use (default: latest).",
        transient=True,
        group=MACHINE,
    )
    save_model: bool = option(True, "Keep the weights of the best epoch.", group=MACHINE)
    save_flag: str = option("", "Suffix of the run's name.", group=MACHINE)
    resume: bool = option(
        False, "Continue a run from its last checkpoint.", transient=True, group=MACHINE
    )
    checkpoint_every: int = option(
        1, "Epochs between two checkpoints.", limits=COUNT, group=MACHINE
    )
    checkpoint_seconds: float = option(
        0.0, "Seconds between two checkpoints at least.", limits=Range(0), group=MACHINE
    )
    tensorboard: bool = option(False, "Also write TensorBoard files.", group=MACHINE)

    @property
    def is_trained(self) -> bool:
        """Whether there is anything to train."""
        return True

    @property
    def recipe(self) -> str:
        """What is trained, as it stands in the names of runs."""
        return self.COMMAND

    def check(self) -> None:
        """As above; ways of matching where a trained run is scored."""
        super().check()
        if self.mode != "Eval" and self.other_matching:
            raise UserError(
                f"{self.other_matching[0]} needs --mode Eval: it is another way of scoring a "
                "trained run."
            )


@dataclass(frozen=True)
class UnlabelledSettings(EpochSettings):
    """What the methods that learn without labels have in common: some of their data are not."""

    label_free_run: str = option(
        "on",
        "Where identities decide what is learned from (as in class sampling), train a second time "
        "without them, for the label-free numbers.",
        choices=("on", "off"),
        group=TRAINING,
    )

    @property
    def uses_identities(self) -> bool:
        """Whether identities decide which windows are learned from, or together with which."""
        return self.class_sampling == "all" or (
            self.class_sampling == "on" and self.spec.sampled_by_class
        )

    @property
    def label_free_possible(self) -> bool:
        """Whether everything is there for a training without identities."""
        return True

    def without_identities(self) -> Self:
        """The same training without any use of identities."""
        return replace(self, class_sampling="off")


@dataclass(frozen=True)
class ClusteredSettings(UnlabelledSettings):
    """How the pseudo labels of a training are found, and on what."""

    eps: float = option(
        0.8, "DBSCAN: largest Jaccard distance of neighbours.", limits=INSIDE, group=TRAINING
    )
    min_samples: int = option(
        2, "DBSCAN: neighbours of a core point, itself included.", limits=COUNT, group=TRAINING
    )
    k1: int = option(
        20, "Nearest neighbours behind the Jaccard distance.", limits=COUNT, group=TRAINING
    )
    k2: int = option(6, "Neighbours averaged in its query expansion.", limits=COUNT, group=TRAINING)
    H: int = option(256, "Width of the encoder.", aliases=("hidden",), limits=COUNT, group=TRAINING)
    neighbors: str = option(
        "exact",
        "Neighbour search of the clustering: exact, or approximate for very many windows.",
        choices=("exact", "approximate"),
        group=TRAINING,
    )
    recall: float = option(
        0.97,
        "Share of the true neighbours that an approximate search is to find.",
        limits=Range(0.01, 1),
        group=TRAINING,
    )
    executor: str = option(
        "local",
        "What clusters on the CPU: threads of this process, or Ray (docs/cluster.md).",
        choices=("local", "ray"),
        transient=True,
        group=MACHINE,
    )
    address: str = option(
        "",
        "Ray cluster: host:port, or auto; without one Ray is started on this machine alone.",
        transient=True,
        group=MACHINE,
    )

    def check(self) -> None:
        """As above; neighbour lists long enough, an address that is used."""
        super().check()
        if self.address and self.executor != "ray":
            raise UserError(f"--address {self.address} needs --executor ray.")
        if self.k2 > self.k1:
            raise UserError(f"--k2 {self.k2} must not exceed --k1 {self.k1}.")


@dataclass(frozen=True)
class TrainingSettings(ClusteredSettings):
    """What the published methods that learn by clustering have in common."""

    patience: int = option(
        100, "Epochs without a better one before the run ends.", limits=COUNT, group=TRAINING
    )
    jaccard_input: str = switch("jaccard_input", FIDELITY)
    selection: str = switch("selection", FIDELITY)
