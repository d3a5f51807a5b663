"""What looks wrong in a stored set, each with what to do (docs/look.md).

Every rule is silent on data that are as they should be: a finding names what was measured. Limits
were chosen on five public sets and on synthetic walkers; `docs/look.md` says how.
Shape letters: E bones, R recordings.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simmc.data import body_lengths
from simmc.data.bodies import Bodies, Entry
from simmc.data.body_lengths import medians, nanmedian, steps
from simmc.data.conventions import METRES, given_axis
from simmc.errors import named, numbered

BODY = (0.5, 2.6)  # metres: the longest side of the box around a body
UNITS = {1000.0: "millimetres", 100.0: "centimetres", 0.01: "a hundredth", 0.001: "a thousandth"}
OTHER = 1.3  # distance above which a body may be another one
_FITS = 1.5  # times that another person's body has to be nearer
_LOST, _LOST_IN_ONE = 0.15, 0.5  # share of frames
_NAMED = 3  # names in a line; the page lists all
_PAIRS = 4  # of copies, each a finding of its own


@dataclass(frozen=True)
class Finding:
    """One thing to check."""

    kind: str  # unit, axes, mirror, order, lost, body, switch, copies, repeated, gap
    text: str  # what was measured
    step: str  # what to do
    recordings: tuple[str, ...] = ()  # names; empty: it concerns the whole set

    def __str__(self) -> str:
        """One line for the console."""
        return f"{self.text} {self.step}"


@dataclass(frozen=True, eq=False)
class Summary:
    """The bodies of a set, recording by recording."""

    bodies: Bodies

    @cached_property
    def findings(self) -> list[Finding]:
        """Everything to check in the set, the gravest first."""
        wrong_everywhere = (_unit, _axes, _order, _mirror)
        rules = (*wrong_everywhere, _copies, _other_body, _switches, _lost, _repeated, _gaps)
        return [finding for rule in rules for finding in rule(self)]

    @cached_property
    def lengths(self) -> np.ndarray:
        """(R, E) float64: each bone's median over a recording; NaN where it was never seen."""
        return medians([e.measured.bones for e in self.bodies.entries])

    @cached_property
    def extents(self) -> np.ndarray:
        """(R,) float64: the size of the body, as the longest side of the box around it."""
        return np.array([float(nanmedian(e.measured.extent)) for e in self.bodies.entries])

    @cached_property
    def other_unit(self) -> np.ndarray:
        """(R,) bool: bodies that are far too large or small beside the others."""
        with np.errstate(all="ignore"):
            ratio = self.extents / np.nanmedian(self.extents)
        return np.asarray((ratio > 5) | (ratio < 0.2))

    @cached_property
    def size(self) -> np.ndarray:
        """(R,) float64: how large the bones are beside those of the whole set; 1: as usual."""
        with np.errstate(all="ignore"):
            ratio = np.log(self.lengths / np.nanmedian(self.lengths, axis=0))
        return np.exp(nanmedian(ratio))

    @cached_property
    def jumps(self) -> np.ndarray:
        """(R,) float64: the longest way from one window to the next, in sizes of the body."""
        return np.array([max(steps(e), default=0.0) for e in self.bodies.entries])

    @cached_property
    def distances(self) -> tuple[np.ndarray, np.ndarray]:
        """(R,) twice: how far bones are from the other recordings of the person, and from those of
        the nearest other person; in spreads between recordings of a person, NaN where unknown.
        """  # noqa: D205
        return body_lengths.distances(self.lengths, [e.person for e in self.bodies.entries])


def not_checked(summary: Summary) -> list[str]:
    """What could not be looked at, and why."""
    bodies, notes = summary.bodies, []
    if not bodies.recordings_known:
        notes.append("The set names no recordings: copies, bodies and changes were not compared.")
    elif not bodies.persons_known:
        notes.append("Persons are unknown: recordings of one person were not compared.")
    elif np.isnan(summary.distances[0]).all():
        notes.append("Too few recordings of the same person to compare their bodies.")
    if bodies.flat:
        notes.append("The set is 2D (z is 0): units and left and right were not checked.")
    if not bodies.stored.skeleton.edges:
        notes.append("The skeleton has no bones: their lengths were not checked.")
    if np.isnan(_whole(bodies, "up")).any():
        notes.append("No joint is named head (or nose) and ankle (or foot): which axis is up?")
    if bodies.rate is None:
        notes.append("The frame rate is unknown: gaps were not looked for.")
    return notes


