"""Small charts as inline SVG, in the colours of `page.css`; never by colour alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape as _escape
from importlib import resources

import numpy as np

_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 8, 8, 24  # margins
_POINTS = 240  # of a line


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a chart; a dashed one may share name and colour with another."""

    name: str
    values: np.ndarray  # (T,) float, NaN: a gap
    colour: int  # 0 to 4
    dashed: bool


def escape(text: object) -> str:
    """Text for HTML; what is not UTF-8 becomes a question mark."""
    return _escape(str(text).encode("utf-8", "replace").decode())


def asset(name: str) -> str:
    """The text of a file beside this one, for a page."""
    return resources.files("simmc.reports").joinpath(name).read_text(encoding="utf-8")


def swatch(colour: int, dashed: bool) -> str:
    """A short piece of a line, for a key."""
    side = "right" if dashed else "left"
    return (
        '<svg viewBox="0 0 28 10" aria-hidden="true">'
        f'<path class="trace {side} c{colour}" d="M0 5H28" stroke-width="3"/></svg>'
    )


def over_time(title: str, lines: Sequence[Line], first: int, unit: str) -> str:
    """Lines over the frames of a recording, from `first` on, with a mark that a script may move."""
    width, height = 340, 170
    count = len(lines[0].values)
    low, high, ticks = _scale(np.concatenate([line.values for line in lines]))
    x = np.linspace(_LEFT, width - _RIGHT, count) if count > 1 else np.array([_LEFT])
    which = np.unique(np.linspace(0, count - 1, min(count, _POINTS)).astype(int))
    parts = _frame(width, height, low, high, ticks)
    for value, anchor in ((0, "start"), (count - 1, "end")):
        parts.append(
            f'<text x="{x[value]:.0f}" y="{height - 7}" text-anchor="{anchor}">'
            f"{'frame ' if value == 0 else ''}{first + value:,}</text>"
        )
    for line in lines:
        y = _place(line.values, low, high, height)
        parts.append(_trace(line, x[which], y[which]))
    parts.append(
        f'<line class="now" data-from="{_LEFT}" data-to="{width - _RIGHT}" x1="{_LEFT}" '
        f'x2="{_LEFT}" y1="{_TOP}" y2="{height - _BOTTOM}"/>'
    )
    names = {line.name: line.colour for line in lines}  # left and right share name and colour
    keys = "".join(
        f'<span class="key">{swatch(colour, False)}{escape(name)}</span>'
        for name, colour in names.items()
    )
    return (
        f'<figure class="chart"><h3>{escape(title)} <span class="soft">({escape(unit)})</span></h3>'
        f"{svg(width, height, title + ': lengths of bones over time', parts)}"
        f"<figcaption>{keys}</figcaption></figure>"
    )


def over_recordings(
    title: str,
    values: np.ndarray,
    groups: Sequence[tuple[str, np.ndarray]],
    odd: dict[int, str],
    *,
    limit: float | None = None,
    about: str = "",
) -> str:
    """A dot a recording; those to check are triangles with a name.

    Args:
        title: of the chart.
        values: (R,) float; NaN: not shown.
        groups: name and indices of recordings, drawn one group after another.
        odd: index of a recording to check -> its name.
        limit: a dashed line.
        about: what the values are.
    """
    width, height = 1100, 240
    shown = values[np.isfinite(values)]
    low, high, ticks = _scale(shown if limit is None else np.append(shown, [limit, 0]))
    total = max(1, sum(len(group) for _, group in groups))
    parts = _frame(width, height, low, high, ticks)
    if limit is not None:
        at = _place(np.array([limit]), low, high, height)[0]
        parts.append(f'<path class="limit" d="M{_LEFT} {at:.1f}H{width - _RIGHT}"/>')
    before, marks = 0, []
    for colour, (name, group) in enumerate(groups):
        x = _LEFT + 6 + (np.arange(len(group)) + before) / total * (width - _LEFT - _RIGHT - 12)
        y = _place(values[group], low, high, height)
        parts.append(f'<path class="dots c{colour % 5}" d="{_dots(x, y)}"/>')
        if colour:
            at = x[0] - 2 if len(x) else 0
            parts.append(f'<path class="axis" d="M{at:.1f} {_TOP}V{height - _BOTTOM}"/>')
        if len(group):
            parts.append(
                f'<text x="{x[0]:.0f}" y="{height - 7}">{escape(name)} ({len(group):,})</text>'
            )
        marks += [(i, a, b) for i, a, b in zip(group, x, y, strict=True) if i in odd]
        before += len(group)
    for number, (i, a, b) in enumerate(mark for mark in marks if np.isfinite(mark[2])):
        parts.append(
            f'<path class="odd" d="M{a:.1f} {b - 7:.1f}l6 11h-12z"><title>{escape(odd[i])}: '
            f"{values[i]:.3g}</title></path>"
        )
        if number < 12:  # more names would cover each other
            anchor = "end" if a > width * 0.6 else "start"
            shift = -9 if anchor == "end" else 9
            parts.append(
                f'<text x="{a + shift:.0f}" y="{b + 4:.1f}" text-anchor="{anchor}">'
                f"{escape(_short(odd[i]))}</text>"
            )
    chart = svg(width, height, title, parts)
    return (
        f'<figure class="wide"><h3>{escape(title)}</h3>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(title)}">{chart}</div>'
        f"<figcaption>{escape(about)}</figcaption></figure>"
    )


