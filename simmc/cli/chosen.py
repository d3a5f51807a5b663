"""What `simmc embed` and `simmc identify` share: a run, its weights, all its windows, its features.

A run's settings are read as the reports read them, its windows and weights as `--mode Eval` does.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from simmc.cli import trained
from simmc.cli.console import CONSOLE
from simmc.data.experiment.experiment import Experiment, Split
from simmc.engine.load import load_whole, with_stored_names
from simmc.engine.method import LABEL_FREE, PAPER, Embedder, Method
from simmc.engine.stored_run import home_of, learned_from, other_data
from simmc.engine.training import weights_path
from simmc.errors import UserError
from simmc.methods.registry import METHODS
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import Runtime, start
from simmc.settings.layers import TYPED, Resolved
from simmc.settings.options import MACHINE, MAIN, Settings, option

# command of a method -> the files that name its newest run: of several kinds, the first there is
POINTERS = {
    "trackmc": tuple(f"latest_trackmc_{tier}" for tier in ("merge", "positives", "off")),
    "simmc": ("latest",),
    "himpc": ("latest_himpc",),
}


@dataclass(frozen=True)
class Asked(Settings):
    """Which run, and which of its weights."""

    GROUP: ClassVar[str] = MAIN

    method: str = option(
        "trackmc", "Method of the run: trackmc, simmc or himpc.", choices=tuple(POINTERS)
    )
    run: str = option("", "Name of the run; default: the method's newest.")
    protocol: str = option(
        "label_free",
        "Weights that were chosen without looking at identities or tests, or by the probe's top-1.",
        choices=("label_free", "paper"),
    )
    model_root: str = option("ReID_Models", "Folder of the runs.", group=MACHINE)


@dataclass(frozen=True)
class Chosen:
    """A trained run and the weights that a protocol chose.

    Attributes:
        run: its folder.
        method: its row in the registry.
        settings: of the training that the weights come from.
        weights: their file.
        runtime: device and threads.
    """

    run: RunDirectory
    method: Method[Any]
    settings: Any
    weights: Path
    runtime: Runtime

    @property
    def title(self) -> str:
        """The method's name in tables."""
        return self.method.title(self.settings)

    @cached_property
    def data(self) -> Experiment:
        """All stored windows, in the order of the files; inputs have the scale of the training."""
        return load_whole(self.settings)

    @cached_property
    def embedder(self) -> Embedder:
        """The trained network."""
        assert self.method.embedder is not None
        return self.method.embedder(self.weights, self.settings, self.data, self.runtime)

    @property
    def checksum(self) -> str:
        """sha256 of the weights' file."""
        return hashlib.sha256(self.weights.read_bytes()).hexdigest()

    @property
    def trained_on(self) -> str | None:
        """sha256 of the manifest of the data that the run learned from; None: not known."""
        return learned_from(self.run)

    def features(self, split: Split) -> np.ndarray:
        """(N, d) float32 features of the windows of a split."""
        found = self.embedder.features(split).detach().cpu().numpy()
        if not np.isfinite(found).all():
            raise UserError(
                f"{self.weights} gives features that are not finite: the training has diverged. "
                "Train again with a smaller --lr."
            )
        return np.ascontiguousarray(found, np.float32)

    def tell(self) -> None:
        """Say what was chosen, and whether it learned from other data than are found now."""
        CONSOLE.say(f"{self.title}, epoch {self.embedder.epoch}: {self.weights}")
        CONSOLE.data(self.data)
        if other_data(self.run, self.data.checksum):
            CONSOLE.notes(
                [
                    f"{self.run.path} learned from other data than are found now. Its features "
                    "are of use where the skeleton is the same and, for inputs that are measured, "
                    "the training windows are, which set their scale"
                ]
            )


def choose(resolved: Resolved[Any]) -> Chosen:
    """The run and weights that are asked for; UserError where there are none of this kind.

    Args:
        resolved: settings with `place`, `machine` and `asked`.
    """
    settings = with_stored_names(resolved.settings)
    place, asked, machine = settings.place, settings.asked, settings.machine
    home = Path(asked.model_root) / place.dataset / place.probe
    pointers = POINTERS[asked.method]
    pointer = next((name for name in pointers if (home / name).is_file()), pointers[0])
    run = RunDirectory.find(
        asked.model_root, place.dataset, place.probe, asked.run or None, pointer=pointer
    )
    method = METHODS[asked.method]
    typed = resolved.origin["data_root"] == TYPED
    lack = f"is none of --method {asked.method}"
    how = trained.settings_of(run, [method], lack, Path(place.data_root) if typed else None)
    if resolved.origin["length"] == TYPED and place.length != how.place.length:
        raise UserError(
            f"--length {place.length}: {run.path} learned from windows of {how.place.length} "
            "frames. Leave --length out, or name another run with --run."
        )
    if how.windows.stress:
        raise UserError(
            f"{run.path} was trained with --stress {how.windows.stress}, so that its windows are "
            "not those of the files. Name a run without it with --run."
        )
    inner = home_of(run, asked.protocol)
    if inner is not run:
        how = method.label_free(how) or how
    weights = weights_path(inner, asked.protocol)
    if not weights.is_file():
        other = PAPER if asked.protocol == LABEL_FREE else LABEL_FREE
        raise UserError(
            f"--protocol {asked.protocol}: {run.path} kept no weights for it (no {weights.name}). "
            f"Use --protocol {other}, or train again, to the end and without --label_free_run off."
        )
    runtime = start(machine.device, machine.gpu or None, machine.threads)
    CONSOLE.notes(runtime.notes)
    return Chosen(run, method, how, weights, runtime)
