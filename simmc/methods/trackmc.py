"""TrackMC: contrast with prototypes that whole tracklets share, without labels. Our own method.

Each epoch: encode every window; divide every tracklet (recording) at random into parts and average
their features; cluster the parts by density; a tracklet shares the clusters of its parts; draw each
of its windows to their prototypes, away from those of all other clusters but the ones that may be
the same person. Without recordings every window is a tracklet of one part. docs/trackmc.md says
why. Shape letters: N windows, f frames, K values a frame, H features, T tracklets, P parts.
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
    draw_parts,
    part_means,
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
from simmc.settings.groups import COUNT, INSIDE, POSITIVE
from simmc.settings.layers import Resolved
from simmc.settings.options import EVALUATION, MAIN, Range, Settings, group_of, option

SHAPE_FLAGS = "--dataset, --input, --H, --D and --pooling"
FEWEST = 5  # training recordings for each of the k1 neighbours; with fewer, merging is not safe
EXPLAINED = {
    "paper": "paper protocol: the epoch with the best probe top-1 (it has seen the test)",
    "label_free": "label-free protocol: the last epoch, no identity, probe or gallery decides",
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
        epochs=option(20, "Epochs; the weights of the last one are used.", limits=Range(0)),
        eval_every=5,
    )
    clustering: groups.Clustering = group_of(eps=0.5)
    labels: groups.LabelFree
    rematch: groups.Rematch
    H: int = option(256, "Width of the encoder.", aliases=("hidden",), limits=COUNT)
    recordings: str = option(
        MERGE,
        "Use of the fact that a recording shows one person: none (off); its windows share their "
        "clusters (positives); it is clustered as a whole (merge).",
        choices=(OFF, POSITIVES, MERGE),
        group=MAIN,
    )
    overlap: str = option(
        APART,
        "Training recordings that overlap in time, where the times are known: they show two people "
        "and are never in one cluster (apart), or the times are not used (ignore).",
        choices=(APART, IGNORE),
    )
    parts: int = option(12, "merge: most parts of a recording.", limits=COUNT)
    part_size: int = option(4, "merge: fewest windows of a part.", limits=COUNT)
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
        network = new_network(settings, self.windows.shape[2], seeds.weights)
        super().__init__(settings, data, seeds, runtime, protocols, network)

    def evaluate(self) -> Figures:
        """Figures of matching with the present weights."""
        s = self.settings
        rule = MatchRule(s.windows.same_condition_map)
        return retrieval_record(retrieve(self.network, s, self.data, self.runtime, rule))

    def learn(self) -> EpochRecord:
        """The clusters of an epoch, then its steps."""
        return self.find_clusters() | super().learn()

    def find_clusters(self) -> EpochRecord:
        """The clusters of an epoch, in `targets`, and their numbers."""
        with self.clock("features"):
            features = encode(self.network, self.windows)
            self.require_finite(features)
        self.targets = self.share(features)
        return self.cluster_record()

    def share(self, features: torch.Tensor) -> Targets:
        """Clusters of the parts of tracklets, shared by each tracklet, from (N, H) features."""
        s, n = self.settings, len(features)
        whole = s.recordings == MERGE
        part = np.arange(n)
        if whole:
            part = draw_parts(self.tracklet, s.parts, self.seeds.masks, size=s.part_size)
        tracklet_of_part = np.empty(part.max(initial=-1) + 1, dtype=np.int64)
        tracklet_of_part[part] = self.tracklet
        means = part_means(features, torch.from_numpy(part).to(features.device))
        found = clustered(
            means,
            s.clustering,
            self.runtime,
            self.clock,
            normalise=True,
            guess=None if whole else self.guess,  # parts are new ones in every epoch
            reach=s.doubt,
        )
        self.guess = found.candidates
        if self.cannot_link is not None:
            found = self.constrained(found, tracklet_of_part, self.cannot_link)
        rows = torch.from_numpy(tracklet_of_part).to(features.device)
        near = None if s.doubt is None else found.graph
        return shared_targets(
            means, found.labels, rows, singletons=whole, near=near, cannot_link=self.cannot_link
        )

    def constrained(
        self, found: Clustering, tracklet: np.ndarray, cannot_link: CannotLink
    ) -> Clustering:
        """The clusters of parts anew, under cannot-links of their tracklets (P,)."""
        with self.clock("dbscan"):
            graph = as_arrays(found.graph).whole()
            near = graph.within(self.settings.clustering.eps)
            labels = dbscan_cannot_link(
                near, self.settings.clustering.min_samples, tracklet, cannot_link
            )
        return replace(found, labels=torch.from_numpy(labels).to(found.labels.device), graph=graph)

    def steps(self) -> EpochRecord:
        """One step a batch, over all windows whose tracklet has a cluster, in a new order."""
        s, targets = self.settings, self.targets
        tracklet = torch.from_numpy(self.tracklet).to(self.windows.device)
        kept = torch.nonzero(targets.known[tracklet]).flatten()
        kept = kept[torch.from_numpy(self.seeds.masks.permutation(len(kept))).to(kept.device)]
        weights = self.draw_weights()
        batches = kept.split(s.windows.batch_size) if len(kept) else ()
        total = torch.zeros((), device=kept.device)
        with few_threads(2):
            for i, rows in enumerate(self.bar(batches)):  # nothing in here may wait for a GPU
                progress = (self.epoch + i / len(batches)) / s.training.epochs
                self.optimizer.lr = s.training.lr * 0.5 * (1 + math.cos(math.pi * progress))
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
        self.require_finite(total)
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
    """Where there are too few recordings to tell one person's from another's by density."""
    settings, k1 = resolved.settings, resolved.settings.clustering.k1
    if settings.recordings != MERGE:
        return []
    count = int(tracklets_of(data.train, settings.recordings, settings.place).max(initial=-1)) + 1
    few = FEWEST * k1
    if count >= few:
        return []
    return [
        f"only {numbered('{} training [recording|recordings]', count)}: with fewer than about "
        f"{few} (--k1 {k1}), merge may join different persons; --recordings positives is the "
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
