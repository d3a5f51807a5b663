"""Further ways of matching the features of a trained run (docs/matching.md).

They never replace the plain figures: what comes out has titles and a table of its own.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from simmc.config import MatchingSettings
from simmc.config.matching import WHOLE
from simmc.data.loaders import Experiment
from simmc.errors import UserError
from simmc.evaluation.expansion import expanded
from simmc.evaluation.ranking import Retrieval, evaluate
from simmc.evaluation.reranking import rerank
from simmc.evaluation.walks import of_walks, pooled, walks_of
from simmc.methods.matching import Matched, retrieval_record
from simmc.runs.runtime import Runtime

Row = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """What is matched with the other side.

    Attributes:
        features: (N, d) float, of windows or walks.
        identity: (N,) int64.
    """

    features: np.ndarray
    identity: np.ndarray


def check_matching(settings: MatchingSettings, data: Experiment) -> None:
    """Refuse, before anything is worked out, what these data do not allow."""
    if not settings.other_matching:
        return
    flags = " ".join(settings.other_matching)
    if data.same_windows and settings.same_condition_map != "remove_self":
        raise UserError(
            f"{flags}: probe and gallery are the same windows here, and --same_condition_map "
            f"{settings.same_condition_map} leaves out whatever is at rank 1, which need not be "
            "the probe itself any more. Use --same_condition_map remove_self."
        )
    half_expanded = bool(settings.expand) and settings.expand_gallery == "off"
    if data.same_windows and settings.rerank == "on" and half_expanded:
        raise UserError(
            f"{flags}: probe and gallery are the same windows here and have to stay the same for "
            "--rerank; add --expand_gallery on."
        )
    if settings.walk and (data.probe.recording is None or data.gallery.recording is None):
        raise UserError(
            f"--walk {settings.walk}: {settings.data_root} does not say which windows of "
            f"{settings.dataset} come from one recording. Cut them again with Preprocess.py, which "
            "writes recording_*.npy, or leave --walk out."
        )


def rematched(
    found: Matched, settings: MatchingSettings, data: Experiment, runtime: Runtime, ranks: int
) -> dict[str, list[Row]]:
    """Match the features of a retrieval in the further ways that are asked for.

    Args:
        found: what was retrieved by plain matching.
        settings: the ways; `check_matching` has passed them.
        data: whose probe and gallery.
        runtime: threads.
        ranks: length of the CMC curve.

    Returns:
        Rows by what is matched, "windows" and "walks": `title`, figures, `cmc`, numbers of `probe`
        and `gallery`, and `seconds`.
    """
    windows = (
        Side(_array(found.probe), data.probe.identity),
        Side(_array(found.gallery), data.gallery.identity),
    )
    tables: dict[str, list[Row]] = {}
    how = _title(settings)
    if how:
        tables["windows"] = [_row(how, windows, settings, data, runtime, ranks, plain=False)]
    if settings.walk:
        begin = time.perf_counter()
        walks = _walks(windows, settings, data)
        spent = time.perf_counter() - begin
        length = "whole recordings" if settings.walk == WHOLE else f"walks of {settings.walk}"
        rows = [_row(length, walks, settings, data, runtime, ranks, plain=True)]
        if how:
            rows.append(
                _row(f"{length}, {how}", walks, settings, data, runtime, ranks, plain=False)
            )
        tables["walks"] = [row | {"seconds": row["seconds"] + spent} for row in rows]
    return tables


def _title(settings: MatchingSettings) -> str:
    """What is done beside pooling, in words; nothing where nothing is."""
    parts = []
    if settings.expand:
        more = ", gallery too" if settings.expand_gallery == "on" else ""
        parts.append(f"expanded by {settings.expand} (alpha {settings.expand_alpha:g}{more})")
    if settings.rerank == "on":
        parts.append(
            f"re-ranked (k1 {settings.rerank_k1}, k2 {settings.rerank_k2}, lambda "
            f"{settings.rerank_lambda:g})"
        )
    return ", ".join(parts)


def _walks(
    windows: tuple[Side, Side], settings: MatchingSettings, data: Experiment
) -> tuple[Side, Side]:
    """Walks in the place of windows; one object where probe and gallery are one list."""
    size = None if isinstance(settings.walk, str) else settings.walk

    def pool(side: Side, recording: np.ndarray | None) -> Side:
        assert recording is not None  # `check_matching`
        walk = walks_of(recording, size)
        features = pooled(side.features, walk, unit=settings.unit_features)
        return Side(features, of_walks(side.identity, walk))

    probe = pool(windows[0], data.probe.recording)
    return probe, probe if data.same_windows else pool(windows[1], data.gallery.recording)


def _row(
    title: str,
    sides: tuple[Side, Side],
    settings: MatchingSettings,
    data: Experiment,
    runtime: Runtime,
    ranks: int,
    *,
    plain: bool,
) -> Row:
    """Match one way; `plain`: neither expanded nor re-ranked."""
    begin = time.perf_counter()
    probe, gallery = sides
    if settings.expand and not plain:
        probe, gallery = _expanded(probe, gallery, settings, data.same_windows, runtime)
    found = _ranked(probe, gallery, settings, data.same_windows, runtime, plain=plain)
    return {
        "title": title,
        **retrieval_record(found),
        "cmc": None if found.no_rates else found.cmc(ranks).tolist(),
        "probe": len(probe.identity),
        "gallery": len(gallery.identity),
        "seconds": time.perf_counter() - begin,
    }


def _expanded(
    probe: Side, gallery: Side, settings: MatchingSettings, same: bool, runtime: Runtime
) -> tuple[Side, Side]:
    """Both sides after query expansion; the gallery's own only where that is asked for."""

    def move(side: Side, own: bool) -> Side:
        features = expanded(
            side.features,
            gallery.features,
            settings.expand,
            alpha=settings.expand_alpha,
            own=own,
            unit=settings.unit_features,
            threads=runtime.threads,
        )
        return Side(features, side.identity)

    moved = move(probe, same)
    if settings.expand_gallery == "off":
        return moved, gallery
    return moved, moved if same else move(gallery, True)


def _ranked(
    probe: Side,
    gallery: Side,
    settings: MatchingSettings,
    same: bool,
    runtime: Runtime,
    *,
    plain: bool,
) -> Retrieval:
    """The gallery ranked for every probe, by exact distances whatever --eval_sqrt is."""
    how: dict[str, Any] = {
        "self_index": np.arange(len(probe.identity)) if same else None,
        "same_condition": settings.same_condition_map if same else None,
        "threads": runtime.threads,
    }
    both = (probe.features, probe.identity, gallery.features, gallery.identity)
    if plain or settings.rerank == "off":
        return evaluate(*both, **how)
    return rerank(
        *both,
        k1=settings.rerank_k1,
        k2=settings.rerank_k2,
        share=settings.rerank_lambda,
        **how,
    )


def _array(features: torch.Tensor) -> np.ndarray:
    """Features in the CPU's memory."""
    return features.detach().cpu().numpy()
