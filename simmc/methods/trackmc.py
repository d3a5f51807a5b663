"""TrackMC: contrast with prototypes that whole tracklets share, without labels. Our own method.

Each epoch: encode every window; divide every tracklet (recording) at random into parts and average
their features; cluster the parts by density; a tracklet shares the clusters of its parts; draw each
of its windows to their prototypes, away from those of all other clusters but the ones that may be
the same person. The first stage clusters single windows. As soon as most recordings as wholes are
clear-cut, the second stage clusters them; if they never are, it does not begin, because it would
drive recordings of one person apart; the weights are then those of the epoch of the first stage
after which its reach hardly grew.
docs/trackmc.md says why. Shape letters: N windows, f frames, K values a frame, H features,
T tracklets, P parts.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn.functional import normalize

from simmc.clustering import (
    CannotLink,
    Clustering,
    Targets,
    as_arrays,
    dbscan_cannot_link,
    descriptions,
    draw_parts,
    part_means,
    reach,
    shared_targets,
)
from simmc.data.experiment import inputs
from simmc.data.experiment.experiment import Experiment, Split
from simmc.data.specs import skeleton_of
from simmc.engine.masks import draw_masks
from simmc.engine.method import Embedder, Method
from simmc.engine.pseudo_labels import clustered
from simmc.engine.tracklets import (
    APART,
    AUTO,
    IGNORE,
    MERGE,
    OFF,
    POSITIVES,
    cannot_link_of,
    tracklets_of,
)
from simmc.engine.training import LAST, Training, load_weights
from simmc.errors import UserError, numbered
from simmc.evaluation import diagnostics
from simmc.evaluation.ranking import Retrieval
from simmc.losses import shared_prototype_contrast
from simmc.models.simmc import count_parameters
from simmc.models.trackmc import TrackEncoder
from simmc.runs.records import EpochRecord, Figures
from simmc.runs.runtime import Runtime, Seeds, few_threads, generators
from simmc.scoring.match import (
    ENCODE_BATCH,
    MatchRule,
    Outcome,
    match_encoded,
    retrieval_outcome,
    retrieval_record,
    tensor_of,
)
from simmc.settings import groups
from simmc.settings.groups import COUNT, FRACTION, INSIDE, POSITIVE
from simmc.settings.layers import Resolved
from simmc.settings.options import EVALUATION, MAIN, Range, Settings, group_of, option

SHAPE_FLAGS = "--dataset, --input, --H, --D and --pooling"
FEWEST = 3  # epochs of the first stage
GROWTH = 1.03  # an epoch is better than the best so far if its reach is larger by this factor
PATIENCE = 4  # epochs without a better one that end the first stage
MANY = 5  # recordings for each of the k1 neighbours that the second stage needs
EXPLAINED = {
    "paper": "paper protocol: the epoch with the best probe top-1 (it has seen the test)",
    "label_free": "label-free protocol: the last epoch, or the one after which the reach hardly "
    "grew (--recordings auto); no identity, probe or gallery decides",
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
            "What a frame is described by: joints, turned, bones, distances, angles, motion; "
            "several joined by +.",
        ),
    )
    training: groups.Training = group_of(
        lr=option(1e-3, "Learning rate of Adam; falls to 0 along a cosine.", limits=POSITIVE),
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
    first_lr: float = option(
        5e-4, "auto: constant learning rate of the first stage.", limits=POSITIVE
    )
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

    other_defaults = staticmethod(groups.length_of_dataset)

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
    """A part of the training: what is clustered, how, and the epochs `begin` to `end` - 1."""

    whole: bool  # tracklets as wholes, in parts; else single windows
    averaged: bool  # a constant rate; an epoch ends at the mean of the weights after its steps
    clustering: groups.Clustering
    doubt: float | None
    lr: float
    begin: int
    end: int

    def rate(self, epoch: float) -> float:
        """The learning rate at an epoch; falls from `lr` to 0 along a cosine, unless constant."""
        if self.averaged:
            return self.lr
        share = (epoch - self.begin) / (self.end - self.begin)
        return self.lr * 0.5 * (1 + math.cos(math.pi * share))


def stage_of(settings: TrackMCSettings, begin: int | None) -> Stage:
    """The stage of a training whose second one began at an epoch; None: it has not begun."""
    s = settings
    if begin is not None or s.recordings != AUTO:
        whole = s.recordings in (AUTO, MERGE)
        return Stage(
            whole, False, s.clustering, s.doubt, s.training.lr, begin or 0, s.training.epochs
        )
    windows = replace(s.clustering, eps=0.6, min_samples=4)
    return Stage(False, True, windows, 0.8, s.first_lr, 0, s.training.epochs)


class TrackMC(Training[TrackMCSettings]):
    """A training in progress; the arguments are those of `Training`, less the network.

    `seeds.weights` draws the network; `seeds.masks` parts, order of windows and dropped frames.
    """

    CHOSEN_BY: ClassVar = {"paper": "top1", "label_free": LAST}
    OTHER_REMEDY = " or a larger --t"
    network: TrackEncoder

    def __init__(
        self,
        settings: TrackMCSettings,
        data: Experiment,
        seeds: Seeds,
        runtime: Runtime,
        protocols: tuple[str, ...],
    ) -> None:
        self.windows = tensor_of(data.train, runtime.device)
        self.tracklet = tracklets_of(data.train, settings.recordings, settings.place)
        used = settings.recordings != OFF and settings.overlap == APART
        self.cannot_link = cannot_link_of(data.train) if used else None
        self.guess: np.ndarray | None = None  # saves time, decides nothing
        self.second: int | None = None  # epoch at which the second stage began
        self.farthest, self.best = 0.0, 0  # reach of the best epoch so far, and that epoch
        self.described: np.ndarray | None = None
        if settings.recordings == AUTO:
            self.described = descriptions(self.windows, self.tracklet)
        network = new_network(settings, self.windows.shape[2], seeds.weights)
        super().__init__(settings, data, seeds, runtime, protocols, network)
        self.untrained = self.optimizer.vector.clone()
        if self.described is not None and "label_free" in self.selectors:
            self.selectors["label_free"].first = 0  # the untrained network counts, too

    def evaluate(self) -> Figures:
        """Figures of matching with the present weights."""
        s = self.settings
        rule = MatchRule(s.windows.same_condition_map)
        return retrieval_record(retrieve(self.network, s, self.data, self.runtime, rule))

    def chosen_by(self, protocol: str) -> str:
        """The number of the record by which the epoch of a protocol is chosen."""
        auto = self.described is not None and protocol == "label_free"
        return "reach_score" if auto else super().chosen_by(protocol)

    @property
    def stage(self) -> Stage:
        """The stage of the present epoch."""
        return stage_of(self.settings, self.second)

    def look(self) -> EpochRecord:
        """The clusters of an epoch, in `targets`; whether the second stage begins."""
        last = self.epoch >= self.settings.training.epochs
        if last and self.described is None:
            return {}
        features = self.encoded()
        record: EpochRecord = {}
        if self.described is not None:
            record["reach"] = self.reach_of(features)
            record["reach_score"] = self.score_of(record["reach"])
        if last:
            return record
        if self.begin_second(features):
            self.restart()
            features, record["reach_score"] = self.encoded(), None
        if not self.ended:
            self.targets = self.share(features, self.stage)
        return record | self.cluster_record()

    def encoded(self) -> torch.Tensor:
        """(N, H) features of the training windows."""
        with self.clock("features"):
            features = encode(self.network, self.windows)
            self.require_finite(features)
        return features

    def reach_of(self, features: torch.Tensor) -> float:
        """`reach` of the mean features of recordings."""
        assert self.described is not None
        rows = torch.from_numpy(self.tracklet).to(features.device)
        means = part_means(features, rows).cpu().numpy()
        return reach(means, self.described, self.runtime.threads)

    def score_of(self, reach: float) -> float | None:
        """The later a better epoch, the higher; None where an epoch is not better.

        In the first stage an epoch is better if it is not one of the first few and its reach has
        grown, in the second one always.
        """
        early = 0 < self.epoch < FEWEST
        if self.second is None and (early or reach <= GROWTH * self.farthest):
            return None
        self.farthest, self.best = reach, self.epoch
        return float(self.epoch)

    def begin_second(self, features: torch.Tensor) -> bool:
        """Whether the second stage begins: most recordings as wholes are clear-cut.

        Where they are not at the end of the first stage, the training ends.
        """
        s = self.settings
        if s.recordings != AUTO or self.second is not None or self.epoch < FEWEST:
            return False
        self.targets = self.share(features, stage_of(s, self.epoch))
        count, few = len(self.targets.known), len(self.targets.known) < MANY * s.clustering.k1
        unsure = float((~self.targets.sure).float().mean())
        if unsure <= s.unsure and not few:
            self.second = self.epoch
        elif self.epoch - self.best >= PATIENCE:
            self.ended = (
                numbered("only {} [recording|recordings], too few to tell", count)
                if few
                else f"{100 * unsure:.0f} % of the recordings are unsure: too many to tell"
            ) + " which show the same person"
        return self.second is not None

    def restart(self) -> None:
        """The untrained network again: what separates windows is a worse start than none."""
        self.optimizer = self.new_optimizer()
        self.optimizer.vector.copy_(self.untrained)

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
            guess=None if stage.whole else self.guess,  # every epoch draws new parts
            reach=stage.doubt,
        )
        if not stage.whole:
            self.guess = found.candidates
        if self.cannot_link is not None:
            found = self.constrained(found, stage, tracklet_of_part, self.cannot_link)
        return shared_targets(
            means,
            found.labels,
            torch.from_numpy(tracklet_of_part).to(features.device),
            singletons=stage.whole,
            near=None if stage.doubt is None else found.graph,
            cannot_link=self.cannot_link,
        )

    def constrained(
        self, found: Clustering, stage: Stage, tracklet: np.ndarray, cannot_link: CannotLink
    ) -> Clustering:
        """The clusters of parts anew, under cannot-links of their tracklets (P,)."""
        with self.clock("dbscan"):
            graph = as_arrays(found.graph).whole()
            near = graph.within(stage.clustering.eps)
            labels = dbscan_cannot_link(near, stage.clustering.min_samples, tracklet, cannot_link)
        return replace(found, labels=torch.from_numpy(labels).to(found.labels.device), graph=graph)

    def steps(self) -> EpochRecord:
        """One step a batch, over all windows whose tracklet has a cluster, in a new order."""
        s, stage, targets = self.settings, self.stage, self.targets
        tracklet = torch.from_numpy(self.tracklet).to(self.windows.device)
        kept = torch.nonzero(targets.known[tracklet]).flatten()
        kept = kept[torch.from_numpy(self.seeds.masks.permutation(len(kept))).to(kept.device)]
        weights = self.draw_weights()
        batches = kept.split(s.windows.batch_size) if len(kept) else ()
        total = torch.zeros((), device=kept.device)
        mean = torch.zeros_like(self.optimizer.vector)
        with few_threads(2):
            for i, rows in enumerate(self.bar(batches)):  # nothing in here may wait for a GPU
                self.optimizer.lr = stage.rate(self.epoch + i / len(batches))
                features = self.network(
                    self.windows[rows], None if weights is None else weights[rows]
                )
                own = tracklet[rows]
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
        if stage.averaged and batches:
            self.optimizer.vector.copy_(mean / len(batches))
        return {"steps": len(batches), "loss_mpc": float(total) / max(len(batches), 1)}

    def draw_weights(self) -> torch.Tensor | None:
        """(N, f) shares of the frames after some are dropped; None where all are kept."""
        s = self.settings
        if not s.mask_x:
            return None
        n, length = self.windows.shape[:2]
        masks = draw_masks(self.seeds.masks, n, length, (s.mask_x,))[:, 0]
        return torch.from_numpy(masks).to(self.windows)

    def cluster_record(self) -> EpochRecord:
        """Numbers of the clusters; `ami` is a diagnostic from identities, nothing uses it."""
        first = self.targets.cluster[:, 0].cpu().numpy()
        known = self.targets.known.cpu().numpy()
        of_window = known[self.tracklet]
        clusters, kept = len(np.unique(first[known])), int(of_window.sum())
        record: EpochRecord = {"kept": kept}
        if self.settings.recordings == OFF:
            record |= {"clusters_1": clusters, "outliers": len(first) - kept}
        else:
            record |= {"people": clusters, "people_at_least": self.targets.fewest()}
            record |= {"tracks": len(first), "unsure": int((~self.targets.sure).sum())}
        if self.cannot_link is not None:
            record["seen_at_once"] = len(self.cannot_link)
        if kept:
            record["largest"] = diagnostics.largest_share(first[self.tracklet][of_window])
        of_window &= self.data.train.identity >= 0
        if of_window.any():
            record["ami"] = diagnostics.adjusted_mutual_information(
                self.data.train.identity[of_window], first[self.tracklet][of_window]
            )
        return record

    def state(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit, as plain values."""
        return super().state() | {"second": self.second, "best": [self.best, self.farthest]}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        super().load_state(state)
        second, (best, farthest) = state.get("second"), state.get("best", (0, 0.0))
        self.second = None if second is None else int(second)
        self.best, self.farthest = int(best), float(farthest)


