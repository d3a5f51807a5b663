"""What the commands of all trained methods do: train, continue a run, or score a trained one."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from simmc.cli import console
from simmc.cli.run_folder import (
    PROTOCOLS,
    TWIN,
    as_stored,
    continued,
    default_name,
    described_data,
    home_of,
    keep_probes,
    learned_from,
    new_results,
    other_data,
    pointer,
    refuse_changes,
    refuse_other_data,
    take_retrievals,
)
from simmc.clustering import Executor
from simmc.clustering.on_ray import RayExecutor
from simmc.config import (
    MATCHING_NAMES,
    ClusteredSettings,
    DataSettings,
    EpochSettings,
    Resolved,
    TrainingSettings,
    UnlabelledSettings,
    options_of,
    resolve,
)
from simmc.data.inputs import described, is_measured
from simmc.data.loaders import Experiment, load_experiment
from simmc.data.roles import Features
from simmc.data.stress import by_identity
from simmc.errors import UserError
from simmc.evaluation.ranking import Retrieval
from simmc.methods.epochs import EpochTraining
from simmc.methods.loop import train, weights_path
from simmc.methods.matching import Matched, unscored
from simmc.methods.rematching import check_matching, rematched
from simmc.runs import atomic, checkpoints, seeds
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import Runtime, peak_rss_bytes, start

CMC_RANKS = 50
SUPERVISED = "supervised"  # protocol of what classifies, and needs no gallery


@dataclass(frozen=True)
class Method:
    """What tells one trained method from another.

    Attributes:
        title: its name in tables, or a function of the settings that gives it.
        settings: its settings class.
        training: its recipe.
        score: weights file (None: raw coordinates), settings, data, runtime, CMC ranks and rule
            for negative squared distances to what results.json holds of a protocol.
        size: one sentence on parameters and operations.
        protocols: under which its epochs are chosen.
        labels: what it uses identity labels for, if it does: said before and after a training
            and in results.json, where "supervised" is then true.
        load: the experiment that settings describe.
        explained: what each protocol is, in words.
        remarks: sentences for the user before a training.
    """

    title: str | Callable[..., str]
    settings: type[EpochSettings]
    training: Callable[..., EpochTraining]
    score: Callable[..., dict[str, Any]]
    size: Callable[..., str]
    protocols: tuple[str, ...] = PROTOCOLS
    labels: str = ""
    load: Callable[[Any], Experiment] = field(default_factory=lambda: load)
    explained: Mapping[str, str] = field(default_factory=lambda: console.EXPLAINED)
    remarks: Callable[[Resolved, Experiment], list[str]] = lambda resolved, data: []


def main(method: Method, argv: list[str]) -> int:
    """Run a method's command; UserError for whatever the user can mend."""
    resolved = resolve(method.settings, argv)
    settings = resolved.settings
    if settings.model_size:
        console.say(method.size(settings))
        return 0
    run = None
    if settings.mode == "Eval" or settings.resume:
        run = RunDirectory.find(
            settings.model_root,
            settings.dataset,
            settings.probe,
            settings.run or None,
            pointer=pointer(settings),
        )
        stored = run.read_config()
        resolved = resolve(method.settings, argv, stored=stored)
        settings = resolved.settings
        if settings.resume:
            refuse_changes(stored, settings, run)
    runtime = start(settings.device, settings.gpu or None, settings.threads)
    console.notes(runtime.notes)
    if settings.mode == "Eval":
        assert run is not None
        return evaluate_run(method, settings, run, runtime)
    with workers(settings, runtime) as executor:
        return train_run(method, resolved, run, replace(runtime, executor=executor))


@contextmanager
def workers(settings: EpochSettings, runtime: Runtime) -> Iterator[Executor | None]:
    """What clusters for a run: None for this process, or the connection to a Ray cluster."""
    if not isinstance(settings, ClusteredSettings) or settings.executor == "local":
        yield None
        return
    with RayExecutor(settings.address, runtime.threads) as executor:
        console.say(f"ray: {executor}")
        yield executor