def _unit(summary: Summary) -> Iterable[Finding]:
    bodies, extents = summary.bodies, summary.extents
    if bodies.flat:
        return
    usual = float(np.nanmedian(extents))
    if not BODY[0] <= usual <= BODY[1]:
        fits = [f for f in UNITS if BODY[0] <= usual / f <= BODY[1]]
        step = "Coordinates must be metres: state the unit and import or write the set again."
        if fits:
            step = f"They look like {UNITS[fits[0]]}: divide by {fits[0]:g}, or state the unit."
            scale = bodies.given["scale"] / fits[0]
            unit = next((u for u, metres in METRES.items() if math.isclose(metres, scale)), "")
            if unit and bodies.imported:
                step = f'They look like {UNITS[fits[0]]}: set unit = "{unit}" in dataset.toml.'
        yield Finding("unit", f"A body measures {usual:,.3g} m in the median.", step)
    odd = np.flatnonzero(summary.other_unit)
    yield from _on(
        bodies, odd, "unit", "{} [recording has a body|recordings have bodies] over 5 times "
        "larger or smaller than the rest", "These files may be in another unit: import them "
        "with a unit of their own.",
    )  # fmt: skip


def _axes(summary: Summary) -> Iterable[Finding]:
    bodies = summary.bodies
    up = medians([entry.measured.up for entry in bodies.entries])
    with np.errstate(all="ignore"):
        up /= np.linalg.norm(up, axis=1, keepdims=True)
    if not len(up := np.nan_to_num(up)) or not up.any():
        return
    usual = np.median(up, axis=0)
    axis, sign = int(np.abs(usual).argmax()), float(np.sign(usual[np.abs(usual).argmax()]))
    if abs(usual[axis]) < 0.5:
        yield Finding(
            "axes", "Heads are above feet along no axis of the set.", "Look at the moving "
            "recordings: joint names, or axes, may be wrong.",
        )  # fmt: skip
        return
    if (axis, sign) != (1, 1.0):
        name = f"{'+' if sign > 0 else '-'}{'xyz'[axis]}"
        given = given_axis(bodies.given["up"], axis, sign)
        image = " Image coordinates grow downwards." if (axis, sign) == (1, -1.0) else ""
        yield Finding(
            "axes",
            f"Heads are above feet along {name}; methods and pictures take +y as up.{image}",
            f'Set up = "{given}" in dataset.toml.'
            if bodies.imported
            else f'Write the set again with up="{given}".',
        )
    away = np.flatnonzero((up[:, axis] * sign < -0.7) | (_others(up, axis) > 0.85))
    if 0 < len(away) < len(up) / 2:
        yield from _on(
            bodies, away, "axes", "In {} [recording|recordings] heads are above feet along another "
            "axis than in the rest", "Somebody lies down, or these files have other axes: watch "
            "them move.",
        )  # fmt: skip


def _others(up: np.ndarray, axis: int) -> np.ndarray:
    """How far `up` (R, 3) points along the two axes beside one."""
    return np.abs(np.delete(up, axis, axis=1)).max(1)


def _order(summary: Summary) -> Iterable[Finding]:
    """Bones longer than half the body, or of other lengths left and right; pairs that cross."""
    bodies, skeleton = summary.bodies, summary.bodies.stored.skeleton
    again = "Joints may be in another order, or named wrongly: check the names against the sensor."
    if summary.lengths.shape[1] and not bodies.flat:
        share = np.nanmedian(summary.lengths / summary.extents[:, None], axis=0)
        long = [" to ".join(skeleton.edges[i]) for i in np.flatnonzero(share > 0.5)]
        if long:
            yield Finding("order", f"Longer than half the body: {named(long, _NAMED)}.", again)
    sides = _whole(bodies, "sides")
    crossed = [p for p, value in zip(bodies.pairs, sides, strict=True) if value < -0.3]
    if crossed:
        yield Finding(
            "order", f"Left and right are exchanged against the shoulders: {', '.join(crossed)}.",
            again,
        )  # fmt: skip


