"""A trained run as `simmc embed`, `simmc identify` and the reports on weights read it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from simmc.cli.console import CONSOLE
from simmc.data.experiment.experiment import Experiment, Split
from simmc.engine.method import LABEL_FREE, PAPER, Embedder, Method, load_whole, with_stored_names
from simmc.engine.stored_run import home_of, learned_from, other_data, weights_of
from simmc.engine.training import weights_path
from simmc.errors import UserError
from simmc.methods.registry import METHODS
from simmc.reports import results, style
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import Runtime, start
from simmc.settings.layers import TYPED, Resolved, resolve
from simmc.settings.options import MACHINE, MAIN, Settings, option

# command of a method -> the files that name its newest run; the first that exists counts
POINTERS = {
    "trackmc": tuple(f"latest_trackmc_{tier}" for tier in ("auto", "merge", "positives", "off")),
    "simmc": ("latest",),
    "himpc": ("latest_himpc",),
}


def settings_of(
    run: RunDirectory, methods: Sequence[Method[Any]], lack: str, data_root: Path | None
) -> Any:
    """The settings of a run that kept its weights; UserError for any other run.

    `lack` ends the message for a run of another command, such as "has no such attention".
    """
    kinds = {method.settings.COMMAND: method.settings for method in methods}
    wanted = " or ".join(f"simmc {command}" for command in kinds)
    for file in (run.config_path, weights_of(run)):
        if not file.is_file():
            raise UserError(
                f"{run.path} has no {file.name}: it is not a run of {wanted}, or has no weights. "
                f"Give the folder of a run of {wanted} that was made without --save_model 0."
            )
    stored = run.read_config()
    command = str(stored.get("command"))
    if command not in kinds:
        raise UserError(
            f"{run.path} is a run of simmc {command}, which {lack}. Give the folder of a run of "
            f"{wanted}."
        )
    typed = [] if data_root is None else ["--data_root", str(data_root)]
    return with_stored_names(resolve(kinds[command], typed, stored=stored).settings)


def data_of(run: RunDirectory, method: Method[Any], settings: Any) -> Experiment:
    """The data of a run; UserError where it was trained on other windows."""
    data = method.load(settings)
    require_same_data(run, data)
    return data


def require_same_data(run: RunDirectory, data: Experiment) -> None:
    """UserError where a run was trained on other windows than these."""
    if other_data(run, data.checksum):
        raise UserError(
            f"{run.path} was trained on other windows than those found now. Point --data_root to "
            "the data that the run was started with."
        )


def require_stored_windows(run: RunDirectory, settings: Any, flag: str) -> None:
    """UserError where a run was trained on windows that --stress changed."""
    if settings.windows.stress:
        raise UserError(
            f"{run.path} was trained with --stress {settings.windows.stress}, so that its windows "
            f"are not those of the files. Give a run without it with {flag}."
        )


def chosen_by(
    run: RunDirectory, protocol: str, method: Method[Any], settings: Any
) -> tuple[Path, Any]:
    """The file of the weights that a protocol chose, and the settings of their training."""
    inner = home_of(run, protocol)
    if inner is not run:
        settings = method.label_free(settings) or settings
    return weights_path(inner, protocol), settings


def heading(method: str, settings: Any, data: Experiment) -> str:
    """The heading of a picture, also for a run without results."""
    values = settings.flat()
    known = {name: values[name] for name in ("dataset", "probe", "fidelity", "seed")}
    about = {"method": method, **known, "data": {"generated": data.generated}}
    return style.title_of(results.Run(Path(), about))


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
    """A trained run, and the weights that a protocol chose with the settings of their training."""

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
        return self.method.embedder(self.weights, self.settings, self.data, self.runtime)

    @property
    def checksum(self) -> str:
        """SHA-256 of the file of weights."""
        return hashlib.sha256(self.weights.read_bytes()).hexdigest()

    @property
    def trained_on(self) -> str | None:
        """SHA-256 of the manifest of the training data; None: not known."""
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

    def report(self) -> None:
        """Print the choice, and a note where the training data were others than those found now."""
        CONSOLE.say(f"{self.title}, epoch {self.embedder.epoch}: {self.weights}")
        CONSOLE.data(self.data)
        if other_data(self.run, self.data.checksum):
            CONSOLE.note(
                f"{self.run.path} was trained on other data than those found now. Its features "
                "are valid only for the same skeleton and, for inputs that are measured, for the "
                "same training windows, which set their scale"
            )


def choose(resolved: Resolved[Any]) -> Chosen:
    """The run and weights that settings with `place`, `machine` and `asked` ask for.

    Raises:
        UserError: no such run, or none with these weights.
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
    root = Path(place.data_root) if resolved.origin["data_root"] == TYPED else None
    how = settings_of(run, [method], f"--method {asked.method} does not read", root)
    if resolved.origin["length"] == TYPED and place.length != how.place.length:
        raise UserError(
            f"--length {place.length}: {run.path} was trained on windows of {how.place.length} "
            "frames. Leave --length out, or give another run with --run."
        )
    require_stored_windows(run, how, "--run")
    weights, how = chosen_by(run, asked.protocol, method, how)
    if not weights.is_file():
        other = PAPER if asked.protocol == LABEL_FREE else LABEL_FREE
        raise UserError(
            f"--protocol {asked.protocol}: {run.path} kept no weights for it (no {weights.name}). "
            f"Use --protocol {other}, or train again, to the end and without --label_free_run off."
        )
    runtime = start(machine.device, machine.gpu or None, machine.threads)
    CONSOLE.notes(runtime.notes)
    return Chosen(run, method, how, weights, runtime)