def train_run(
    method: Method, resolved: Resolved, run: RunDirectory | None, runtime: Runtime
) -> int:
    """Train a run, or go on with `run`; no other process may train in its folder meanwhile."""
    settings = resolved.settings
    if run is not None:
        with run.hold():  # before the data are read: who is refused need not wait for them
            data = method.load(settings)
            refuse_other_data(run, data)
            return train_held(method, resolved, run, data, runtime)
    data = method.load(settings)  # before there is a folder: data that cannot be read leave none
    run = RunDirectory.create(
        settings.model_root,
        settings.dataset,
        settings.probe,
        settings.run or None,
        default_name(settings),
        pointer=pointer(settings),
    )
    run.write_config(resolved.to_dict() | {"data": described_data(data)})
    with run.hold():
        return train_held(method, resolved, run, data, runtime)


def train_held(
    method: Method, resolved: Resolved, run: RunDirectory, data: Experiment, runtime: Runtime
) -> int:
    """Train every leg of a run that is held, then score it under its protocols."""
    settings = resolved.settings
    console.settings(resolved)
    console.say(f"\nrun folder: {run.path}")
    console.data_summary(data)
    for sentence in method.remarks(resolved, data):
        console.say(sentence)
    if TWIN in method.protocols and (words := by_identity(settings.stress)):
        console.notes(
            [
                f"--stress {', '.join(words)}: identities decided which windows there are to learn "
                f"from{', gallery windows among them' * ('borrow' in words)}. That holds for the "
                "label-free numbers too"
            ]
        )
    if method.labels:
        console.supervised(method.labels)
    if nothing := unscored_by(method, data):
        console.say(f"no rates: {nothing['no_rates']}")
    results = frame(method, settings, data, runtime)
    if not settings.is_trained:
        outcome = method.score(None, settings, data, runtime, CMC_RANKS)
        results["protocols"] = dict.fromkeys(method.protocols, outcome)
    else:
        for folder, leg, protocols in plan_legs(method, settings):
            here = run if not folder else run.child(folder)
            if here is not run:
                here.write_config(leg_config(resolved, leg))
            leg_data = data if leg is settings else method.load(leg)
            training = begin(method, leg, leg_data, here, runtime, protocols)
            if settings.resume and here is run:  # not before its checkpoint has proved sound
                stored = continued(run.read_config(), resolved)
                run.write_config(stored | {"data": described_data(data)})
            results = train_leg(method, training, here, results)
    results["peak_rss_bytes"] = peak_rss_bytes()
    keep_probes(run, take_retrievals(results), data)
    run.write_results(results)
    console.results(results, run, method.explained)
    return 0


def plan_legs(
    method: Method, settings: EpochSettings
) -> list[tuple[str, EpochSettings, tuple[str, ...]]]:
    """The trainings of a run: (subfolder, settings, protocols that they serve).

    Where identities decide what is learned from, as in class sampling, the numbers cannot be
    label-free, and a second training without them serves that protocol. Where the gallery is
    learned as well, nothing does.
    """
    rest = tuple(name for name in method.protocols if name != TWIN)
    legs: list[tuple[str, EpochSettings, tuple[str, ...]]] = [("", settings, rest)]
    if settings.with_gallery:
        return legs
    if not isinstance(settings, UnlabelledSettings) or not settings.uses_identities:
        return [("", settings, method.protocols)]
    if settings.label_free_run == "on" and settings.label_free_possible:
        legs.append((TWIN, settings.without_identities(), (TWIN,)))
    return legs


def leg_config(resolved: Resolved, leg: EpochSettings) -> dict[str, Any]:
    """The config.json of a second training: its settings, with the origin of those that differ."""
    first, names = resolved.settings, [entry.name for entry in options_of(type(leg))]
    changed = [name for name in names if getattr(leg, name) != getattr(first, name)]
    return Resolved(leg, resolved.origin | dict.fromkeys(changed, "label-free run")).to_dict()


