"""SimMC: simple masked contrastive learning of skeleton representations (Rao and Miao, IJCAI 2022).

The training loop reads as the paper's section 3: mask, encode, cluster each view, build
prototypes, contrast. Where the public program differs from the paper, a setting decides
(docs/fidelity.md). Shape letters: N windows, f frames, K inputs a frame, q views, H embedding,
C clusters, B batch.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simmc.clustering import ClusterSettings, cluster_means, pseudo_labels
from simmc.config import SimMCSettings
from simmc.data.loaders import Experiment, Split
from simmc.errors import UserError
from simmc.evaluation import diagnostics
from simmc.evaluation.ranking import Retrieval, evaluate
from simmc.losses import intra_sequence_contrast, prototype_contrast
from simmc.methods.masks import draw_masks
from simmc.methods.selection import Selector, label_free_score
from simmc.models.encoder import SimMCNetwork
from simmc.models.optimizer import FlatAdam
from simmc.runs import checkpoints
from simmc.runs.clock import Clock
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import Runtime
from simmc.runs.seeds import Seeds

ENCODE_BATCH = 4096  # windows encoded at once: bounds the memory of the hidden layer
Report = Callable[[dict[str, Any]], None]


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
            with self.clock("steps"):
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
                threads=self.runtime.threads,
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
            return match(self.network, self.data, self.settings, self.runtime)

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
        return [
            name
            for name, selector in self.selectors.items()
            if (score := scores[name]) is not None and selector.offer(self.epoch, score)
        ]

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


def fingerprint(split: Split) -> str:
    """Tells other windows, or the same in another order, from these."""
    shape = "x".join(map(str, split.windows.shape))
    return f"{shape}:{zlib.crc32(np.ascontiguousarray(split.windows).data):08x}"


def tensor_of(split: Split, device: torch.device) -> torch.Tensor:
    """(N, f, K) float32 of a split's windows, K = 3 J joint-major."""
    windows = split.windows
    return torch.from_numpy(windows.reshape(*windows.shape[:2], -1)).to(device)


@torch.no_grad()
def encode(
    network: SimMCNetwork | None, windows: torch.Tensor, masks: torch.Tensor | None = None
) -> torch.Tensor:
    """(N, q, H) masked features, or (N, 1, H) means over all frames where no masks are given.

    Without a network the frames themselves are averaged: the raw-coordinate baseline.
    """
    n, length, _ = windows.shape
    if masks is None:
        masks = torch.full((1, 1, length), 1.0 / length, device=windows.device).expand(n, -1, -1)
    apply = network if network is not None else lambda x, w: w @ x
    parts = zip(windows.split(ENCODE_BATCH), masks.split(ENCODE_BATCH), strict=True)
    return torch.cat([apply(x, w) for x, w in parts])


def match(
    network: SimMCNetwork | None,
    data: Experiment,
    settings: SimMCSettings,
    runtime: Runtime,
    *,
    negative_squared: str = "clamp",
) -> Retrieval:
    """CMC and mAP of the probe windows against the gallery windows, by Euclidean distance."""
    features = [
        encode(network, tensor_of(split, runtime.device))[:, 0].cpu().numpy()
        for split in (data.probe, data.gallery)
    ]
    same = data.same_windows
    return evaluate(
        features[0],
        data.probe.identity,
        features[1],
        data.gallery.identity,
        self_index=np.arange(len(features[0])) if same else None,
        same_condition=settings.same_condition_map if same else None,
        negative_squared=negative_squared,
    )


def retrieval_record(found: Retrieval) -> dict[str, float]:
    """The figures of a retrieval, fractions of 1."""
    return {
        "top1": found.top(1),
        "top5": found.top(5),
        "top10": found.top(10),
        "mAP": found.map,
        "mINP": found.minp,
    }


def retrieval_outcome(found: Retrieval, epoch: int, ranks: int) -> dict[str, Any]:
    """What results.json holds of a protocol: figures, epoch, CMC curve up to a rank."""
    return retrieval_record(found) | {"epoch": epoch, "cmc": found.cmc(ranks).tolist()}


def train(training: SimMC, run: RunDirectory, report: Report) -> None:
    """Run epochs until every protocol has ended or the cap is reached, keeping files up to date.

    The order of writes makes a kill at any moment harmless: weights of the epoch if it is the
    best so far, its line of metrics, then the checkpoint from which the run would go on.
    """
    while not training.done:
        record, best = training.run_epoch()
        for protocol in best:
            state = {"epoch": record["epoch"], "network": training.best_weights}
            checkpoints.save(weights_path(run, protocol), state)
        run.append_metrics(record)
        if training.is_checkpoint_due():
            checkpoints.save(run.last, training.state())
        report(record)


def outcome(training: SimMC, run: RunDirectory, protocol: str, ranks: int) -> dict[str, Any] | None:
    """Score the weights that a protocol chose; None where no epoch could be chosen.

    For `label_free` this is the one time that probe and gallery are looked at.
    """
    path = weights_path(run, protocol)
    if training.selectors[protocol].best_epoch < 0:
        return None
    network, epoch = load_network(path, training.settings, training.data, training.runtime)
    found = match(network, training.data, training.settings, training.runtime)
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


def weights_path(run: RunDirectory, protocol: str) -> Path:
    """Where the weights that a protocol chose are kept."""
    return run.best if protocol == "paper" else run.path / f"{protocol}.pt"


def first_line(error: Exception) -> str:
    """An error's message cut to what fits into a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