def new_network(settings: TrackMCSettings, width: int, generator: torch.Generator) -> TrackEncoder:
    """An untrained network for inputs of `width` values a frame."""
    return TrackEncoder(width, settings.H, settings.D, settings.pooling, generator=generator)


@torch.no_grad()
def encode(network: TrackEncoder, windows: torch.Tensor) -> torch.Tensor:
    """(N, H) features of whole windows."""
    return torch.cat([network(part) for part in windows.split(ENCODE_BATCH)])


def is_unit(settings: TrackMCSettings) -> bool:
    """Whether features are matched at unit length."""
    return settings.matching == "unit"


def features_by(
    network: TrackEncoder, settings: TrackMCSettings, runtime: Runtime
) -> Callable[[Split], torch.Tensor]:
    """Gives the (N, H) features by which the windows of a split are matched."""

    def features(split: Split) -> torch.Tensor:
        found = encode(network, tensor_of(split, runtime.device))
        return normalize(found, dim=1) if is_unit(settings) else found

    return features


def retrieve(
    network: TrackEncoder,
    settings: TrackMCSettings,
    data: Experiment,
    runtime: Runtime,
    rule: MatchRule,
) -> Retrieval:
    """Probe against gallery by the Euclidean distance of features."""
    features = features_by(network, settings, runtime)
    return match_encoded(features, data, runtime, rule)


