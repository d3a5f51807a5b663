"""`simmc descriptors`: score hand-crafted descriptors, one run folder each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import numpy as np

from simmc.cli.console import CLASSIFIED, CONSOLE, MATCHED, counted
from simmc.data.experiment.experiment import Experiment, Split
from simmc.data.specs import skeleton_of
from simmc.engine.method import LABEL_FREE, PAPER, load, with_stored_names
from simmc.errors import UserError
from simmc.evaluation.classification import Classification, evaluate_classes
from simmc.methods.descriptors import encoder, lacking
from simmc.runs.directory import RunDirectory
from simmc.runs.records import ProtocolResults, Results, described_data, new_results
from simmc.runs.runtime import Clock, Runtime, peak_rss_bytes, start
from simmc.scoring.classifiers import TITLES, class_scores
from simmc.scoring.classify import classification_record
from simmc.scoring.match import (
    Encoder,
    MatchRule,
    encode,
    keep_probes,
    match,
    retrieval_outcome,
    tensor_of,
)
from simmc.settings import groups
from simmc.settings.groups import COUNT
from simmc.settings.layers import Resolved, resolve
from simmc.settings.options import MACHINE, MAIN, Settings, option

ALL = "all"
NAMES = ("D13", "D16", "D_PG", "raw_flat", "raw_mean")
SUPERVISED = "supervised"
POINTER = "latest_descriptors"  # SimMC's own pointer is where --mode Eval looks
OUR_D_PG = "D_PG is our definition of PoseGait's 81 features: the published one is not known."
_UNSUPERVISED_NOTE = (
    "Nothing was learned and no label used: these are the numbers of both protocols."
)
_SUPERVISED_NOTE = (
    "SUPERVISED: the classifier was trained on identities. Compare these numbers with SGELA's\n"
    "Table 2 only, not with methods without labels. nAUC ROC is what SGELA's program\n"
    "computes, nAUC CMC what its paper defines."
)


@dataclass(frozen=True, kw_only=True)
class DescriptorSettings(Settings):
    """Which descriptor is scored, and how."""

    COMMAND: ClassVar[str] = "descriptors"
    SUMMARY: ClassVar[str] = (
        "Score hand-crafted descriptors by matching probe against gallery windows, without "
        "training or labels; or, with --classifier, by a classifier trained on identities."
    )

    place: groups.Place
    machine: groups.Machine
    common: groups.Common
    windows: groups.Windows
    joints: groups.Joints
    descriptor: str = option(
        ALL,
        "D13, D16, D_PG (our definition), raw_flat or raw_mean; or all, one run each.",
        choices=(ALL, *NAMES),
        group=MAIN,
    )
    classifier: str = option(
        "none",
        "Match windows (none), or train a classifier on the identities of the training windows.",
        choices=("none", "knn", "svm", "adaboost"),
        group=MAIN,
    )
    train_on: str = option(
        "train",
        "Training windows of a classifier: the training set, or the gallery as well (SGELA's split "
        "of KGBD and KS20).",
        choices=("train", "train_gallery"),
    )
    unit: str = option(
        "window",
        "Input of a classifier: windows, or single frames; the score of a window is then the mean "
        "over its frames (SGELA's average prediction).",
        choices=("window", "frame"),
    )
    scaling: str = option(
        "none",
        "Features of --classifier knn as they are, or divided by their standard deviation in "
        "training, as svm always does.",
        choices=("none", "deviation"),
    )
    neighbors: int = option(1, "Votes of --classifier knn.", limits=COUNT)
    depth: int = option(10, "Depth of the trees of --classifier adaboost.", limits=COUNT)
    model_root: str = option("ReID_Models", "Folder of the runs.", transient=True, group=MACHINE)
    save_flag: str = option("", "Suffix of the run's name.", group=MACHINE)

    @staticmethod
    def preset_names(values: Mapping[str, Any]) -> list[str]:
        """One preset a descriptor: the settings of its published rows."""
        return [values["descriptor"]]

    def check(self) -> None:
        """Coordinates of joints."""
        self.joints.require_coordinates(self.COMMAND)


def main(argv: list[str]) -> int:
    """Run the command."""
    settings = resolve(DescriptorSettings, argv).settings
    machine = settings.machine
    runtime = start(machine.device, machine.gpu or None, machine.threads)
    CONSOLE.notes(runtime.notes)
    names = possible(with_stored_names(settings))
    data, batches = None, ""
    for name in names:
        # each has a preset of its own: the settings of its published rows
        resolved = resolve(DescriptorSettings, [*argv, "--descriptor", name])
        s = with_stored_names(resolved.settings)
        if data is None or batches != s.windows.part_batches:
            data = load(s)
            batches = s.windows.part_batches
            CONSOLE.say(f"\n{circumstances(s)}")
            CONSOLE.data(data)
            refuse(s, data)
            columns = MATCHED if s.classifier == "none" else CLASSIFIED
            CONSOLE.say(line("", list(columns.values())))
        results, run = score(replace(resolved, settings=s), data, runtime)
        CONSOLE.say(summary(results, run))
    CONSOLE.say("")
    if "D_PG" in names:
        CONSOLE.say(OUR_D_PG)
    CONSOLE.say(_UNSUPERVISED_NOTE if settings.classifier == "none" else _SUPERVISED_NOTE)
    return 0


def possible(settings: DescriptorSettings) -> tuple[str, ...]:
    """The chosen descriptors; of all, those whose joints the skeleton has."""
    skeleton = skeleton_of(settings.place.read_spec())
    wanted = NAMES if settings.descriptor == ALL else (settings.descriptor,)
    lacks = {name: lack for name in wanted if (lack := lacking(name, skeleton))}
    if lacks and settings.descriptor != ALL:
        raise UserError(f"--descriptor {settings.descriptor}: {lacks[settings.descriptor]}")
    CONSOLE.notes([f"{name} is left out: {lack}" for name, lack in lacks.items()])
    return tuple(name for name in wanted if name not in lacks)


def circumstances(settings: DescriptorSettings) -> str:
    """The settings that the rows below share, in one line."""
    place, joints = settings.place, settings.joints
    parts = [place.dataset, f"probe {place.probe}", f"f = {place.length}", settings.common.fidelity]
    parts += [f"part batches: {settings.windows.part_batches}", f"root: {joints.root}"]
    if place.dataset == "KGBD":
        parts.append(f"joints: {joints.kgbd_order}")
    return ", ".join(parts)


def refuse(settings: DescriptorSettings, data: Experiment) -> None:
    """UserError where a classifier cannot know the probe's persons, or would learn its windows."""
    if settings.classifier == "none":
        return
    what = f"--classifier {settings.classifier} --train_on {settings.train_on}"
    data.require_identities(what, "leave --classifier out")
    if settings.train_on == "train_gallery" and (data.gallery.identity < 0).any():
        raise UserError(
            f"{what}: gallery windows with a label below 0 show no identity that could be "
            "learned; use --train_on train."
        )
    if not (data.probe.identity >= 0).any():
        raise UserError(f"{what}: every probe window has a label below 0, so there is no person.")
    if data.test_identities != data.identities:
        raise UserError(
            f"--classifier {settings.classifier}: the persons of probe {settings.place.probe} of "
            f"{settings.place.dataset} are not those of the training set, so no classifier knows "
            "them. Leave --classifier out to match windows instead."
        )
    if settings.train_on == "train_gallery" and data.same_windows:
        raise UserError(
            "--train_on train_gallery: probe and gallery are the same windows here, so the "
            "classifier would be tested on what it learned; use --train_on train."
        )


