"""`simmc export-features`: what a source model makes of the windows, for SimMC-UF."""

import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from simmc.cli import console
from simmc.cli.run_folder import TWIN, learned_from
from simmc.cli.sources import pretext_settings
from simmc.cli.trained import weights_of
from simmc.config import ExportSettings, RecognitionSettings, SourceSettings, resolve
from simmc.config.finetune import SOURCES, UNLABELLED
from simmc.data import inputs, store
from simmc.data.foreign import read_foreign
from simmc.data.loaders import load_stored
from simmc.data.specs import skeleton_of, splits_of
from simmc.data.store import StoredSplit
from simmc.errors import UserError
from simmc.methods.loop import weights_path
from simmc.methods.sources import features, find_source, load_trained
from simmc.models.source import SourceNetwork
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import Runtime, start

BLOCK = 4096  # rows copied at a time


@dataclass(frozen=True)
class Trained:
    """A trained source model as its run keeps it.

    Attributes:
        name: of its feature files.
        settings: of its training.
        weights: the file of its weights.
        run: name of its run.
        labels: why its features are not label-free, or "".
        trained_on: sha256 of the manifest of the data that it learned from, None if not known.
    """

    name: str
    settings: SourceSettings
    weights: Path
    run: str
    labels: str
    trained_on: str | None


def main(argv: list[str]) -> int:
    """Run the command; UserError for whatever the user can mend."""
    settings = resolve(ExportSettings, argv).settings
    if settings.from_:
        return take_in(settings)
    runtime = start(settings.device, settings.gpu or None, settings.threads)
    console.notes(runtime.notes)
    for trained in trainings(settings):
        export(settings, trained, runtime)
    return 0


def trainings(settings: ExportSettings) -> list[Trained]:
    """The trainings that are asked for; UserError where there is none."""
    command = SOURCES[settings.source]
    further = f"latest_{settings.source}_DF"
    home = Path(settings.model_root) / settings.dataset / settings.probe
    tuned = settings.stage == "recognition" or (
        settings.stage == "auto"
        and settings.source == "MG-SCR"
        and not settings.run
        and (home / further).is_file()
    )
    run = RunDirectory.find(
        settings.model_root,
        settings.dataset,
        settings.probe,
        settings.run or None,
        pointer=further if tuned else f"latest_{command}",
    )
    if run.read_config().get("command") == RecognitionSettings.COMMAND:
        first, pretext = fine_tuned(settings, run)
        plain = [one for one in pretrained(settings, pretext) if not one.labels]
        found = [first, *(replace(one, name=settings.name + UNLABELLED) for one in plain)]
    else:
        found = pretrained(settings, run)
    wanted = {
        "all": found,
        "paper": found[:1],
        "label_free": [one for one in found if not one.labels],
    }[settings.protocol]
    if not wanted:
        raise UserError(
            f"{run.path} has no training without identities. Train {settings.source} again with "
            "--label_free_run on, or with --class_sampling off."
        )
    return wanted


def fine_tuned(settings: ExportSettings, run: RunDirectory) -> tuple[Trained, RunDirectory]:
    """The network of a recognition stage, and the run that it was built upon."""
    stage = resolve(
        RecognitionSettings, ["--data_root", settings.data_root], stored=run.read_config()
    ).settings
    if stage.train != "all" or stage.with_gallery or stage.source != settings.source:
        raise UserError(
            f"{run.path} did not train the whole network of {settings.source} on the training set "
            "alone. Name another run with --run, or make one with simmc recognition --score match "
            "--train all."
        )
    pretext = RunDirectory(Path(stage.encoder_run))
    how = pretext_settings(settings.source, pretext, settings.data_root, "--run")
    labels = "the network was trained on identities"
    weights, learned = run.require(weights_of(run)), learned_from(run)
    return Trained(settings.name, how, weights, run.path.name, labels, learned), pretext


