"""Train a method, continue a run, or score a trained one.

    run_method(METHOD, resolve(SimMCSettings, ["--dataset", "KS20", "--epochs", "60"]))

Nothing is printed unless a reporter is passed in.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from simmc.clustering import Executor
from simmc.data.experiment.experiment import Experiment
from simmc.data.experiment.inputs import LEVELLED, TURNED, sideways_lean
from simmc.data.specs import skeleton_of
from simmc.data.synthetic.perturbations import BY_IDENTITY, names_of
from simmc.engine.evaluate import evaluate_run
from simmc.engine.health import health_of, trained_by
from simmc.engine.method import (
    LABEL_FREE,
    Job,
    Method,
    MethodSettings,
    default_name,
    load_joints,
    pointer,
    unscored_by,
    with_stored_names,
)
from simmc.engine.reporter import Reporter
from simmc.engine.selection import BODY_REASON, RADIUS_REASON
from simmc.engine.stored_run import (
    continued,
    refuse_changes,
    refuse_other_data,
    refuse_other_version,
)
from simmc.engine.training import Training, rule_of, train, weights_path
from simmc.errors import UserError
from simmc.runs import checkpoints
from simmc.runs.directory import RunDirectory
from simmc.runs.records import EpochRecord, Results
from simmc.runs.runtime import Runtime, generators, peak_rss_bytes, start
from simmc.scoring.match import Outcome, fill, keep_probes
from simmc.settings.groups import Clustering, Joints, LabelFree, Pretext, Rematch
from simmc.settings.layers import DERIVED, NO_PRESET, Resolved, by_user, resolve

QUIET = Reporter()
TILTED = 2.0  # degrees of sideways lean: 1 to 2 on walks before upright cameras


def main(method: Method[Any], argv: list[str], reporter: Reporter = QUIET) -> int:
    """Run a method's command with the words after its name; UserError for what the user can fix."""
    resolved = resolve(method.settings, argv)
    settings = with_stored_names(resolved.settings)
    method.check_body(settings, skeleton_of(settings.place.read_spec()))
    if settings.training.model_size:
        reporter.say(method.size(settings))
        return 0
    run = None
    if settings.training.mode == "Eval" or settings.training.resume:
        run = find_run(method, settings)
        stored = run.read_config()
        resolved = resolve(method.settings, argv, stored=stored)
        settings = with_stored_names(resolved.settings)
        if settings.training.resume:
            refuse_changes(stored, settings, run)
    else:
        settings = levelled_if_tilted(method.prepared(settings), resolved.origin)
    given, kept = resolved.settings.flat(), settings.flat()
    derived = {
        name: DERIVED
        for name, value in kept.items()
        if value != given[name] and resolved.origin[name] != NO_PRESET
    }
    resolved = replace(resolved, settings=settings, origin=resolved.origin | derived)
    run_method(method, resolved, run, reporter)
    return 0


def levelled_if_tilted(settings: Any, origin: Mapping[str, str]) -> Any:
    """Settings with the input `levelled` for `turned`, where recordings lean to a side.

    Not where the user gave the input. The training windows are read for it.
    """
    joints = settings.find(Joints)
    if joints is None or by_user(origin["input"]) or TURNED not in joints.parts:
        return settings
    data = load_joints(settings)
    lean = sideways_lean(data.train, data.skeleton)
    if lean is None or lean <= TILTED:
        return settings
    return settings.but(input=joints.input.replace(TURNED, LEVELLED))


def find_run(method: Method[Any], settings: MethodSettings) -> RunDirectory:
    """The run that settings name, or the newest of the method."""
    return RunDirectory.find(
        settings.training.model_root,
        settings.place.dataset,
        settings.place.probe,
        settings.training.run or None,
        pointer=pointer(method, settings),
    )


