"""Score the weights of a run (`--mode Eval`), also in further ways of matching."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from simmc import files
from simmc.data.experiment.experiment import Experiment
from simmc.engine.method import Job, unscored_by
from simmc.engine.stored_run import as_stored, home_of, learned_from, other_data
from simmc.engine.training import rule_of, weights_path
from simmc.runs.directory import RunDirectory
from simmc.runs.records import Results
from simmc.runs.runtime import peak_rss_bytes
from simmc.scoring.match import Matched, Outcome, fill, keep_probes
from simmc.scoring.rematch import check_matching, rematched
from simmc.settings.groups import Rematch


def evaluate_run(job: Job, run: RunDirectory) -> Results:
    """Score the stored weights of a run under every protocol."""
    method, settings, runtime, reporter = job.method, job.settings, job.runtime, job.reporter
    data = method.load(settings)
    rematch = settings.find(Rematch)
    if rematch is not None:
        check_matching(rematch, settings.windows.same_condition_map, data, settings.place)
    reporter.data(data)
    results = job.frame(data)
    results["trained_on"] = {"manifest_sha256": learned_from(run)}
    if other_data(run, data.checksum):
        reporter.notes(
            [
                f"{run.path} was trained on other data than those scored here: the checksums of "
                "their manifests differ. The scored data may "
                "include its training windows"
            ]
        )
    rule = replace(rule_of(settings), negative_squared=settings.training.eval_sqrt)
    baseline = method.baseline(settings)
    outcomes: dict[str, Outcome | None] = {}
    for protocol in method.protocols(settings):
        path = weights_path(home_of(run, protocol), protocol)
        if path.is_file() or baseline:
            weights = None if baseline else path
            outcomes[protocol] = method.score(weights, settings, data, runtime, rule)
    if not any(outcomes.values()):
        run.require(run.best)
    nothing = unscored_by(method, settings, data)
    outcomes = {name: outcomes.get(name) or nothing for name in method.protocols(settings)}
    fill(results, outcomes)
    same = as_stored(results, run)
    keep_probes(run, {name: outcomes.get(name) for name in same}, data)
    found = {name for name, one in outcomes.items() if one and one.retrieval}
    if others := sorted(found - set(same)):
        reporter.notes(
            [
                f"{run.results_path} holds other numbers than these, or none: its probes_*.npz, "
                f"the outcome of every probe, are left as they are for {', '.join(others)}"
            ]
        )
    reporter.results(results, method.explained, run.path)
    if rematch is not None and rematch.flags:
        match_further(job, data, outcomes, results, run)
    return results


def match_further(
    job: Job,
    data: Experiment,
    outcomes: Mapping[str, Outcome | None],
    results: Results,
    run: RunDirectory,
) -> None:
    """Match in further ways, with a table and a file of their own."""
    settings, rule, unit = job.settings, rule_of(job.settings), job.method.unit(job.settings)
    matched = {
        name: one.retrieval
        for name, one in outcomes.items()
        if one and isinstance(one.retrieval, Matched)
    }
    tables: dict[str, dict[str, Any]] = {}
    for name, one in matched.items():
        alike = [tables[other] for other in tables if matched[other].same_features(one)]
        tables[name] = (
            alike[0]
            if alike
            else rematched(one, settings.rematch, rule, data, job.runtime, unit=unit)
        )
    epochs = {name: {"epoch": one.epoch} for name, one in outcomes.items() if one}
    further = {
        **results,
        "protocols": {name: epochs[name] | tables[name] for name in tables},
        "matching": settings.rematch.flat(),
        "peak_rss_bytes": peak_rss_bytes(),
    }
    files.write_json(run.matching_path, further)
    job.reporter.further_matching(tables, run.matching_path)
