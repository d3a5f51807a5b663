"""One self-contained page about a stored set: counts, findings, moving recordings, bone lengths.

`simmc look` and `simmc import` write it. Nothing on it is fetched from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from simmc import __version__, files
from simmc.data import findings as rules
from simmc.data.bodies import Bodies, Entry, frames_of, measure, open_set, plain_name
from simmc.data.findings import Finding, Summary
from simmc.errors import UserError, numbered
from simmc.reports import charts
from simmc.reports.charts import Line, asset, escape
from simmc.reports.moving import PARTS, controls, packed, part_of, script_data

MOVING, MOST_MOVING = 6, 12  # recordings that move: chosen here, and at most where named
_FRAMES = 600  # of a recording that moves
_ROWS, _DOTS = 300, 4000  # recordings in the table, and dots in a chart


def findings(folder: Path) -> list[Finding]:
    """What to check in the set in ``<data_root>/<dataset>/<f>``; `str` of one is a line of text.

    UserError if there is no such set, or its files are damaged.
    """
    return Summary(measure(open_set(folder))).findings


def write_page(folder: Path, out: Path, recordings: Sequence[str] | None = None) -> Path:
    """Write the page about the set in ``<data_root>/<dataset>/<f>``; returns its path.

    `recordings` are names, or unique endings of names, of those that move (12 at most); if left out
    those with findings and some others.
    """
    return write(Summary(measure(open_set(folder))), out, recordings)


def write(summary: Summary, out: Path, recordings: Sequence[str] | None = None) -> Path:
    """The same for a set that was measured already."""
    moving = chosen(summary.bodies, summary.findings, recordings)
    files.write_text(out, page(summary, moving))
    return out


def chosen(bodies: Bodies, found: Sequence[Finding], names: Sequence[str] | None) -> list[Entry]:
    """The recordings that move; UserError for a name that fits none, or several."""
    entries = bodies.entries
    if names:
        if len(names) > MOST_MOVING:
            raise UserError(f"{len(names)} recordings are too many for a page: {MOST_MOVING} fit")
        return [_named(entries, name) for name in names]
    odd = [name for finding in found for name in finding.recordings[:2]]
    first = [entry for entry in entries if entry.name in odd[: MOVING - 2]]
    rest = [entry for entry in entries if entry not in first]
    spread = np.linspace(0, len(rest) - 1, max(0, min(MOVING - len(first), len(rest))))
    return first + [rest[int(i)] for i in spread]


def _named(entries: Sequence[Entry], name: str) -> Entry:
    fitting = [entry for entry in entries if entry.name == name]
    fitting = fitting or [entry for entry in entries if entry.name.endswith(name)]
    if len(fitting) == 1:
        return fitting[0]
    some = ", ".join(entry.name for entry in (fitting or entries)[:5])
    count = f"{len(fitting)} recordings end" if fitting else "no recording ends"
    raise UserError(f"{name!r}: {count} with this name; choose one such as {some}")


def page(summary: Summary, moving: Sequence[Entry]) -> str:
    """The HTML text."""
    bodies, found = summary.bodies, summary.findings
    stored = bodies.stored
    shown = [packed(frames_of(stored, entry, _FRAMES)) for entry in moving]
    data = script_data(_rate(bodies), [stored.skeleton], shown)
    style, script = asset("page.css") + asset("look.css"), asset("moving.js")
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}"
    title = f"{stored.folder.absolute().parent.name}, f = {stored.length}"
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}; base-uri \'none\'">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>",
        f"<h1>{escape(title)}</h1>",
        _about(bodies),
        _facts(bodies),
        _found(summary, found),
        _moving(bodies, moving, found),
        _over_recordings(summary, found),
        _joints(bodies),
        _table(summary, found),
        f'</main><script type="application/json" id="data">{data}</script>',
        f"<script>{script}</script></body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _hash(text: str) -> str:
    """The source in a policy that admits this text only."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _about(bodies: Bodies) -> str:
    manifest = bodies.stored.manifest or {}
    made = f"Stored by simmc {manifest['code_version']}. " if "code_version" in manifest else ""
    walkers = "<b>Synthetic walkers, not real people.</b> " if manifest.get("generated") else ""
    skeleton = bodies.stored.skeleton
    return (
        f'<p class="soft">{walkers}{escape(made)}Sensor or skeleton: {escape(skeleton.name)}, '
        f"{numbered('{} [joint|joints]', skeleton.n_joints)}{', 2D' if bodies.flat else ''}. "
        f"Page by simmc {__version__}.</p>"
    )