def pretrained(settings: ExportSettings, run: RunDirectory) -> list[Trained]:
    """The pretext trainings of a run; where the first one used identities, its twin as well."""
    how = pretext_settings(settings.source, run, settings.data_root, "--run")
    if how.with_gallery:
        raise UserError(
            f"{run.path} learned the gallery's windows as well (--train_on train_gallery), so its "
            "features may not be matched against them. Name another run with --run, or train one "
            "with --train_on train."
        )
    labels = "identities chose the training windows" if how.uses_identities else ""
    weights, learned = run.require(run.best), learned_from(run)
    found = [Trained(settings.name, how, weights, run.path.name, labels, learned)]
    twin = run.path / TWIN
    if labels and twin.is_dir():
        weights, plain = weights_path(RunDirectory(twin), TWIN), how.without_identities()
        name = settings.name + UNLABELLED
        found.append(Trained(name, plain, weights, run.path.name, "", learned))
    return found


def export(settings: ExportSettings, trained: Trained, runtime: Runtime) -> None:
    """Write the features of all splits, then the manifest."""
    files = settings.files(trained.name)
    source, how = find_source(settings.source), trained.settings
    kinds = how.KINDS
    if settings.kind not in ("frames", *kinds):
        raise UserError(
            f"--kind {settings.kind}: {settings.source} has frames, {', '.join(kinds)}; choose one."
        )
    network: SourceNetwork | None = None
    epoch, said = -1, {}
    root, present = Path(settings.data_root), checksum(settings)
    if trained.trained_on not in (None, present):
        console.notes(
            [
                f"{trained.run} was trained on other data than those exported here: the checksums "
                "of their manifests differ"
            ]
        )
    for split in splits_of(files.spec, settings.probe):
        windows, stored = load_stored(
            root, files.spec, settings.length, split, kgbd_order=how.kgbd_order, root=how.root
        )
        shape = skeleton_of(how.spec)
        if network is None:
            network, epoch = load_trained(source, how, shape, trained.weights, runtime)
        if how.input == inputs.TURNED:
            windows = replace(windows, windows=inputs.turn(windows.windows, shape))
        blocks = features(network, windows, settings.kind, runtime)
        said[split] = files.write_split(split, stored, shown(blocks, split, len(stored)))
        console.say(f"{files.path(split)}  {len(stored):,} x {said[split]['shape']}")
    files.write_manifest(
        {
            "source": settings.source,
            "made_by": f"{settings.source} of {trained.run}, epoch {epoch}",
            "weights_sha256": hashlib.sha256(trained.weights.read_bytes()).hexdigest(),
            "epoch": epoch,
            "labels": trained.labels,
            "settings": {k.rstrip("_"): v for k, v in vars(how).items()},
            "data": {"manifest_sha256": present},
            "trained_on": {"manifest_sha256": trained.trained_on},
        },
        said,
    )
    console.say(f"{files.manifest}")


def take_in(settings: ExportSettings) -> int:
    """Check features that were made elsewhere against the windows, and write them as ours."""
    files, folder = settings.files(settings.name), Path(settings.from_)
    root, said = Path(settings.data_root), {}
    checked: list[tuple[str, StoredSplit, np.ndarray]] = []
    for split in splits_of(files.spec, settings.probe):
        stored = store.read_split(root, files.spec, settings.length, split)
        checked.append((split, stored, read_foreign(folder, files, split, stored)))
    widths = {features.shape[2] for _, _, features in checked}
    if len(widths) > 1:
        raise UserError(f"--from {folder}: features of {sorted(widths)} values; all need as many.")
    for split, stored, made in checked:
        blocks = (made[low : low + BLOCK] for low in range(0, len(made), BLOCK))
        said[split] = files.write_split(split, stored, shown(blocks, split, len(stored)))
        console.say(f"{files.path(split)}  {len(stored):,} x {said[split]['shape']}")
    labels = "identity labels may have had a part" if settings.labels == "used" else ""
    about = {"source": settings.source, "made_by": "made elsewhere", "labels": labels}
    files.write_manifest(about | {"data": {"manifest_sha256": checksum(settings)}}, said)
    console.say(f"{files.manifest}")
    return 0


def checksum(settings: ExportSettings) -> str | None:
    """The data's."""
    files = settings.files(settings.name)
    base = store.dataset_folder(Path(settings.data_root), files.spec, settings.length)
    return store.read_manifest(base)[1]


def shown(blocks: Iterable[np.ndarray], split: str, count: int) -> Iterator[np.ndarray]:
    """The blocks, with a bar of windows where a person looks on."""
    with tqdm(total=count, desc=split, file=sys.stderr, leave=False, disable=None) as bar:
        for block in blocks:
            yield block
            bar.update(len(block))
