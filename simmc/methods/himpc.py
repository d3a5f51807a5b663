"""Hi-MPC: hierarchical meta-prototype contrast with hard skeleton mining (Rao, Leung and Miao).

The training loop reads as the paper's Algorithm 1: encode three body levels, cluster each, build
prototypes, contrast instances and prototypes under meta-transformation heads, mining hard frames.
Where the public program differs from the paper, a setting decides (docs/fidelity.md). Shape
letters: N windows, f frames, h embedding, M heads, C clusters, B batch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch

from simmc.clustering import cluster_means
from simmc.data.body_levels import BODY_LEVELS, BodyLevel, body_levels
from simmc.data.experiment import inputs
from simmc.data.experiment.experiment import Split
from simmc.data.skeletons import Skeleton, require_parts
from simmc.engine.method import Method, a_step, counted, shape_of, version_of_choice
from simmc.engine.pseudo_labels import PseudoLabels
from simmc.engine.training import Encoded, Model, Shape, Training, batches, mean_losses, rule_of
from simmc.errors import UserError
from simmc.evaluation.ranking import Retrieval
from simmc.losses import hard_skeleton_contrast, meta_prototype_contrast
from simmc.models.himpc import HierarchicalNetwork, hierarchical_flops
from simmc.models.simmc import count_parameters
from simmc.runs.records import EpochRecord
from simmc.scoring.match import (
    ENCODE_BATCH,
    MatchRule,
    Outcome,
    match_features,
    retrieval_outcome,
    retrieval_record,
)
from simmc.settings import groups
from simmc.settings.groups import COUNT, POSITIVE
from simmc.settings.options import EVALUATION, Range, Settings, group_of, option, switch

FOCUS = {"hard": 1, "easy": -1, "none": 0}
Levels = Mapping[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class HiMPCSettings(Settings):
    """Everything that a training or evaluation of Hi-MPC takes."""

    COMMAND: ClassVar[str] = "himpc"
    SUMMARY: ClassVar[str] = (
        "Train Hi-MPC with hard skeleton mining on unlabelled skeleton windows and score it by "
        "matching probe against gallery windows, or score a trained run (--mode Eval)."
    )
    WITHOUT_PRESET: ClassVar[dict[str, Any]] = {**groups.AUTO, "input": None}

    place: groups.Place
    machine: groups.Machine
    common: groups.Common
    windows: groups.Windows
    joints: groups.Joints = group_of(**groups.AUTO_JOINTS)
    training: groups.Training
    stopping: groups.Stopping = group_of(patience=50)
    clustering: groups.Clustering = group_of(**groups.AUTO_CLUSTERING)
    labels: groups.LabelFree
    rematch: groups.Rematch
    H: int = option(256, "Width of the encoder.", aliases=("hidden",), limits=COUNT)
    jaccard_input: str = switch("jaccard_input")
    levels: str = option(
        ",".join(BODY_LEVELS),
        "Body levels to learn from, of joint, component, limb; joined by commas.",
    )
    M: int = option(
        8,
        "Meta-transformation heads of a level; 0: contrast without any (Table 6, DPC).",
        aliases=("heads",),
        limits=Range(0),
    )
    t: float | None = option(
        None,
        "Temperature of the contrast, or 'auto': the root of --H.",
        kind=float,
        aliases=("tau",),
        limits=POSITIVE,
        words={"auto": None},
    )
    D: int = option(1, "Hidden layers of each encoder.", limits=COUNT)
    mining: str = option(
        "hard",
        "Weigh frames by hard skeleton mining (Eq. 6-9), by its opposite, or not at all (Eq. 5).",
        choices=("hard", "easy", "none"),
    )
    level_scores: str = option(
        "last",
        "Score single levels with the chosen weights only, or in every evaluated epoch as well.",
        choices=("last", "epoch"),
        group=EVALUATION,
    )
    level_reduction: str = switch("level_reduction")
    mining_scale: str = switch("mining_scale")
    unmined_loss: str = switch("unmined_loss")
    mining_gradient: str = switch("mining_gradient")
    outlier_rule: str = switch("outlier_rule")

    preset_names = staticmethod(groups.presets_of_probe)

    @property
    def level_names(self) -> tuple[BodyLevel, ...]:
        """The chosen levels, in the paper's order."""
        return tuple(name for name in BODY_LEVELS if name in self.levels.split(","))

    @property
    def temperature(self) -> float:
        """Tau."""
        return math.sqrt(self.H) if self.t is None else self.t

    def check(self) -> None:
        """Levels that exist, in the paper's order; coordinates of joints first."""
        if self.joints.input is not None and self.joints.parts[0] not in inputs.COORDINATES:
            raise UserError(
                f"--input {self.joints.input}: simmc {self.COMMAND} needs coordinates of joints "
                f"first: {' or '.join(inputs.COORDINATES)}, and others behind a +."
            )
        wanted = {name.strip().casefold() for name in self.levels.split(",")}
        if unknown := wanted - set(BODY_LEVELS):
            raise UserError(
                f"--levels {self.levels}: there is no level {sorted(unknown)[0]!r}; allowed: "
                f"{', '.join(BODY_LEVELS)}, joined by commas."
            )
        names = [name for name in BODY_LEVELS if name in wanted]
        object.__setattr__(self, "levels", ",".join(names))


