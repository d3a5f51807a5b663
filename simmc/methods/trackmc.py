"""TrackMC: contrast with prototypes that whole tracklets share, without labels. Our own method.

Each epoch: encode every window; divide every tracklet (recording) at random into parts and average
their features; cluster the parts by density; a tracklet shares the clusters of its parts; draw each
of its windows to their prototypes, away from those of all other clusters but the ones that may be
the same person.

`--recordings auto` has two stages. The first one clusters single windows. As soon as most
recordings, clustered as wholes, are sure, the second stage clusters them so and begins again with
the untrained network. Where they stay unsure it would push recordings of one person apart, and
never begins. More training is not better: the first stage is short, and counted in steps, not in
epochs; the second one ends where its labels are fitted.
docs/trackmc.md says why. Shape letters: N windows, f frames, K values a frame, H features,
T tracklets, P parts.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn.functional import normalize
from torch.nn.utils import parameters_to_vector

from simmc.clustering import (
    Reach,
    Targets,
    descriptions,
    draw_parts,
    part_means,
    shared_targets,
)
from simmc.data.experiment.experiment import Experiment, Split
from simmc.data.experiment.inputs import LEVELLED
from simmc.engine.method import Method, counted, shape_of
from simmc.engine.pseudo_labels import clustered
from simmc.engine.tracklets import (
    APART,
    AUTO,
    IGNORE,
    MERGE,
    OFF,
    POSITIVES,
    cannot_link_of,
    cluster_record,
    constrained,
    tracklets_of,
)
from simmc.engine.training import LAST, REACH, Encoded, Model, Shape, Training
from simmc.errors import UserError, numbered
from simmc.losses import shared_prototype_contrast
from simmc.models.simmc import count_parameters, draw_masks
from simmc.models.trackmc import TrackEncoder
from simmc.runs.records import EpochRecord
from simmc.runs.runtime import few_threads
from simmc.scoring.match import ENCODE_BATCH, tensor_of
from simmc.settings import groups
from simmc.settings.groups import COUNT, FRACTION, INSIDE, POSITIVE
from simmc.settings.layers import Resolved, by_user
from simmc.settings.options import EVALUATION, MAIN, Range, Settings, group_of, option

SHAPE_FLAGS = "--dataset, --input, --H, --D and --pooling"
# `auto`: the clustering of the first stage, as in configs/trackmc/positives.toml
WINDOWS: dict[str, Any] = {"eps": 0.6, "min_samples": 4, "doubt": 0.8}
STEPS = 150  # of the first stage, after which an epoch may count; at most so many an epoch
FALL, GROWTH = 0.97, 1.05  # factors of the reach by which it has fallen, or grown
PATIENCE = 4  # epochs in a row that do not count, after which the first stage ends
FITTED = 0.05  # loss of an epoch of the second stage that ends it: labels fitted to 95 %
EXPLAINED = {
    "paper": "paper protocol: the epoch with the best probe top-1 (it has seen the test)",
    "label_free": "label-free protocol: the last epoch; with --recordings auto the one that steps, "
    "reach and loss choose (docs/trackmc.md, When to stop); no identity, probe or gallery decides",
}


@dataclass(frozen=True, kw_only=True)
class TrackMCSettings(Settings):
    """Everything that a training or evaluation of TrackMC takes."""

    COMMAND: ClassVar[str] = "trackmc"
    SUMMARY: ClassVar[str] = (
        "Train TrackMC, our own method, without identity labels, and score it by matching probe "
        "against gallery windows, or score a trained run (--mode Eval)."
    )

    place: groups.Place
    machine: groups.Machine
    common: groups.Common = group_of(
        fidelity=option(
            "exact",
            "Sets the switches of data and evaluation: correct, or as in the public programs.",
            choices=("released", "exact"),
            group=MAIN,
        ),
    )
    windows: groups.Windows
    joints: groups.Joints = group_of(
        input=option(
            "turned+bones+distances",
            "What a frame is described by: joints, turned, levelled (for tilted cameras; replaces "
            "the default's turned where recordings lean to a side), bones, distances, angles, "
            "motion; several joined by +.",
        ),
    )
    training: groups.Training = group_of(
        lr=option(5e-4, "Learning rate of Adam, constant.", limits=POSITIVE),
        epochs=option(20, "Maximum number of epochs; auto may end earlier.", limits=Range(0)),
        eval_every=5,
    )
    clustering: groups.Clustering = group_of(eps=0.5)
    labels: groups.LabelFree
    rematch: groups.Rematch
    H: int = option(256, "Width of the encoder.", aliases=("hidden",), limits=COUNT)
    recordings: str = option(
        AUTO,
        "How recordings are used, each of which shows one person: not at all (off); windows of a "
        "recording share their clusters (positives); recordings are clustered as wholes (merge); "
        "positives first, then merge if most recordings are clear-cut (auto).",
        choices=(AUTO, OFF, POSITIVES, MERGE),
        group=MAIN,
    )
    overlap: str = option(
        APART,
        "Training recordings that overlap in time, where the times are known: they show two people "
        "and are never in one cluster (apart), or the times are not used (ignore).",
        choices=(APART, IGNORE),
    )
    first_lr: float = option(5e-4, "auto: learning rate of the first stage.", limits=POSITIVE)
    unsure: float = option(
        0.5,
        "auto: largest share of unsure recordings with which the second stage begins.",
        limits=FRACTION,
    )
    parts: int = option(12, "auto, merge: maximum number of parts of a recording.", limits=COUNT)
    part_size: int = option(4, "auto, merge: minimum number of windows of a part.", limits=COUNT)
    doubt: float | None = option(
        0.95,
        "Ambiguity radius: clusters with parts within this distance may be one person and are not "
        "negatives of each other; 'off': all clusters are.",
        kind=float,
        limits=INSIDE,
        words={"off": None},
        aliases=("ambiguity",),
    )
    t: float = option(0.1, "Temperature of the contrast.", aliases=("tau",), limits=POSITIVE)
    mask_x: int = option(0, "Frames dropped from each training window.", limits=Range(0))
    D: int = option(1, "Hidden layers of the encoder.", limits=COUNT)
    pooling: str = option(
        "mean_std",
        "Pooling of a unit over the frames: its mean, or mean and standard deviation.",
        choices=("mean", "mean_std"),
    )
    matching: str = option(
        "unit",
        "Features that are matched: scaled to unit length, as in the loss, or not.",
        choices=("unit", "plain"),
        group=EVALUATION,
    )

    @staticmethod
    def preset_names(values: Mapping[str, Any]) -> list[str]:
        """One preset for each use of recordings; none depends on a dataset."""
        return [values["recordings"]]

    def check(self) -> None:
        """An ambiguity radius beyond eps; frames left over."""
        eps, length = self.clustering.eps, self.place.length
        if self.doubt is not None and self.doubt < eps:
            raise UserError(
                f"--doubt {self.doubt:g} must not be below --eps {eps:g}; give more, or off."
            )
        if self.mask_x >= length:
            raise UserError(
                f"--mask_x {self.mask_x} leaves no frame of --length {length}; give less."
            )


@dataclass(frozen=True)
class Stage:
    """A part of the training: what is clustered, and how."""

    whole: bool  # tracklets as wholes, in parts; else single windows
    clustering: groups.Clustering
    doubt: float | None
    lr: float


def stage_of(settings: TrackMCSettings, second: bool) -> Stage:
    """The stage of a training; `second`: of `auto`, the second one."""
    s = settings
    if s.recordings == AUTO and not second:
        windows = s.clustering.but(eps=WINDOWS["eps"], min_samples=WINDOWS["min_samples"])
        return Stage(False, windows, WINDOWS["doubt"], s.first_lr)
    return Stage(s.recordings in (AUTO, MERGE), s.clustering, s.doubt, s.training.lr)


class TrackMC(Training[TrackMCSettings]):
    """A training in progress; the arguments are those of `Training`.

    `seeds.weights` draws the network; `seeds.masks` parts, order of windows and dropped frames.
    """

    CHOSEN_BY: ClassVar = {"paper": "top1", "label_free": LAST}
    OTHER_REMEDY = " or a larger --t"
    network: TrackEncoder

    @staticmethod
    def new_network(
        settings: TrackMCSettings, shape: Shape, generator: torch.Generator
    ) -> TrackEncoder:
        """The encoder."""
        s = settings
        return TrackEncoder(shape.width, s.H, s.D, s.pooling, generator=generator)

    @staticmethod
    def encoder(model: Model[TrackMCSettings]) -> Encoded:
        """Features, at unit length where they are matched so."""

        def features(split: Split) -> torch.Tensor:
            found = encode(model.network, tensor_of(split, model.runtime.device))
            return normalize(found, dim=1) if is_unit(model.settings) else found

        return features

    def prepare(self) -> None:
        """Windows and tracklets in memory."""
        s, train, device = self.settings, self.data.train, self.runtime.device
        self.windows = tensor_of(train, device)
        self.tracklet = tracklets_of(train, s.recordings, s.place)
        used = s.recordings != OFF and s.overlap == APART
        self.cannot_link = cannot_link_of(train) if used else None
        self.of_window = torch.from_numpy(self.tracklet).to(device)
        self.reach: Reach | None = None
        if s.recordings == AUTO:
            described = descriptions(self.windows, self.of_window)
            self.reach = Reach(described, self.runtime.threads)
        self.second: int | None = None  # epoch at which the second stage began
        self.taken, self.loss = 0, math.inf  # steps so far, loss of the last epoch
        # first stage: smallest reach with which an epoch counts, epochs since the last that did
        self.least, self.waited = -math.inf, 0
        self.untrained = parameters_to_vector(self.network.parameters()).detach()

    def chosen_by(self, protocol: str) -> str:
        """The number of the record by which the epoch of a protocol is chosen."""
        auto = self.reach is not None and protocol == "label_free"
        return REACH if auto else super().chosen_by(protocol)

    @property
    def stage(self) -> Stage:
        """The stage of the present epoch."""
        return stage_of(self.settings, self.second is not None)

    def look(self) -> EpochRecord:
        """The clusters of an epoch, in `targets`; in `auto`, whether the second stage begins."""
        last = self.epoch >= self.settings.training.epochs
        if last and self.reach is None:
            return {}
        features, record = self.encoded(), EpochRecord()
        if self.reach is not None:
            record["reach"] = self.reach(part_means(features, self.of_window))
            record["reach_score"] = float(self.epoch) if self.counts(record["reach"]) else None
        if self.second is not None and self.loss < FITTED:
            self.ended = "the pseudo labels are fitted"
        if last or self.ended:
            return record
        if self.reach is not None and self.second is None and self.epoch > 0:
            wholes = self.share(features, stage_of(self.settings, second=True))
            if self.is_clear_cut(wholes):
                self.begin_second()
                features, record["reach_score"] = self.encoded(), None
            elif self.waited >= PATIENCE:
                self.ended, self.targets = self.why_unclear(wholes), wholes
        if not self.ended:
            self.targets = self.share(features, self.stage)
        if self.cannot_link is not None:
            record["seen_at_once"] = len(self.cannot_link)
        known = self.settings.recordings != OFF
        return record | cluster_record(self.targets, self.tracklet, self.data.train, known)

    def encoded(self) -> torch.Tensor:
        """(N, H) features of the training windows."""
        with self.clock("features"):
            features = encode(self.network, self.windows)
            self.require_finite(features)
        return features

    def counts(self, reach: float) -> bool:
        """Whether an epoch counts, from its reach; the last one that does is chosen.

        All of the second stage do. In the first one it is the untrained epoch, the first after
        `STEPS` steps (or the last) unless the reach has fallen, and then those in which it has
        grown.
        """
        if self.second is not None:
            return True
        if 0 < self.epoch < self.settings.training.epochs and self.taken < STEPS:
            return False
        good = reach >= self.least
        self.waited = 0 if good else self.waited + 1
        if good:
            # without a reach (two recordings) there is no growth
            self.least = (reach or math.inf) * GROWTH if self.epoch > 0 else reach * FALL
        return good

    def is_clear_cut(self, wholes: Targets) -> bool:
        """Whether there are `k1` recordings, and most of them, as wholes, are sure."""
        enough = len(wholes.known) >= self.settings.clustering.k1
        return enough and unsure_of(wholes) <= self.settings.unsure

    def begin_second(self) -> None:
        """Begin with the untrained network: what separates windows is a worse start than none."""
        self.second = self.epoch
        self.optimizer = self.new_optimizer()
        self.optimizer.vector.copy_(self.untrained)

    def why_unclear(self, wholes: Targets) -> str:
        """Why the second stage never began."""
        count, unsure = len(wholes.known), 100 * unsure_of(wholes)
        said = f"{unsure:.0f} % of the recordings are unsure: too many to tell"
        if count < self.settings.clustering.k1:
            said = numbered("only {} [recording|recordings], too few to tell", count)
        return f"{said} which show the same person"

    def share(self, features: torch.Tensor, stage: Stage) -> Targets:
        """Clusters of the parts of tracklets, shared by each tracklet, from (N, H) features."""
        s, part = self.settings, np.arange(len(features))
        if stage.whole:
            part = draw_parts(self.tracklet, s.parts, self.seeds.masks, size=s.part_size)
        tracklet_of_part = np.empty(part.max(initial=-1) + 1, dtype=np.int64)
        tracklet_of_part[part] = self.tracklet
        means = part_means(features, torch.from_numpy(part).to(features.device))
        found = clustered(
            means,
            stage.clustering,
            self.runtime,
            self.clock,
            normalise=True,
            reach=stage.doubt,
        )
        if self.cannot_link is not None:
            with self.clock("dbscan"):
                found = constrained(found, stage.clustering, tracklet_of_part, self.cannot_link)
        return shared_targets(
            means,
            found.labels,
            torch.from_numpy(tracklet_of_part).to(features.device),
            singletons=stage.whole,
            near=None if stage.doubt is None else found.graph,
            cannot_link=self.cannot_link,
        )

    def steps(self) -> EpochRecord:
        """One step a batch, over all windows whose tracklet has a cluster, in a new order.

        The epoch ends at the mean of the weights after its steps; in the first stage of `auto` it
        has at most `STEPS` of them.
        """
        s, targets = self.settings, self.targets
        kept = torch.nonzero(targets.known[self.of_window]).flatten()
        kept = kept[torch.from_numpy(self.seeds.masks.permutation(len(kept))).to(kept.device)]
        weights = self.draw_weights()
        most = STEPS if self.reach is not None and self.second is None else None
        batches = kept.split(s.windows.batch_size)[:most] if len(kept) else ()
        total = torch.zeros((), device=kept.device)
        mean = torch.zeros_like(self.optimizer.vector)
        self.optimizer.lr = self.stage.lr
        with few_threads(2):
            for rows in self.bar(batches):  # nothing in here may wait for a GPU
                features = self.network(
                    self.windows[rows], None if weights is None else weights[rows]
                )
                own = self.of_window[rows]
                loss = shared_prototype_contrast(
                    features,
                    targets.cluster[own],
                    targets.share[own],
                    targets.prototypes,
                    s.t,
                    targets.excluded_negatives(own),
                )
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                total += loss.detach()
                mean += self.optimizer.vector
        self.require_finite(total)
        if batches:
            self.optimizer.vector.copy_(mean / len(batches))
        loss_mpc = float(total) / max(len(batches), 1)
        self.taken += len(batches)
        self.loss = loss_mpc if batches else math.inf
        return {"steps": len(batches), "loss_mpc": loss_mpc}

    def draw_weights(self) -> torch.Tensor | None:
        """(N, f) shares of the frames after some are dropped; None where all are kept."""
        s = self.settings
        if not s.mask_x:
            return None
        n, length = self.windows.shape[:2]
        masks = draw_masks(self.seeds.masks, n, length, (s.mask_x,))[:, 0]
        return torch.from_numpy(masks).to(self.windows)

    def state(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit, as plain values."""
        stages = [self.second, self.taken, self.loss, self.least, self.waited]
        return super().state() | {"stages": stages}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        super().load_state(state)
        self.second, self.taken, self.loss, self.least, self.waited = state["stages"]


