"""Further ways of matching the features of a trained run (docs/matching.md).

They never replace the plain figures: what comes out has titles and a table of its own.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from simmc.data.experiment.experiment import Experiment
from simmc.errors import UserError
from simmc.evaluation.expansion import expanded
from simmc.evaluation.ranking import Retrieval, evaluate
from simmc.evaluation.reranking import rerank
from simmc.evaluation.tracklets import of_walks, pooled, walks_of
from simmc.runs.runtime import Runtime
from simmc.scoring.match import CMC_RANKS, Matched, MatchRule, retrieval_record
from simmc.settings.groups import WHOLE, Place, Rematch

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


def check_matching(settings: Rematch, same_condition: str, data: Experiment, place: Place) -> None:
    """Refuse, before anything is computed, what these data do not allow."""
    if not settings.flags:
        return
    flags = " ".join(settings.flags)
    if data.same_windows and same_condition != "remove_self":
        raise UserError(
            f"{flags}: probe and gallery are the same windows here, and --same_condition_map "
            f"{same_condition} leaves out whatever is at rank 1, which need not be "
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
            f"--walk {settings.walk}: {place.data_root} does not say which windows of "
            f"{place.dataset} come from one recording. Cut them again with Preprocess.py, which "
            "writes recording_*.npy, or leave --walk out."
        )


@dataclass(frozen=True)
class How:
    """How sides are matched again; distances are exact whatever the rule says of negative ones."""

    settings: Rematch
    rule: MatchRule
    same: bool
    unit: bool
    threads: int


def rematched(
    found: Matched,
    settings: Rematch,
    rule: MatchRule,
    data: Experiment,
    runtime: Runtime,
    *,
    unit: bool,
) -> dict[str, list[Row]]:
    """Match the features of a retrieval in the further ways that are asked for.

    Returns:
        Rows by what is matched, "windows" and "walks": `title`, figures, `cmc`, numbers of `probe`
        and `gallery`, and `seconds`.
    """
    how = How(settings, rule, data.same_windows, unit, runtime.threads)
    windows = (
        Side(_array(found.probe), data.probe.identity),
        Side(_array(found.gallery), data.gallery.identity),
    )
    tables: dict[str, list[Row]] = {}
    title = _title(settings)
    if title:
        tables["windows"] = [_row(title, windows, how, plain=False)]
    if settings.walk:
        begin = time.perf_counter()
        walks = _walks(windows, how, data)
        spent = time.perf_counter() - begin
        length = "whole recordings" if settings.walk == WHOLE else f"walks of {settings.walk}"
        rows = [_row(length, walks, how, plain=True)]
        if title:
            rows.append(_row(f"{length}, {title}", walks, how, plain=False))
        tables["walks"] = [row | {"seconds": row["seconds"] + spent} for row in rows]
    return tables


def _title(settings: Rematch) -> str:
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


def _walks(windows: tuple[Side, Side], how: How, data: Experiment) -> tuple[Side, Side]:
    """Walks in the place of windows; one object where probe and gallery are one list."""
    size = None if isinstance(how.settings.walk, str) else how.settings.walk

    def pool(side: Side, recording: np.ndarray | None) -> Side:
        assert recording is not None  # `check_matching`
        walk = walks_of(recording, size)
        features = pooled(side.features, walk, unit=how.unit)
        return Side(features, of_walks(side.identity, walk))

    probe = pool(windows[0], data.probe.recording)
    return probe, probe if how.same else pool(windows[1], data.gallery.recording)


def _row(title: str, sides: tuple[Side, Side], how: How, *, plain: bool) -> Row:
    """Match one way; `plain`: neither expanded nor re-ranked."""
    begin = time.perf_counter()
    probe, gallery = sides
    if how.settings.expand and not plain:
        probe, gallery = _expanded(probe, gallery, how)
    found = _ranked(probe, gallery, how, plain=plain)
    return {
        "title": title,
        **retrieval_record(found),
        "cmc": None if found.no_rates else found.cmc(CMC_RANKS).tolist(),
        "probe": len(probe.identity),
        "gallery": len(gallery.identity),
        "seconds": time.perf_counter() - begin,
    }


def _expanded(probe: Side, gallery: Side, how: How) -> tuple[Side, Side]:
    """Both sides after query expansion; the gallery's own only where that is asked for."""

    def move(side: Side, own: bool) -> Side:
        features = expanded(
            side.features,
            gallery.features,
            how.settings.expand,
            alpha=how.settings.expand_alpha,
            own=own,
            unit=how.unit,
            threads=how.threads,
        )
        return Side(features, side.identity)

    moved = move(probe, how.same)
    if how.settings.expand_gallery == "off":
        return moved, gallery
    return moved, moved if how.same else move(gallery, True)


def _ranked(probe: Side, gallery: Side, how: How, *, plain: bool) -> Retrieval:
    """The gallery ranked for every probe, by exact distances whatever --eval_sqrt is."""
    rule: dict[str, Any] = {
        "self_index": np.arange(len(probe.identity)) if how.same else None,
        "same_condition": how.rule.same_condition if how.same else None,
        "threads": how.threads,
    }
    both = (probe.features, probe.identity, gallery.features, gallery.identity)
    s = how.settings
    if plain or s.rerank == "off":
        return evaluate(*both, **rule)
    return rerank(*both, k1=s.rerank_k1, k2=s.rerank_k2, share=s.rerank_lambda, **rule)


def _array(features: torch.Tensor) -> np.ndarray:
    """Features in the CPU's memory."""
    return features.detach().cpu().numpy()