def run_method(
    method: Method[Any],
    resolved: Resolved[Any],
    run: RunDirectory | None = None,
    reporter: Reporter = QUIET,
) -> Results:
    """Train a method, or score a run (`--mode Eval`); what results.json holds.

    `run` is the one to continue or to score; None: a new one.
    """
    settings = resolved.settings
    machine = settings.machine
    runtime = start(machine.device, machine.gpu or None, machine.threads)
    reporter.notes(runtime.notes + unused_on_gpu(settings, runtime))
    job = Job(method, resolved, runtime, reporter)
    if settings.training.mode == "Eval":
        assert run is not None
        return evaluate_run(job, run)
    refuse_further_matching(settings)
    with workers(job) as executor:
        return train_run(replace(job, runtime=replace(runtime, executor=executor)), run)


def refuse_further_matching(settings: MethodSettings) -> None:
    """UserError where a training is asked for what `--mode Eval` alone does."""
    rematch = settings.find(Rematch)
    if rematch is not None and rematch.flags:
        raise UserError(
            f"{rematch.flags[0]} needs --mode Eval: it is another way of scoring a trained run. "
            "Train first, without it."
        )


def unused_on_gpu(settings: MethodSettings, runtime: Runtime) -> list[str]:
    """What a GPU does in another way than the settings of the clustering say."""
    clustering = settings.find(Clustering)
    if clustering is None or runtime.device.type == "cpu":
        return []
    found = []
    if clustering.neighbors == "approximate":
        found.append("--neighbors approximate: not used, a GPU compares all rows (recall 1)")
    if clustering.executor != "local":
        found.append(f"--executor {clustering.executor}: not used, the GPU clusters")
    return found


@contextmanager
def workers(job: Job) -> Iterator[Executor | None]:
    """What clusters for a run: None for this process, or the connection to a Ray cluster."""
    clustering, runtime = job.settings.find(Clustering), job.runtime
    if clustering is None or clustering.executor == "local" or runtime.device.type != "cpu":
        yield None
        return
    from simmc.clustering.on_ray import RayExecutor

    with RayExecutor(clustering.address, runtime.threads) as executor:
        job.reporter.say(f"ray: {executor}")
        yield executor


def train_run(job: Job, run: RunDirectory | None) -> Results:
    """Train a new run, or continue `run`; its folder is locked meanwhile."""
    method, settings = job.method, job.settings
    if run is not None:
        with locked(run, job.reporter):  # before the data are read, which takes time
            data = method.load(settings)
            refuse_other_data(run, data)
            refuse_other_version(run, method, settings)
            return train_locked(job, run, data)
    data = method.load(settings)  # before the folder is made: an error leaves no folder
    run = RunDirectory.create(
        settings.training.model_root,
        settings.place.dataset,
        settings.place.probe,
        settings.training.run or None,
        default_name(method, settings),
        pointer=pointer(method, settings),
    )
    run.write_config(job.config(data))
    with locked(run, job.reporter):
        return train_locked(job, run, data)


@contextmanager
def locked(run: RunDirectory, reporter: Reporter) -> Iterator[None]:
    """Lock a run for training; a note where that is not possible."""
    with run.lock() as reason:
        if reason:
            reporter.notes(
                [f"{run.path} cannot be locked ({reason}): train it in one process at a time"]
            )
        yield


def train_locked(job: Job, run: RunDirectory, data: Experiment) -> Results:
    """Train every stage of a run that is locked, then score it under its protocols."""
    method, resolved, reporter = job.method, job.resolved, job.reporter
    settings = job.settings
    reporter.settings(resolved)
    reporter.say(f"\nrun folder: {run.path}")
    reporter.data(data)
    for sentence in [
        *chosen_without_preset(resolved, data),
        *tilt_note(resolved, data),
        *method.remarks(resolved, data),
    ]:
        reporter.say(sentence)
    if LABEL_FREE in method.protocols(settings):
        reporter.notes(perturbation_notes(settings))
    if method.labels:
        reporter.supervised(method.labels)
    if nothing := unscored_by(method, settings, data):
        reporter.say(f"no rates: {nothing.figures['no_rates']}")
    results = job.frame(data)
    outcomes: dict[str, Outcome | None] = {}
    if method.baseline(settings):
        outcome = method.score(None, settings, data, job.runtime, rule_of(settings))
        outcomes = dict.fromkeys(method.protocols(settings), outcome)
    else:
        for folder, stage, protocols in plan_stages(method, settings):
            here = run if not folder else run.child(folder)
            if here is not run:
                here.write_config(stage_config(resolved, stage))
            stage_data = data if stage is settings else method.load(stage)
            training = begin(job, stage, stage_data, here, protocols)
            if settings.training.resume and here is run:  # after its checkpoint was read
                stored = continued(run.read_config(), resolved)
                run.write_config(job.config(data) | stored)
            outcomes |= train_stage(job, training, here, results)
    fill(results, outcomes)
    results["peak_rss_bytes"] = peak_rss_bytes()
    keep_probes(run, outcomes, data)
    run.write_results(results)
    reporter.results(results, method.explained, run.path)
    return results


