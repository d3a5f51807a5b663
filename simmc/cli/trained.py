"""What the reports on trained weights share: a run's settings, its data, the picture's heading."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simmc.data.experiment.experiment import Experiment
from simmc.engine.load import with_stored_names
from simmc.engine.method import Method
from simmc.engine.stored_run import other_data, weights_of
from simmc.errors import UserError
from simmc.reports import results, style
from simmc.runs.directory import RunDirectory
from simmc.settings.layers import resolve


def settings_of(
    run: RunDirectory, methods: Sequence[Method[Any]], lack: str, data_root: Path | None
) -> Any:
    """The settings of a run that kept its weights.

    Args:
        run: as the user named it.
        methods: those whose runs have what is wanted.
        lack: what is said of a run of another command: "has no such attention".
        data_root: where the data are now; None: as trained.

    Raises:
        UserError: a run of another command, or without settings or weights.
    """
    kinds = {method.settings.COMMAND: method.settings for method in methods}
    wanted = " or ".join(f"simmc {command}" for command in kinds)
    for file in (run.config_path, weights_of(run)):
        if not file.is_file():
            raise UserError(
                f"{run.path} has no {file.name}: it is no run of {wanted}, or it kept no weights. "
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
    """The data of a run; UserError where it is known to have learned from other windows."""
    data = method.load(settings)
    if other_data(run, data.checksum):
        raise UserError(
            f"{run.path} was trained on other windows than those found now. Point --data_root to "
            "the data that the run was started with."
        )
    return data


def heading(method: str, settings: Any, data: Experiment) -> str:
    """The heading of a picture; a run that has no results yet has one too."""
    names = ("dataset", "probe", "fidelity", "seed")
    values = settings.flat()
    known = {"method": method, **{name: values[name] for name in names}}
    return style.title_of(results.Run(Path(), {**known, "data": {"generated": data.generated}}))
