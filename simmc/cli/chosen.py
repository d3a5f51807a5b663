"""What `simmc embed` and `simmc identify` share: a run, its weights, all its windows, its features.

A run's settings are read as the reports read them, its windows and weights as `--mode Eval` does.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from simmc.cli import console, himpc, trackmc, trained, training
from simmc.cli import simmc as simmc_command
from simmc.cli.run_folder import TWIN, home_of, learned_from, other_data
from simmc.config import EpochSettings, Resolved, TrainedSettings, UnlabelledSettings
from simmc.config.layers import TYPED
from simmc.config.trained import POINTERS
from simmc.data.loaders import Experiment, Split
from simmc.errors import UserError
from simmc.methods.embedding import Embedder, embedder
from simmc.methods.loop import weights_path
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import Runtime, start

S = TypeVar("S", bound=TrainedSettings)
METHODS = {
    method.settings.COMMAND: method
    for method in (trackmc.METHOD, simmc_command.METHOD, himpc.METHOD)
}


@dataclass(frozen=True)
class Chosen:
    """A trained run and the weights that a protocol chose.

    Attributes:
        run: its folder.
        settings: of the training that the weights come from.
        weights: their file.
        runtime: device and threads.
    """

    run: RunDirectory
    settings: EpochSettings
    weights: Path
    runtime: Runtime

    @property
    def title(self) -> str:
        """The method's name in tables."""
        title = METHODS[self.settings.COMMAND].title
        return title if isinstance(title, str) else title(self.settings)

    @cached_property
    def data(self) -> Experiment:
        """All stored windows, in the order of the files; inputs have the scale of the training."""
        return training.load_whole(self.settings)

    @cached_property
    def embedder(self) -> Embedder:
        """The trained network."""
        return embedder(self.weights, self.settings, self.data, self.runtime)

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
        console.say(f"{self.title}, epoch {self.embedder.epoch}: {self.weights}")
        console.data_summary(self.data)
        if other_data(self.run, self.data.checksum):
            console.notes(
                [
                    f"{self.run.path} learned from other data than are found now. Its features "
                    "are of use where the skeleton is the same and, for inputs that are measured, "
                    "the training windows are, which set their scale"
                ]
            )


def choose(resolved: Resolved[S]) -> Chosen:
    """The run and weights that are asked for; UserError where there are none of this kind."""
    asked = resolved.settings
    home = Path(asked.model_root) / asked.dataset / asked.probe
    pointers = POINTERS[asked.method]
    pointer = next((name for name in pointers if (home / name).is_file()), pointers[0])
    run = RunDirectory.find(
        asked.model_root, asked.dataset, asked.probe, asked.run or None, pointer=pointer
    )
    kind = {asked.method: METHODS[asked.method].settings}
    typed = resolved.origin["data_root"] == TYPED
    lack = f"is none of --method {asked.method}"
    settings = trained.settings_of(run, kind, lack, Path(asked.data_root) if typed else None)
    if resolved.origin["length"] == TYPED and asked.length != settings.length:
        raise UserError(
            f"--length {asked.length}: {run.path} learned from windows of {settings.length} "
            "frames. Leave --length out, or name another run with --run."
        )
    if settings.stress:
        raise UserError(
            f"{run.path} was trained with --stress {settings.stress}, so that its windows are not "
            "those of the files. Name a run without it with --run."
        )
    place = home_of(run, asked.protocol)
    if place is not run and isinstance(settings, UnlabelledSettings):
        settings = settings.without_identities()
    weights = weights_path(place, asked.protocol)
    if not weights.is_file():
        other = "paper" if asked.protocol == TWIN else TWIN
        raise UserError(
            f"--protocol {asked.protocol}: {run.path} kept no weights for it (no {weights.name}). "
            f"Use --protocol {other}, or train again, to the end and without --label_free_run off."
        )
    runtime = start(asked.device, asked.gpu or None, asked.threads)
    console.notes(runtime.notes)
    return Chosen(run, settings, weights, runtime)
