"""`simmc identify`: who is who by a trained run, recording by recording (docs/identify.md)."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from simmc import files as atomic
from simmc.cli.chosen import Asked, Chosen, choose
from simmc.cli.console import CONSOLE
from simmc.data.experiment.experiment import Experiment, labels_of
from simmc.errors import UserError
from simmc.evaluation.counting import has_match
from simmc.evaluation.ranking import why_no_rates
from simmc.methods.trackmc import OFF, TrackMCSettings, people
from simmc.scoring.identify import Sides, nearest, recordings_of
from simmc.settings import groups, resolve
from simmc.settings.groups import COUNT
from simmc.settings.options import MACHINE, MAIN, Settings, option

PEOPLE, MATCHES = "people.csv", "matches.csv"


@dataclass(frozen=True, kw_only=True)
class IdentifySettings(Settings):
    """Settings of `simmc identify`."""

    COMMAND: ClassVar[str] = "identify"
    SUMMARY: ClassVar[str] = (
        "Write who is who by a trained run, recording by recording: people among the training "
        "recordings (TrackMC), and the gallery recordings nearest to every probe recording."
    )

    place: groups.Place
    machine: groups.Machine
    asked: Asked
    top: int = option(
        5, "Gallery recordings that are named for a probe recording.", limits=COUNT, group=MAIN
    )
    out: str = option("", "Folder of the files; default: the run folder.", group=MACHINE)


def main(argv: list[str]) -> int:
    """Run the command; UserError for whatever the user can mend."""
    resolved = resolve(IdentifySettings, argv)
    chosen = choose(resolved)
    require_recordings(chosen)
    chosen.tell()
    out = Path(resolved.settings.out or chosen.run.path)
    write_people(chosen, out)
    write_matches(chosen, resolved.settings.top, out)
    return 0


def require_recordings(chosen: Chosen) -> None:
    """UserError where probe or gallery windows do not say which recording they come from."""
    data, place = chosen.data, chosen.settings.place
    sides = {"probe": data.probe, "gallery": data.gallery}
    lacking = [name for name, split in sides.items() if split.recording is None]
    if lacking or not data.recordings:
        raise UserError(
            f"{place.data_root} does not say which windows of {place.dataset} come from one "
            f"recording ({' and '.join(lacking) or 'no manifest.json'}). Cut them again with "
            "Preprocess.py, which writes recording_*.npy; your own: tell "
            "write_dataset(recordings=...) of them."
        )


def write_people(chosen: Chosen, out: Path) -> None:
    """people.csv: whom each training recording shows, where the method looks for people."""
    settings = chosen.settings
    if not isinstance(settings, TrackMCSettings) or settings.recordings == OFF:
        CONSOLE.say(
            f"\n{PEOPLE} is for TrackMC with recordings: {chosen.title} does not ask who its "
            "training recordings show"
        )
        return
    data = chosen.method.load(settings)  # as it was learned from
    found = people(chosen.weights, settings, data, chosen.runtime)
    head = ("recording", "windows", "person", "share", "sure", "may_also_be")
    rows = [
        (
            name_of(data, one.recording),
            one.windows,
            "" if one.person is None else one.person,
            f"{one.share:.4f}",
            "yes" if one.sure else "no",
            " ".join(map(str, one.others)),
        )
        for one in found.recordings
    ]
    path = write_csv(out / PEOPLE, head, rows)
    CONSOLE.say(
        f"\n{len(rows)} recordings of at least {found.fewest}, likely {found.likely} people; "
        f"unsure of {found.unsure}\n{path}"
    )


def write_matches(chosen: Chosen, count: int, out: Path) -> None:
    """matches.csv: the gallery recordings nearest to each probe recording."""
    data, unit = chosen.data, chosen.method.unit(chosen.settings)
    probe = recordings_of(data.probe, chosen.features(data.probe), unit=unit)
    gallery = probe
    if not data.same_windows:
        gallery = recordings_of(data.gallery, chosen.features(data.gallery), unit=unit)
    places, distances = nearest(probe, gallery, count, same=data.same_windows)
    head = ("probe_recording", "rank", "gallery_recording", "gallery_identity", "distance")
    labels = labels_of(gallery.identity, data.test_identities)
    rows = [
        (
            name_of(data, probe.recording[i]),
            rank + 1,
            name_of(data, gallery.recording[place]),
            labels[place],
            repr(float(distances[i, rank])),
        )
        for i, row in enumerate(places)
        for rank, place in enumerate(row)
    ]
    path = write_csv(out / MATCHES, head, rows)
    CONSOLE.say(
        f"\n{len(places)} probe recordings, the {places.shape[1]} nearest of "
        f"{len(gallery.recording)} gallery recordings each\n{path}"
    )
    say_check(probe, gallery, places, same=data.same_windows)


def say_check(probe: Sides, gallery: Sides, places: np.ndarray, *, same: bool) -> None:
    """How often the nearest recording has the probe's label; nothing else looks at that."""
    scored = probe.identity >= 0
    matched = has_match(probe.identity, gallery.identity, same=same)
    head = "check against the identity labels of the data, whole recordings:"
    why = why_no_rates(probe.identity, gallery.identity, any_match=bool(matched.any()))
    if why:
        CONSOLE.say(f"{head} no rate: {why}")
        return
    right = gallery.identity[places[scored, 0]] == probe.identity[scored]
    said = [f"{right.sum()} of {len(right)} probe recordings"]
    if missing := int((scored & ~matched).sum()):
        said.append(f"{missing} of them have no match in the gallery: misses")
    if junk := int((~scored).sum()):
        said.append(f"{junk} with a label below 0 are not scored")
    CONSOLE.say(f"{head} top-1 {100 * right.mean():.2f} ({'; '.join(said)})")


def name_of(data: Experiment, place: int) -> str:
    """A recording's name in the manifest."""
    return str(data.recordings[place]["name"])


def write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """A table, whole or not at all; UserError where another table has its place."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    if path.is_file():
        with path.open("rb") as file:
            first = file.readline(1000)
        if first.strip() != ",".join(head).encode():
            raise UserError(
                f"{path}: is there already and is no table of simmc identify, so it is left alone; "
                "pick another folder with --out, or move the file away"
            )
    atomic.write_text(path, text.getvalue())
    return path
