"""The source models, by the names that the papers and `--source` use, and their trained runs."""

from pathlib import Path
from typing import Any

from simmc.data.experiment.experiment import Experiment
from simmc.data.specs import skeleton_of
from simmc.engine.method import load
from simmc.errors import UserError
from simmc.methods import mgscr, sgela, smsge
from simmc.methods.pretext import Source, load_trained, pretext_settings
from simmc.models.source import SourceNetwork
from simmc.runs.directory import RunDirectory
from simmc.settings.groups import typed_folders

SOURCES: dict[str, Source] = {
    source.name: source for source in (sgela.AGE, sgela.SGELA, mgscr.SOURCE, smsge.SOURCE)
}


def source_run(settings: Any) -> RunDirectory:
    """The run of the source model that a head is trained on; UserError where there is none."""
    command, place = SOURCES[settings.source].command, settings.place
    if settings.encoder_run:
        path = Path(settings.encoder_run)
        if not path.is_dir():
            raise UserError(f"--encoder_run {path}: there is no such folder.")
        return RunDirectory(path)
    root = settings.training.model_root
    home = Path(root) / place.dataset / place.probe
    if not (home / f"latest_{command}").is_file():
        raise UserError(
            f"there is no run of {settings.source} in {home}. Train it first: python -m simmc "
            f"{command} --dataset {place.dataset} --probe {place.probe} --length "
            f"{place.length}{typed_folders(settings, 'data_root', 'model_root')}; or name a run "
            "with --encoder_run."
        )
    return RunDirectory.latest(root, place.dataset, place.probe, pointer=f"latest_{command}")


def source_settings(settings: Any) -> Any:
    """The settings that the source model was trained with."""
    source, run = SOURCES[settings.source], source_run(settings)
    return pretext_settings(source, run, settings.place.data_root, "--encoder_run")


def new_source(settings: Any) -> SourceNetwork:
    """The trained source network, on the CPU."""
    run, source = source_run(settings), SOURCES[settings.source]
    weights, skeleton = run.require(run.best), skeleton_of(settings.place.read_spec())
    return load_trained(source, source_settings(settings), skeleton, weights)[0]


def load_for_head(settings: Any) -> Experiment:
    """The experiment for a head, with joints as in the training of the source model."""
    trained, place = source_settings(settings), settings.place
    theirs, ours = trained.place.read_spec(), place.read_spec()
    if not skeleton_of(theirs).same_body(skeleton_of(ours)):
        raise UserError(
            f"--encoder_run {settings.encoder_run}: {settings.source} was trained on "
            f"{theirs.skeleton.name}, and {place.dataset} has {ours.skeleton.name}: other joints."
        )
    # no order is drawn here: that of an epoch is the switch's
    gallery = settings.with_gallery
    return load(settings, joints=trained.joints, shuffle=False, with_gallery=gallery)
