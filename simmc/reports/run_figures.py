"""Figures of a trained run on the results page: t-SNE, rank lists that move, confusion.

Shape letters: P probe windows, G gallery windows, d features, q shown probes, k shown ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simmc.data.skeletons import Skeleton
from simmc.reports import charts
from simmc.reports.body_view import view
from simmc.reports.charts import Line, escape
from simmc.reports.moving import packed, script_data

RANKS = 5  # gallery windows of a rank list
PERSONS = 10  # of the t-SNE, as in the papers' figures
_MOST = 2000  # windows of the t-SNE
_RATE = 6.0  # frames a second: windows are short
_SIDE = 400  # of a drawing
_LEVELS = (0.05, 0.2, 0.4, 0.6, 0.8)  # shares of a row from which a cell is darker
_CONFUSED, _MOST_CELLS = 8, 200  # pairs that are named; persons in the matrix


@dataclass(frozen=True, eq=False)
class Embedded:
    """A trained run, its features, and the windows that are shown.

    Attributes:
        title: method, data, fidelity and seed.
        about: which weights.
        features: (P, d) float32 of the probe windows.
        identity: (P,) int64 labels of the probe; below 0: not scored.
        gallery_identity: (G,) int64.
        nearest: (P, RANKS or fewer) int64 gallery windows, nearest first.
        recording: (P,) names of the probe windows' recordings; None: unknown.
        shown: (q,) int64 probe windows of the rank lists.
        first_match: (q,) int64 ranks of their first match, 0: none.
        probe_windows: (q, f, J, 3) float, y upwards.
        gallery_windows: (q, k, f, J, 3) float.
        skeleton: names the joint axis.
        cmc: protocol -> percent at ranks 1, 2, ...
    """

    title: str
    about: str
    features: np.ndarray
    identity: np.ndarray
    gallery_identity: np.ndarray
    nearest: np.ndarray
    recording: np.ndarray | None
    shown: np.ndarray
    first_match: np.ndarray
    probe_windows: np.ndarray
    gallery_windows: np.ndarray
    skeleton: Skeleton
    cmc: dict[str, list[float]]


def data_of(runs: Sequence[Embedded]) -> str:
    """What the script draws: the windows of all rank lists."""
    recordings = [
        packed(_turned(window, run.skeleton), body)
        for body, run in enumerate(runs)
        for probe, gallery in zip(run.probe_windows, run.gallery_windows, strict=True)
        for window in (probe, *gallery)
    ]
    return script_data(_RATE, [run.skeleton for run in runs], recordings)


def _turned(window: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """A window (f, J, 3) seen from where it is widest: to the right, up, and no depth."""
    seen = window @ view(window, skeleton)
    return np.concatenate([seen, np.zeros_like(seen[..., :1])], axis=-1)


def section(run: Embedded, number: int, first: int) -> str:
    """The section of a run.

    Args:
        run: what is drawn.
        number: of the section, from 1.
        first: number of its first window in `data_of`.
    """
    return (
        f'<section id="run-{number}"><h3 class="run">{escape(run.title)}</h3>'
        f'<p class="note">{escape(run.about)}</p><div class="pair">{_cmc(run)}{tsne(run)}'
        f"{confusion(run)}</div>{_rank_lists(run, first)}</section>"
    )


def _cmc(run: Embedded) -> str:
    names: dict[tuple[float, ...], list[str]] = {}
    for name, rates in run.cmc.items():  # protocols that chose the same epoch share a line
        names.setdefault(tuple(rates), []).append(name)
    lines = [
        Line(", ".join(name), np.array(rates), place, dashed=place > 0)
        for place, (rates, name) in enumerate(names.items())
    ]
    about = "Probe windows with a right match among the k nearest gallery windows, percent."
    return charts.by_rank("CMC", lines, about) if lines else ""


def tsne(run: Embedded, seed: int = 0) -> str:
    """t-SNE of the probe windows of the first ten persons, as SVG; "" for fewer than two."""
    persons = np.unique(run.identity[run.identity >= 0])[:PERSONS]
    rows = np.flatnonzero(np.isin(run.identity, persons))
    whole = len(rows)
    if whole > _MOST:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:_MOST])
    if len(persons) < 2 or len(rows) < 8:
        return ""
    from sklearn.manifold import TSNE

    features = run.features[rows].astype(np.float64)
    found = TSNE(
        perplexity=min(30, (len(rows) - 1) / 3),
        init="pca" if min(features.shape) > 1 else "random",
        random_state=seed,
    ).fit_transform(features)
    low, high = found.min(0), found.max(0)
    places = 20 + (found - low) / np.maximum(high - low, 1e-9) * (_SIDE - 40)
    groups, labels = [], []
    for turn, person in enumerate(persons):
        own = places[run.identity[rows] == person]
        if not len(own):
            continue
        shape = "dots" if turn < 5 else "dots square"
        dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in own)
        groups.append(f'<path class="{shape} c{turn % 5}" opacity=".75" d="{dots}"/>')
        x, y = np.median(own, axis=0)
        labels.append(
            f'<text class="halo" x="{x:.0f}" y="{y:.0f}" text-anchor="middle">{person}</text>'
        )
    title = f"t-SNE of the first {len(persons)} persons"
    about = (
        f"{len(rows):,} of their {whole:,} probe windows, a point each; the number of a person is "
        "at the middle of its points. The first five are round, the others square."
    )
    return charts.plot(title, charts.svg(_SIDE, _SIDE, title, groups + labels), about)


def confusion(run: Embedded) -> str:
    """Persons of the nearest gallery windows by person of the probe, as SVG and in words."""
    scored = run.identity >= 0
    true, named = run.identity[scored], run.gallery_identity[run.nearest[scored, 0]]
    everyone = np.unique(np.concatenate([true, named]))
    persons = everyone[:_MOST_CELLS]
    kept = np.isin(true, persons) & np.isin(named, persons)
    counts = np.zeros((len(persons), len(persons)), np.int64)
    np.add.at(counts, tuple(np.searchsorted(persons, [true[kept], named[kept]])), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    level = np.searchsorted(_LEVELS, shares, side="right")
    level[counts == 0] = -1
    cell = _SIDE / len(persons)
    parts = [f'<path class="axis" d="M0 0H{_SIDE}V{_SIDE}H0Z"/>']
    for number in range(len(_LEVELS) + 1):
        path = "".join(
            f"M{x * cell:.1f} {y * cell:.1f}h{cell:.1f}v{cell:.1f}h-{cell:.1f}z"
            for y, x in np.argwhere(level == number)
        )
        if path:
            parts.append(f'<path class="cell" opacity="{_opacity(number):.2f}" d="{path}"/>')
    ends = (0.0, *_LEVELS, 1.0)
    keys = " ".join(
        f'<span class="key"><svg viewBox="0 0 28 10" aria-hidden="true"><rect class="cell" '
        f'width="28" height="10" opacity="{_opacity(number):.2f}"/></svg>'
        f"{100 * ends[number]:.0f} to {100 * ends[number + 1]:.0f}</span>"
        for number in range(len(_LEVELS) + 1)
    )
    wrong = counts - np.diag(np.diag(counts))
    pairs = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSED]
    words = [
        f"{persons[y]} as {persons[x]}, {wrong[y, x]} of {counts[y].sum()}"
        for y, x in zip(*np.unravel_index(pairs, wrong.shape), strict=True)
        if wrong[y, x]
    ]
    title = f"Confusion of {len(persons)} persons"
    about = (
        f"{keys}<br>Rows: persons of the probe; columns: persons of the nearest gallery window; "
        "percent of a row. "
        + (
            ""
            if kept.all()
            else f"The first of {len(everyone)}; windows with others are left out. "
        )
        + (f"Most often taken for another: {'; '.join(words)} windows. " if words else "")
        + escape(_by_recording(run))
    )
    return charts.plot(title, charts.svg(_SIDE, _SIDE, title, parts), about)


def _opacity(level: int) -> float:
    return 0.12 + 0.88 * level / len(_LEVELS)


def _by_recording(run: Embedded) -> str:
    """How many probe recordings are matched in all of their windows, or in none."""
    if run.recording is None:
        return ""
    scored = run.identity >= 0
    right = (run.gallery_identity[run.nearest[:, 0]] == run.identity)[scored]
    names, place = np.unique(run.recording[scored], return_inverse=True)
    rates = np.bincount(place, weights=right) / np.bincount(place)
    none, whole = (rates < 0.1).sum(), (rates > 0.9).sum()
    worst = ", ".join(names[np.argsort(rates, kind="stable")[:3]])
    return (
        f"Of {len(names)} probe recordings {whole} are matched in over 90 % of their windows, "
        f"{none} in under 10 %; the worst: {worst}."
    )


def _rank_lists(run: Embedded, first: int) -> str:
    cards, step = [], 1 + run.gallery_windows.shape[1]
    for place, probe in enumerate(run.shown):
        person, rank = run.identity[probe], run.first_match[place]
        figures = [_figure("probe", "Probe", f"person {person}", first + place * step)]
        for number, other in enumerate(run.nearest[probe], start=1):
            named = run.gallery_identity[other]
            kind, mark = ("hit", "&#10003;") if named == person else ("miss", "&#10007;")
            about = f"{mark} person {named}"
            figures.append(_figure(kind, str(number), about, first + place * step + number))
        name = f"Person {person}: " + (
            f"first match at rank {rank}" if rank else "no match in the gallery"
        )
        last = run.probe_windows.shape[1] - 1
        cards.append(
            f'<article class="recording"><header><h5>{name}</h5></header><div>'
            f'<div class="views ranks" tabindex="0" role="group" aria-label="{name}. Space plays '
            f'and pauses, the arrow keys step">{"".join(figures)}</div><div class="at">'
            f'<input type="range" min="0" max="{last}" value="0" aria-label="Frame, {name}">'
            "<output></output></div></div></article>"
        )
    return (
        "<h4>Rank lists</h4><p>Probe windows drawn at random, of different persons: first those "
        "whose nearest gallery window shows the same person, then others. Seen from the side on "
        f"which they are widest, at {_RATE:g} frames a second, and in one scale.</p>"
        + "".join(cards)
    )


def _figure(kind: str, head: str, about: str, recording: int) -> str:
    return (
        f'<figure class="{kind}"><canvas class="body" data-view="front" '
        f'data-recording="{recording}" role="img" aria-label="{head}: {about}"></canvas>'
        f"<figcaption>{head}<br>{about}</figcaption></figure>"
    )


def choose(right: np.ndarray, identity: np.ndarray, count: int = 2, seed: int = 0) -> np.ndarray:
    """Probe windows for rank lists: so many matched right, then so many wrong.

    Args:
        right: (P,) bool, whether the nearest gallery window shows the same person.
        identity: (P,) int64; below 0: not drawn.
        count: of each kind; fewer where there are fewer.
        seed: of the draw.

    Returns:
        (q,) int64 places, of different persons where possible.
    """
    rng, chosen = np.random.default_rng(seed), np.empty(0, np.int64)
    for kind in (right, ~right):
        drawn = rng.permutation(np.flatnonzero(kind & (identity >= 0)))
        others = drawn[~np.isin(identity[drawn], identity[chosen])]
        drawn = others if len(others) else drawn
        first = np.sort(np.unique(identity[drawn], return_index=True)[1])
        chosen = np.concatenate([chosen, drawn[first][:count]])
    return chosen
