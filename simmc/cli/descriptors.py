"""`simmc descriptors`: score hand-crafted descriptors, one run folder each."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from simmc.cli import console
from simmc.cli.run_folder import (
    PROTOCOLS,
    described_data,
    keep_probes,
    new_results,
    take_retrievals,
)
from simmc.cli.training import CMC_RANKS, load
from simmc.config import DescriptorSettings, Resolved, resolve
from simmc.config.descriptors import ALL, NAMES
from simmc.data.loaders import Experiment, Split
from simmc.data.specs import skeleton_of
from simmc.errors import UserError
from simmc.evaluation.classification import Classification, evaluate_classes
from simmc.methods.classifiers import TITLES, class_scores
from simmc.methods.descriptors import encoder, lacking
from simmc.methods.matching import Encoder, encode, match, retrieval_outcome, tensor_of
from simmc.runs.clock import Clock
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import Runtime, peak_rss_bytes, start

SUPERVISED = "supervised"
POINTER = "latest_descriptors"  # SimMC's own pointer is where --mode Eval looks
OUR_D_PG = "D_PG is our definition of PoseGait's 81 features: the published one is not known."
_UNSUPERVISED_NOTE = (
    "Nothing was learned and no label used: these are the numbers of both protocols."
)
_SUPERVISED_NOTE = (
    "SUPERVISED: the classifier learned the identities of its windows. Hold these numbers against\n"
    "SGELA's Table 2 only, never against methods without labels. nAUC ROC is what SGELA's program\n"
    "computes, nAUC CMC what its paper defines."
)


def main(argv: list[str]) -> int:
    """Run the command; UserError for whatever the user can mend."""
    settings = resolve(DescriptorSettings, argv).settings
    runtime = start(settings.device, settings.gpu or None, settings.threads)
    console.notes(runtime.notes)
    names = possible(settings)
    data, batches = None, ""
    for name in names:
        # each has a preset of its own, which says on what its published rows were scored
        resolved = resolve(DescriptorSettings, [*argv, "--descriptor", name])
        if data is None or batches != resolved.settings.part_batches:
            data, batches = load(resolved.settings), resolved.settings.part_batches
            console.say(f"\n{circumstances(resolved.settings)}")
            console.data_summary(data)
            refuse(resolved.settings, data)
            columns = console.MATCHED if settings.classifier == "none" else console.CLASSIFIED
            console.say(line("", list(columns.values())))
        results, run = score(resolved, data, runtime)
        console.say(summary(results, run))
    console.say("")
    if "D_PG" in names:
        console.say(OUR_D_PG)
    console.say(_UNSUPERVISED_NOTE if settings.classifier == "none" else _SUPERVISED_NOTE)
    return 0


def possible(settings: DescriptorSettings) -> tuple[str, ...]:
    """The descriptors that are asked for; of all, those that the skeleton has the joints for."""
    skeleton = skeleton_of(settings.spec)
    wanted = NAMES if settings.descriptor == ALL else (settings.descriptor,)
    lacks = {name: lack for name in wanted if (lack := lacking(name, skeleton))}
    if lacks and settings.descriptor != ALL:
        raise UserError(f"--descriptor {settings.descriptor}: {lacks[settings.descriptor]}")
    console.notes([f"{name} is left out: {lack}" for name, lack in lacks.items()])
    return tuple(name for name in wanted if name not in lacks)


def circumstances(settings: DescriptorSettings) -> str:
    """What the rows below share, in one line."""
    parts = [settings.dataset, f"probe {settings.probe}", f"f = {settings.length}"]
    parts += [settings.fidelity, f"part batches: {settings.part_batches}", f"root: {settings.root}"]
    if settings.dataset == "KGBD":
        parts.append(f"joints: {settings.kgbd_order}")
    return ", ".join(parts)


def refuse(settings: DescriptorSettings, data: Experiment) -> None:
    """UserError where a classifier cannot know the probe's persons, or has seen its windows."""
    if settings.classifier == "none":
        return
    what = f"--classifier {settings.classifier} --train_on {settings.train_on}"
    data.require_labels(what, "leave --classifier out")
    if settings.train_on == "train_gallery" and (data.gallery.identity < 0).any():
        raise UserError(
            f"{what}: gallery windows with a label below 0 show no identity that could be "
            "learned; use --train_on train."
        )
    if not (data.probe.identity >= 0).any():
        raise UserError(f"{what}: every probe window has a label below 0: there is nobody to name.")
    if data.test_identities != data.identities:
        raise UserError(
            f"--classifier {settings.classifier}: the persons of probe {settings.probe} of "
            f"{settings.dataset} are not those of the training set, so no classifier can name "
            "them. Leave --classifier out to match windows instead."
        )
    if settings.train_on == "train_gallery" and data.same_windows:
        raise UserError(
            "--train_on train_gallery: probe and gallery are the same windows here, so the "
            "classifier would be tested on what it learned; use --train_on train."
        )


