"""`simmc simmc` and `SimMC.py`: train SimMC, continue a run, or score a trained one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from simmc.cli import console
from simmc.clustering import Executor
from simmc.clustering.on_ray import RayExecutor
from simmc.config import Resolved, SimMCSettings, options_of, resolve
from simmc.config.layers import STORED
from simmc.data.loaders import Experiment, load_experiment
from simmc.errors import UserError
from simmc.methods import simmc as method
from simmc.methods.loop import train, weights_path
from simmc.methods.matching import match, retrieval_outcome
from simmc.models.encoder import SimMCNetwork, count_parameters, training_flops
from simmc.runs import checkpoints, seeds
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import Runtime, peak_rss_bytes, start, versions

CMC_RANKS = 50
TWIN = "label_free"  # folder of the second training, where the first one used identities
PROTOCOLS = ("paper", "label_free")
# from a run to its continuation
MAY_CHANGE = ("epochs", "patience", "checkpoint_every", "save_model", "tensorboard", "data_root")


def main(argv: list[str]) -> int:
    """Run the command; UserError for whatever the user can mend."""
    resolved = resolve(SimMCSettings, argv)
    settings = resolved.settings
    if settings.model_size:
        print_model_size(settings)
        return 0
    run = None
    if settings.mode == "Eval" or settings.resume:
        run = RunDirectory.find(
            settings.model_root, settings.dataset, settings.probe, settings.run or None
        )
        stored = run.read_config()
        resolved = resolve(SimMCSettings, argv, stored=stored)
        settings = resolved.settings
        if settings.resume:
            refuse_changes(stored, settings, run)
    runtime = start(settings.device, settings.gpu or None, settings.threads)
    console.notes(runtime.notes)
    if settings.mode == "Eval":
        assert run is not None
        return evaluate_run(settings, run, runtime)
    with workers(settings, runtime) as executor:
        return train_run(resolved, run, replace(runtime, executor=executor))


@contextmanager
def workers(settings: SimMCSettings, runtime: Runtime) -> Iterator[Executor | None]:
    """What clusters for a run: None for this process, or the connection to a Ray cluster."""
    if settings.executor == "local":
        yield None
        return
    with RayExecutor(settings.address, runtime.threads) as executor:
        console.say(f"ray: {executor}")
        yield executor


def refuse_changes(stored: dict[str, Any], settings: SimMCSettings, run: RunDirectory) -> None:
    """UserError where a continued run would become a mixture of two recipes."""
    for entry in options_of(SimMCSettings):
        new = getattr(settings, entry.name)
        old = stored["settings"].get(entry.key, new)
        if new != old and not entry.transient and entry.name not in MAY_CHANGE:
            raise UserError(
                f"--{entry.key} {new}: {run.last} comes from a training with {old}. A continued "
                f"run may change {', '.join(f'--{name}' for name in MAY_CHANGE)} and the machine, "
                f"nothing else: leave --{entry.key} out, or start a new run without --resume."
            )


def continued(stored: dict[str, Any], resolved: Resolved) -> dict[str, Any]:
    """The config.json of a continued run: what counts now, with the origin it first had."""
    new = resolved.to_dict()
    first = stored.get("origin", {})
    new["origin"] = {k: first.get(k, o) if o == STORED else o for k, o in new["origin"].items()}
    return new


def train_run(resolved: Resolved, run: RunDirectory | None, runtime: Runtime) -> int:
    """Train (or continue) every leg of a run, then score it under both protocols."""
    settings = resolved.settings
    data = load(settings)
    legs = plan_legs(settings)
    if run is None:
        run = RunDirectory.create(
            settings.model_root,
            settings.dataset,
            settings.probe,
            settings.run or None,
            default_name(settings),
        )
        run.write_config(resolved.to_dict())
    console.settings(resolved)
    console.say(f"\nrun folder: {run.path}")
    console.data_summary(data)
    results = new_results(settings, data, runtime)
    if settings.encoder == "none":
        found = match(None, data, runtime, same_condition=settings.same_condition_map)
        outcome = retrieval_outcome(found, 0, CMC_RANKS)
        results["protocols"] = dict.fromkeys(PROTOCOLS, outcome)
    else:
        for folder, leg, protocols in legs:
            here = run if not folder else run.child(folder)
            leg_data = data if leg is settings else load(leg)
            training = begin(leg, leg_data, here, runtime, protocols)
            if settings.resume and here is run:  # not before its checkpoint has proved sound
                run.write_config(continued(run.read_config(), resolved))
            results = train_leg(training, here, results)
    results["peak_rss_bytes"] = peak_rss_bytes()
    run.write_results(results)
    console.results(results, run)
    return 0


def plan_legs(settings: SimMCSettings) -> list[tuple[str, SimMCSettings, tuple[str, ...]]]:
    """The trainings of a run: (subfolder, settings, protocols that they serve).

    Where class sampling balances the training windows by identity, its numbers cannot be
    label-free, and a second training without it serves that protocol.
    """
    sampled = settings.class_sampling == "on" and settings.spec.sampled_by_class
    if not sampled:
        return [("", settings, PROTOCOLS)]
    legs: list[tuple[str, SimMCSettings, tuple[str, ...]]] = [("", settings, ("paper",))]
    if settings.label_free_run == "on":
        legs.append((TWIN, replace(settings, class_sampling="off"), ("label_free",)))
    return legs


def begin(
    settings: SimMCSettings,
    data: Experiment,
    run: RunDirectory,
    runtime: Runtime,
    protocols: tuple[str, ...],
) -> method.SimMC:
    """A training from its checkpoint or from scratch; its log ends where it begins."""
    training = method.SimMC(settings, data, seeds.generators(settings.seed), runtime, protocols)
    if settings.resume and run.last.is_file():
        training.restore(checkpoints.load(run.last), run.last)
        console.say(f"continuing at epoch {training.epoch}")
    run.truncate_metrics(training.epoch - 1)
    return training


def train_leg(training: method.SimMC, run: RunDirectory, results: dict[str, Any]) -> dict[str, Any]:
    """One training to its end; `results` with its protocols filled in."""
    settings, protocols = training.settings, training.protocols
    console.say(console.leg_title(protocols))
    with console.board(run.path, settings.tensorboard) as board:
        train(training, run, lambda record: console.epoch(record, training, board))
    outcomes = {p: method.outcome(training, run, p, CMC_RANKS) for p in protocols}
    if not settings.save_model:
        for protocol in protocols:
            weights_path(run, protocol).unlink(missing_ok=True)
    records = run.read_metrics()
    last = records[-1] if records else {}  # none: the log of a finished run was deleted
    counts = {
        "clusters": last.get("clusters_1"),
        "outliers": last.get("outliers"),
        "epochs": training.epoch - 1 if not last else last["epoch"],
    }
    return results | {
        "protocols": results["protocols"] | outcomes,
        "counts": results["counts"] | (counts if not results["timing"] else {}),
        "timing": results["timing"] or console.mean_seconds(records),
    }


def evaluate_run(settings: SimMCSettings, run: RunDirectory, runtime: Runtime) -> int:
    """Score the weights that a run kept, under every protocol that has some."""
    data = load(settings)
    console.data_summary(data)
    results = new_results(settings, data, runtime)
    twin = run.path / TWIN
    squared = settings.eval_sqrt
    for protocol in PROTOCOLS:
        home = RunDirectory(twin) if protocol == "label_free" and twin.is_dir() else run
        path = weights_path(home, protocol)
        if settings.encoder == "none":
            network, epoch = None, 0
        elif path.is_file():
            network, epoch = method.load_network(path, settings, data, runtime)
        else:
            continue
        found = match(
            network,
            data,
            runtime,
            same_condition=settings.same_condition_map,
            negative_squared=squared,
        )
        results["protocols"][protocol] = retrieval_outcome(found, epoch, CMC_RANKS)
    if not any(results["protocols"].values()):
        run.require(run.best)
    console.results(results, run)
    return 0


def load(settings: SimMCSettings) -> Experiment:
    """The experiment that the settings describe."""
    return load_experiment(
        Path(settings.data_root),
        settings.dataset,
        settings.length,
        settings.probe,
        kgbd_order=settings.kgbd_order,
        root=settings.root,
        class_sampling=settings.class_sampling,
        part_batches=settings.part_batches,
        double_load=settings.double_load,
        cve_diagonal=settings.cve_diagonal,
        batch_size=settings.batch_size,
        rng=seeds.generators(settings.seed).data,
    )


def new_results(settings: SimMCSettings, data: Experiment, runtime: Runtime) -> dict[str, Any]:
    """The frame of results.json, without results."""
    return {
        "method": "SimMC",
        "dataset": settings.dataset,
        "probe": settings.probe,
        "length": settings.length,
        "seed": settings.seed,
        "fidelity": settings.fidelity,
        "protocols": dict.fromkeys(PROTOCOLS),
        "counts": {
            "train": len(data.train.windows),
            "probe": len(data.probe.windows),
            "gallery": len(data.gallery.windows),
            "identities": len(np.unique(data.probe.identity)),
        },
        "timing": {},
        "peak_rss_bytes": None,
        "versions": versions() | {"threads": str(runtime.threads), "device": str(runtime.device)},
        "data": {"manifest_sha256": data.checksum, "generated": data.generated},
        "settings": {k.rstrip("_"): v for k, v in vars(settings).items()},
    }


def default_name(settings: SimMCSettings) -> str:
    """Name of a run that the user did not name."""
    parts = [f"f{settings.length}", settings.fidelity, f"seed{settings.seed}"]
    return "_".join([*parts, settings.save_flag] if settings.save_flag else parts)


def print_model_size(settings: SimMCSettings) -> None:
    """Parameters, and operations of a training step in the papers' way of counting."""
    width = 3 * settings.spec.n_joints
    network = SimMCNetwork(width, settings.H, settings.D, generator=seeds.generators(0).weights)
    flops = training_flops(
        width, settings.H, settings.D, views=2, batch=settings.batch_size, length=settings.length
    )
    parameters = count_parameters(network)
    console.say(
        f"SimMC on {settings.dataset}: {parameters:,} parameters ({parameters / 1e6:.2f}M), "
        f"{flops / 1e9:.2f} GFLOP a training step of {settings.batch_size} windows of "
        f"{settings.length} frames (forward and backward, as the papers count)"
    )
