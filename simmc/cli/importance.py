"""`simmc report importance`: the frames that a Hi-MPC run's hard skeleton mining weighs most."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simmc.cli import trained
from simmc.cli.console import CONSOLE
from simmc.clustering import cluster_means
from simmc.data.body_levels import body_levels
from simmc.data.experiment.experiment import Experiment, labels_of
from simmc.data.experiment.inputs import is_measured
from simmc.data.skeletons import KGBD_FILE, Skeleton
from simmc.engine.method import load_joints
from simmc.engine.stored_run import weights_of
from simmc.errors import UserError, numbered
from simmc.losses import frame_importance
from simmc.methods.himpc import FOCUS, METHOD, HiMPC, HiMPCSettings, encode
from simmc.models.himpc import HierarchicalNetwork
from simmc.reports import importance as picture
from simmc.reports import results, style
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import Runtime, generators, start

POINTER = "latest_himpc"  # the file that names the newest run of Hi-MPC
_MINED = {
    "hard": "Hard skeleton mining: darker frames are harder and weigh more.",
    "easy": "Easy mining: darker frames are easier and weigh more.",
}


@dataclass(frozen=True, eq=False)
class Clustered:
    """A trained network, and the pseudo labels of the epoch that its weights come from."""

    network: HierarchicalNetwork
    windows: Mapping[str, torch.Tensor]  # level -> (N, f, K) float32 training windows
    labels: Mapping[str, torch.Tensor]  # level -> (N,) int64, -1 = outlier
    epoch: int

    @property
    def everywhere(self) -> np.ndarray:
        """(N,) bool: the windows that are clustered at all levels."""
        return np.logical_and.reduce([y.cpu().numpy() >= 0 for y in self.labels.values()])


def cluster_trained(
    path: Path, settings: HiMPCSettings, data: Experiment, runtime: Runtime
) -> Clustered:
    """Cluster each level of the training windows at the weights in a file, as training does."""
    network, epoch = METHOD.read(path, settings, data, runtime)
    training = HiMPC(settings, data, generators(settings.common.seed), runtime, ("paper",))
    instances = encode(network, training.train_windows)
    labels = training.pseudo.of(list(instances.values()))
    return Clustered(
        network, training.train_windows, dict(zip(instances, labels, strict=True)), epoch
    )


@torch.no_grad()
def window_importance(
    found: Clustered, settings: HiMPCSettings, chosen: np.ndarray
) -> dict[str, np.ndarray]:
    """Importance delta of the frames of training windows (n,), mean over the heads (H10).

    Returns:
        Level -> (n, f) float32. A row sums to 1; it is NaN where the window is an outlier.
    """
    if settings.mining == "none":
        raise ValueError("without mining frames have no importance")
    instances = encode(found.network, found.windows)
    result = {}
    for level, labels in found.labels.items():
        rows = torch.from_numpy(chosen).to(labels.device)
        inside = labels[rows] >= 0
        rows = rows[inside]
        delta = torch.full((len(chosen), found.windows[level].shape[1]), torch.nan)
        if len(rows):
            delta[inside.cpu()] = frame_importance(
                found.network[level](found.windows[level][rows]),
                labels[rows],
                cluster_means(instances[level], labels),
                found.network[level].heads,
                settings.temperature,
                focus=FOCUS[settings.mining],
                weights_over_temperature=settings.mining_scale == "tau",
            ).cpu()
        result[level] = delta.numpy()
    return result


def one_of_each(
    identity: np.ndarray, allowed: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw up to `count` allowed windows, of different persons where possible, ordered by person.

    Args:
        identity: (N,) int64 persons.
        allowed: (N,) bool, the windows to draw from.
        count: number of windows.
        rng: source of the draw.

    Returns:
        (n,) int64 places.
    """
    drawn = rng.permutation(np.flatnonzero(allowed))
    first = np.sort(np.unique(identity[drawn], return_index=True)[1])
    chosen = np.concatenate([drawn[first], np.delete(drawn, first)])[:count]
    return chosen[np.lexsort((chosen, identity[chosen]))]


