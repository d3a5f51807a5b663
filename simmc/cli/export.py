"""`simmc export-features`: the features of a source model, for SimMC-UF."""

import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from tqdm import tqdm

from simmc.cli.console import CONSOLE
from simmc.data import store
from simmc.data.experiment import inputs
from simmc.data.experiment.load import load_stored
from simmc.data.features import FRAMES, FeatureFiles, SplitFeatures, read_imported
from simmc.data.manifest import read_manifest, spec_of
from simmc.data.specs import skeleton_of, splits_of
from simmc.data.store import StoredSplit
from simmc.engine.method import LABEL_FREE, with_stored_names
from simmc.engine.stored_run import learned_from, weights_of
from simmc.engine.training import weights_path
from simmc.errors import UserError
from simmc.methods.pretext import features, load_trained, pretext_settings
from simmc.methods.recognition import RecognitionSettings
from simmc.methods.registry import METHODS
from simmc.methods.simmc_uf import UNLABELLED, feature_name
from simmc.methods.sources import SOURCES
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import Runtime, start
from simmc.settings import groups, resolve
from simmc.settings.options import MACHINE, MAIN, Settings, option

BLOCK = 4096  # rows copied at a time
KINDS = (FRAMES, "mean", "sc", "last", "lstm", "prefix")


@dataclass(frozen=True, kw_only=True)
class ExportSettings(Settings):
    """Which features are written, and where."""

    GROUP: ClassVar[str] = MAIN

    COMMAND: ClassVar[str] = "export-features"
    SUMMARY: ClassVar[str] = (
        "Write the features that a trained source model gives the windows of a dataset, for "
        "SimMC-UF.py; or import features made elsewhere (--from)."
    )

    place: groups.Place
    machine: groups.Machine
    source: str = option(
        "SM-SGE", "Source model: SM-SGE, MG-SCR, SGELA or AGE.", choices=tuple(SOURCES)
    )
    kind: str = option(
        FRAMES,
        "frames (what SimMC-UF learns from), or a pooled feature: mean, sc, last, lstm, prefix.",
        choices=KINDS,
    )
    stage: str = option(
        "auto",
        "Weights of the pretext training, or of a recognition stage that trained the whole network "
        "(simmc recognition --score match --train all). auto: the latter for MG-SCR, if it exists.",
        choices=("auto", "pretext", "recognition"),
    )
    protocol: str = option(
        "all",
        "Which trainings: the first (paper), the one without any label (label_free), or all.",
        choices=("all", "paper", "label_free"),
    )
    name: str = option("", "Name of the files; default: the source's. SimMC-UF.py has --features.")
    from_: str = option(
        "",
        "Folder of features made elsewhere, in the layout of the preprocessed sets, with the "
        "frame_id or ids file of each split.",
    )
    labels: str = option(
        "used",
        "With --from: whether identity labels were used to make them: used or none.",
        choices=("used", "none"),
    )
    features_root: str = option(
        "", "Folder that the features go to; default: --data_root.", group=MACHINE
    )
    model_root: str = option("ReID_Models", "Folder of the runs.", group=MACHINE)
    run: str = option("", "Name of the run; default: the source's newest.", group=MACHINE)

    def check(self) -> None:
        """A valid name for the files."""
        object.__setattr__(self, "name", self.name or feature_name(self.source, self.place.probe))
        if not self.name.replace("-", "").replace(".", "").replace("_", "").isalnum():
            raise UserError(f"--name {self.name!r}: use letters, digits, '-', '_' and '.'.")

    def files(self, name: str) -> FeatureFiles:
        """The files of features with a name."""
        place = self.place
        spec = spec_of(Path(place.data_root), place.dataset, place.length, place.probe)
        root = Path(self.features_root or place.data_root)
        return FeatureFiles(root, spec, place.length, name, self.kind)


@dataclass(frozen=True)
class Trained:
    """A trained source model."""

    name: str  # of its feature files
    settings: Any
    weights: Path
    run: str  # name of its run
    labels: str  # why its features are not label-free, or ""
    trained_on: str | None  # SHA-256 of the manifest of its training data, if known


def main(argv: list[str]) -> int:
    """Run the command."""
    settings = with_stored_names(resolve(ExportSettings, argv).settings)
    if settings.from_:
        return import_features(settings)
    machine = settings.machine
    runtime = start(machine.device, machine.gpu or None, machine.threads)
    CONSOLE.notes(runtime.notes)
    for trained in trainings(settings):
        export(settings, trained, runtime)
    return 0


def trainings(settings: ExportSettings) -> list[Trained]:
    """The trainings to export; UserError where there is none."""
    place, tuned = settings.place, f"latest_{settings.source}_DF"
    home = Path(settings.model_root) / place.dataset / place.probe
    pointer = f"latest_{SOURCES[settings.source].command}"
    auto = settings.stage == "auto" and settings.source == "MG-SCR" and not settings.run
    if settings.stage == "recognition" or (auto and (home / tuned).is_file()):
        pointer = tuned
    where = (settings.model_root, place.dataset, place.probe, settings.run or None)
    run = RunDirectory.find(*where, pointer=pointer)
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
    """The network of a recognition stage, and the run of its pretext training."""
    stage = resolve(
        RecognitionSettings, ["--data_root", settings.place.data_root], stored=run.read_config()
    ).settings
    if stage.train != "all" or stage.with_gallery or stage.source != settings.source:
        raise UserError(
            f"{run.path} did not train the whole network of {settings.source} on the training set "
            "alone. Give another run with --run, or make one with simmc recognition --score match "
            "--train all."
        )
    source, pretext = SOURCES[settings.source], RunDirectory(Path(stage.encoder_run))
    how = pretext_settings(source, pretext, settings.place.data_root, "--run")
    labels = "the network was trained on identities"
    weights, learned = run.require(weights_of(run)), learned_from(run)
    return Trained(settings.name, how, weights, run.path.name, labels, learned), pretext


