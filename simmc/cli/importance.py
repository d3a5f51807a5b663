"""`simmc report importance`: the frames that a Hi-MPC run's hard skeleton mining weighs most."""

from typing import Any

import numpy as np

from simmc.cli import console, trained
from simmc.config import HiMPCSettings
from simmc.data.levels import body_levels
from simmc.data.loaders import Experiment, labels_of
from simmc.data.skeletons import KGBD_FILE, Skeleton
from simmc.data.specs import reads_by_other_names
from simmc.errors import UserError
from simmc.methods.importance import Clustered, cluster_trained, one_of_each, window_importance
from simmc.reports import importance as picture
from simmc.reports import results, style
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import start

POINTER = "latest_himpc"  # names the newest run of Hi-MPC beside those of other methods
_MINED = {
    "hard": "Hard skeleton mining: darker frames are harder and weigh more.",
    "easy": "Easy mining: darker frames are easier and weigh more.",
}


def main(words: Any) -> int:
    """Draws windows of a run with the importance of their frames; prints the files' names."""
    run = RunDirectory(results.folder_of(words.run, pointer=POINTER))
    out = words.out or run.path / "importance.png"
    style.require_drawable(out)
    if words.count < 1 or words.seed < 0:
        raise UserError(
            f"--count {words.count} must be at least 1, and --seed {words.seed} at least 0."
        )
    settings = trained.settings_of(
        run, {HiMPCSettings.COMMAND: HiMPCSettings}, "does not weigh frames", words.data_root
    )
    if settings.mining == "none":
        raise UserError(
            f"{run.path} was trained with --mining none: its frames have no importance. Give a run "
            "with --mining hard or easy."
        )
    runtime = start()
    console.notes(runtime.notes)
    data = trained.data_of(run, settings)
    named = None if words.windows is None else named_windows(words.windows, len(data.train))
    weights = trained.weights_of(run)
    if weights != run.best:
        console.notes([f"{run.path} has no {run.best.name}: the weights are those of {weights}"])
    found = cluster_trained(weights, settings, data, runtime)
    chosen = drawn_windows(words.count, words.seed, found, data) if named is None else named
    importance = window_importance(found, settings, chosen)
    pictured = windows_of(chosen, importance, settings, data)
    skeleton = drawn_skeleton(settings, data)
    heading, text = trained.heading("Hi-MPC", settings, data), said(settings, found)
    persons = labels_of(data.train.identity[chosen], data.identities)
    clusters = {level: y.cpu().numpy()[chosen] for level, y in found.labels.items()}
    numbers = picture.as_csv(chosen, persons, clusters, importance)
    for file in style.save_with_numbers(
        lambda file: picture.draw(pictured, skeleton, heading, text, file), numbers, out
    ):
        print(file)
    return 0


def named_windows(text: str, available: int) -> np.ndarray:
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
            "no training window is clustered at every level with these weights. Name windows with "
            "--windows to see the levels at which they are."
        )
    if len(chosen) < count:
        console.notes([f"--count {count}: only {len(chosen)} windows are clustered at all levels."])
    return chosen


def drawn_skeleton(settings: HiMPCSettings, data: Experiment) -> Skeleton:
    """The true names of the joint axis; KGBD in raw order is learned from under other names."""
    if reads_by_other_names(settings.spec) and settings.kgbd_order == "raw":
        return KGBD_FILE
    return data.skeleton


def windows_of(
    chosen: np.ndarray,
    importance: dict[str, np.ndarray],
    settings: HiMPCSettings,
    data: Experiment,
) -> list[picture.Window]:
    """What the picture shows of each chosen window."""
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
    """What is said of a window that is an outlier at some levels."""
    if not outlier_at:
        return ""
    if len(outlier_at) == len(settings.level_names):
        return "Outlier: not learned from in this epoch."
    outlier = f"Outlier at {' and '.join(outlier_at)}"
    left_out = settings.outlier_rule == "any_level"
    return f"{outlier}: not learned from at any level." if left_out else f"{outlier}."


def said(settings: HiMPCSettings, found: Clustered) -> str:
    """The sentences under the heading."""
    heads = {0: "without heads", 1: "one head"}.get(settings.M, f"mean over {settings.M} heads")
    return (
        f"Importance of each frame at each level ({heads}; the frames of a window sum to 1), "
        f"weights of epoch {found.epoch}. {_MINED[settings.mining]}"
    )