def _facts(bodies: Bodies) -> str:
    entries = bodies.entries
    persons = {entry.person for entry in entries} - {None}
    frames = sum(entry.frames for entry in entries)
    rows = {
        "Recordings": f"{len(entries):,}" if bodies.recordings_known else "unknown",
        "Persons": f"{len(persons):,}" if bodies.persons_known else "unknown",
        "Frames": f"{frames:,}",
        "Windows": f"{sum(entry.windows for entry in entries):,}",
        "Frames a second": "unknown" if bodies.rate is None else f"{bodies.rate:.3g}",
    }
    if bodies.rate:
        rows["Minutes"] = f"{frames / bodies.rate / 60:,.1f}"
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows.items())
    lines = []
    for split in bodies.stored.splits:
        own = [entry for entry in entries if entry.split == split]
        people = {entry.person for entry in own} - {None}
        numbers = (
            f"{len(own):,}" if bodies.recordings_known else "unknown",
            f"{len(people):,}" if people else "unknown",
            f"{sum(entry.frames for entry in own):,}",
            f"{sum(entry.windows for entry in own):,}",
        )
        lines.append(_row(split, numbers))
    head = _head("Split", ("Recordings", "Persons", "Frames", "Windows"))
    return f'<dl class="facts">{cells}</dl>{_scrolling("Splits", head + "".join(lines))}'


def _scrolling(label: str, rows: str) -> str:
    """A table that scrolls by itself, with the keyboard as well."""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table>{rows}'
        "</table></div>"
    )


def _head(first: str, others: Sequence[str]) -> str:
    cells = "".join(f'<th scope="col" class="number">{name}</th>' for name in others)
    return f'<thead><tr><th scope="col">{first}</th>{cells}</tr></thead>'


def _row(first: str, numbers: Sequence[str]) -> str:
    cells = "".join(f'<td class="number">{number}</td>' for number in numbers)
    return f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'


def _found(summary: Summary, found: Sequence[Finding]) -> str:
    items = []
    for finding in found:
        names = ""
        if len(finding.recordings) > 3:
            listed = ", ".join(map(escape, finding.recordings[:_ROWS]))
            more = f" and {len(finding.recordings) - _ROWS:,} more"
            more = more if len(finding.recordings) > _ROWS else ""
            names = f"<details><summary>All of them</summary><p>{listed}{more}</p></details>"
        items.append(
            f"<li><b>&#9888; Check:</b> {escape(finding.text)}<br>{escape(finding.step)}"
            f"{names}</li>"
        )
    listed = f'<ul class="findings">{"".join(items)}</ul>'
    good = '<p class="good">&#10003; No problem was found.</p>'
    notes = "".join(f"<li>{escape(note)}</li>" for note in rules.not_checked(summary))
    rest = f'<p class="soft">Not looked at:</p><ul class="soft">{notes}</ul>' if notes else ""
    return f"<h2>What to check</h2>{listed if items else good}{rest}"


def _moving(bodies: Bodies, moving: Sequence[Entry], found: Sequence[Finding]) -> str:
    if not moving:
        return ""
    rate = f"{_rate(bodies):.3g} frames a second"
    if bodies.rate is None:
        rate += ", as the true rate is unknown"
    cards = "".join(_card(bodies, entry, found) for entry in moving)
    return (
        "<h2>Recordings that move</h2>"
        f"<p>Axes are those of the files: y is drawn upwards. Played at {rate}. "
        "The middle of the body is kept in place; the path from above shows where it was.</p>"
        f"{controls(0.25, '1/4')}{cards}"
    )