def score(
    resolved: Resolved[DescriptorSettings], data: Experiment, runtime: Runtime
) -> tuple[Results, RunDirectory]:
    """Score one descriptor and write its run."""
    settings = resolved.settings
    describe = encoder(settings.descriptor, data.skeleton)
    clock = Clock()
    results = new_results(title(settings), settings, data, runtime)
    outcomes = {}
    if settings.classifier == "none":
        with clock("evaluation"):
            rule = MatchRule(settings.windows.same_condition_map)
            found = match(describe, data, runtime, rule)
        outcomes = dict.fromkeys((PAPER, LABEL_FREE), retrieval_outcome(found, 0))
        results["protocols"] = {name: one.to_dict() for name, one in outcomes.items()}
    else:
        judged = classify(describe, settings, data, runtime, clock)
        results["protocols"] = {PAPER: None, LABEL_FREE: None}
        outcome = classification_record(judged) | {"cmc": judged.cmc(judged.n_classes).tolist()}
        results["protocols"][SUPERVISED] = cast(ProtocolResults, outcome)
    if settings.descriptor == "D_PG":
        results["note"] = OUR_D_PG
    results |= {"timing": clock.take(), "peak_rss_bytes": peak_rss_bytes()}
    where = (settings.model_root, settings.place.dataset, settings.place.probe)
    run = RunDirectory.create(*where, None, run_name(settings), pointer=POINTER)
    run.write_config(resolved.to_dict() | {"data": described_data(data)})
    keep_probes(run, outcomes, data)
    run.write_results(results)
    return results, run