class HiMPC(Training[HiMPCSettings]):
    """A training in progress; the arguments are those of `Training`."""

    CHOSEN_BY: ClassVar = {"paper": "top1", "label_free": "label_free_score"}
    OTHER_REMEDY = " or a larger --t"
    network: HierarchicalNetwork
    pseudo: PseudoLabels

    @staticmethod
    def new_network(
        settings: HiMPCSettings, shape: Shape, generator: torch.Generator
    ) -> HierarchicalNetwork:
        """The encoders and heads."""
        s = settings
        widths = level_widths(s, shape)
        return HierarchicalNetwork(widths, s.H, s.D, s.M, generator=generator)

    @staticmethod
    def encoder(model: Model[HiMPCSettings]) -> Encoded:
        """Multi-level representations (MSMR, Eq. 10)."""

        @torch.no_grad()
        def features(split: Split) -> torch.Tensor:
            return model.network.represent(encode(model.network, level_tensors(split, model)))

        return features

    def prepare(self) -> None:
        """Windows in memory, and their clusterings."""
        s = self.settings
        self.train_windows = level_tensors(self.data.train, self.model)
        normalise = s.jaccard_input == "normalised"
        self.pseudo = PseudoLabels(s.clustering, self.runtime, self.clock, normalise=normalise)

    def look(self) -> EpochRecord:
        """Encode each level and cluster it."""
        with self.clock("features"):
            self.instances = encode(self.network, self.train_windows)
            for features in self.instances.values():
                self.require_finite(features)
        self.pseudo_labels = self.pseudo.of(list(self.instances.values()))
        record = self.pseudo.record(self.pseudo_labels, self.data.train.identity)
        if self.body:
            seen = {level: v[self.body.rows] for level, v in self.instances.items()}
            with self.clock("features"), torch.no_grad():
                record["body_agreement"] = self.body(self.network.represent(seen).cpu())
        return record

    def steps(self) -> EpochRecord:
        """The steps of an epoch."""
        return self.contrast(self.instances, self.pseudo_labels)

    def contrast(self, instances: Levels, labels: torch.Tensor) -> EpochRecord:
        """Prototypes (Eq. 2), then one step a batch on the mean of the levels' losses (Eq. 9)."""
        prototypes = [cluster_means(v, y) for v, y in zip(instances.values(), labels, strict=True)]
        sums = torch.zeros(len(labels), device=labels.device)
        steps = 0
        for rows_of in self.bar(self.rows_of_levels(labels)):  # nothing in here may wait for a GPU
            terms = []
            for i, (level, own) in enumerate(zip(instances, rows_of, strict=True)):
                frames = self.network[level](self.train_windows[level][own])  # (B, f, h)
                terms.append(self.loss(level, frames, labels[i, own], prototypes[i]))
            self.optimizer.zero_grad()
            (sum(terms[1:], terms[0]) / len(terms)).backward()
            self.optimizer.step()
            sums += torch.stack([term.detach() for term in terms])
            steps += 1
        return mean_losses(sums, instances, steps)

    def rows_of_levels(self, labels: torch.Tensor) -> list[Sequence[torch.Tensor]]:
        """For each batch and level: the windows that have a cluster in (L, N) labels.

        A window that is an outlier at any level is left out of all; `own_level` keeps it at others.
        """
        s, inside = self.settings, labels >= 0
        shared = s.outlier_rule == "any_level"
        kept = torch.nonzero(inside.all(0) if shared else inside.any(0)).flatten()
        parts = [rows for _, rows in batches(kept, s.windows)]
        if shared or not parts:
            return [[rows] * len(labels) for rows in parts]
        levels, used = [], torch.cat(parts)
        for own in inside:
            counts = torch.stack([own[rows].sum() for rows in parts]).tolist()
            levels.append(used[own[used]].split(counts))
        return list(zip(*levels, strict=True))

    def loss(
        self, level: str, frames: torch.Tensor, labels: torch.Tensor, prototypes: torch.Tensor
    ) -> torch.Tensor:
        """One level's loss over a batch."""
        s = self.settings
        if len(labels) == 0:  # no window of the batch is clustered at this level
            return frames.sum() * 0.0
        # H1: the public program adds up the heads of the joint level, whatever their number
        summed = level == "joint" and s.level_reduction == "joint_sum"
        shared = (labels, prototypes, self.network[level].heads, s.temperature)
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

    def evaluate(self) -> EpochRecord:
        """Probe against gallery with the present weights: all levels joined, and one by one."""
        if self.settings.level_scores == "last":
            return cast(EpochRecord, super().evaluate())
        found = outcome(self.model, rule_of(self.settings))
        return cast(EpochRecord, found.figures | found.more)