def chosen_without_preset(resolved: Resolved[Any], data: Experiment) -> list[str]:
    """What is set in place of a preset, and why; nothing where the dataset has one."""
    flat, found = resolved.settings.flat(), []
    names = [name for name, layer in resolved.origin.items() if layer == NO_PRESET]
    if names:
        shown = [f"--{n.rstrip('_')} {'auto' if flat[n] is None else flat[n]}" for n in names]
        found.append(f"no preset for {flat['dataset']}: {', '.join(shown)}")
    if None in (flat.get("eps", 0), flat.get("min_samples", 0)):
        found.append("eps, min_samples: " + RADIUS_REASON)
    if flat.get("best_by") == "body":
        lacking = "no bones are known, so pseudo labels choose the epoch (--best_by labels)"
        found.append("label-free epoch: " + (lacking if data.body is None else BODY_REASON))
    return found


def tilt_note(resolved: Resolved[Any], data: Experiment) -> list[str]:
    """A remark where cameras seem to be tilted: what was done, or what the user can do."""
    if data.lean is None or data.lean <= TILTED:
        return []
    seen = (
        f"the recordings lean to a side by {data.lean:.1f} degrees (median; upright cameras: 1 to "
        "2), so cameras may be tilted"
    )
    given = resolved.settings.find(Joints).input
    if TURNED in given:
        other = given.replace(TURNED, LEVELLED)
        return [
            f"{seen}, which makes --input {TURNED} worse; --input {other} does not depend on it"
        ]
    if resolved.origin["input"] not in (DERIVED, NO_PRESET):
        return []
    other = given.replace(LEVELLED, TURNED)
    return [f"{seen}; --input {given} does not depend on it and is used instead of {other}"]


def perturbation_notes(settings: MethodSettings) -> list[str]:
    """Remarks where --stress uses identities, or windows of the probe's recordings."""
    if not (stress := settings.windows.stress):
        return []
    names, found = names_of(stress), []
    if words := [name for name in names if name in BY_IDENTITY]:
        found.append(
            f"--stress {', '.join(words)}: identities decided which windows there are to learn "
            f"from{', gallery windows among them' * ('borrow' in words)}. That holds for the "
            "label-free numbers too"
        )
    if "leak" in names:
        found.append(
            "--stress leak: windows of one recording are in training, gallery and probe, so all "
            "numbers are too good"
        )
    return found


def plan_stages(method: Method[Any], settings: Any) -> list[tuple[str, Any, tuple[str, ...]]]:
    """The trainings of a run: (subfolder, settings, protocols).

    Where the first training uses identities, as in class sampling, its numbers are not label-free:
    that protocol gets a second training without them. There is none where the gallery is learned.
    """
    protocols = method.protocols(settings)
    plain = method.label_free(settings)
    if (plain == settings and not learns_gallery(settings)) or LABEL_FREE not in protocols:
        return [("", settings, protocols)]
    rest = tuple(name for name in protocols if name != LABEL_FREE)
    stages = [("", settings, rest)]
    if learns_gallery(settings):
        return stages
    labels = settings.find(LabelFree)
    if plain is not None and (labels is None or labels.label_free_run == "on"):
        stages.append((LABEL_FREE, plain, (LABEL_FREE,)))
    return stages


def learns_gallery(settings: Any) -> bool:
    """Whether a source model is trained on the gallery as well."""
    pretext = settings.find(Pretext)
    return pretext is not None and pretext.with_gallery


