"""Trained runs as `simmc report page --runs` draws them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simmc.cli.console import CONSOLE
from simmc.cli.trained import (
    Chosen,
    chosen_by,
    heading,
    require_same_data,
    require_stored_windows,
    settings_of,
)
from simmc.clustering import k_nearest_among, k_nearest_others
from simmc.data.experiment.experiment import Split, labels_of
from simmc.engine.method import LABEL_FREE, PAPER, load_joints
from simmc.errors import UserError
from simmc.evaluation.ranking import evaluate
from simmc.methods.registry import METHODS
from simmc.reports import results, run_figures
from simmc.reports.cells import Record
from simmc.reports.run_figures import RANKS, Embedded
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import Runtime, start

KINDS = [method for method in METHODS.values() if method.embeds]


def embedded_runs(
    folders: Sequence[Path], records: Sequence[Record], data_root: Path | None
) -> list[Embedded]:
    """What the page draws of some runs.

    Args:
        folders: of a run, of a dataset and probe, or of the runs of `simmc reproduce`; of the
            latter the first seed of every row is taken.
        records: say which rows there are.
        data_root: where the data are now; None: as trained.

    Raises:
        UserError: a folder holds no run that can be drawn.
    """
    runtime, found = start(), []
    CONSOLE.notes(runtime.notes)
    for folder in folders:
        if not (cells := cells_in(folder, records)):
            found.append(embedded(results.folder_of(folder), data_root, runtime))
        for cell in cells:
            try:
                found.append(embedded(cell, data_root, runtime))
            except UserError as error:
                CONSOLE.note(f"left out: {error}")
    return found


def cells_in(folder: Path, records: Sequence[Record]) -> list[Path]:
    """The runs of cells in a folder: of every row the first seed that is there."""
    rows: dict[tuple[str, ...], Path] = {}
    for record in sorted(records, key=lambda one: one.get("seed", 0)):
        runs = folder.glob(f"{record.get('key', ' ')}/models*/*/*/*/results.json")
        if last := max(runs, default=None, key=lambda path: path.parent.name):
            row = (*record["run"], record["dataset"], record["probe"], record["split"])
            rows.setdefault(row, last.parent)
    return list(rows.values())


def embedded(folder: Path, data_root: Path | None, runtime: Runtime) -> Embedded:
    """What the page draws of a run: the label-free weights, else those of the best epoch."""
    run = RunDirectory(folder)
    settings = settings_of(run, KINDS, "is not drawn on the page", data_root)
    method = METHODS[settings.COMMAND]
    require_stored_windows(run, settings, "--runs")
    kept = [(name, *chosen_by(run, name, method, settings)) for name in (LABEL_FREE, PAPER)]
    kept = [found for found in kept if found[1].is_file()]
    if not kept:
        raise UserError(f"{folder} kept no weights. Train it again without --save_model 0.")
    protocol, weights, settings = kept[0]
    chosen = Chosen(run, method, settings, weights, runtime)
    data, same = chosen.data, chosen.data.same_windows
    require_same_data(run, data)
    CONSOLE.say(f"{chosen.title}, epoch {chosen.embedder.epoch}: {chosen.weights}")
    probe = chosen.features(data.probe)
    gallery = probe if same else chosen.features(data.gallery)
    nearest = nearest_windows(probe, gallery, same=same, threads=runtime.threads)
    identity, other = (
        np.asarray(labels_of(s.identity, data.test_identities)) for s in (data.probe, data.gallery)
    )
    shown = run_figures.choose(other[nearest[:, 0]] == identity, identity)
    ranks = shown  # none, where no probe window has a label
    if len(shown):
        ranks = evaluate(
            *(probe[shown], identity[shown], gallery, other),
            self_index=shown if same else None,
            same_condition="remove_self" if same else None,
        ).first_match_rank
    probe_windows, gallery_windows = stored_windows(settings)
    return Embedded(
        title=heading(chosen.title, settings, data),
        about=f"Weights of epoch {chosen.embedder.epoch}, protocol {protocol}; "
        f"{len(probe):,} probe and {len(gallery):,} gallery windows.",
        features=probe,
        identity=identity,
        gallery_identity=other,
        nearest=nearest,
        recording=_names(data.probe, data.recordings),
        shown=shown,
        first_match=ranks,
        probe_windows=probe_windows[shown],
        gallery_windows=gallery_windows[nearest[shown]],
        skeleton=settings.place.read_spec().skeleton,
        cmc=_cmc(run),
    )


def nearest_windows(
    probe: np.ndarray, gallery: np.ndarray, *, same: bool, threads: int
) -> np.ndarray:
    """(P, RANKS or fewer) int64 gallery windows, nearest first; where both are one list, others."""
    if same:
        found = k_nearest_others(probe, RANKS, threads=threads)
    else:
        found = k_nearest_among(probe, gallery, RANKS, threads=threads)
    return found.indices.astype(np.int64)


def stored_windows(settings: Any) -> tuple[np.ndarray, np.ndarray]:
    """Probe and gallery windows (N, f, J, 3) as they are in the files, in their order."""
    data = load_joints(
        settings,
        joints=settings.joints.but(root="none", kgbd_order="raw"),
        windows=settings.windows.but(class_sampling="off", part_batches="keep"),
        shuffle=False,
    )
    return data.probe.windows, data.gallery.windows


def _names(split: Split, recordings: Sequence[Any]) -> np.ndarray | None:
    if split.recording is None or not recordings:
        return None
    names = np.array([str(recording["name"]) for recording in recordings])
    return names[split.recording]


def _cmc(run: RunDirectory) -> dict[str, list[float]]:
    """The curves of results.json, percent."""
    protocols = run.read_results()["protocols"] if run.results_path.is_file() else {}
    curves = {name: (found or {}).get("cmc") for name, found in protocols.items()}
    return {name: [100 * rate for rate in rates] for name, rates in curves.items() if rates}