def by_rank(title: str, lines: Sequence[Line], about: str) -> str:
    """CMC curves: lines over the ranks 1, 2, ..., percent.

    Args:
        title: of the chart, in plain text.
        lines: at least one; they may end at different ranks.
        about: the text below the chart.
    """
    width, height = 420, 240
    low, high, ticks = _scale(np.concatenate([line.values for line in lines]))
    last = max(2, *(len(line.values) for line in lines))
    x = np.linspace(_LEFT + 6, width - _RIGHT - 6, last)
    parts = _frame(width, height, low, high, ticks)
    ranks = (1, 5, 10, 20) if last < 30 else (1, 10, 20, 30, 40, 50)
    for rank in (rank for rank in ranks if rank <= last):
        text, at = f"rank {rank}" if rank == 1 else str(rank), x[rank - 1]
        parts.append(f'<text x="{at:.0f}" y="{height - 7}" text-anchor="middle">{text}</text>')
    for line in lines:
        y = _place(line.values, low, high, height)
        parts.append(_trace(line, x[: len(y)], y))
    keys = "".join(
        f'<span class="key">{swatch(line.colour, line.dashed)}{escape(line.name)} '
        f"{line.values[0]:.1f}</span> "
        for line in lines
    )
    return plot(title, svg(width, height, title, parts), f"{keys}<br>{escape(about)}")


def strips(title: str, names: Sequence[str], values: np.ndarray, about: str) -> str:
    """A row for each name: a dot for each value, and a line from the least to the largest.

    Args:
        title: of the chart.
        names: of the P rows.
        values: (R, P) floats, points of percent; NaN: no dot.
        about: the text below the chart.
    """
    width, left, step = 420, 120, 16
    height = step * len(names) + 30
    low, high = min(0.0, float(np.nanmin(values))), max(100.0, float(np.nanmax(values)))
    low = -100.0 if low < 0 else 0.0

    def at(value: float) -> float:
        return left + (width - left - 14) * (value - low) / (high - low)

    parts = [
        f'<path class="axis" d="M{at(tick):.1f} 4V{height - 22}"/>'
        f'<text x="{at(tick):.1f}" y="{height - 7}" text-anchor="middle">{tick:g}</text>'
        for tick in np.linspace(low, high, 5)
    ]
    for place, name in enumerate(names):
        y, seen = 12 + step * place, values[:, place][np.isfinite(values[:, place])]
        ends = at(float(seen.min())), at(float(seen.max()))
        dots = "".join(f"M{at(float(value)):.1f} {y}h0" for value in seen)
        parts.append(
            f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{escape(_short(name))}</text>'
            f'<path class="trace c0" d="M{ends[0]:.1f} {y}H{ends[1]:.1f}"/>'
            f'<path class="dots c1" d="{dots}"/>'
        )
    return plot(title, svg(width, height, title, parts), escape(about))


def plot(title: str, drawing: str, about: str) -> str:
    """A drawing with its title (plain text) and what it shows (HTML)."""
    return (
        f'<figure class="plot"><h4>{escape(title)}</h4>{drawing}'
        f"<figcaption>{about}</figcaption></figure>"
    )


def bar(share: float) -> str:
    """A bar that shows a share; the number belongs beside it."""
    return (
        '<svg class="bar" viewBox="0 0 120 12" aria-hidden="true">'
        '<rect class="all" width="120" height="12"/>'
        f'<rect width="{120 * min(1.0, max(0.0, share)):.1f}" height="12"/></svg>'
    )


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"...{name[-25:]}"


def svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    """A drawing of its parts, with a name for those who do not see it."""
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _frame(width: int, height: int, low: float, high: float, ticks: np.ndarray) -> list[str]:
    """Lines and numbers of the vertical axis."""
    parts = []
    for tick, y in zip(ticks, _place(ticks, low, high, height), strict=True):
        parts.append(f'<path class="axis" d="M{_LEFT} {y:.1f}H{width - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
    return parts


def _scale(values: np.ndarray) -> tuple[float, float, np.ndarray]:
    """The ends of the axis, and round numbers between them."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    room = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    low, high = (0.0 if 0 <= low < 0.4 * high else low - room), high + room
    rough = (high - low) / 4
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(s for s in (1, 2, 5, 10) if s * power >= rough * 0.999)
    ticks = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    return low, high, ticks


def _place(values: np.ndarray, low: float, high: float, height: int) -> np.ndarray:
    share = (values - low) / (high - low)
    return height - _BOTTOM - share * (height - _TOP - _BOTTOM)


def _trace(line: Line, x: np.ndarray, y: np.ndarray) -> str:
    side = "right" if line.dashed else "left"
    return f'<path class="trace {side} c{line.colour}" d="{_path(x, y)}"/>'


def _path(x: np.ndarray, y: np.ndarray) -> str:
    """A line through points; NaN interrupts it."""
    parts, pen = [], "M"
    for a, b in zip(x, y, strict=True):
        if np.isfinite(b):
            parts.append(f"{pen}{a:.1f} {b:.1f}")
            pen = "L"
        else:
            pen = "M"
    return "".join(parts)


def _dots(x: np.ndarray, y: np.ndarray) -> str:
    known = np.isfinite(y)
    return "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x[known], y[known], strict=True))
