"""Settings of the source models: those that a run was trained with, and those published."""

from simmc.data.experiment.load import Experiment
from simmc.errors import UserError
from simmc.methods.sources import find_source
from simmc.runs.directory import RunDirectory
from simmc.settings import DataSettings, Resolved, SourceSettings, resolve


def pretext_settings(source: str, run: RunDirectory, data_root: str, flag: str) -> SourceSettings:
    """The settings of a run's pretext training; UserError where it trained something else.

    Args:
        source: name of the source model.
        run: its training.
        data_root: where the data are now: they may have been elsewhere, or another dataset's.
        flag: that names the run, for the message to the user.
    """
    kind, stored = find_source(source).settings, run.read_config()
    if stored.get("command") != kind.COMMAND:
        raise UserError(
            f"{run.path} is a run of simmc {stored.get('command')}, not of {source}. Name a run of "
            f"simmc {kind.COMMAND} with {flag}, or train one."
        )
    return resolve(kind, ["--data_root", data_root], stored=stored).settings


def published_settings(kind: type[SourceSettings], settings: DataSettings) -> SourceSettings:
    """The presets of a source model for the data of some settings."""
    where = ["--dataset", settings.dataset, "--probe", settings.probe]
    where += ["--length", str(settings.length), "--data_root", settings.data_root]
    return resolve(kind, where).settings


def budget(resolved: Resolved[SourceSettings], data: Experiment) -> list[str]:
    """What the small budget leaves out."""
    settings = resolved.settings
    if settings.budget == "full":
        return []
    full = published_settings(type(settings), settings).epochs
    if settings.epochs >= full:
        return []
    return [
        f"--budget cpu: {settings.epochs} epochs in place of the {full} that were published; the "
        "numbers below are those of a shorter training."
    ]