def draw(words: Any) -> list[Path]:
    """Draw windows of a run with the importance of their frames."""
    run = RunDirectory(results.folder_of(words.run, pointer=POINTER))
    out = words.out or run.path / "importance.png"
    style.require_drawable(out)
    if words.count < 1 or words.seed < 0:
        raise UserError(
            f"--count {words.count} must be at least 1, and --seed {words.seed} at least 0."
        )
    settings = trained.settings_of(run, [METHOD], "does not weigh frames", words.data_root)
    if settings.mining == "none":
        raise UserError(
            f"{run.path} was trained with --mining none: its frames have no importance. Give a run "
            "with --mining hard or easy."
        )
    first: Mapping[str, Any] = next(iter(run.read_metrics()), {})
    chosen_by_training = {name: first[name] for name in ("eps", "min_samples") if name in first}
    settings = settings.but(**chosen_by_training)
    runtime = start()
    CONSOLE.notes(runtime.notes)
    data = trained.data_of(run, METHOD, settings)
    given = None if words.windows is None else given_windows(words.windows, len(data.train))
    weights = weights_of(run)
    if weights != run.best:
        CONSOLE.note(f"{run.path} has no {run.best.name}: the weights are those of {weights}")
    found = cluster_trained(weights, settings, data, runtime)
    chosen = drawn_windows(words.count, words.seed, found, data) if given is None else given
    importance = window_importance(found, settings, chosen)
    pictured = windows_of(chosen, importance, settings, data)
    skeleton = drawn_skeleton(settings, data)
    heading, text = trained.heading("Hi-MPC", settings, data), caption(settings, found)
    persons = labels_of(data.train.identity[chosen], data.identities)
    clusters = {level: y.cpu().numpy()[chosen] for level, y in found.labels.items()}
    numbers = picture.as_csv(chosen, persons, clusters, importance)
    return style.save_with_numbers(
        lambda file: picture.draw(pictured, skeleton, heading, text, file), numbers, out
    )


def given_windows(text: str, available: int) -> np.ndarray:
    """(n,) int64 from "12,40,7"; UserError where one is no training window."""
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if not (word.isascii() and word.isdecimal() and int(word) < available):
            raise UserError(
                f"--windows {text}: {word!r} is no training window; they are numbered from 0 to "
                f"{available - 1}, joined by commas."
            )
    return np.array([int(word) for word in words], dtype=np.int64)


def drawn_windows(count: int, seed: int, found: Clustered, data: Experiment) -> np.ndarray:
    """(n,) int64: windows of different persons that are clustered at all levels."""
    rng = np.random.default_rng(seed)
    chosen = one_of_each(data.train.identity, found.everywhere, count, rng)
    if len(chosen) == 0:
        raise UserError(
            "no training window is clustered at every level with these weights. Give windows with "
            "--windows to see the levels at which they are clustered."
        )
    if len(chosen) < count:
        text = f"--count {count}: only {{}} [window is|windows are] clustered at all levels"
        CONSOLE.note(numbered(text, len(chosen)))
    return chosen


def drawn_skeleton(settings: HiMPCSettings, data: Experiment) -> Skeleton:
    """The true names of the joint axis; training on KGBD in raw order uses other names."""
    if settings.place.read_spec().skeleton is KGBD_FILE and settings.joints.kgbd_order == "raw":
        return KGBD_FILE
    return data.skeleton


def windows_of(
    chosen: np.ndarray,
    importance: dict[str, np.ndarray],
    settings: HiMPCSettings,
    data: Experiment,
) -> list[picture.Window]:
    """The content of the picture for each chosen window."""
    if is_measured(settings.joints.parts):  # a frame is no longer drawn from what describes it
        joints = load_joints(settings).train.windows[chosen]
    else:
        joints = data.train.windows[chosen]
    points = body_levels(joints, data.skeleton, settings.level_names)
    windows = []
    persons = labels_of(data.train.identity[chosen], data.identities)
    for i, (window, person) in enumerate(zip(chosen, persons, strict=True)):
        outlier_at = [level for level, rows in importance.items() if np.isnan(rows[i]).any()]
        windows.append(
            picture.Window(
                f"person {person}, window {window}",
                note(outlier_at, settings),
                joints[i],
                {level: rows[i] for level, rows in points.items()},
                {level: rows[i] for level, rows in importance.items()},
            )
        )
    return windows


def note(outlier_at: list[str], settings: HiMPCSettings) -> str:
    """A remark on a window that is an outlier at some levels."""
    if not outlier_at:
        return ""
    if len(outlier_at) == len(settings.level_names):
        return "Outlier: not learned from in this epoch."
    outlier = f"Outlier at {' and '.join(outlier_at)}"
    left_out = settings.outlier_rule == "any_level"
    return f"{outlier}: not learned from at any level." if left_out else f"{outlier}."


def caption(settings: HiMPCSettings, found: Clustered) -> str:
    """The caption of the picture."""
    heads = {0: "without heads", 1: "one head"}.get(settings.M, f"mean over {settings.M} heads")
    return (
        f"Importance of each frame at each level ({heads}; the frames of a window sum to 1), "
        f"weights of epoch {found.epoch}. {_MINED[settings.mining]}"
    )