def score(
    resolved: Resolved[DescriptorSettings], data: Experiment, runtime: Runtime
) -> tuple[dict[str, Any], RunDirectory]:
    """Score one descriptor and write its run."""
    settings = resolved.settings
    describe = encoder(settings.descriptor, data.skeleton)
    clock = Clock()
    results = new_results(title(settings), settings, data, runtime)
    if settings.classifier == "none":
        with clock("evaluation"):
            found = match(describe, data, runtime, same_condition=settings.same_condition_map)
        outcome = retrieval_outcome(found, 0, CMC_RANKS)
        results["protocols"] = dict.fromkeys(PROTOCOLS, outcome)
    else:
        judged = classify(describe, settings, data, runtime, clock)
        results["protocols"][SUPERVISED] = {
            **{f"top{k}": judged.top(k) for k in (1, 5, 10)},
            **{"nauc_roc": judged.nauc_roc, "nauc_cmc": judged.nauc_cmc},
            "cmc": judged.cmc(judged.n_classes).tolist(),
            **{"probes": judged.probes, "unmatched": judged.unmatched},
        }
    if settings.descriptor == "D_PG":
        results["note"] = OUR_D_PG
    results |= {"timing": clock.take(), "peak_rss_bytes": peak_rss_bytes()}
    run = RunDirectory.create(
        settings.model_root,
        settings.dataset,
        settings.probe,
        None,
        run_name(settings),
        pointer=POINTER,
    )
    run.write_config(resolved.to_dict() | {"data": described_data(data)})
    keep_probes(run, take_retrievals(results), data)
    run.write_results(results)
    return results, run


def classify(
    describe: Encoder,
    settings: DescriptorSettings,
    data: Experiment,
    runtime: Runtime,
    clock: Clock,
) -> Classification:
    """Train a classifier on identities and judge it on the probe windows."""
    learned = [data.train] + [data.gallery] * (settings.train_on == "train_gallery")
    each = settings.length if settings.unit == "frame" else 1  # rows that a window is cut into

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
            seed=settings.seed,
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
    parts = [title(settings).replace(" ", ""), f"f{settings.length}", settings.fidelity]
    return "_".join(
        [*parts, f"seed{settings.seed}"] + [settings.save_flag] * bool(settings.save_flag)
    )


def line(name: str, cells: Sequence[str], end: str = "") -> str:
    """A row of the printed table."""
    return f"{name:<22}" + "".join(f"{cell:>10}" for cell in cells) + (f"  {end}" if end else "")


def summary(results: dict[str, Any], run: RunDirectory) -> str:
    """The printed row of a run."""
    found = results["protocols"].get(SUPERVISED)
    columns = console.MATCHED if found is None else console.CLASSIFIED
    figures = found or results["protocols"]["paper"]
    if figures.get("no_rates"):
        return line(results["method"], [], f"none: {figures['no_rates']}  {run.path}")
    said = console.counted(figures, results["counts"]["probe"])
    cells = [f"{100 * figures[key]:.2f}" for key in columns]
    return "\n  ".join([line(results["method"], cells, str(run.path)), *said])