def score(
    path: Path | None,
    settings: TrackMCSettings,
    data: Experiment,
    runtime: Runtime,
    rule: MatchRule,
) -> Outcome:
    """The numbers of the weights in a file."""
    assert path is not None
    network, epoch = load_network(path, settings, data, runtime)
    return retrieval_outcome(retrieve(network, settings, data, runtime, rule), epoch)


def load_network(
    path: Path, settings: TrackMCSettings, data: Experiment, runtime: Runtime
) -> tuple[TrackEncoder, int]:
    """The network that a checkpoint holds and the epoch it comes from."""
    network = new_network(settings, data.probe.windows[0, 0].size, torch.Generator())
    epoch = load_weights(network, path, SHAPE_FLAGS)
    return network.to(runtime.device), epoch


def embedder(path: Path, settings: TrackMCSettings, data: Experiment, runtime: Runtime) -> Embedder:
    """A trained network as a function of windows."""
    network, epoch = load_network(path, settings, data, runtime)
    return Embedder(features_by(network, settings, runtime), epoch)


def title(settings: TrackMCSettings) -> str:
    """The name in tables: windows alone and windows with recordings are two tiers."""
    tier = "windows only" if settings.recordings == OFF else f"recordings: {settings.recordings}"
    return f"TrackMC ({tier})"


