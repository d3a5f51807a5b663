"""Raw datasets to windows in the public layout: read, split, cut, window, write (docs/data.md)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np

from simmc import __version__
from simmc import files as atomic
from simmc.data import left_out, specs, splits, store, windows
from simmc.data.manifest import Manifest, checksums, describe_skeleton, write_manifest
from simmc.data.raw import biwi, casia_b, ias, kgbd, ks20
from simmc.data.recordings import (
    Progress,
    ReadOptions,
    Recording,
    is_generated,
    same_recordings,
    silent,
)
from simmc.data.specs import DATASETS, DatasetSpec
from simmc.errors import UserError, numbered

Protocol = Literal["RVE", "CVE"]
READERS: dict[str, Callable[[Path, ReadOptions, Progress], list[Recording]]] = {
    "IAS": ias.read,
    "BIWI": biwi.read,
    "KGBD": kgbd.read,
    "KS20": ks20.read,
    "CASIA_B": casia_b.read,
}


@dataclass(frozen=True)
class Summary:
    """The result for one dataset."""

    dataset: str
    persons: int
    recordings: int
    frames_read: int  # after the reader's own filters
    frames_kept: int  # after cutting, in recordings of a split
    windows: Mapping[str, int]  # by split
    left_out: Mapping[str, Any]  # what was not used, filled or checked; also in the manifest
    notes: Sequence[str]  # the same as text
    seconds: float
    generated: bool  # synthetic walkers, not people
    folder: Path
    copies: Sequence[Sequence[str]] = ()  # names of recordings with the same frames


@dataclass(frozen=True)
class Outcome:
    """The datasets that were preprocessed, and the reasons why others were skipped."""

    done: list[Summary]
    skipped: dict[str, str]


@dataclass(frozen=True, eq=False)
class _Job:
    """One dataset that was read, and how to preprocess it."""

    spec: DatasetSpec
    recordings: Sequence[Recording]
    asked: int | str  # frames, or seconds
    seed: int
    options: ReadOptions
    protocol: Protocol
    generated: bool
    left_out: dict[str, Any]  # filled while the splits are written
    split: Path | None = None  # a given assignment of recordings
    write_split: Path | None = None

    @property
    def length(self) -> int:
        """Frames of a window, f."""
        return windows.frames_in(self.asked, self.spec.frame_rate)


def preprocess(
    raw_root: Path,
    data_root: Path,
    datasets: Sequence[str] | None = None,
    length: int | str = 6,
    seed: int = 0,
    options: ReadOptions | None = None,
    protocol: Protocol = "RVE",
    progress: Callable[[str], Progress] = lambda _: silent,
    split: Path | None = None,
    write_split: Path | None = None,
) -> Outcome:
    """Cut raw datasets below `raw_root` into windows of `length` frames below `data_root`.

    Args:
        raw_root: folder of the raw datasets.
        data_root: folder of the results.
        datasets: names, or None for all that are found.
        length: frames of a window, f; or seconds such as "0.2s", for datasets whose frame rate is
            known.
        seed: of the random split; every dataset has a generator of its own, so that its split does
            not depend on the other datasets.
        options: the preprocess switches.
        protocol: "CVE" makes cross-view windows instead of the random split.
        progress: the progress display for a dataset by name.
        split: a file that assigns recordings to splits (`splits.read_given`), in place of `seed`.
        write_split: such a file, to write.
    """
    options = options or ReadOptions()
    chosen, skipped = _choose(raw_root, datasets, length, protocol)
    if (split or write_split) and (len(chosen) != 1 or protocol == "CVE"):
        raise UserError("--split and --write-split need one --dataset, and protocol RVE")
    done = []
    for spec in chosen:
        began = time.perf_counter()
        root = raw_root / spec.name
        files = left_out.raw_files(root)
        read = READERS[spec.name](root, options, progress(spec.name))
        if not read:
            raise UserError(f"{root}: holds no recording; see docs/data.md")
        found, counts = left_out.fill_unseen(read, options.zero_joints == "missing")
        rest = {"counts": counts, "unused_files": left_out.unused(root, files, read)}
        generated = is_generated(root)
        job = _Job(
            spec, found, length, seed, options, protocol, generated, rest, split, write_split
        )
        done.append(_write(job, data_root, began))
    return Outcome(done, skipped)


def _choose(
    raw_root: Path, datasets: Sequence[str] | None, length: int | str, protocol: Protocol
) -> tuple[list[DatasetSpec], dict[str, str]]:
    """The datasets to preprocess, and the reasons why others are skipped."""
    wanted = [specs.get(name) for name in datasets] if datasets else list(DATASETS.values())
    wanted = list({spec.name: spec for spec in wanted}.values())
    if protocol == "CVE":
        if not datasets:
            wanted = [spec for spec in wanted if spec.name in specs.BY_VIEW]
        if not {spec.name for spec in wanted} <= set(specs.BY_VIEW):
            names = " and ".join(specs.BY_VIEW)
            raise UserError(f"--protocol CVE is only for {names}; name one of them or use RVE")
    present = [spec for spec in wanted if (raw_root / spec.name).is_dir()]
    skipped = {
        spec.name: f"no folder {raw_root / spec.name}" for spec in wanted if spec not in present
    }
    if not present:
        looked = ", ".join(str(raw_root / spec.name) for spec in wanted)
        folders = numbered("[folder|folders]", len(wanted))
        raise UserError(
            f"no raw dataset found; looked for the {folders} {looked}. Put a dataset there "
            "(KGBD: python scripts/get_kgbd.py), or point --raw_root to its parent folder"
        )
    fitting = []
    for spec in present:
        if reason := _unfit(spec, length):
            if datasets:
                raise UserError(reason)
            skipped[spec.name] = reason
        else:
            fitting.append(spec)
    if not fitting:
        every = "; ".join(f"{s.name}: {', '.join(map(str, s.lengths))}" for s in present)
        raise UserError(f"length {length} fits no dataset found ({every}); choose another length")
    if protocol == "CVE":
        fitting = [specs.BY_VIEW[spec.name] for spec in fitting]
    return fitting, skipped


def _unfit(spec: DatasetSpec, length: int | str) -> str:
    """Why a dataset cannot be cut into windows of that length; "" where it can."""
    if windows.seconds_of(length) is not None and spec.frame_rate is None:
        return f"length {length}: the frame rate of {spec.name} is not known; give frames"
    frames = windows.frames_in(length, spec.frame_rate)
    if frames in spec.lengths:
        return ""
    at = "" if windows.seconds_of(length) is None else f" ({frames} at {spec.frame_rate:g} Hz)"
    return f"length {length}{at}: {spec.name} takes one of {', '.join(map(str, spec.lengths))}"


def _splits(job: _Job) -> splits.Assignment:
    """Which recordings are in each split, in the order in which they are written."""
    if job.protocol == "CVE":
        views = splits.views(job.spec, job.recordings)
        found = {**{specs.train_view(view): places for view, places in views.items()}, **views}
    elif job.split:
        names = (specs.TRAIN, *job.spec.test_splits)
        found = splits.read_given(job.split, job.recordings, names)
    else:
        rng = np.random.default_rng(job.seed)
        found = splits.assign(job.spec.name, job.recordings, rng, job.options)
    if job.write_split:
        atomic.write_json(job.write_split, splits.given_form(job.recordings, found))
    return found


def _write(job: _Job, data_root: Path, began: float) -> Summary:
    """Write every split and the manifest into a folder that is swapped in at the end."""
    spec, found = job.spec, _splits(job)
    target = store.dataset_folder(data_root, spec, job.length)
    copies = same_recordings(job.recordings)
    split_of = {place: split for split, places in found.items() for place in places}
    without = [r.name for place, r in enumerate(job.recordings) if place not in split_of]
    with atomic.staged_folder(target, store.is_written) as stage:
        written = {
            split: _write_split(job, split, places, stage) for split, places in found.items()
        }
        counts = {split: one.counts for split, one in written.items()}
        people = {split: one.people for split, one in written.items()}
        job.left_out.update(
            recordings_without_split=without,
            without_windows={split: one.short for split, one in written.items() if one.short},
            unmatched_probes=left_out.unmatched(spec.gallery_of, people),
        )
        content = _manifest(job, split_of, counts)
        if copies:
            content["copies"] = copies
        write_manifest(stage, content)
    by_view = job.protocol == "CVE"  # every recording is in two splits
    return Summary(
        dataset=spec.folder if by_view else spec.name,
        persons=len({recording.identity for recording in job.recordings}),
        recordings=len(job.recordings),
        frames_read=sum(len(recording.frames) for recording in job.recordings),
        frames_kept=sum(
            count["frames"]
            for split, count in counts.items()
            if not (by_view and specs.is_training(split))
        ),
        windows={split: count["windows"] for split, count in counts.items()},
        left_out=job.left_out,
        notes=left_out.lines(job.left_out, job.options.zero_joints == "missing"),
        seconds=time.perf_counter() - began,
        generated=job.generated,
        folder=target,
        copies=copies,
    )


class _Written(NamedTuple):
    """A split that was written: counts, what gives no window, and the persons who give one."""

    counts: dict[str, int]
    short: left_out.Found | None
    people: set[int]


def _write_split(job: _Job, split: str, places: Sequence[int], stage: Path) -> _Written:
    """Cut, window and write one split."""
    spec, mode = job.spec, "plain"
    training = specs.is_training(split)
    if training:
        mode = spec.train_windows if spec.train_windows != "dense" else job.options.dense_starts
    cut = spec.cut(training, job.options.ias_cut)
    found = [job.recordings[place] for place in places]
    frames = [windows.cut(recording.frames, *cut) for recording in found]
    plan = windows.plan([len(f) for f in frames], job.length, cast(windows.Mode, mode))
    if not len(plan):
        few = numbered("{} [recording gives|recordings give] no window", len(frames))
        raise UserError(
            f"{spec.name}, {split}: {few} of {job.length} frames; choose a shorter "
            "length or add recordings"
        )
    persons = [recording.identity for recording in found]
    labels = np.array(persons, dtype=np.int64)[plan.recording]
    having = set(plan.recording.tolist())
    short = left_out.without_windows([r.name for r in found], persons, having)
    people = set(labels.tolist())
    planes = windows.coordinates(frames, plan, spec.n_joints)
    recording = np.array(places, dtype=np.int64)[plan.recording]
    store.write_split(stage, spec, job.length, split, planes, labels, recording)
    counts = {
        "windows": len(plan),
        "recordings": len(frames),
        "identities": len(people),
        "frames": sum(map(len, frames)),
    }
    return _Written(counts, short, people)


def _manifest(
    job: _Job, split_of: Mapping[int, str], counts: dict[str, dict[str, int]]
) -> Manifest:
    given: Manifest = {"given_split": checksums([job.split])[0]} if job.split else {}
    return given | {
        "dataset": job.spec.name,
        "length": job.length,
        "seconds": windows.seconds_of(job.asked),
        "frame_rate": job.spec.frame_rate,
        "protocol": job.protocol,
        "seed": job.seed,
        "options": asdict(job.options),
        "code_version": __version__,
        "generated": job.generated,
        "skeleton": describe_skeleton(job.spec.skeleton),
        "counts": counts,
        "left_out": job.left_out,
        "recordings": [
            {
                "name": recording.name,
                "identity": recording.identity,
                "role": recording.role,
                "split": split_of.get(place),
                "attributes": dict(recording.attributes),
                "frames": len(recording.frames),
                "sha256": recording.sha256,
            }
            for place, recording in enumerate(job.recordings)
        ],
    }
