"""TrackMC: contrast with prototypes that whole tracks share, without labels. Our own method.

Each epoch: encode every window; cut every track (recording) at random into parts and average their
features; cluster the parts by density; a track shares the clusters of its parts; draw each of its
windows to their prototypes, away from those of all other clusters but the ones that may be the same
person. Without recordings every window is a track of one part. docs/method.md says why. Shape
letters: N windows, f frames, K values a frame, H features, T tracks, P parts.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from simmc.clustering import (
    Apart,
    Clustering,
    Targets,
    as_arrays,
    dbscan_apart,
    draw_parts,
    part_means,
    shared_targets,
)
from simmc.config import TrackMCSettings
from simmc.config.trackmc import IGNORE, MERGE, OFF
from simmc.data.loaders import Experiment, Split
from simmc.data.times import overlapping
from simmc.errors import UserError
from simmc.evaluation import diagnostics
from simmc.evaluation.ranking import Retrieval
from simmc.losses import shared_prototype_contrast
from simmc.methods.fixed import FixedTraining
from simmc.methods.masks import draw_masks
from simmc.methods.matching import (
    ENCODE_BATCH,
    match_encoded,
    retrieval_outcome,
    retrieval_record,
    tensor_of,
)
from simmc.methods.training import clustered, load_weights
from simmc.models.track_encoder import TrackEncoder
from simmc.runs.runtime import Runtime, few_threads
from simmc.runs.seeds import Seeds


class TrackMC(FixedTraining[TrackMCSettings]):
    """A training in progress.

    Args:
        settings: of the method.
        data: what it learns from and is scored on.
        seeds: `weights` draws the network; `masks` parts, order of windows and dropped frames.
        runtime: device and threads.
        protocols: "paper" (best probe top-1) and "label_free" (the last epoch).
    """

    LAST_COUNTS = ("label_free",)
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
        self.track = tracks_of(data.train, settings)
        self.apart = tracks_apart(data.train, settings)
        self.guess: np.ndarray | None = None  # saves time, decides nothing
        network = new_network(settings, self.windows.shape[2], seeds.weights)
        super().__init__(settings, data, seeds, runtime, protocols, network)

    def evaluate(self) -> dict[str, float]:
        """Figures of matching with the present weights."""
        return retrieval_record(retrieve(self.network, self.settings, self.data, self.runtime))

    def prepare(self) -> dict[str, Any]:
        """The clusters of this epoch, and what they say."""
        with self.clock("features"):
            features = encode(self.network, self.windows)
            self.require_finite(features)
        self.targets = self.share(features)
        return self.track_record()

    def share(self, features: torch.Tensor) -> Targets:
        """Clusters of the parts of tracks, shared by each track.

        Args:
            features: (N, H) of all training windows.
        """
        s, n = self.settings, len(features)
        whole = s.recordings == MERGE
        part = np.arange(n)
        if whole:
            part = draw_parts(self.track, s.parts, self.seeds.masks, size=s.part_size)
        track_of_part = np.empty(part.max(initial=-1) + 1, dtype=np.int64)
        track_of_part[part] = self.track
        means = part_means(features, torch.from_numpy(part).to(features.device))
        found = clustered(
            means,
            s,
            self.runtime,
            self.clock,
            normalise=True,
            guess=None if whole else self.guess,  # parts are new ones in every epoch
            reach=s.doubt,
        )
        self.guess = found.candidates
        if self.apart is not None:
            found = self.keep_apart(found, track_of_part, self.apart)
        rows = torch.from_numpy(track_of_part).to(features.device)
        near = None if s.doubt is None else found.graph
        return shared_targets(means, found.labels, rows, lone=whole, near=near, apart=self.apart)

    def keep_apart(self, found: Clustering, track: np.ndarray, apart: Apart) -> Clustering:
        """The clustering anew, with no two tracks in a cluster that cannot be one person.

        Args:
            found: the clusters of parts.
            track: (P,) int64, the track of every part.
            apart: the pairs of tracks.
        """
        with self.clock("dbscan"):
            graph = as_arrays(found.graph).whole()
            near = graph.within(self.settings.eps)
            labels = dbscan_apart(near, self.settings.min_samples, track, apart)
        return replace(found, labels=torch.from_numpy(labels).to(found.labels.device), graph=graph)

    def learn(self) -> dict[str, Any]:
        """One step a batch, over all windows whose track has a cluster, in a new order."""
        s, targets = self.settings, self.targets
        track = torch.from_numpy(self.track).to(self.windows.device)
        kept = torch.nonzero(targets.known[track]).flatten()
        kept = kept[torch.from_numpy(self.seeds.masks.permutation(len(kept))).to(kept.device)]
        weights = self.draw_weights()
        batches = kept.split(s.batch_size)
        total = torch.zeros((), device=kept.device)
        with few_threads(2):
            for i, rows in enumerate(self.progress(batches)):  # nothing in here may wait for a GPU
                progress = (self.epoch + i / len(batches)) / s.epochs
                self.optimizer.lr = s.lr * 0.5 * (1 + math.cos(math.pi * progress))
                features = self.network(
                    self.windows[rows], None if weights is None else weights[rows]
                )
                own = track[rows]
                loss = shared_prototype_contrast(
                    features,
                    targets.cluster[own],
                    targets.share[own],
                    targets.prototypes,
                    s.t,
                    targets.silent(own),
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

    def track_record(self) -> dict[str, Any]:
        """Numbers of the clusters; `ami` is a diagnostic from identities, nothing uses it."""
        first = self.targets.cluster[:, 0].cpu().numpy()
        known = self.targets.known.cpu().numpy()
        of_window = known[self.track]
        clusters, kept = len(np.unique(first[known])), int(of_window.sum())
        record: dict[str, Any] = {"kept": kept}
        if self.settings.recordings == OFF:
            record |= {"clusters_1": clusters, "outliers": len(first) - kept}
        else:
            record |= {
                "people": clusters,
                "people_at_least": self.targets.fewest(),
                "tracks": len(first),
                "unsure": int((~self.targets.sure).sum()),
            }
        if self.apart is not None:
            record["seen_at_once"] = len(self.apart)
        of_window &= self.data.train.identity >= 0
        if of_window.any():
            record["ami"] = diagnostics.adjusted_mutual_information(
                self.data.train.identity[of_window], first[self.track][of_window]
            )
        return record


def tracks_of(split: Split, settings: TrackMCSettings) -> np.ndarray:
    """(N,) int64, 0 .. T-1: the track of every window."""
    if settings.recordings == OFF:
        return np.arange(len(split.windows))
    if split.recording is None:
        raise UserError(
            f"--recordings {settings.recordings}: {settings.data_root} does not say which windows "
            f"of {settings.dataset} come from one recording. Cut them again with Preprocess.py, "
            "which writes recording_*.npy (your own: tell write_dataset the recordings), or use "
            "--recordings off."
        )
    return np.unique(split.recording, return_inverse=True)[1].astype(np.int64)


def tracks_apart(split: Split, settings: TrackMCSettings) -> Apart | None:
    """Tracks that overlap in time, which are two people; None where none do, or none is told."""
    ignored = settings.recordings == OFF or settings.overlap == IGNORE
    if ignored or split.recording is None or split.times is None:
        return None
    first = np.unique(split.recording, return_index=True)[1]
    pairs = overlapping(split.times[first])
    return Apart.of(pairs, len(first)) if len(pairs) else None


def new_network(settings: TrackMCSettings, width: int, generator: torch.Generator) -> TrackEncoder:
    """An untrained network for inputs of `width` values a frame."""
    return TrackEncoder(width, settings.H, settings.D, settings.pooling, generator=generator)


@torch.no_grad()
def encode(network: TrackEncoder, windows: torch.Tensor) -> torch.Tensor:
    """(N, H) features of whole windows."""
    return torch.cat([network(part) for part in windows.split(ENCODE_BATCH)])


def features_of(
    split: Split, network: TrackEncoder, settings: TrackMCSettings, runtime: Runtime
) -> torch.Tensor:
    """(N, H) features by which the windows of a split are matched."""
    features = encode(network, tensor_of(split, runtime.device))
    return normalize(features, dim=1) if settings.unit_features else features


def retrieve(
    network: TrackEncoder,
    settings: TrackMCSettings,
    data: Experiment,
    runtime: Runtime,
    *,
    negative_squared: str = "clamp",
) -> Retrieval:
    """Probe against gallery by the Euclidean distance of features."""
    return match_encoded(
        lambda split: features_of(split, network, settings, runtime),
        data,
        runtime,
        same_condition=settings.same_condition_map,
        negative_squared=negative_squared,
    )


def score(
    path: Path,
    settings: TrackMCSettings,
    data: Experiment,
    runtime: Runtime,
    ranks: int,
    *,
    negative_squared: str = "clamp",
) -> dict[str, Any]:
    """Figures, epoch and CMC curve of the weights in a file."""
    network, epoch = load_network(path, settings, data, runtime)
    found = retrieve(network, settings, data, runtime, negative_squared=negative_squared)
    return retrieval_outcome(found, epoch, ranks)


def load_network(
    path: Path, settings: TrackMCSettings, data: Experiment, runtime: Runtime
) -> tuple[TrackEncoder, int]:
    """The network that a checkpoint holds and the epoch it comes from."""
    network = new_network(settings, data.probe.windows[0, 0].size, torch.Generator())
    epoch = load_weights(network, path, "--dataset, --input, --H, --D and --pooling")
    return network.to(runtime.device), epoch
