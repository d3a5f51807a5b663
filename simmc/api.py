"""Train from Python, and use a trained run: part of the public interface (docs/python.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from simmc.data.experiment.experiment import Experiment
from simmc.data.experiment.inputs import described, is_measured
from simmc.data.experiment.load import experiment_of
from simmc.engine import run as engine
from simmc.engine.method import LABEL_FREE, PAPER, Embedder, Method, load_joints, with_stored_names
from simmc.engine.reporter import Reporter
from simmc.engine.stored_run import home_of
from simmc.engine.training import weights_path
from simmc.errors import UserError
from simmc.methods.registry import METHODS
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import start
from simmc.settings.layers import resolve


@dataclass(frozen=True)
class Run:
    """A trained run.

    Attributes:
        path: its folder (docs/runs.md).
        method: its row in the registry.
        settings: what it was trained with.
        weights: the file of the network that `embed` uses.
    """

    path: Path
    method: Method[Any]
    settings: Any
    weights: Path

    @property
    def results(self) -> Mapping[str, Any]:
        """What results.json holds: under `protocols` the rates, fractions of 1."""
        return RunDirectory(self.path).read_results()

    def embed(self, windows: np.ndarray) -> np.ndarray:
        """Features of windows, to be compared by Euclidean distance.

        Args:
            windows: (N, f, J, 3) metres, y up, with the length and the joints, in the same order,
                of the dataset that the run was trained on.

        Returns:
            (N, d) float32.

        Raises:
            UserError: windows of another shape, coordinates that cannot be metres, or a run that
                kept no weights.
        """
        place = self.settings.place
        spec = place.read_spec()
        windows = np.asarray(windows)
        due = (place.length, spec.n_joints, 3)
        if windows.shape[1:] != due or not len(windows) or windows.dtype.kind not in "fiu":
            raise UserError(
                f"windows of shape {windows.shape} and type {windows.dtype}, where numbers of "
                f"shape (N, {place.length}, {spec.n_joints}, 3) are due: {self.path} was trained "
                f"on {place.dataset} with windows of {place.length} frames"
            )
        joints = self.settings.joints
        data = experiment_of(windows, spec, joints.kgbd_order, joints.root)
        # measured inputs have the scale of the windows that the run learned from
        like = load_joints(self.settings) if is_measured(joints.parts) else None
        data = described(data, joints.parts, joints.input_scale, like)
        found = self._embedder(data).features(data.probe).detach().cpu().numpy()
        return np.ascontiguousarray(found, np.float32)

    def _embedder(self, data: Experiment) -> Embedder:
        if not self.method.embeds:
            known = ", ".join(name for name, method in METHODS.items() if method.embeds)
            raise UserError(
                f"{self.path} is a run of simmc {self.settings.COMMAND}, whose features are not "
                f"given window by window; runs of these methods can embed: {known}"
            )
        RunDirectory(self.weights.parent).require(self.weights)
        return self.method.embedder(self.weights, self.settings, data, self._runtime)

    @cached_property
    def _runtime(self) -> Any:
        machine = self.settings.machine
        return start(machine.device, machine.gpu or None, machine.threads)


class _Remembered(Reporter):
    """Keeps the folder of the run."""

    path = Path()

    def results(self, found: Mapping[str, Any], explained: Mapping[str, str], path: Path) -> None:
        self.path = path


def train(method: str = "simmc", **settings: Any) -> Run:
    """Train a method, as `simmc METHOD --name value ...` does, without printing anything.

    Args:
        method: simmc, himpc, trackmc or another name that `simmc --help` lists.
        settings: the flags of the command: `dataset="KS20", epochs=60, lambda_=0.5`. Presets and
            `fidelity` count as on the command line.

    Raises:
        UserError: an unknown method or setting, or an impossible value.
    """
    if method not in METHODS:
        raise UserError(f"there is no method {method!r}; choose one of {', '.join(METHODS)}")
    words = [f"--{name.rstrip('_')}={_word(value)}" for name, value in settings.items()]
    reporter = _Remembered()
    engine.main(METHODS[method], words, reporter)
    return load_run(reporter.path)


def load_run(
    path: str | Path,
    *,
    protocol: str = LABEL_FREE,
    data_root: str | Path | None = None,
    device: str = "auto",
) -> Run:
    """A run that was trained before, from Python or by a command.

    Args:
        path: its folder.
        protocol: whose weights `embed` uses: "label_free", chosen without identities and tests, or
            "paper", chosen by the probe's top-1.
        data_root: where the datasets are now; None: where they were.
        device: "auto", "cpu" or "cuda".

    Raises:
        UserError: no run of a method.
    """
    if protocol not in (LABEL_FREE, PAPER):
        raise UserError(f"protocol {protocol!r}: choose {LABEL_FREE} or {PAPER}")
    run = RunDirectory(Path(path))
    stored = run.read_config()
    method = METHODS.get(str(stored.get("command")))
    if method is None:
        raise UserError(f"{run.config_path} names no method; give the folder of a training")
    words = [f"--device={device}"] + ([f"--data_root={data_root}"] if data_root else [])
    settings = with_stored_names(resolve(method.settings, words, stored=stored).settings)
    home = home_of(run, protocol)
    if home is not run:
        settings = method.label_free(settings) or settings
    return Run(run.path, method, settings, weights_path(home, protocol))


def _word(value: Any) -> str:
    return str(int(value) if isinstance(value, bool) else value)