def begin(
    method: Method,
    settings: EpochSettings,
    data: Experiment,
    run: RunDirectory,
    runtime: Runtime,
    protocols: tuple[str, ...],
) -> EpochTraining:
    """A training from its checkpoint or from scratch; its log ends where it begins."""
    training = method.training(settings, data, seeds.generators(settings.seed), runtime, protocols)
    training.progress = console.bar
    if settings.resume and run.last.is_file():
        training.restore(checkpoints.load(run.last), run.last)
        if training.epoch > settings.epochs:
            raise UserError(
                f"--epochs {settings.epochs}: {run.last} has {training.epoch} epochs behind it. "
                "Give as many or more, or score its weights with --mode Eval."
            )
        console.say(f"continuing at epoch {training.epoch}")
    run.truncate_metrics(training.epoch - 1)
    return training


def train_leg(
    method: Method, training: EpochTraining, run: RunDirectory, results: dict[str, Any]
) -> dict[str, Any]:
    """One training to its end; `results` with its protocols filled in."""
    settings, protocols = training.settings, training.protocols
    console.say(console.leg_title(protocols, method.explained))
    with console.board(run.path, settings.tensorboard) as board:
        train(training, run, lambda record: console.epoch(record, training, board))
    scored: dict[int, dict[str, Any] | None] = {}  # protocols that agree are scored once
    for protocol in protocols:
        epoch = training.selectors[protocol].best_epoch
        if epoch not in scored:
            scored[epoch] = outcome(method, training, run, protocol)
    outcomes = {p: scored[training.selectors[p].best_epoch] for p in protocols}
    if not settings.save_model:
        for protocol in protocols:
            weights_path(run, protocol).unlink(missing_ok=True)
    records = run.read_metrics()
    last = records[-1] if records else {}  # none: the log of a finished run was deleted
    counts = {"epochs": training.epoch - 1 if not last else last["epoch"]}
    if isinstance(settings, TrainingSettings):
        counts |= {"clusters": last.get("clusters_1"), "outliers": last.get("outliers")}
    told: dict[str, Any] = next((record for record in reversed(records) if "people" in record), {})
    names = ("people", "people_at_least", "tracks", "unsure", "seen_at_once")
    counts |= {name: told[name] for name in names if name in told}
    return results | {
        "protocols": results["protocols"] | outcomes,
        "counts": results["counts"] | (counts if not results["timing"] else {}),
        "timing": results["timing"] or console.mean_seconds(records),
    }


def outcome(
    method: Method, training: EpochTraining, run: RunDirectory, protocol: str
) -> dict[str, Any] | None:
    """Score the weights that a protocol chose; no rates where no epoch could be chosen.

    For `label_free` this is the one time that probe and gallery are looked at.
    """
    if training.selectors[protocol].best_epoch < 0:
        return unscored_by(method, training.data)
    path = weights_path(run, protocol)
    return method.score(path, training.settings, training.data, training.runtime, CMC_RANKS)


def unscored_by(method: Method, data: Experiment) -> dict[str, Any] | None:
    """What stands for the figures where these data allow none; None: they do."""
    return None if SUPERVISED in method.protocols else unscored(data)


