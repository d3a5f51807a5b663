"""Hi-MPC: hierarchical meta-prototype contrast with hard skeleton mining (Rao, Leung and Miao).

The training loop reads as the paper's Algorithm 1: encode three body levels, cluster each, build
prototypes, contrast instances and prototypes under meta-transformation heads, mining hard frames.
Where the public program differs from the paper, a setting decides (docs/fidelity.md). Shape
letters: N windows, f frames, h embedding, M heads, C clusters, B batch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simmc.clustering import cluster_means
from simmc.data.body_levels import body_levels
from simmc.data.experiment.load import Experiment, Split
from simmc.data.skeletons import Skeleton
from simmc.engine.pseudo_labels import ClusterTraining, load_weights
from simmc.evaluation.ranking import Retrieval
from simmc.losses import hard_skeleton_contrast, meta_prototype_contrast
from simmc.models.himpc import HierarchicalNetwork
from simmc.runs.runtime import Runtime
from simmc.runs.seeds import Seeds
from simmc.scoring.match import (
    ENCODE_BATCH,
    match_features,
    retrieval_outcome,
    retrieval_record,
)
from simmc.settings import HiMPCSettings

MSMR = "msmr"  # the joined representation of all levels, beside the levels themselves
FOCUS = {"hard": 1, "easy": -1, "none": 0}
Levels = Mapping[str, torch.Tensor]


class HiMPC(ClusterTraining[HiMPCSettings]):
    """A training in progress; the arguments are those of `ClusterTraining`, less the network."""

    network: HierarchicalNetwork

    def __init__(
        self,
        settings: HiMPCSettings,
        data: Experiment,
        seeds: Seeds,
        runtime: Runtime,
        protocols: tuple[str, ...],
    ) -> None:
        self.train_windows = level_tensors(data.train, data, settings, runtime)
        network = new_network(settings, data.skeleton, seeds.weights).to(runtime.device)
        super().__init__(settings, data, seeds, runtime, protocols, network)

    def run_epoch(self) -> tuple[dict[str, Any], list[str]]:
        """One epoch: encode, evaluate, cluster each level, contrast."""
        record: dict[str, Any] = {"epoch": self.epoch}
        with self.clock("features"):
            instances = encode(self.network, self.train_windows)
        for features in instances.values():
            self.require_finite(features)
        if self.is_evaluated():
            record |= self.evaluate()
        labels = self.cluster(list(instances.values()), kinds=list(instances))
        record |= self.cluster_record(labels)
        best = self.offer(record)
        self.keep_weights(best)
        if self.epoch < self.settings.epochs:
            with self.clock("steps"):
                record |= self.contrast(instances, labels)
        record["seconds"] = self.clock.take()
        self.epoch += 1
        return record, best

    def contrast(self, instances: Levels, labels: torch.Tensor) -> dict[str, float]:
        """Prototypes (Eq. 2), then one step a batch on the mean of the levels' losses (Eq. 9)."""
        s = self.settings
        prototypes = [cluster_means(v, y) for v, y in zip(instances.values(), labels, strict=True)]
        inside = labels >= 0
        kept = inside.all(0) if s.outlier_rule == "any_level" else inside.any(0)
        sums = torch.zeros(len(labels), device=labels.device)
        steps = 0
        for _, rows in self.progress(list(self.batches(torch.nonzero(kept).flatten()))):
            terms = []
            for i, level in enumerate(instances):
                own = rows if s.outlier_rule == "any_level" else rows[inside[i, rows]]
                frames = self.network[level](self.train_windows[level][own])  # (B, f, h)
                terms.append(self.loss(level, frames, labels[i, own], prototypes[i]))
            self.optimizer.zero_grad()
            (sum(terms[1:], terms[0]) / len(terms)).backward()
            self.optimizer.step()
            sums += torch.stack([term.detach() for term in terms])
            steps += 1
        means = (sums / max(steps, 1)).tolist()
        losses = {f"loss_{level}": mean for level, mean in zip(instances, means, strict=True)}
        return {"steps": steps, **losses}

    def loss(
        self, level: str, frames: torch.Tensor, labels: torch.Tensor, prototypes: torch.Tensor
    ) -> torch.Tensor:
        """One level's loss over a batch."""
        s = self.settings
        if len(labels) == 0:  # no window of the batch is clustered at this level
            return frames.sum() * 0.0
        # H1: the public program adds up the heads of the joint level, whatever their number
        summed = level == "joint" and s.level_reduction == "joint_sum"
        shared = (
            labels,
            prototypes,
            self.network[level].heads,
            s.temperature,
        )
        if s.mining == "none" and s.unmined_loss == "sequence":
            return meta_prototype_contrast(
                frames.mean(1), *shared, reduction="sum" if summed else "mean"
            )
        return hard_skeleton_contrast(
            frames,
            *shared,
            focus=FOCUS[s.mining],
            weights_over_temperature=s.mining_scale == "tau",
            stop_weights=s.mining_gradient == "stopped",
            reduction="sum" if summed else "mean",
        )

    def evaluate(self) -> dict[str, Any]:
        """Probe against gallery with the present weights: all levels joined, and one by one."""
        with self.clock("evaluation"):
            single = self.settings.level_scores == "epoch"
            found = retrieve(
                self.network, self.settings, self.data, self.runtime, single_levels=single
            )
        record: dict[str, Any] = retrieval_record(found.pop(MSMR))
        if single:
            record["levels"] = {name: retrieval_record(one) for name, one in found.items()}
        return record