def _card(bodies: Bodies, entry: Entry, found: Sequence[Finding]) -> str:
    name, frames = escape(entry.name), frames_of(bodies.stored, entry, _FRAMES)
    views = {"front": "x to the right, y up", "side": "z to the right, y up", "above": "path: x, z"}
    if bodies.flat:
        del views["side"], views["above"]
    figures = "".join(
        f'<figure><canvas class="body" data-view="{view}" role="img" '
        f'aria-label="{name}, from {_from(view)}"></canvas>'
        f"<figcaption>From {_from(view)}: {what}</figcaption></figure>"
        for view, what in views.items()
    )
    checks = {f.kind for f in found if entry.name in f.recordings}
    marked = f" &#9888; to check: {', '.join(sorted(checks))}" if checks else ""
    who = "" if entry.person is None else f", person {escape(bodies.who(entry.person))}"
    whole = f"{entry.frames:,} frames"
    if len(frames) < entry.frames:
        whole = f"the first {len(frames):,} of {whole}"
    return (
        f'<article class="recording"><header><h3>Recording {name}</h3>'
        f'<span class="soft">{escape(entry.split)}{who}, {whole}{marked}</span></header><div>'
        f'<div class="views" tabindex="0" role="group" aria-label="{name}: space plays and pauses, '
        f'the arrow keys step">{figures}</div><div class="at"><input type="range" min="0" '
        f'max="{len(frames) - 1}" value="0" aria-label="Frame of {name}"><output></output></div>'
        f'</div><div class="charts">{"".join(bone_charts(bodies, frames))}</div></article>'
    )


def _from(view: str) -> str:
    return view if view == "above" else f"the {view}"


def bone_charts(bodies: Bodies, frames: np.ndarray) -> list[str]:
    """The lengths of all bones over some frames (T, J, 3), a chart for each part of the body."""
    skeleton = bodies.stored.skeleton
    groups: dict[str, list[tuple[str, str, np.ndarray]]] = {part: [] for part, _ in PARTS}
    groups = {"Trunk and head": [], **groups}
    for (a, b), (i, j) in zip(skeleton.edges, skeleton.edge_indices(), strict=True):
        side, part = part_of(a, b)
        words = [plain_name(n).removeprefix(f"{side}_").replace("_", " ") for n in (a, b)]
        length = np.linalg.norm(frames[:, i] - frames[:, j], axis=1)
        groups[part].append((side, " to ".join(words), length))
    made = []
    for part, bones in groups.items():
        names = list(dict.fromkeys(name for _, name, _ in bones))
        lines = [
            Line(name, values, names.index(name) % 5, side == "right")
            for side, name, values in bones
        ]
        if lines:
            made.append(charts.over_time(part, lines, 1, "" if bodies.flat else "metres"))
    return made


def _rate(bodies: Bodies) -> float:
    return bodies.rate or 30.0


