"""A run that is stored: its weights, and what has to agree to continue it or to score it again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from simmc.data.experiment.experiment import Experiment
from simmc.engine.method import FIXED_EPOCHS, LABEL_FREE, Method
from simmc.engine.training import weights_path
from simmc.errors import UserError
from simmc.runs.directory import RunDirectory
from simmc.runs.records import Results
from simmc.scoring.match import RATES
from simmc.settings.layers import STORED, Resolved
from simmc.settings.options import options_of

AGREEMENT = 1e-3  # largest difference of the same figures between machines
# settings that a continued run may change
MAY_CHANGE = (
    *("epochs", "patience", "checkpoint_every", "checkpoint_seconds"),
    *("save_model", "tensorboard", "data_root"),
)


def home_of(run: RunDirectory, protocol: str) -> RunDirectory:
    """The folder of the training for a protocol: the run, or its label-free run."""
    inner = run.path / LABEL_FREE
    return RunDirectory(inner) if protocol == LABEL_FREE and inner.is_dir() else run


def weights_of(run: RunDirectory) -> Path:
    """best.pt; where it does not exist, the weights of another protocol."""
    others = (LABEL_FREE, FIXED_EPOCHS)
    files = [run.best, *(weights_path(home_of(run, name), name) for name in others)]
    return next((file for file in files if file.is_file()), run.best)


def refuse_changes(stored: dict[str, Any], settings: Any, run: RunDirectory) -> None:
    """UserError where a continued run would become a mixture of two recipes."""
    for entry in options_of(type(settings)):
        new = settings.get(entry)
        old = stored["settings"].get(entry.key, new)
        if new != old and not entry.transient and entry.name not in MAY_CHANGE:
            raise UserError(
                f"--{entry.key} {new}: {run.last} comes from a training with {old}. A continued "
                f"run may change {', '.join(f'--{name}' for name in MAY_CHANGE)} and the machine, "
                f"nothing else: leave --{entry.key} out, or start a new run without --resume."
            )


def learned_from(run: RunDirectory) -> str | None:
    """SHA-256 of the manifest of the training data of a run; None: not known."""
    finished, started = run.results_path.is_file(), run.config_path.is_file()
    stored = run.read_results() if finished else run.read_config() if started else {}
    known = stored.get("data")
    found = known.get("manifest_sha256") if isinstance(known, dict) else None
    return found if isinstance(found, str) else None


def other_data(run: RunDirectory, checksum: str | None) -> bool:
    """Whether a run is known to have other training data than those of a manifest."""
    known = learned_from(run)
    return known is not None and known != checksum


def refuse_other_data(run: RunDirectory, data: Experiment) -> None:
    """UserError where the data of a continued run have changed."""
    if other_data(run, data.checksum):
        raise UserError(
            f"--resume: {run.path} was started with other data than those of --data_root now: the "
            "checksums of their manifests differ. Point --data_root to the data that the run was "
            "started with, or start a new run without --resume."
        )


def refuse_other_version(run: RunDirectory, method: Method[Any], settings: Any) -> None:
    """UserError where the program that began a run computed other numbers."""
    began, name = run.read_config().get("method_version", 1), method.settings.COMMAND
    if began != (version := method.version_of(settings)):
        raise UserError(
            f"--resume: {run.path} was begun with version {began} of {name}, and this is version "
            f"{version}: the run would be of neither. Start a new run without --resume, or "
            "score its weights with --mode Eval."
        )


def continued(stored: dict[str, Any], resolved: Resolved[Any]) -> dict[str, Any]:
    """The config.json of a continued run: its present settings, with their first origins."""
    new = resolved.to_dict()
    first = stored.get("origin", {})
    new["origin"] = {k: first.get(k, o) if o == STORED else o for k, o in new["origin"].items()}
    return new


def as_stored(results: Results, run: RunDirectory) -> list[str]:
    """The protocols whose figures in a run's results.json agree with these."""
    if not run.results_path.is_file():
        return []
    stored = run.read_results()
    known, counts = stored.get("data"), stored.get("counts") or {}
    if not known or known.get("manifest_sha256") != results["data"]["manifest_sha256"]:
        return []
    if counts.get("probe") != results["counts"]["probe"]:
        return []
    return [
        protocol
        for protocol, new in results["protocols"].items()
        if new and _alike(new, (stored.get("protocols") or {}).get(protocol) or {})
    ]


def _alike(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    these, those = (np.array([one.get(key) for key in RATES[:4]], float) for one in (new, old))
    return np.allclose(these, those, rtol=0, atol=AGREEMENT, equal_nan=True)
