"""SimMC: simple masked contrastive learning of skeleton representations (Rao and Miao, IJCAI 2022).

The training loop reads as the paper's section 3: mask, encode, cluster each view, build
prototypes, contrast. Where the public program differs from the paper, a setting decides
(docs/fidelity.md). Shape letters: N windows, f frames, K inputs a frame, q views, H embedding,
C clusters, B batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simmc.clustering import ClusterSettings, Threads, cluster_means, pseudo_labels
from simmc.config import SimMCSettings
from simmc.data.loaders import Experiment
from simmc.errors import UserError
from simmc.evaluation import diagnostics
from simmc.evaluation.ranking import Retrieval
from simmc.losses import intra_sequence_contrast, prototype_contrast
from simmc.methods.loop import fingerprint, first_line, weights_path
from simmc.methods.masks import draw_masks
from simmc.methods.matching import (
    encode,
    match,
    retrieval_outcome,
    retrieval_record,
    tensor_of,
)
from simmc.methods.selection import Selector, label_free_score
from simmc.models.encoder import SimMCNetwork
from simmc.models.optimizer import FlatAdam
from simmc.runs import checkpoints
from simmc.runs.clock import Clock
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import Runtime, one_thread
from simmc.runs.seeds import Seeds


@dataclass
class SimMC:
    """A training in progress: everything that a checkpoint holds."""

    settings: SimMCSettings
    data: Experiment
    seeds: Seeds
    runtime: Runtime
    protocols: tuple[str, ...]
    epoch: int = 0
    previous_labels: np.ndarray | None = None  # (q, N), of the epoch before
    best_weights: dict[str, torch.Tensor] | None = None  # those of the epoch just run, if best
    candidates: np.ndarray | None = None  # of the last clustering; saves time, decides nothing
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        s = self.settings
        self.train_windows = tensor_of(self.data.train, self.runtime.device)
        self.network = SimMCNetwork(
            self.train_windows.shape[2], s.H, s.D, generator=self.seeds.weights
        ).to(self.runtime.device)
        self.optimizer = FlatAdam(self.network, s.lr)
        self.selectors = {name: Selector(s.patience) for name in self.protocols}

    @property
    def done(self) -> bool:
        """Whether no protocol that has a say waits for more epochs, or the cap is reached."""
        if self.epoch > self.settings.epochs:
            return True
        waited_for = [
            selector
            for name, selector in self.selectors.items()
            if name == "label_free" or self.settings.selection == "probe"
        ]
        return all(selector.done for selector in waited_for or self.selectors.values())

    def run_epoch(self) -> tuple[dict[str, Any], list[str]]:
        """One epoch: encode, evaluate, cluster, contrast.

        Returns:
            The epoch's record, and the protocols for which the weights before this epoch's
            updates are the best so far.
        """
        record: dict[str, Any] = {"epoch": self.epoch}
        masks = self.draw_masks()
        with self.clock("features"):
            views = encode(self.network, self.train_windows, masks)  # (N, q, H)
        self.require_finite(views)
        if self.is_evaluated():
            record |= retrieval_record(self.evaluate())
        if self.settings.mact:
            record |= self.feature_record()
        labels = self.cluster(views)
        record |= self.cluster_record(labels)
        best = self.offer(record)
        weights = self.network.state_dict()
        self.best_weights = {k: v.clone() for k, v in weights.items()} if best else None
        if self.epoch < self.settings.epochs:
            with self.clock("steps"), one_thread():
                record |= self.contrast(views, masks, labels)
        record["seconds"] = self.clock.take()
        self.epoch += 1
        return record, best

    def require_finite(self, views: torch.Tensor) -> None:
        """UserError where the training has diverged."""
        if not torch.isfinite(views).all():
            raise UserError(
                f"the features of epoch {self.epoch} are not finite: the training has diverged. "
                f"Start a new run with a smaller --lr (it is {self.settings.lr:g}) or a larger "
                f"--t (it is {self.settings.t:g})."
            )

    def draw_masks(self) -> torch.Tensor:
        """(N, q, f) frame weights of the masked views (Eq. 2)."""
        s = self.settings
        masks = draw_masks(
            self.seeds.masks,
            len(self.train_windows),
            self.train_windows.shape[1],
            (s.mask_x, s.second_mask_x)[: s.q],
            group=s.batch_size if s.mask_scope == "batch" else 1,
        )
        return torch.from_numpy(masks).to(self.runtime.device)

    def cluster(self, views: torch.Tensor) -> torch.Tensor:
        """(q, N) pseudo labels: each view is clustered on its own."""
        s = self.settings
        how = ClusterSettings(
            s.eps, s.min_samples, s.k1, s.k2, normalise=s.jaccard_input == "normalised"
        )
        labels = []
        for view in views.unbind(1):
            found = pseudo_labels(
                np.ascontiguousarray(view.cpu().numpy()),
                how,
                guess=self.candidates,  # from the view or epoch before: nearly the same features
                timer=self.clock,
                executor=self.runtime.executor or Threads(self.runtime.threads),
            )
            self.candidates = found.candidates
            labels.append(found.labels)
        return torch.from_numpy(np.stack(labels)).to(self.runtime.device)

    def contrast(
        self, views: torch.Tensor, masks: torch.Tensor, labels: torch.Tensor
    ) -> dict[str, float]:
        """Prototypes (Eq. 4), then one step a batch on lambda MIC + (1 - lambda) MPC (Eq. 7)."""
        s = self.settings
        prototypes = [cluster_means(v, y) for v, y in zip(views.unbind(1), labels, strict=True)]
        kept = torch.nonzero((labels >= 0).all(0)).flatten()  # outliers of any view are left out
        sums = torch.zeros(2)
        steps = 0
        for place, rows in self.batches(kept):
            # Q3: the public program takes the masks that belong to the batch's place in the
            # epoch, although the windows have moved up since outliers were removed.
            v = self.network(
                self.train_windows[rows], masks[place if s.mask_replay == "index" else rows]
            )  # (B, q, H)
            terms = [
                prototype_contrast(
                    v[:, i],
                    labels[i, rows],
                    prototypes[i],
                    s.t,
                    zero_label_guard=s.zero_label_guard == "on",
                )
                for i in range(s.q)
            ]
            mpc = sum(terms[1:], terms[0])
            if s.mpc_reduction == "mean":
                mpc = mpc / s.q
            mic = torch.zeros((), device=v.device)
            if s.q == 2:
                z = self.network.predict(v)
                mic = intra_sequence_contrast(v[:, 0], v[:, 1], z[:, 0], z[:, 1])
            self.optimizer.zero_grad()
            (s.lambda_ * mic + (1 - s.lambda_) * mpc).backward()
            self.optimizer.step()
            sums += torch.stack([mpc.detach(), mic.detach()]).cpu()
            steps += 1
        mpc_mean, mic_mean = (sums / max(steps, 1)).tolist()
        return {"steps": steps, "loss_mpc": mpc_mean, "loss_mic": mic_mean}

    def batches(self, kept: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Places 0, 1, 2, ... and the windows that stand there, batch by batch, in stored order."""
        size = self.settings.batch_size
        end = len(kept) if self.settings.part_batches == "keep" else len(kept) // size * size
        places = torch.arange(end, device=kept.device)
        return zip(places.split(size), kept[:end].split(size), strict=True) if end else iter(())

    def is_checkpoint_due(self) -> bool:
        """Whether the state before the next epoch is one to continue from.

        The state after the very last epoch is not: that epoch takes no steps, and a continued run
        with a higher --epochs has to take them.
        """
        cap, every = self.settings.epochs, self.settings.checkpoint_every
        due = self.done or self.epoch == cap or self.epoch % every == 0
        return due and self.epoch <= cap

    def is_evaluated(self) -> bool:
        """Whether probe and gallery are looked at in this epoch (never for label-free alone)."""
        last = self.epoch == self.settings.epochs
        return "paper" in self.protocols and (last or self.epoch % self.settings.eval_every == 0)

    def evaluate(self) -> Retrieval:
        """Probe against gallery with the present weights."""
        with self.clock("evaluation"):
            return match(
                self.network,
                self.data,
                self.runtime,
                same_condition=self.settings.same_condition_map,
            )

    def cluster_record(self, labels: torch.Tensor) -> dict[str, Any]:
        """Numbers of the clustering; those from `identity` are diagnostics, nothing uses them."""
        y = labels.cpu().numpy()
        kept = (y >= 0).all(0)
        truth = self.data.train.identity
        record: dict[str, Any] = {
            "outliers": int((~kept).sum()),
            "kept": int(kept.sum()),
            "label_free_score": label_free_score(y, self.previous_labels),
        }
        self.previous_labels = y
        for i, labelling in enumerate(y, start=1):
            record[f"clusters_{i}"] = int(labelling.max(initial=-1)) + 1
            record[f"outliers_{i}"] = int((labelling < 0).sum())
        if kept.any():
            record["mi"] = diagnostics.mutual_information(truth[kept], y[0][kept])
            record["ami"] = diagnostics.adjusted_mutual_information(truth[kept], y[0][kept])
        return record

    def feature_record(self) -> dict[str, float]:
        """MACT and mRCL of the unmasked training features; diagnostics, nothing uses them."""
        features = encode(self.network, self.train_windows)[:, 0].cpu().numpy()
        mact, mrcl = diagnostics.tightness_looseness(features, self.data.train.identity)
        return {"mACT": mact, "mRCL": mrcl}

    def offer(self, record: dict[str, Any]) -> list[str]:
        """Show the epoch to every protocol; the names of those that like it best so far."""
        scores = {"paper": record.get("top1"), "label_free": record["label_free_score"]}
        return [name for name, s in self.selectors.items() if s.offer(self.epoch, scores[name])]

    def state(self) -> dict[str, Any]:
        """Everything needed to go on bit for bit, as plain values."""
        return {
            "epoch": self.epoch,
            "data": fingerprint(self.data.train),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "seeds": self.seeds.state(),
            "selectors": {name: s.state() for name, s in self.selectors.items()},
            "previous_labels": None
            if self.previous_labels is None
            else torch.from_numpy(self.previous_labels),
        }

    def restore(self, state: dict[str, Any], path: Path) -> None:
        """Go on from the state that `path` held; UserError where it belongs to other settings."""
        present = fingerprint(self.data.train)
        if state.get("data", present) != present:
            raise UserError(
                f"{path} comes from other training windows than those of --data_root now. Point "
                "--data_root to the data that the run was started with, or start a new run "
                "without --resume."
            )
        try:
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            for name, selector in self.selectors.items():
                selector.restore(state["selectors"][name])
            self.epoch = int(state["epoch"])
            labels = state["previous_labels"]
            self.previous_labels = None if labels is None else labels.numpy()
            self.seeds.restore(state["seeds"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(
                f"{path} cannot be continued with these settings ({first_line(error)}). Use the "
                "settings that the run was started with, or start a new run without --resume."
            ) from error


def outcome(training: SimMC, run: RunDirectory, protocol: str, ranks: int) -> dict[str, Any] | None:
    """Score the weights that a protocol chose; None where no epoch could be chosen.

    For `label_free` this is the one time that probe and gallery are looked at.
    """
    path = weights_path(run, protocol)
    if training.selectors[protocol].best_epoch < 0:
        return None
    network, epoch = load_network(path, training.settings, training.data, training.runtime)
    rule = training.settings.same_condition_map
    found = match(network, training.data, training.runtime, same_condition=rule)
    return retrieval_outcome(found, epoch, ranks)


def load_network(
    path: Path, settings: SimMCSettings, data: Experiment, runtime: Runtime
) -> tuple[SimMCNetwork, int]:
    """The network that a checkpoint holds and the epoch it comes from."""
    state = checkpoints.load(path)
    width = data.probe.windows.shape[2] * data.probe.windows.shape[3]
    network = SimMCNetwork(width, settings.H, settings.D, generator=torch.Generator())
    try:
        network.load_state_dict(state["network"])
        epoch = int(state["epoch"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} holds a network of another shape ({first_line(error)}). Use the --dataset, "
            "--H and --D that it was trained with, or train again."
        ) from error
    return network.to(runtime.device), epoch
