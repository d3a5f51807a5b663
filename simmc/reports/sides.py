"""The two sides of a comparison: runs that differ in their seed alone, and how they pair.

Sides that cannot be compared are an error that names the folders; other differences are remarks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from simmc.errors import UserError
from simmc.evaluation.significance import means, person_sums
from simmc.reports import results
from simmc.reports.results import Run
from simmc.reports.tables import INCIDENTAL, plain
from simmc.runs.directory import RunDirectory
from simmc.runs.records import ProbeOutcomes

FIGURES = ("top1", "top5", "top10", "mAP")
_AGREEMENT = 2e-3  # largest difference of a run's file from its results: other machines round
_PLACES = INCIDENTAL | {"encoder_run", "features_root"}
_SAME_TEST = ("dataset", "probe", "length")


@dataclass(frozen=True, eq=False)
class Scored:
    """A run and the outcome of each of its probe windows that are scored."""

    run: Run
    probes: ProbeOutcomes

    @property
    def seed(self) -> str:
        """Of split and training."""
        return self.run.text("seed")

    @property
    def unmatched(self) -> int:
        """Probe windows without a match in the gallery."""
        return int((self.probes.first_match_rank == 0).sum())

    @property
    def values(self) -> np.ndarray:
        """(N, 4) float64 of each probe window: hit at 1, 5 and 10, average precision."""
        ranks = self.probes.first_match_rank
        hits = [(ranks >= 1) & (ranks <= k) for k in (1, 5, 10)]
        return np.column_stack([*hits, self.probes.average_precision])


@dataclass(frozen=True, eq=False)
class Side:
    """Runs of one method, one a seed, in the order of their seeds."""

    name: str
    protocol: str
    runs: tuple[Scored, ...]

    @property
    def first(self) -> Run:
        """The first run, for values that all runs share."""
        return self.runs[0].run

    @property
    def supervised(self) -> bool:
        """Whether identity labels trained the network."""
        return any(bool(scored.run.results.get("supervised")) for scored in self.runs)

    @property
    def persons(self) -> np.ndarray:
        """Sorted int64 numbers of all persons who are probes in some run."""
        return np.unique(np.concatenate([scored.probes.identity for scored in self.runs]))

    def sums(self, persons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(R, P, 4) sums and counts of the probe windows of P persons, sorted numbers."""
        found = [person_sums(s.values, s.probes.identity, persons) for s in self.runs]
        return np.stack([sums for sums, _ in found]), np.stack([counts for _, counts in found])


def load_side(name: str, paths: Sequence[Path], protocol: str) -> Side:
    """The side `name` from the folders of its runs; UserError where more than seeds differ."""
    scored = [_scored(results.load(path), protocol) for path in paths]
    scored.sort(key=lambda one: (not one.seed.isdecimal(), one.seed.zfill(20)))
    side = Side(name, protocol, tuple(scored))
    for earlier, later in pairwise(scored):
        if earlier.seed == later.seed:
            raise UserError(
                f"{name}: {earlier.run.path} and {later.run.path} both have seed {later.seed}. "
                "Name one run a seed."
            )
    for other in scored[1:]:
        _require_alike(scored[0].run, other.run, name)
    return side


def require_pairs(a: Side, b: Side) -> None:
    """UserError where runs have no partner of the same seed and data."""
    for key in _SAME_TEST:
        one, other = a.first.text(key), b.first.text(key)
        if one != other:
            raise UserError(
                f"{a.first.path} and {b.first.path} cannot be compared: {key} {one} and {other}."
            )
    for side, partner in ((a, b), (b, a)):
        seeds = {scored.seed for scored in partner.runs}
        for scored in side.runs:
            if scored.seed not in seeds:
                raise UserError(
                    f"{scored.run.path} of {side.name} has seed {scored.seed}, and no run of "
                    f"{partner.name} has: {', '.join(str(s.run.path) for s in partner.runs)}. Each "
                    "run needs a partner with the same seed and data."
                )
    for mine, theirs in zip(a.runs, b.runs, strict=True):
        _require_same_data(mine, theirs)


def remarks(a: Side, b: Side) -> list[str]:
    """Differences between the sides that a reader should know."""
    found = []
    if a.protocol != b.protocol:
        found.append(
            f"TWO PROTOCOLS: {a.name} is scored under {a.protocol}, {b.name} under {b.protocol}: "
            "their epochs were not chosen in the same way."
        )
    if a.supervised != b.supervised:
        trained, other = (a, b) if a.supervised else (b, a)
        found.append(
            f"SUPERVISED: {trained.name} was trained on identity labels, {other.name} was not."
        )
    shared = set(a.first.settings) & set(b.first.settings) - _PLACES
    pairs = [(key, *(plain(s.first.settings[key]) for s in (a, b))) for key in sorted(shared)]
    if differing := [f"{key} {one} / {other}" for key, one, other in pairs if one != other]:
        found.append(f"Settings of {a.name} / {b.name} that differ: {', '.join(differing)}.")
    both = list(zip(a.runs, b.runs, strict=True))
    if other_windows := [
        f"{len(one.probes):,} and {len(other.probes):,} (seed {one.seed})"
        for one, other in both
        if not _same_probes(one, other)
    ]:
        found.append(
            f"Paired over persons; the probe windows differ: {', '.join(other_windows)}. Each "
            "person is compared by the mean of each side's own windows, weighted by the windows of "
            "both sides, so the difference may not equal that of the two means."
        )
    if not all(scored.run.checked for side in (a, b) for scored in side.runs):
        found.append(
            "Some runs are on windows without checksums in their manifest: persons and counts show "
            "that both sides were scored on the same windows, not the windows themselves."
        )
    galleries = [(_gallery(one.run), _gallery(other.run), one.seed) for one, other in both]
    if differing := [f"{g} and {h} (seed {seed})" for g, h, seed in galleries if g != h]:
        found.append(f"The numbers of gallery windows differ: {', '.join(differing)}.")
    return found