def pretrained(settings: ExportSettings, run: RunDirectory) -> list[Trained]:
    """The pretext training of a run, and its label-free run where it has one."""
    source = SOURCES[settings.source]
    how = pretext_settings(source, run, settings.place.data_root, "--run")
    if how.pretext.with_gallery:
        raise UserError(
            f"{run.path} learned the gallery's windows as well (--train_on train_gallery), so its "
            "features may not be matched against them. Give another run with --run, or train one "
            "with --train_on train."
        )
    plain = METHODS[source.command].label_free(how)
    labels = "" if plain == how else "identities chose the training windows"
    weights, learned = run.require(run.best), learned_from(run)
    found = [Trained(settings.name, how, weights, run.path.name, labels, learned)]
    inner = run.path / LABEL_FREE
    if labels and inner.is_dir():
        weights = weights_path(RunDirectory(inner), LABEL_FREE)
        name = settings.name + UNLABELLED
        found.append(Trained(name, plain, weights, run.path.name, "", learned))
    return found


def export(settings: ExportSettings, trained: Trained, runtime: Runtime) -> None:
    """Write the features of all splits, then the manifest."""
    files = settings.files(trained.name)
    source, how, place = SOURCES[settings.source], trained.settings, settings.place
    kinds = source.kinds
    if settings.kind not in ("frames", *kinds):
        raise UserError(
            f"--kind {settings.kind}: {settings.source} has frames, {', '.join(kinds)}; choose one."
        )
    root, present = Path(settings.place.data_root), checksum(settings)
    if trained.trained_on not in (None, present):
        CONSOLE.note(
            f"{trained.run} was trained on other data than those exported here: the checksums of "
            "their manifests differ"
        )
    skeleton, written = skeleton_of(how.place.read_spec()), {}
    network, epoch = load_trained(source, how, skeleton, trained.weights)
    network.to(runtime.device)
    joints = {"kgbd_order": how.joints.kgbd_order, "root": how.joints.root}
    for split in splits_of(files.spec, settings.place.probe):
        windows, stored = load_stored(root, files.spec, place.length, split, **joints)
        seen = inputs.coordinates(windows.windows, skeleton, how.joints.input)
        windows = replace(windows, windows=seen)
        blocks = features(network, windows, settings.kind, runtime)
        written[split] = write_split(files, split, stored, blocks)
    files.write_manifest(
        {
            "source": settings.source,
            "made_by": f"{settings.source} of {trained.run}, epoch {epoch}",
            "weights_sha256": hashlib.sha256(trained.weights.read_bytes()).hexdigest(),
            "epoch": epoch,
            "labels": trained.labels,
            "settings": {k.rstrip("_"): v for k, v in how.flat().items()},
            "data": {"manifest_sha256": present},
            "trained_on": {"manifest_sha256": trained.trained_on},
        },
        written,
    )
    CONSOLE.say(f"{files.manifest}")


def import_features(settings: ExportSettings) -> int:
    """Check features made elsewhere against the windows, and write them as ours."""
    files, folder = settings.files(settings.name), Path(settings.from_)
    root, written = Path(settings.place.data_root), {}
    checked: list[tuple[str, StoredSplit, np.ndarray]] = []
    for split in splits_of(files.spec, settings.place.probe):
        stored = store.read_split(root, files.spec, settings.place.length, split)
        checked.append((split, stored, read_imported(folder, files, split, stored)))
    widths = {features.shape[2] for _, _, features in checked}
    if len(widths) > 1:
        raise UserError(
            f"--from {folder}: features of {sorted(widths)} values; all splits need as many."
        )
    for split, stored, made in checked:
        blocks = (made[low : low + BLOCK] for low in range(0, len(made), BLOCK))
        written[split] = write_split(files, split, stored, blocks)
    labels = "identity labels may have been used" if settings.labels == "used" else ""
    about = {"source": settings.source, "made_by": "made elsewhere", "labels": labels}
    files.write_manifest(about | {"data": {"manifest_sha256": checksum(settings)}}, written)
    CONSOLE.say(f"{files.manifest}")
    return 0


def checksum(settings: ExportSettings) -> str | None:
    """SHA-256 of the manifest of the data."""
    files = settings.files(settings.name)
    root = Path(settings.place.data_root)
    base = store.dataset_folder(root, files.spec, settings.place.length)
    return read_manifest(base)[1]


def write_split(
    files: FeatureFiles, split: str, stored: StoredSplit, blocks: Iterable[np.ndarray]
) -> SplitFeatures:
    """Write the features of a split, with a progress bar on a terminal; its manifest entry."""
    bar = tqdm(total=len(stored), desc=split, file=sys.stderr, leave=False, disable=None)

    def counted() -> Iterator[np.ndarray]:
        for block in blocks:
            yield block
            bar.update(len(block))

    with bar:
        entry = files.write_split(split, stored, counted())
    CONSOLE.say(f"{files.path(split)}  {len(stored):,} x {entry['shape']}")
    return entry