def _mirror(summary: Summary) -> Iterable[Finding]:
    bodies = summary.bodies
    if bodies.flat:
        return
    toes = np.array([float(nanmedian(e.measured.toes)) for e in bodies.entries]) / summary.extents
    usual = float(nanmedian(toes))
    if usual < -0.005:
        yield Finding(
            "mirror", "Toes point backwards: left and right are exchanged, or an axis is mirrored.",
            "Exchange the names left and right, or the sign of x, and make the set again.",
        )  # fmt: skip
        return
    backward = np.flatnonzero((toes < -0.01) & (usual > 0.01))
    yield from _on(
        bodies, backward, "mirror", "In {} [recording|recordings] toes point backwards, unlike "
        "in the rest", "Left and right may be exchanged there: watch them, and correct or "
        "leave them out.",
    )  # fmt: skip


def _copies(summary: Summary) -> Iterable[Finding]:
    """Recordings that share exact frames; without recordings, splits that do."""
    bodies = summary.bodies
    shared = shared_frames(bodies)
    names = [e.name if bodies.recordings_known else e.split for e in bodies.entries]
    pairs = [(a, b, n) for (a, b), n in shared.items() if n >= bodies.stored.length]
    if not bodies.recordings_known:
        across: defaultdict[tuple[str, str], int] = defaultdict(int)
        for a, b, n in pairs:
            if names[a] != names[b]:
                across[names[a], names[b]] += n
        for (first, second), n in across.items():
            yield Finding(
                "copies", f"{n:,} frames of {second} are exact copies of frames of {first}.",
                "A test on data that were trained on means nothing: remove the copies.",
            )  # fmt: skip
        return
    for a, b, n in pairs[:_PAIRS]:
        one, other = bodies.entries[a], bodies.entries[b]
        text = f"{one.name} ({one.split}) and {other.name} ({other.split}) share "
        text += "all frames" if n >= min(one.frames, other.frames) else f"{n:,} frames"
        if one.person != other.person and None not in (one.person, other.person):
            text += f", as persons {bodies.who(one.person)} and {bodies.who(other.person)}"
        yield Finding("copies", f"{text}.", "Leave one of them out.", (one.name, other.name))
    if len(pairs) > _PAIRS:
        rest = tuple({bodies.entries[i].name: 0 for a, b, _ in pairs[_PAIRS:] for i in (a, b)})
        yield Finding(
            "copies", numbered("{} more [pair shares|pairs share] frames.", len(pairs) - _PAIRS),
            "Leave one of each out.", rest,
        )  # fmt: skip


def shared_frames(bodies: Bodies) -> dict[tuple[int, int], int]:
    """Pairs of recordings (indices, the lower first) and how many frames they share exactly."""
    hashes = [np.unique(e.measured.hashes) for e in bodies.entries]
    owner = np.repeat(np.arange(len(hashes)), [len(h) for h in hashes])
    every = np.concatenate(hashes)
    order = np.argsort(every, kind="stable")
    every, owner = every[order], owner[order]
    # each with the next: of n copies n - 1 pairs
    same = np.flatnonzero(every[1:] == every[:-1])
    pairs, counts = np.unique(
        np.stack([owner[same], owner[same + 1]], axis=1), axis=0, return_counts=True
    )
    return {(a, b): n for (a, b), n in zip(pairs.tolist(), counts.tolist(), strict=True)}


def _other_body(summary: Summary) -> Iterable[Finding]:
    """Recordings of a person whose bones are not that person's."""
    bodies = summary.bodies
    if not (bodies.recordings_known and bodies.persons_known and bodies.stored.skeleton.edges):
        return
    own, other = summary.distances
    change = body_lengths.changes(summary.lengths, [e.person for e in bodies.entries])
    with np.errstate(all="ignore"):
        fits = (own > OTHER) & (own > _FITS * other) & (change > 0.02)
        far = (own > 2.0) & (change > 0.15)
    odd = np.flatnonzero((fits | far) & ~summary.other_unit)
    yield from _on(
        bodies, odd, "body", "In {} [recording|recordings] the body differs from the one in "
        "the other recordings of the person", "Two persons under one name? Watch them move, "
        "and correct the name, or leave them out.",
    )  # fmt: skip