def evaluate_run(
    method: Method, settings: EpochSettings, run: RunDirectory, runtime: Runtime
) -> int:
    """Score the weights that a run kept, under every protocol that has some."""
    data = method.load(settings)
    check_matching(settings, data)
    console.data_summary(data)
    results = frame(method, settings, data, runtime)
    results["trained_on"] = {"manifest_sha256": learned_from(run)}
    if other_data(run, data.checksum):
        console.notes(
            [
                f"{run.path} was trained on other data than those scored here: the checksums of "
                "their manifests differ. Persons and windows that it learned from may be among "
                "these"
            ]
        )
    for protocol in method.protocols:
        path = weights_path(home_of(run, protocol), protocol)
        if path.is_file() or not settings.is_trained:
            results["protocols"][protocol] = method.score(
                path if settings.is_trained else None,
                settings,
                data,
                runtime,
                CMC_RANKS,
                negative_squared=settings.eval_sqrt,
            )
    if not any(results["protocols"].values()):
        run.require(run.best)
    nothing = unscored_by(method, data)
    results["protocols"] = {name: one or nothing for name, one in results["protocols"].items()}
    found = take_retrievals(results)
    same = as_stored(results, run)
    keep_probes(run, {protocol: found[protocol] for protocol in found if protocol in same}, data)
    if others := sorted(found.keys() - same):
        console.notes(
            [
                f"{run.results_path} holds other numbers than these, or none: its probes_*.npz, "
                f"the outcome of every probe, are left as they are for {', '.join(others)}"
            ]
        )
    console.results(results, run, method.explained)
    if settings.other_matching:
        match_further(settings, data, found, results, run, runtime)
    return 0


def match_further(
    settings: EpochSettings,
    data: Experiment,
    found: Mapping[str, Retrieval],
    results: dict[str, Any],
    run: RunDirectory,
    runtime: Runtime,
) -> None:
    """Match in the further ways that are asked for: a table and a file of their own."""
    tables: dict[str, dict[str, Any]] = {}
    matched = {name: one for name, one in found.items() if isinstance(one, Matched)}
    for name, one in matched.items():
        alike = [tables[other] for other in tables if matched[other].same_features(one)]
        tables[name] = alike[0] if alike else rematched(one, settings, data, runtime, CMC_RANKS)
    epochs = {name: {"epoch": results["protocols"][name]["epoch"]} for name in tables}
    further = results | {
        "protocols": {name: epochs[name] | tables[name] for name in tables},
        "matching": {name: getattr(settings, name) for name in MATCHING_NAMES},
        "peak_rss_bytes": peak_rss_bytes(),
    }
    atomic.write_json(run.matching_path, further)
    console.further_matching(tables, run)


def load(settings: DataSettings, features: Features | None = None) -> Experiment:
    """The experiment that the settings describe; with a source model's features, if given."""
    data = joints_of(settings, features)
    return described(data, settings.input_parts, settings.input_scale)


def load_whole(settings: DataSettings) -> Experiment:
    """All stored windows in the order of the files, described as `load` describes them."""
    data = joints_of(settings, whole=True)
    like = joints_of(settings) if is_measured(settings.input_parts) else None
    return described(data, settings.input_parts, settings.input_scale, like)


def joints_of(
    settings: DataSettings, features: Features | None = None, *, whole: bool = False
) -> Experiment:
    """The experiment before its frames are described; whole: no window left out, drawn or moved."""
    return load_experiment(
        Path(settings.data_root),
        settings.dataset,
        settings.length,
        settings.probe,
        kgbd_order=settings.kgbd_order,
        root=settings.root,
        class_sampling="off" if whole else settings.class_sampling,
        part_batches="keep" if whole else settings.part_batches,
        double_load=settings.double_load,
        cve_diagonal=settings.cve_diagonal,
        batch_size=settings.batch_size,
        shuffle=settings.shuffles and not whole,
        with_gallery=settings.with_gallery,
        stress=settings.stress,
        rng=seeds.generators(settings.seed).data,
        features=features,
    )


def frame(
    method: Method, settings: EpochSettings, data: Experiment, runtime: Runtime
) -> dict[str, Any]:
    """The frame of a training's results.json; says whether identity labels were used."""
    title = method.title if isinstance(method.title, str) else method.title(settings)
    found = new_results(title, settings, data, runtime)
    found["protocols"] = dict.fromkeys(method.protocols)
    if method.labels:
        found |= {"supervised": True, "note": method.labels}
    return found