def stage_config(resolved: Resolved[Any], stage: Any) -> dict[str, Any]:
    """The config.json of a second training: its settings, with the origin of those that differ."""
    first, own = resolved.settings.flat(), stage.flat()
    changed = [name for name in own if own[name] != first[name]]
    return Resolved(stage, resolved.origin | dict.fromkeys(changed, "label-free run")).to_dict()


def begin(
    job: Job, settings: Any, data: Experiment, run: RunDirectory, protocols: tuple[str, ...]
) -> Training[Any]:
    """A training from its checkpoint or from scratch; later lines of its log are removed."""
    seeds = generators(settings.common.seed)
    training: Training[Any] = job.method.training(settings, data, seeds, job.runtime, protocols)
    training.bar = job.reporter.bar
    if settings.training.resume and run.last.is_file():
        training.restore(checkpoints.load(run.last), run.last)
        if training.epoch > settings.training.epochs:
            raise UserError(
                f"--epochs {settings.training.epochs}: {run.last} has run {training.epoch} "
                "epochs. Give as many or more, or score its weights with --mode Eval."
            )
        job.reporter.say(f"continuing at epoch {training.epoch}")
    run.truncate_metrics(training.epoch - 1)
    return training


def train_stage(
    job: Job, training: Training[Any], run: RunDirectory, results: Results
) -> dict[str, Outcome | None]:
    """Run one training to its end; counts and times of the first one go into `results`."""
    method, reporter = job.method, job.reporter
    settings, protocols = training.settings, training.protocols
    reporter.stage(protocols, method.explained)
    with reporter.board(run.path, settings.training.tensorboard) as board:
        train(training, run, lambda record: reporter.epoch(record, training, board))
    scored: dict[int, Outcome | None] = {}  # by epoch: each is scored once
    for protocol in protocols:
        epoch = training.selectors[protocol].best_epoch
        if epoch not in scored:
            scored[epoch] = score_stage(method, training, run, protocol)
    outcomes = {p: scored[training.selectors[p].best_epoch] for p in protocols}
    records = run.read_metrics()
    results["health"] = health_of(records, trained_by(method, training, run, records))
    reporter.health(results["health"])
    if not settings.training.save_model:
        for protocol in protocols:
            weights_path(run, protocol).unlink(missing_ok=True)
    if not results["timing"]:
        results["counts"] |= final_counts(records, training.epoch - 1)
        results["timing"] = mean_seconds(records)
    return outcomes


def final_counts(records: Sequence[EpochRecord], last_epoch: int) -> dict[str, Any]:
    """Epochs, clusters of the last epoch, and people of the last epoch with steps."""
    last: Mapping[str, Any] = records[-1] if records else {"epoch": last_epoch}  # a deleted log
    counts: dict[str, Any] = {"epochs": last["epoch"]}
    if "label_free_score" in last:
        counts |= {"clusters": last.get("clusters_1"), "outliers": last.get("outliers")}
    if "eps" in last:
        counts |= {"eps": last["eps"], "min_samples": last["min_samples"]}
    people: Mapping[str, Any] = next((r for r in reversed(records) if "people" in r), {})
    names = ("people", "people_at_least", "tracks", "unsure", "seen_at_once")
    return counts | {name: people[name] for name in names if name in people}


def mean_seconds(records: Sequence[EpochRecord]) -> dict[str, float]:
    """Mean seconds an epoch by stage, over the epochs in which the stage ran; and their total."""
    stages: dict[str, list[float]] = {}
    spent = [record.get("seconds", {}) for record in records]  # a changed log may lack them
    for record in spent:
        for stage, seconds in record.items():
            stages.setdefault(stage, []).append(seconds)
    means = {stage: sum(values) / len(values) for stage, values in stages.items()}
    return means | {"total_run": sum(sum(record.values()) for record in spent)}


def score_stage(
    method: Method[Any], training: Training[Any], run: RunDirectory, protocol: str
) -> Outcome | None:
    """Score the weights that a protocol chose; no rates where no epoch could be chosen.

    For `label_free` this is the only use of probe and gallery.
    """
    settings = training.settings
    if training.selectors[protocol].best_epoch < 0:
        return unscored_by(method, settings, training.data)
    path = weights_path(run, protocol)
    return method.score(path, settings, training.data, training.runtime, rule_of(settings))