@torch.no_grad()
def encode(network: TrackEncoder, windows: torch.Tensor) -> torch.Tensor:
    """(N, H) features of whole windows."""
    return torch.cat([network(part) for part in windows.split(ENCODE_BATCH)])


def unsure_of(targets: Targets) -> float:
    """Share of the recordings without a certain cluster."""
    return float((~targets.sure).float().mean())


def is_unit(settings: TrackMCSettings) -> bool:
    """Whether features are matched at unit length."""
    return settings.matching == "unit"


def title(settings: TrackMCSettings) -> str:
    """The name in tables: windows alone and windows with recordings are two tiers."""
    tier = "windows only" if settings.recordings == OFF else f"recordings: {settings.recordings}"
    return f"TrackMC ({tier})"


def model_size(settings: TrackMCSettings) -> str:
    """Parameters of the network."""
    network = TrackMC.new_network(settings, shape_of(settings), torch.Generator())
    return counted("TrackMC", settings, count_parameters(network))


def remarks(resolved: Resolved[TrackMCSettings], data: Experiment) -> list[str]:
    """What `auto` leaves out in its first stage; where `merge` has too few recordings."""
    settings, k1 = resolved.settings, resolved.settings.clustering.k1
    if settings.recordings == AUTO:
        given = [f"--{name}" for name in (*WINDOWS, "lr") if by_user(resolved.origin[name])]
        first = ", ".join(f"{name} {value:g}" for name, value in WINDOWS.items())
        return [
            f"{', '.join(given)}: of the second stage alone; the first one clusters windows with "
            f"{first} and has --first_lr {settings.first_lr:g}"
        ] * bool(given)
    if settings.recordings != MERGE:
        return []
    count = int(tracklets_of(data.train, settings.recordings, settings.place).max(initial=-1)) + 1
    if count >= k1:
        return []
    return [
        f"only {numbered('{} training [recording|recordings]', count)}: with fewer than --k1 {k1}, "
        "merge may join different persons; --recordings auto is the safe choice (docs/trackmc.md)"
    ]


def version_of_numbers(settings: TrackMCSettings) -> int:
    """5 where recordings that lean are levelled; 4 where the first stage is counted in steps."""
    if LEVELLED in settings.joints.parts:
        return 5
    return 4 if settings.recordings == AUTO else 3


METHOD = Method(
    TrackMCSettings,
    "train TrackMC, our own method, without labels, or score a trained run",
    title=title,
    training=TrackMC,
    size=model_size,
    explained=EXPLAINED,
    recipe=lambda settings: f"trackmc_{settings.recordings}",
    unit=is_unit,
    remarks=remarks,
    embeds=True,
    shape_flags=SHAPE_FLAGS,
    version=5,
    since=version_of_numbers,
)
