"""`simmc identify`: who is who by a trained run, recording by recording (docs/identify.md)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from simmc import files
from simmc.cli.console import CONSOLE
from simmc.cli.trained import Asked, Chosen, choose
from simmc.clustering import Targets
from simmc.data.experiment.experiment import Experiment, labels_of
from simmc.engine.tracklets import OFF, cluster_record
from simmc.engine.training import load_weights
from simmc.errors import UserError, numbered
from simmc.evaluation.ranking import evaluate
from simmc.methods import trackmc
from simmc.methods.trackmc import SHAPE_FLAGS, TrackMC, TrackMCSettings
from simmc.runs.records import EpochRecord
from simmc.runs.runtime import generators
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
        5, "Gallery recordings listed for each probe recording.", limits=COUNT, group=MAIN
    )
    out: str = option("", "Folder of the files; default: the run folder.", group=MACHINE)


def main(argv: list[str]) -> int:
    """Run the command."""
    resolved = resolve(IdentifySettings, argv)
    chosen = choose(resolved)
    require_recordings(chosen)
    chosen.report()
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
            "Preprocess.py, which writes recording_*.npy; your own data: pass "
            "them to write_dataset(recordings=...)."
        )


def write_people(chosen: Chosen, out: Path) -> None:
    """people.csv: the person that each training recording shows, as TrackMC clusters them."""
    settings = chosen.settings
    if not isinstance(settings, TrackMCSettings) or settings.recordings == OFF:
        CONSOLE.say(
            f"\n{PEOPLE} is for TrackMC with recordings: {chosen.title} does not cluster its "
            "training recordings"
        )
        return
    data = chosen.method.load(settings)  # the windows that were learned from
    targets, record = clusters_of(chosen, data)
    rows = people(data, targets)
    head = ("recording", "windows", "person", "share", "sure", "may_also_be")
    path = write_csv(out / PEOPLE, head, rows)
    CONSOLE.say(
        f"\n{numbered('{} [recording|recordings]', len(rows))} of at least "
        f"{record['people_at_least']}, likely {numbered('{} [person|people]', record['people'])}; "
        f"unsure of {record['unsure']}\n{path}"
    )


def clusters_of(chosen: Chosen, data: Experiment) -> tuple[Targets, EpochRecord]:
    """The clusters of the training recordings at the chosen weights, and their numbers.

    The parts are drawn as in the first epoch of a training with the seed of the run.
    """
    settings = chosen.settings
    seeds = generators(settings.common.seed)
    training = TrackMC(settings, data, seeds, chosen.runtime, ("label_free",))
    load_weights(training.network, chosen.weights, SHAPE_FLAGS)
    features = trackmc.encode(training.network, training.windows)
    targets = training.share(features, trackmc.stage_of(settings, second=True))
    return targets, cluster_record(targets, training.tracklet, data.train, recordings=True)


def people(data: Experiment, targets: Targets) -> list[tuple[Any, ...]]:
    """The rows of people.csv, one for each training recording in the order of the manifest.

    Recording; its windows that are learned from; number of its cluster, empty where it has none;
    the share of its clustered parts in that cluster; whether the share is large and no other
    cluster may be the same person; further clusters: those of its other parts by falling share,
    then those that may be the same person as the first, ascending.
    """
    cluster, share = targets.cluster.cpu().numpy(), targets.share.cpu().numpy()
    ambiguous = targets.ambiguous.cpu().numpy()
    assert data.train.recording is not None  # TrackMC needs it to train
    places, windows = np.unique(data.train.recording, return_counts=True)
    rows: list[tuple[Any, ...]] = []
    for t, place in enumerate(places.tolist()):
        own = cluster[t][share[t] > 0].tolist()
        near = ambiguous[own[0]].tolist() if own else []
        others = [c for c in dict.fromkeys([*own, *near]) if c != own[0]]
        person = own[0] if targets.known[t] else ""
        sure = "yes" if targets.sure[t] else "no"
        row = (name_of(data, place), windows[t], person, f"{share[t, 0]:.4f}", sure)
        rows.append((*row, " ".join(map(str, others))))
    return rows


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
        f"\n{numbered('{} probe [recording|recordings]', len(places))}, the {places.shape[1]} "
        f"nearest of {numbered('{} gallery [recording|recordings]', len(gallery.recording))} "
        f"each\n{path}"
    )
    print_check(probe, gallery, same=data.same_windows)


def print_check(probe: Sides, gallery: Sides, *, same: bool) -> None:
    """Print how often the nearest recording has the label of the probe."""
    found = evaluate(
        probe.features,
        probe.identity,
        gallery.features,
        gallery.identity,
        self_index=np.arange(len(probe.identity)) if same else None,
        same_condition="remove_self" if same else None,
    )
    head = "check against the identity labels of the data, whole recordings:"
    if found.no_rates:
        CONSOLE.say(f"{head} no rate: {found.no_rates}")
        return
    right = int((found.first_match_rank == 1).sum())
    parts = [f"{right} of {found.probes} probe recordings"]
    if found.unmatched:
        text = "{} of them [has|have] no match in the gallery: misses"
        parts.append(numbered(text, found.unmatched))
    if junk := len(probe.identity) - found.probes:
        parts.append(numbered("{} with a label below 0 [is|are] not scored", junk))
    CONSOLE.say(f"{head} top-1 {100 * found.top(1):.2f} ({'; '.join(parts)})")


def name_of(data: Experiment, place: int) -> str:
    """A recording's name in the manifest."""
    return str(data.recordings[place]["name"])


def write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write a table; UserError where the file is another table."""
    if path.is_file():
        with path.open("rb") as file:
            first = file.readline(1000)
        if first.strip() != ",".join(head).encode():
            raise UserError(
                f"{path}: exists and is not a table of simmc identify, so it is not overwritten; "
                "choose another folder with --out, or move the file away"
            )
    files.write_text(path, files.csv_text([head, *rows]))
    return path