def level_widths(settings: HiMPCSettings, shape: Shape) -> dict[str, int]:
    """Input values a frame of each level."""
    one = np.zeros((1, 1, shape.width), np.float32)
    return {level: w.shape[2] for level, w in at_levels(one, shape.skeleton, settings).items()}


def at_levels(
    windows: np.ndarray, skeleton: Skeleton, settings: HiMPCSettings
) -> dict[str, np.ndarray]:
    """(N, f, K) of each level: its points, point-major, and what else describes a frame.

    Args:
        windows: (N, f, J, 3), or (N, f, d) where measurements follow the 3 J coordinates.
        skeleton: names the joint axis.
        settings: which levels.
    """
    flat = windows.reshape(*windows.shape[:2], -1)
    end = 3 * skeleton.n_joints
    coordinates = flat[..., :end].reshape(*flat.shape[:2], -1, 3)
    more = flat[..., end:]
    return {
        name: np.concatenate([w.reshape(*w.shape[:2], -1), more], axis=2)
        for name, w in body_levels(coordinates, skeleton, settings.level_names).items()
    }


def level_tensors(split: Split, model: Model[HiMPCSettings]) -> dict[str, torch.Tensor]:
    """(N, f, K) float32 of each level."""
    levels = at_levels(split.windows, model.data.skeleton, model.settings)
    return {name: torch.from_numpy(w).to(model.runtime.device) for name, w in levels.items()}


@torch.no_grad()
def encode(network: HierarchicalNetwork, windows: Levels) -> dict[str, torch.Tensor]:
    """(N, h) instances of each level."""
    return {
        level: torch.cat([network[level].instances(part) for part in all_of.split(ENCODE_BATCH)])
        for level, all_of in windows.items()
    }


@torch.no_grad()
def outcome(model: Model[HiMPCSettings], rule: MatchRule) -> Outcome:
    """The numbers of all levels joined (MSMR, Eq. 10), and of each level without heads."""
    probe, gallery = (
        encode(model.network, level_tensors(split, model))
        for split in (model.data.probe, model.data.gallery)
    )

    def matched(probe: torch.Tensor, gallery: torch.Tensor) -> Retrieval:
        return match_features(probe, gallery, model.data, model.runtime, rule)

    joined = matched(model.network.represent(probe), model.network.represent(gallery))
    levels = {name: retrieval_record(matched(probe[name], gallery[name])) for name in probe}
    return retrieval_outcome(joined, more={"levels": levels})


def model_size(settings: HiMPCSettings) -> str:
    """Parameters, and operations of a training step in the papers' way of counting."""
    shape = shape_of(settings)
    network = HiMPC.new_network(settings, shape, torch.Generator())
    parameters, heads = count_parameters(network), settings.M * settings.H**2
    flops = hierarchical_flops(
        list(level_widths(settings, shape).values()),
        settings.H,
        settings.D,
        settings.M,
        mining=settings.mining != "none",
        batch=settings.windows.batch_size,
        length=settings.place.length,
    )
    how = "forward and backward, as the papers count, less the products with prototypes"
    size = counted("Hi-MPC", settings, parameters, f"; heads {heads:,} a level")
    return f"{size}, {a_step(settings, flops, how)}"


def check_body(settings: HiMPCSettings, skeleton: Skeleton) -> None:
    """Parts that the levels need."""
    inputs.width(skeleton, settings.joints.parts)
    for level in settings.level_names:
        if level != "joint":
            require_parts(skeleton, level)


METHOD = Method(
    HiMPCSettings,
    "train Hi-MPC without labels, or score a trained run",
    title=lambda settings: "Hi-MPC",
    training=HiMPC,
    size=model_size,
    check_body=check_body,
    embeds=True,
    shape_flags="--dataset, --levels, --M, --H and --D",
    outcome=outcome,
    version=2,
    since=version_of_choice,
)