def classify(
    describe: Encoder,
    settings: DescriptorSettings,
    data: Experiment,
    runtime: Runtime,
    clock: Clock,
) -> Classification:
    """Train a classifier on identities and score it on the probe windows."""
    learned = [data.train] + [data.gallery] * (settings.train_on == "train_gallery")
    each = settings.place.length if settings.unit == "frame" else 1  # rows of a window

    def features(split: Split) -> np.ndarray:
        windows = tensor_of(split, runtime.device)
        parts = windows.reshape(len(split) * each, windows.shape[1] // each, -1)
        return encode(describe, parts)[:, 0].cpu().numpy()

    with clock("features"):
        train, probe = np.concatenate([features(split) for split in learned]), features(data.probe)
        identity = np.concatenate([split.identity for split in learned])
    with clock("classifier"):
        scores = class_scores(
            settings.classifier,
            train,
            identity.repeat(each),
            probe,
            len(data.identities),
            neighbors=settings.neighbors,
            scaled=settings.scaling == "deviation",
            depth=settings.depth,
            seed=settings.common.seed,
            threads=runtime.threads,
        )
    with clock("evaluation"):
        scores = scores.reshape(len(data.probe), each, -1).mean(1)
        known = data.probe.identity >= 0
        return evaluate_classes(scores[known], data.probe.identity[known], learned=identity)


def title(settings: DescriptorSettings) -> str:
    """The method's name in results and tables: "D13", or "D13 + KNN" as SGELA writes it."""
    if settings.classifier == "none":
        return settings.descriptor
    return f"{settings.descriptor} + {TITLES[settings.classifier]}"


def run_name(settings: DescriptorSettings) -> str:
    """Name of the run's folder."""
    parts = [title(settings).replace(" ", ""), f"f{settings.place.length}"]
    parts += [settings.common.fidelity, f"seed{settings.common.seed}"]
    return "_".join([*parts, settings.save_flag] if settings.save_flag else parts)


def line(name: str, cells: Sequence[str], end: str = "") -> str:
    """A row of the printed table."""
    return f"{name:<22}" + "".join(f"{cell:>10}" for cell in cells) + (f"  {end}" if end else "")


def summary(results: Results, run: RunDirectory) -> str:
    """The printed row of a run."""
    found = results["protocols"].get(SUPERVISED)
    columns = MATCHED if found is None else CLASSIFIED
    figures: Mapping[str, Any] = found or results["protocols"][PAPER] or {}
    if figures.get("no_rates"):
        return line(results["method"], [], f"none: {figures['no_rates']}  {run.path}")
    cells = [f"{100 * figures[key]:.2f}" for key in columns]
    more = counted(figures, results["counts"]["probe"])
    return "\n  ".join([line(results["method"], cells, str(run.path)), *more])