def new_network(
    settings: HiMPCSettings, skeleton: Skeleton, generator: torch.Generator
) -> HierarchicalNetwork:
    """Untrained encoders and heads for the levels of a skeleton."""
    widths = level_widths(settings, skeleton)
    return HierarchicalNetwork(widths, settings.H, settings.D, settings.M, generator=generator)


def level_widths(settings: HiMPCSettings, skeleton: Skeleton) -> dict[str, int]:
    """Input values a frame of each level."""
    one = np.zeros((1, 1, skeleton.n_joints, 3), np.float32)
    points = body_levels(one, skeleton, settings.level_names)
    return {level: 3 * windows.shape[2] for level, windows in points.items()}


def level_tensors(
    split: Split, data: Experiment, settings: HiMPCSettings, runtime: Runtime
) -> dict[str, torch.Tensor]:
    """(N, f, K) float32 of each level, K = 3 a point, point-major."""
    levels = body_levels(split.windows, data.skeleton, settings.level_names)
    return {
        name: torch.from_numpy(w.reshape(*w.shape[:2], -1)).to(runtime.device)
        for name, w in levels.items()
    }


@torch.no_grad()
def encode(network: HierarchicalNetwork, windows: Levels) -> dict[str, torch.Tensor]:
    """(N, h) instances of each level."""
    return {
        level: torch.cat([network[level].instances(part) for part in all_of.split(ENCODE_BATCH)])
        for level, all_of in windows.items()
    }


@torch.no_grad()
def retrieve(
    network: HierarchicalNetwork,
    settings: HiMPCSettings,
    data: Experiment,
    runtime: Runtime,
    *,
    single_levels: bool,
    negative_squared: str = "clamp",
) -> dict[str, Retrieval]:
    """Probe against gallery by MSMR (Eq. 10), and by each level's instances without heads."""
    probe, gallery = (
        encode(network, level_tensors(split, data, settings, runtime))
        for split in (data.probe, data.gallery)
    )
    pairs = {MSMR: (network.represent(probe), network.represent(gallery))}
    if single_levels:
        pairs |= {level: (probe[level], gallery[level]) for level in probe}
    return {
        name: match_features(
            *pair,
            data,
            runtime,
            same_condition=settings.same_condition_map,
            negative_squared=negative_squared,
        )
        for name, pair in pairs.items()
    }


def score(
    path: Path,
    settings: HiMPCSettings,
    data: Experiment,
    runtime: Runtime,
    ranks: int,
    *,
    negative_squared: str = "clamp",
) -> dict[str, Any]:
    """Figures, epoch and CMC curve of the weights in a file; with the figures of each level."""
    network, epoch = load_network(path, settings, data, runtime)
    found = retrieve(
        network, settings, data, runtime, single_levels=True, negative_squared=negative_squared
    )
    outcome = retrieval_outcome(found.pop(MSMR), epoch, ranks)
    return outcome | {"levels": {name: retrieval_record(one) for name, one in found.items()}}


def load_network(
    path: Path, settings: HiMPCSettings, data: Experiment, runtime: Runtime
) -> tuple[HierarchicalNetwork, int]:
    """The network that a checkpoint holds and the epoch it comes from."""
    network = new_network(settings, data.skeleton, torch.Generator())
    epoch = load_weights(network, path, "--dataset, --levels, --M, --H and --D")
    return network.to(runtime.device), epoch
