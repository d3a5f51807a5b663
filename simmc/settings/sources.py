"""What the source models' settings have in common: those whose features SimMC-UF fine-tunes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from simmc.data.manifest import find_spec
from simmc.errors import UserError
from simmc.settings.common import EVALUATION, MACHINE, TRAINING, chosen_probe
from simmc.settings.epochs import UnlabelledSettings
from simmc.settings.options import Range, option

BUDGETS = ("full", "cpu")


@dataclass(frozen=True)
class SourceSettings(UnlabelledSettings):
    """A pretext training of a fixed number of epochs, scored by matching pooled features.

    Attributes:
        KINDS: the pooled features of the network, the one that tables show first.
    """

    KINDS: ClassVar[tuple[str, ...]] = ()

    budget: str = option(
        "full",
        "Presets with as many epochs as published, or with fewer, for a machine without a GPU.",
        choices=BUDGETS,
        group=TRAINING,
    )
    train_on: str = option(
        "train",
        "Windows that are learned: the training set, or the gallery as well (SGELA's division of "
        "KGBD and KS20 to classify them; nothing may be matched against such a gallery).",
        choices=("train", "train_gallery"),
        group=TRAINING,
    )
    epochs: int = option(
        100, "Epochs; nothing ends a run earlier.", limits=Range(0), group=TRAINING
    )
    eval_every: int = option(
        10, "Epochs between two evaluations.", limits=Range(1), group=EVALUATION
    )
    kind: str = option(
        "",
        "Pooled feature that the tables show; the results hold all. Default: the method's first.",
        group=EVALUATION,
    )

    checkpoint_seconds: float = option(
        60.0, "Seconds between two checkpoints at least.", limits=Range(0), group=MACHINE
    )

    @classmethod
    def preset_names(cls, values: Mapping[str, Any]) -> list[str]:
        """`<DATASET>_cpu` for the small budget, else `<DATASET>`: the probe plays no part."""
        spec = find_spec(Path(values["data_root"]), values["dataset"], values["length"])
        dataset, _ = chosen_probe(spec, values["probe"], values["probe_type"])
        return [f"{dataset}_cpu", "cpu"] if values["budget"] == "cpu" else [dataset]

    @property
    def with_gallery(self) -> bool:
        """Whether the gallery's windows are learned as well."""
        return self.train_on == "train_gallery"

    def check(self) -> None:
        """As above; a pooled feature that the method has."""
        super().check()
        found = {kind.casefold(): kind for kind in self.KINDS}.get(self.kind.casefold())
        if self.kind and found is None:
            raise UserError(
                f"--kind {self.kind!r} is not possible; allowed: {', '.join(self.KINDS)}."
            )
        object.__setattr__(self, "kind", found or self.KINDS[0])
