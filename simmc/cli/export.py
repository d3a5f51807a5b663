"""`simmc export-features`: what a source model makes of the windows, for SimMC-UF."""

import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from simmc.cli import console
from simmc.cli.training import TWIN
from simmc.config import ExportSettings, SourceSettings, resolve
from simmc.config.finetune import SOURCES, UNLABELLED
from simmc.data import store
from simmc.data.foreign import read_foreign
from simmc.data.loaders import load_stored, skeleton_of, splits_of
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
        labels: why its features are not label-free, or "".
    """

    name: str
    settings: SourceSettings
    weights: Path
    labels: str


def main(argv: list[str]) -> int:
    """Run the command; UserError for whatever the user can mend."""
    settings = resolve(ExportSettings, argv).settings
    if settings.from_:
        return take_in(settings)
    runtime = start(settings.device, settings.gpu or None, settings.threads)
    console.notes(runtime.notes)
    run = RunDirectory.find(
        settings.model_root,
        settings.dataset,
        settings.probe,
        settings.run or None,
        pointer=f"latest_{SOURCES[settings.source]}",
    )
    for trained in trainings(settings, run):
        export(settings, trained, run, runtime)
    return 0


def trainings(settings: ExportSettings, run: RunDirectory) -> list[Trained]:
    """The trainings of a run that are asked for; UserError where one is not there."""
    source = find_source(settings.source)
    stored = run.read_config()
    if stored.get("command") != source.settings.COMMAND:
        raise UserError(
            f"{run.path} is a run of simmc {stored.get('command')}, not of {settings.source}. Name "
            f"a run of simmc {source.settings.COMMAND} with --run, or train one."
        )
    root = ["--data_root", settings.data_root]
    trained = resolve(source.settings, root, stored=stored).settings
    found = []
    if settings.protocol != "label_free" or not trained.uses_identities:
        labels = "identities chose the training windows" if trained.uses_identities else ""
        found.append(Trained(settings.name, trained, run.require(run.best), labels))
    twin = run.path / TWIN
    if settings.protocol != "paper" and trained.uses_identities:
        if twin.is_dir():
            weights = weights_path(RunDirectory(twin), TWIN)
            plain = trained.without_identities()
            found.append(Trained(settings.name + UNLABELLED, plain, weights, ""))
        elif settings.protocol == "label_free":
            raise UserError(
                f"{run.path} has no training without identities. Train again with "
                "--label_free_run on, or with --class_sampling off."
            )
    return found


def export(settings: ExportSettings, trained: Trained, run: RunDirectory, runtime: Runtime) -> None:
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
    root = Path(settings.data_root)
    for split in splits_of(files.spec, settings.probe):
        windows, stored = load_stored(
            root, files.spec, settings.length, split, kgbd_order=how.kgbd_order, root=how.root
        )
        if network is None:
            shape = skeleton_of(how.spec)
            network, epoch = load_trained(source, how, shape, trained.weights, runtime)
        blocks = features(network, windows, settings.kind, runtime)
        said[split] = files.write_split(split, stored, shown(blocks, split, len(stored)))
        console.say(f"{files.path(split)}  {len(stored):,} x {said[split]['shape']}")
    files.write_manifest(
        {
            "source": settings.source,
            "made_by": f"{settings.source} of {run.path.name}, epoch {epoch}",
            "weights_sha256": hashlib.sha256(trained.weights.read_bytes()).hexdigest(),
            "epoch": epoch,
            "labels": trained.labels,
            "settings": {k.rstrip("_"): v for k, v in vars(how).items()},
            "data": {"manifest_sha256": checksum(settings)},
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