def _over_recordings(summary: Summary, found: Sequence[Finding]) -> str:
    bodies = summary.bodies
    if not bodies.stored.skeleton.edges or len(bodies.entries) < 2:
        return ""
    bodily = ("unit", "body")
    marked = {name for f in found if f.kind in bodily for name in f.recordings}
    odd = {i: e.name for i, e in enumerate(bodies.entries) if e.name in marked}
    every = max(1, -(-len(bodies.entries) // _DOTS))
    groups = []
    for split in bodies.stored.splits:
        own = [i for i, e in enumerate(bodies.entries) if e.split == split]
        own.sort(key=lambda i: (bodies.entries[i].person or 0, i))
        kept = [i for place, i in enumerate(own) if place % every == 0 or i in odd]
        groups.append((split, np.array(kept, dtype=np.int64)))
    thinned = f" One of {every} recordings is shown." if every > 1 else ""
    parts = [
        charts.over_recordings(
            "Size of the body, 1 = as usual in this set",
            summary.size,
            groups,
            odd,
            about="A dot is a recording, in the order of persons; triangles are to be checked. A "
            "wrong unit stands far from the rest." + thinned,
        )
    ]
    distances, _ = summary.distances
    if np.isfinite(distances).any():
        parts.append(
            charts.over_recordings(
                "Distance of the bones from those of the same person",
                distances,
                groups,
                odd,
                limit=rules.OTHER,
                about="In spreads between recordings of one person: about 1 is usual. Above the "
                "line a recording is checked if another person's body fits better." + thinned,
            )
        )
    return f"<h2>Bodies over recordings</h2>{''.join(parts)}"


def _joints(bodies: Bodies) -> str:
    """A table of how often each joint was lost."""
    joints, frames = bodies.stored.skeleton.joints, 0
    lost = still = np.zeros(len(joints))
    for entry in bodies.entries:
        lost = lost + entry.measured.lost.sum(0)
        still = still + entry.measured.still.sum(0)
        frames += entry.measured.hashes.size
    counts = (bodies.stored.manifest or {}).get("counts", {})
    unseen = sum(count.get("unseen_joints", 0) for count in counts.values())
    note = f" When the set was written, {unseen:,} joint positions were missing." if unseen else ""
    if not (lost + still).any():
        return (
            "<h2>Lost joints</h2><p>No joint is missing, and none is exactly where it was a frame "
            f"before.{note}</p>"
        )
    lines = []
    for i in np.argsort(-(lost + still), kind="stable"):
        shares = lost[i] / frames, still[i] / frames
        cells = "".join(
            f'<td class="number">{_percent(share)}</td><td>{charts.bar(share)}</td>'
            for share in shares
        )
        lines.append(f'<tr><th scope="row">{escape(joints[i])}</th>{cells}</tr>')
    head = (
        '<thead><tr><th scope="col">Joint</th><th scope="col" colspan="2">Not seen</th>'
        '<th scope="col" colspan="2">Exactly where it was a frame before</th></tr></thead>'
    )
    return (
        "<h2>Lost joints</h2><p>Joints that were not seen are filled when a set is written: one "
        "that does not move at all was probably filled, or coordinates are coarse. Shares of all "
        f"frames.{note}</p>{_scrolling('Lost joints', head + ''.join(lines))}"
    )


def _percent(share: float) -> str:
    return "&lt;0.01%" if 0 < share < 1e-4 else f"{share:.2%}"


def _table(summary: Summary, found: Sequence[Finding]) -> str:
    """The recordings, those to check first."""
    bodies = summary.bodies
    kinds: dict[str, list[str]] = {}
    for finding in found:
        for name in finding.recordings:
            kinds.setdefault(name, []).append(finding.kind)
    entries = bodies.entries
    order = sorted(range(len(entries)), key=lambda i: (entries[i].name not in kinds, i))
    lines = []
    for i in order[:_ROWS]:
        entry = entries[i]
        size = summary.size[i]
        numbers = (
            escape(entry.split),
            escape(bodies.who(entry.person)),
            f"{entry.frames:,}",
            f"{size:.2f}" if np.isfinite(size) else "",
            f"{summary.jumps[i]:.2f}",
            ", ".join(dict.fromkeys(kinds.get(entry.name, []))),
        )
        lines.append(_row(entry.name, numbers))
    shown = f" {_ROWS} of {len(entries):,} are listed." if len(entries) > _ROWS else ""
    columns = ("Split", "Person", "Frames", "Size of the body", "Longest leap", "To check")
    return (
        f"<h2>Recordings</h2><p>Those to check come first.{shown} The longest leap is the way of "
        "the body from one window to the next, in sizes of the body.</p>"
        f"{_scrolling('Recordings', _head('Recording', columns) + ''.join(lines))}"
    )
