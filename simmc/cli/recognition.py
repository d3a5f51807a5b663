"""`simmc recognition`: identities learned on a source model; classification, and "+ DF"."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from simmc.cli import console, training
from simmc.cli.run_folder import other_data
from simmc.cli.sources import pretext_settings, published_settings
from simmc.config import RecognitionSettings, Resolved, SourceSettings, resolve
from simmc.config.finetune import SOURCES
from simmc.config.recognition import MATCH
from simmc.data.loaders import Experiment
from simmc.data.specs import skeleton_of
from simmc.errors import UserError
from simmc.methods import recognition as method
from simmc.methods.sources import find_source, load_trained
from simmc.models.encoder import count_parameters
from simmc.models.source import SourceNetwork
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import Runtime
from simmc.runs.seeds import Seeds

EXPLAINED = console.EXPLAINED | {
    "supervised": "supervised protocol: the epoch with the best test Rank-1, as published (it has "
    "seen the test)",
}


def main(argv: list[str]) -> int:
    """Run the command; UserError for whatever the user can mend."""
    asked = resolve(RecognitionSettings, argv).settings
    if asked.mode == "Eval" or asked.resume:
        run = RunDirectory.find(
            asked.model_root,
            asked.dataset,
            asked.probe,
            asked.run or None,
            pointer=training.pointer(asked),
        )
        asked = resolve(RecognitionSettings, argv, stored=run.read_config()).settings
    elif not asked.encoder_run and not asked.model_size:
        # written down now, so that a newer run of the source does not take its place later
        argv = [*argv, "--encoder_run", str(source_run(asked).path)]
    return training.main(MATCHING if asked.score == MATCH else CLASSIFYING, argv)


def source_run(settings: RecognitionSettings) -> RunDirectory:
    """The run of the source model; UserError with the command that makes one."""
    command = SOURCES[settings.source]
    if settings.encoder_run:
        path = Path(settings.encoder_run)
        if not path.is_dir():
            raise UserError(f"--encoder_run {path}: there is no such folder.")
        return RunDirectory(path)
    home = Path(settings.model_root) / settings.dataset / settings.probe
    if not (home / f"latest_{command}").is_file():
        raise UserError(
            f"there is no run of {settings.source} in {home}. Train it first: python -m simmc "
            f"{command} --dataset {settings.dataset} --probe {settings.probe} --length "
            f"{settings.length}{settings.typed_folders('data_root', 'model_root')}; or name a run "
            "with --encoder_run."
        )
    return RunDirectory.latest(
        settings.model_root, settings.dataset, settings.probe, pointer=f"latest_{command}"
    )


def source_settings(settings: RecognitionSettings) -> SourceSettings:
    """The settings that the source model was trained with."""
    run = source_run(settings)
    return pretext_settings(settings.source, run, settings.data_root, "--encoder_run")


def load(settings: RecognitionSettings) -> Experiment:
    """The experiment, with joints as the source model read them."""
    trained = source_settings(settings)
    if not skeleton_of(trained.spec).same_body(skeleton_of(settings.spec)):
        raise UserError(
            f"--encoder_run {settings.encoder_run}: {settings.source} was trained on "
            f"{trained.spec.skeleton.name}, and {settings.dataset} has "
            f"{settings.spec.skeleton.name}: other joints."
        )
    seen = {name: getattr(trained, name) for name in ("kgbd_order", "root", "input")}
    return training.load(replace(settings, **seen))


def new_source(settings: RecognitionSettings, runtime: Runtime) -> SourceNetwork:
    """The trained source network."""
    run, source = source_run(settings), find_source(settings.source)
    weights, skeleton = run.require(run.best), skeleton_of(settings.spec)
    return load_trained(source, source_settings(settings), skeleton, weights, runtime)[0]


def begin(
    settings: RecognitionSettings,
    data: Experiment,
    seeds: Seeds,
    runtime: Runtime,
    protocols: tuple[str, ...],
) -> method.Recognition:
    """The training of the stage."""
    source = new_source(settings, runtime)
    return method.Recognition(settings, data, seeds, runtime, protocols, source)


def score(
    path: Path,
    settings: RecognitionSettings,
    data: Experiment,
    runtime: Runtime,
    ranks: int,
    **how: Any,
) -> dict[str, Any]:
    """Figures, epoch and CMC curve of the weights in a file."""
    source = new_source(settings, runtime)
    return method.score(path, settings, data, runtime, ranks, source, **how)


def title(settings: RecognitionSettings) -> str:
    """The row's name in the papers' tables."""
    if settings.score != MATCH:
        return f"{settings.source} (recognition)"
    return "MG-SCR" if settings.source == "MG-SCR" else f"{settings.source} + DF"


def model_size(settings: RecognitionSettings) -> str:
    """Parameters of what learns, and of the source model; the head grows with the identities."""
    source, skeleton = find_source(settings.source), skeleton_of(settings.spec)
    known = bool(settings.encoder_run)
    trained = source_settings(settings) if known else published_settings(source.settings, settings)
    network = source.new_network(trained, skeleton, torch.Generator())
    below = count_parameters(network)
    windows = torch.zeros(1, settings.length, 3 * skeleton.n_joints)
    one, two = (
        count_parameters(method.new_network(settings, network, windows, classes, torch.Generator()))
        for classes in (1, 2)
    )
    each = two - one
    role = "which stay as they are" if settings.train == "head" else "which are among them"
    return (
        f"{title(settings)} on {settings.dataset}: {one - each:,} parameters "
        f"({(one - each) / 1e6:.2f}M) learn, and {each:,} more for each training identity; "
        f"{settings.source} itself has {below:,}, {role}"
    )


def remarks(resolved: Resolved[RecognitionSettings], data: Experiment) -> list[str]:
    """Whether the source model learned from other data than the head does."""
    run = source_run(resolved.settings)
    if not other_data(run, data.checksum):
        return []
    return [
        f"source model: {run.path} was trained on other data than these (the checksums of their "
        "manifests differ); it may have learned from windows that are probes here"
    ]


_LABELS = "a head was trained on the identity labels of the training windows."
CLASSIFYING = training.Method(
    title,
    RecognitionSettings,
    begin,
    score,
    model_size,
    protocols=method.CLASSIFIED,
    labels=_LABELS,
    load=load,
    explained=EXPLAINED,
    remarks=remarks,
)
MATCHING = replace(CLASSIFYING, protocols=method.MATCHED)
