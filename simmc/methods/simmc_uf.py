"""SimMC-UF: SimMC, unchanged, on the frame features of a source model (SimMC section 3.4).

What stands in place of a window's f frames of coordinates is the f features that the source model
gave them; masks, clusters, losses and scoring are SimMC's.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from simmc.data.experiment.experiment import Experiment
from simmc.data.experiment.inputs import body_lengths, standardised
from simmc.data.features import FeatureFiles
from simmc.data.manifest import spec_of
from simmc.engine.method import Method, load_joints, version_of_choice, without_class_balance
from simmc.engine.training import Model
from simmc.methods import simmc
from simmc.methods.sources import SOURCES
from simmc.models.simmc import training_flops
from simmc.scoring.match import MatchRule, Outcome, retrieval_outcome, retrieval_record
from simmc.settings import groups
from simmc.settings.groups import typed_folders
from simmc.settings.layers import Resolved
from simmc.settings.options import MACHINE, MAIN, Settings, group_of, option

UNLABELLED = "-label_free"  # ends the name of features in which no label has a part


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(Settings):
    """Whose features SimMC learns from, and everything that SimMC takes but the joints."""

    COMMAND: ClassVar[str] = "finetune"
    PRESETS: ClassVar[str] = "simmc"  # the public README gives SimMC's own
    SUMMARY: ClassVar[str] = (
        "SimMC-UF: train SimMC on the frame features of a source model and score it beside them, "
        "or score a trained run (--mode Eval)."
    )
    WITHOUT_PRESET: ClassVar = groups.AUTO

    place: groups.Place
    machine: groups.Machine
    common: groups.Common
    windows: groups.Windows
    training: groups.Training
    stopping: groups.Stopping
    clustering: groups.Clustering = group_of(**groups.AUTO_CLUSTERING)
    labels: groups.LabelFree
    rematch: groups.Rematch
    recipe: simmc.Recipe
    source: str = option(
        "SM-SGE", "Source model: SM-SGE, MG-SCR, SGELA or AGE.", choices=tuple(SOURCES), group=MAIN
    )
    features: str = option(
        "",
        "Name of the feature files (simmc export-features --name); default: the source model's.",
        group=MAIN,
    )
    standardise: str = option(
        "off",
        "Features as they are, or shifted and scaled to mean 0 and deviation 1 in training.",
        choices=("off", "on"),
    )
    features_root: str = option(
        "", "Folder of the exported features; default: --data_root.", group=MACHINE
    )

    preset_names = staticmethod(groups.presets_of_probe)

    def check(self) -> None:
        """Frames have to be left; the features have a name."""
        self.recipe.require_frames(self.place.length)
        name = self.features or feature_name(self.source, self.place.probe)
        object.__setattr__(self, "features", name)


def feature_name(source: str, probe: str) -> str:
    """Name of a source's features: a pair of KS20 views has a source model of its own."""
    return f"{source}-{probe}" if "." in probe and probe[0].isdecimal() else source


def files_of(settings: FinetuneSettings) -> FeatureFiles:
    """Where the features lie."""
    place = settings.place
    spec = spec_of(Path(place.data_root), place.dataset, place.length, place.probe)
    root = Path(settings.features_root or place.data_root)
    return FeatureFiles(root, spec, place.length, settings.features, remedy=remedy(settings))


def remedy(settings: FinetuneSettings) -> str:
    """The commands that make the features, where these settings look for them."""
    place = settings.place
    where = f"--dataset {place.dataset} --probe {place.probe} --length {place.length}"
    where += typed_folders(settings, "data_root", "model_root")
    command = SOURCES[settings.source].command
    return (
        f"make them with: python -m simmc {command} {where}, and then: python -m "
        f"simmc export-features --source {settings.source} {where}"
        f"{typed_folders(settings, 'features_root')}"
    )


def manifest_of(settings: FinetuneSettings) -> dict[str, Any]:
    """The manifest of the features, read from disk."""
    return files_of(settings).read_manifest()


def load(settings: FinetuneSettings) -> Experiment:
    """The experiment with features in place of windows."""
    files, about, joints = files_of(settings), manifest_of(settings), groups.Joints.of()
    data = load_joints(
        settings,
        joints=joints,
        features=lambda split, stored: files.read_split(split, stored, about),
    )
    if settings.stopping.best_by == "body":
        coordinates = load_joints(settings, joints=joints)
        lengths = body_lengths(coordinates.train.windows, coordinates.skeleton)
        data = replace(data, body=lengths)
    return standardised(data) if settings.standardise == "on" else data


def label_free(settings: FinetuneSettings) -> FinetuneSettings | None:
    """No class sampling, and features in which no label has a part; None where there are none."""
    plain = without_class_balance(settings)
    if not manifest_of(settings)["labels"]:
        return plain
    plain = plain.but(features=settings.features + UNLABELLED)
    return plain if files_of(plain).manifest.is_file() else None


def remarks(resolved: Resolved[FinetuneSettings], data: Experiment) -> list[str]:
    """Whose features they are, and what stands in the way of label-free numbers."""
    settings = resolved.settings
    about = manifest_of(settings)
    found = [f"features: {settings.features}, {about['made_by']}"]
    if label_free(settings) is None:
        found.append(
            f"no label-free numbers: {about['labels']}, and there are no features "
            f"{settings.features + UNLABELLED} (simmc export-features --protocol "
            "label_free makes them where the source model has such a training)"
        )
    return found


def title(settings: FinetuneSettings) -> str:
    """The row's name in the paper's tables."""
    return f"{settings.source} + SimMC"


def model_size(settings: FinetuneSettings) -> str:
    """Parameters and operations of the source model and of SimMC on its features."""
    place, s = settings.place, settings.recipe
    source, skeleton = SOURCES[settings.source], place.read_spec().skeleton
    width, parameters, flops = source.size(skeleton, place.dataset)
    own = width * s.H + (s.D - 1) * s.H**2 + s.D * s.H + 2 * (s.H**2 + s.H)
    batch = settings.windows.batch_size
    own_flops = training_flops(width, s.H, s.D, views=2, batch=batch, length=place.length)
    return (
        f"{title(settings)} on {place.dataset}: {parameters + own:,} parameters "
        f"({(parameters + own) / 1e6:.2f}M: {settings.source} {parameters:,}, SimMC on {width} "
        f"values a frame {own:,}); {(flops + own_flops) / 1e9:.2f} GFLOP as the papers count"
    )


def outcome(model: Model[FinetuneSettings], rule: MatchRule) -> Outcome:
    """SimMC's numbers, and the row of the source model alone: means of its features over frames."""
    found, alone = (
        one.match(simmc.SimMC.encoder, rule) for one in (model, replace(model, network=None))
    )
    kinds = {model.settings.source: retrieval_record(alone)}
    return retrieval_outcome(found, more={"kinds": kinds})


METHOD = Method(
    FinetuneSettings,
    "SimMC-UF: train SimMC on the features of a source model",
    title=title,
    load=load,
    training=simmc.SimMC,
    size=model_size,
    label_free=label_free,
    recipe=lambda settings: f"finetune_{settings.features}",
    baseline=lambda settings: settings.recipe.encoder == "none",
    remarks=remarks,
    shape_flags=simmc.METHOD.shape_flags,
    outcome=outcome,
    version=2,
    since=version_of_choice,
)
