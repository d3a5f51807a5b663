"""Pseudo labels of a training: features clustered anew in each epoch."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import torch

from simmc.clustering import Clustering as Clustered
from simmc.clustering import ClusterSettings, Threads, as_arrays, pseudo_labels
from simmc.clustering.pseudo_labels import Timer
from simmc.engine.selection import EPS, MIN_SAMPLES, Radius, choose_radius, label_free_score
from simmc.evaluation import diagnostics
from simmc.runs.records import EpochRecord
from simmc.runs.runtime import Runtime
from simmc.settings.groups import Clustering


class PseudoLabels:
    """The clusterings of a training, from epoch to epoch.

    Args:
        settings: how to cluster.
        runtime: device and threads.
        timer: context manager by stage.
        normalise: unit-length features first (Q1).

    Attributes:
        previous: (q, N) int64 pseudo labels of the epoch before.
        recall: lowest share of true neighbours in the last clustering; 1 where exact.
        chosen: eps and min_samples, where one of them is auto, from the first clustering on.
    """

    def __init__(
        self, settings: Clustering, runtime: Runtime, timer: Timer, *, normalise: bool
    ) -> None:
        self.settings, self.runtime, self.timer = settings, runtime, timer
        self.normalise = normalise
        self.previous: np.ndarray | None = None
        self.recall = 1.0
        self.chosen: Radius | None = None

    def of(self, sets: Sequence[torch.Tensor]) -> torch.Tensor:
        """(q, N) pseudo labels: each of the q sets of features is clustered on its own.

        Where eps or min_samples is auto, `choose_radius` finds them for all sets in the first call;
        they stay for the whole training. Chosen anew in each epoch they would rise with it, until
        different people are merged.

        Args:
            sets: q tensors (N, H).
        """
        s = self.settings
        choosing = self.chosen is None and (s.eps is None or s.min_samples is None)
        if self.chosen:
            s = s.but(eps=self.chosen.eps, min_samples=self.chosen.min_samples)
        radii = EPS if s.eps is None else (s.eps,)
        counts = MIN_SAMPLES if s.min_samples is None else (s.min_samples,)
        found = [
            clustered(
                features,
                s.but(eps=radii[0], min_samples=counts[0]),
                self.runtime,
                self.timer,
                normalise=self.normalise,
                reach=radii[-1] if choosing else None,
            )
            for features in sets
        ]
        self.recall = min(one.recall for one in found)
        if not choosing:
            return torch.stack([one.labels for one in found])
        with self.timer("dbscan"):
            labels, self.chosen = choose_radius(
                [as_arrays(one.graph) for one in found], radii, counts
            )
        return torch.from_numpy(labels).to(sets[0].device)

    def record(self, labels: torch.Tensor, identity: np.ndarray) -> EpochRecord:
        """Numbers of a clustering (q, N); those from identities (N,) are diagnostics only."""
        y = labels.cpu().numpy()
        kept = (y >= 0).all(0)
        record: EpochRecord = {
            "outliers": int((~kept).sum()),
            "kept": int(kept.sum()),
            "label_free_score": label_free_score(y, self.previous),
        }
        if self.settings.neighbors == "approximate":
            record["recall"] = self.recall
        if self.chosen:
            record |= {"eps": self.chosen.eps, "min_samples": self.chosen.min_samples}
        if (y[0] >= 0).any():
            record["largest"] = diagnostics.largest_share(y[0])
        self.previous = y
        for i, labelling in enumerate(y, start=1):
            counts = {f"clusters_{i}": int(labelling.max(initial=-1)) + 1}
            counts[f"outliers_{i}"] = int((labelling < 0).sum())
            record |= cast(EpochRecord, counts)
        kept &= identity >= 0
        if kept.any():
            record["mi"] = diagnostics.mutual_information(identity[kept], y[0][kept])
            record["ami"] = diagnostics.adjusted_mutual_information(identity[kept], y[0][kept])
        return record

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        previous = self.previous
        kept = {"previous_labels": None if previous is None else torch.from_numpy(previous)}
        return kept | ({"radius": asdict(self.chosen)} if self.chosen else {})

    def load_state(self, state: dict[str, Any], count: int) -> None:
        """Continue from a checkpoint of `count` windows; ValueError where it has other content."""
        labels, chosen = state["previous_labels"], state.get("radius")
        self.chosen = Radius(**chosen) if chosen else None
        shape = () if labels is None else (len(labels), count)
        if labels is not None and (labels.dtype != torch.int64 or labels.shape != shape):
            raise ValueError(f"pseudo labels: {labels.dtype} of shape {tuple(labels.shape)}")
        self.previous = None if labels is None else labels.numpy()


def clustered(
    features: torch.Tensor,
    settings: Clustering,
    runtime: Runtime,
    timer: Timer,
    *,
    normalise: bool,
    reach: float | None = None,
) -> Clustered:
    """(N, H) finite features clustered as the settings say, where the runtime says.

    `normalise`: unit length first (Q1). `reach`: Jaccard distance up to which pairs are returned;
    None: eps.
    """
    s = settings
    further: dict[str, Any] = {"neighbors": s.neighbors, "recall": s.recall, "reach": reach}
    return pseudo_labels(
        features,
        ClusterSettings(s.eps, s.min_samples, s.k1, s.k2, normalise=normalise, **further),
        timer=timer,
        executor=runtime.executor or Threads(runtime.threads),
    )