def model_size(settings: TrackMCSettings) -> str:
    """Parameters of the network."""
    place = settings.place
    width = inputs.width(skeleton_of(place.read_spec()), settings.joints.parts)
    network = new_network(settings, width, generators(0).weights)
    parameters = count_parameters(network)
    return f"TrackMC on {place.dataset}: {parameters:,} parameters ({parameters / 1e6:.2f}M)"


def remarks(resolved: Resolved[TrackMCSettings], data: Experiment) -> list[str]:
    """Where `merge` has too few recordings to tell one person's from another's by density."""
    settings, k1 = resolved.settings, resolved.settings.clustering.k1
    if settings.recordings != MERGE:
        return []
    count = int(tracklets_of(data.train, settings.recordings, settings.place).max(initial=-1)) + 1
    if count >= MANY * k1:
        return []
    return [
        f"only {numbered('{} training [recording|recordings]', count)}: with fewer than about "
        f"{MANY * k1} (--k1 {k1}), merge may join different persons; --recordings auto is the "
        "safe choice (docs/trackmc.md)"
    ]


METHOD = Method(
    TrackMCSettings,
    "train TrackMC, our own method, without labels, or score a trained run",
    title=title,
    training=TrackMC,
    score=score,
    size=model_size,
    explained=EXPLAINED,
    recipe=lambda settings: f"trackmc_{settings.recordings}",
    unit=is_unit,
    remarks=remarks,
    embedder=embedder,
)