def _switches(summary: Summary) -> Iterable[Finding]:
    """Recordings in which one body gives way to another."""
    bodies = summary.bodies
    if not (bodies.recordings_known and bodies.stored.skeleton.edges) or bodies.flat:
        return
    odd = body_lengths.switches(bodies)
    if odd:
        frames = ", ".join(f"frame {when:,}" for when in list(odd.values())[:_NAMED])
        yield from _on(
            bodies, sorted(odd), "switch", "In {} [recording|recordings] the bones change from one "
            f"moment to the next ({frames})", "Another person may have been taken for the first: "
            "cut the recording there.",
        )  # fmt: skip


def _lost(summary: Summary) -> Iterable[Finding]:
    bodies = summary.bodies
    joints = bodies.stored.skeleton.joints
    share = lost_shares(bodies)
    bad = [f"{joints[i]} {100 * share[i]:.0f} %" for i in np.flatnonzero(share > _LOST)]
    if bad:
        yield Finding(
            "lost", f"Joints that are often not seen or filled (share of frames): {named(bad, 5)}.",
            "Leave them out of the skeleton, or leave out the recordings that lack them.",
        )  # fmt: skip
        return
    odd = [i for i, e in enumerate(bodies.entries) if (_unseen(e) > _LOST_IN_ONE).any()]
    yield from _on(
        bodies, odd, "lost", "In {} [recording|recordings] a joint is missing or filled in "
        "more than half the frames", "Leave them out, or accept that this joint says nothing.",
    )  # fmt: skip


def lost_shares(bodies: Bodies) -> np.ndarray:
    """(J,) share of frames in which each joint was not seen, or was filled."""
    windows = [len(e.rows) for e in bodies.entries]
    return np.average([_unseen(e) for e in bodies.entries], axis=0, weights=windows)


def _unseen(entry: Entry) -> np.ndarray:
    of = entry.measured
    still = of.still.sum(0)
    still[still == len(of.still) * (of.hashes.shape[1] - 1)] = 0  # the middle of coordinates
    return (of.lost.sum(0) + still) / of.hashes.size


def _repeated(summary: Summary) -> Iterable[Finding]:
    bodies, f = summary.bodies, summary.bodies.stored.length
    share = np.array([e.measured.repeated.mean() / max(1, f - 1) for e in bodies.entries])
    odd = np.flatnonzero(share > 0.2)
    yield from _on(
        bodies, odd, "repeated", "In {} [recording|recordings] more than a fifth of the frames "
        "repeat the frame before exactly", "The sensor stalled, or a lower frame rate was "
        "raised by copying: import with the true frame rate.",
    )  # fmt: skip


def _gaps(summary: Summary) -> Iterable[Finding]:
    bodies = summary.bodies
    timed = [(i, e) for i, e in enumerate(bodies.entries) if e.span is not None]
    if bodies.rate is None or not timed:
        return
    f = bodies.stored.length  # a recording loses up to f - 1 frames when windows are cut
    odd = []
    for i, entry in timed:
        begin, end = entry.span or (0.0, 0.0)
        if entry.frames + f < 0.8 * (end - begin) * bodies.rate:
            odd.append(i)
    yield from _on(
        bodies, odd, "gap", "In {} [recording|recordings] more than a fifth of the frames are "
        f"missing, by their times and {bodies.rate:.3g} frames a second", "Cut them at the "
        "gaps, or fill short gaps when importing.",
    )  # fmt: skip


def _on(
    bodies: Bodies, which: Sequence[int] | np.ndarray, kind: str, text: str, step: str
) -> Iterable[Finding]:
    """A finding on some recordings, if there are any; the text holds their count, then names."""
    if not len(which):
        return
    names = tuple(bodies.entries[int(i)].name for i in which)
    shown = f"{numbered(text, len(names))}: {named(names, _NAMED)}."
    yield Finding(kind, shown, step, names)


def _whole(bodies: Bodies, name: str) -> np.ndarray:
    """The median of a number over all windows of the set."""
    values = np.concatenate([getattr(e.measured, name) for e in bodies.entries])
    return nanmedian(values.T)