def _scored(run: Run, protocol: str) -> Scored:
    figures = run.protocol(protocol)
    if figures is None:
        kept = run.results.get("protocols") or {}
        having = ", ".join(name for name in kept if run.protocol(name)) or "none"
        raise UserError(
            f"{run.path} has no numbers under the protocol {protocol}. It has: {having}. Choose "
            "with --protocol, or --with_protocol for the runs after --with."
        )
    if reason := figures.get("no_rates"):
        raise UserError(f"{run.path} has no rates under the protocol {protocol}: {reason}.")
    file = RunDirectory(run.path).probes_path(protocol)
    if "mAP" not in figures:
        raise UserError(
            f"{run.path} classifies windows and matches none, so it has no {file.name}."
        )
    if not file.is_file():
        raise UserError(
            f"{file} is missing. Score the run again with --mode Eval, which writes it: "
            f"{_evaluation(run)}"
        )
    scored = Scored(run, ProbeOutcomes.read(file).scored())
    identity = scored.probes.identity
    sums, counts = person_sums(scored.values, identity, np.unique(identity))
    for name, mean in zip(FIGURES, means(sums[None], counts[None])[0], strict=True):
        stored = figures.get(name)
        if stored is not None and not abs(mean - stored) <= _AGREEMENT:
            raise UserError(
                f"{file} does not agree with {results.RESULTS} beside it: {name} {mean:.4f} "
                f"and {stored:.4f}. Score the run again with --mode Eval: {_evaluation(run)}"
            )
    return scored


def _evaluation(run: Run) -> str:
    """The command that scores a run again."""
    folder = RunDirectory(run.path)
    stored = folder.read_config() if folder.config_path.is_file() else {}
    where = f"--dataset {run.text('dataset')} --probe {run.text('probe')}"
    where += f" --length {run.text('length')} --model_root {run.path.parent.parent.parent}"
    command = stored.get("command", "COMMAND")
    return f"python -m simmc {command} {where} --run {run.path.name} --mode Eval"


def _require_alike(one: Run, other: Run, name: str) -> None:
    """UserError where two runs of a side differ in more than their seed."""
    pairs = [("method", one.method_name, other.method_name)]
    pairs += [(key, one.text(key), other.text(key)) for key in ("fidelity", *_SAME_TEST)]
    shared = set(one.settings) & set(other.settings) - _PLACES
    pairs += [(key, plain(one.settings[key]), plain(other.settings[key])) for key in sorted(shared)]
    differing = [f"{key} {this} and {that}" for key, this, that in pairs if this != that]
    if differing:
        raise UserError(
            f"{name}: {one.path} and {other.path} differ in more than their seed: "
            f"{', '.join(differing[:5])}. A side is one method with one choice of settings; runs "
            "to compare it with come after --with."
        )


def _require_same_data(one: Scored, other: Scored) -> None:
    """UserError where two runs of one seed were not scored on the same persons and data."""
    sums = [scored.run.checksum for scored in (one, other)]
    names = f"{one.run.path} and {other.run.path}"
    if sums[0] != sums[1]:
        shown = " and ".join(checksum[:12] or "none" for checksum in sums)
        raise UserError(
            f"{names} have the same seed and other data: the checksums of their manifests are "
            f"{shown}. Compare runs on the same windows (--data_root)."
        )
    if not sums[0] and not _same_probes(one, other):
        raise UserError(
            f"{names}: their probe windows differ ({len(one.probes):,} and {len(other.probes):,}), "
            "and their data have no manifest with a checksum."
        )
    if not np.intersect1d(one.probes.identity, other.probes.identity).size:
        raise UserError(f"{names} have no person in common among their probes.")


def _same_probes(one: Scored, other: Scored) -> bool:
    """Whether two lists of probe windows agree in identity and recording."""
    pairs = [(one.probes.identity, other.probes.identity)]
    if one.probes.recording is not None and other.probes.recording is not None:
        pairs.append((one.probes.recording, other.probes.recording))
    return all(np.array_equal(*pair) for pair in pairs)


def _gallery(run: Run) -> str:
    """How many gallery windows a run was scored against."""
    found = run.counts.get("gallery")
    return f"{found:,}" if isinstance(found, int) else "?"
