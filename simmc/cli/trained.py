"""What the reports on trained weights share: a run's settings, its data, the picture's heading."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from simmc.cli import training
from simmc.cli.run_folder import home_of, other_data
from simmc.config import EpochSettings, resolve
from simmc.data.loaders import Experiment
from simmc.errors import UserError
from simmc.methods.loop import weights_path
from simmc.reports import results, style
from simmc.runs.directory import RunDirectory

S = TypeVar("S", bound=EpochSettings)


def settings_of(
    run: RunDirectory, methods: Mapping[str, type[S]], lack: str, data_root: Path | None
) -> S:
    """The settings of a run that kept its weights.

    Args:
        run: as the user named it.
        methods: settings class of each command whose runs have what is wanted.
        lack: what is said of a run of another command: "has no such attention".
        data_root: where the data are now; None: as trained.

    Raises:
        UserError: a run of another command, or without settings or weights.
    """
    wanted = " or ".join(f"simmc {command}" for command in methods)
    for file in (run.config_path, weights_of(run)):
        if not file.is_file():
            raise UserError(
                f"{run.path} has no {file.name}: it is no run of {wanted}, or it kept no weights. "
                f"Give the folder of a run of {wanted} that was made without --save_model 0."
            )
    stored = run.read_config()
    command = str(stored.get("command"))
    if command not in methods:
        raise UserError(
            f"{run.path} is a run of simmc {command}, which {lack}. Give the folder of a run of "
            f"{wanted}."
        )
    typed = [] if data_root is None else ["--data_root", str(data_root)]
    return resolve(methods[command], typed, stored=stored).settings


def weights_of(run: RunDirectory) -> Path:
    """The weights in best.pt; where rates could choose none, those of another protocol."""
    others = ("label_free", "fixed_epochs")
    files = [run.best, *(weights_path(home_of(run, name), name) for name in others)]
    return next((file for file in files if file.is_file()), run.best)


def data_of(run: RunDirectory, settings: EpochSettings) -> Experiment:
    """The data of a run; UserError where it is known to have learned from other windows."""
    data = training.load(settings)
    if other_data(run, data.checksum):
        raise UserError(
            f"{run.path} was trained on other windows than those found now. Point --data_root to "
            "the data that the run was started with."
        )
    return data


def heading(method: str, settings: EpochSettings, data: Experiment) -> str:
    """The heading of a picture; a run that has no results yet has one too."""
    names = ("dataset", "probe", "fidelity", "seed")
    known = {"method": method, **{name: getattr(settings, name) for name in names}}
    return style.title_of(results.Run(Path(), {**known, "data": {"generated": data.generated}}))
