"""SimMC: simple masked contrastive learning of skeleton representations (Rao and Miao, IJCAI 2022).

The training loop reads as the paper's section 3: mask, encode, cluster each view, build
prototypes, contrast. Where the public program differs from the paper, a setting decides
(docs/fidelity.md). Shape letters: N windows, f frames, K inputs a frame, q views, H embedding,
C clusters, B batch.
"""

from pathlib import Path
from typing import Any

import torch

from simmc.clustering import cluster_means
from simmc.config import SimMCSettings
from simmc.data.loaders import Experiment
from simmc.evaluation import diagnostics
from simmc.evaluation.ranking import Retrieval
from simmc.losses import intra_sequence_contrast, prototype_contrast
from simmc.methods.masks import draw_masks
from simmc.methods.matching import (
    encode,
    match,
    retrieval_outcome,
    retrieval_record,
    tensor_of,
)
from simmc.methods.training import ClusterTraining, load_weights
from simmc.models.encoder import SimMCNetwork
from simmc.runs.runtime import Runtime, few_threads
from simmc.runs.seeds import Seeds


class SimMC(ClusterTraining[SimMCSettings]):
    """A training in progress; the arguments are those of `ClusterTraining`, less the network."""

    network: SimMCNetwork

    def __init__(
        self,
        settings: SimMCSettings,
        data: Experiment,
        seeds: Seeds,
        runtime: Runtime,
        protocols: tuple[str, ...],
    ) -> None:
        self.train_windows = tensor_of(data.train, runtime.device)
        network = SimMCNetwork(
            self.train_windows.shape[2], settings.H, settings.D, generator=seeds.weights
        ).to(runtime.device)
        super().__init__(settings, data, seeds, runtime, protocols, network)

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
        labels = self.cluster(views.unbind(1))
        record |= self.cluster_record(labels)
        best = self.offer(record)
        self.keep_weights(best)
        if self.epoch < self.settings.epochs:
            # A step of KGBD takes 21 ms on one thread and 13 to 14 on two, and 12 and 9 where
            # clusters are few; more have too little to do.
            with self.clock("steps"), few_threads(2):
                record |= self.contrast(views, masks, labels)
        record["seconds"] = self.clock.take()
        self.epoch += 1
        return record, best

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

    def contrast(
        self, views: torch.Tensor, masks: torch.Tensor, labels: torch.Tensor
    ) -> dict[str, float]:
        """Prototypes (Eq. 4), then one step a batch on lambda MIC + (1 - lambda) MPC (Eq. 7)."""
        s = self.settings
        prototypes = [cluster_means(v, y) for v, y in zip(views.unbind(1), labels, strict=True)]
        kept = torch.nonzero((labels >= 0).all(0)).flatten()  # outliers of any view are left out
        sums = torch.zeros(2, device=views.device)
        steps = 0
        for place, rows in self.batches(kept):  # nothing in here may wait for a GPU
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
            sums += torch.stack([mpc.detach(), mic.detach()])
            steps += 1
        mpc_mean, mic_mean = (sums / max(steps, 1)).tolist()
        return {"steps": steps, "loss_mpc": mpc_mean, "loss_mic": mic_mean}

    def evaluate(self) -> Retrieval:
        """Probe against gallery with the present weights."""
        with self.clock("evaluation"):
            return match(
                self.network,
                self.data,
                self.runtime,
                same_condition=self.settings.same_condition_map,
            )

    def feature_record(self) -> dict[str, float]:
        """MACT and mRCL of the unmasked training features; diagnostics, nothing uses them."""
        features = encode(self.network, self.train_windows)[:, 0].cpu().numpy()
        truth = self.data.train.identity
        if (truth < 0).all():
            return {}
        mact, mrcl = diagnostics.tightness_looseness(features[truth >= 0], truth[truth >= 0])
        return {"mACT": mact, "mRCL": mrcl}


def score(
    path: Path | None,
    settings: SimMCSettings,
    data: Experiment,
    runtime: Runtime,
    ranks: int,
    *,
    negative_squared: str = "clamp",
) -> dict[str, Any]:
    """Figures, epoch and CMC curve of the weights in a file; None: of raw coordinates."""
    network, epoch = None, 0
    if path is not None:
        network, epoch = load_network(path, settings, data, runtime)
    found = match(
        network,
        data,
        runtime,
        same_condition=settings.same_condition_map,
        negative_squared=negative_squared,
    )
    return retrieval_outcome(found, epoch, ranks)


def load_network(
    path: Path, settings: SimMCSettings, data: Experiment, runtime: Runtime
) -> tuple[SimMCNetwork, int]:
    """The network that a checkpoint holds and the epoch it comes from."""
    width = data.probe.windows[0, 0].size
    network = SimMCNetwork(width, settings.H, settings.D, generator=torch.Generator())
    epoch = load_weights(network, path, "--dataset, --H and --D")
    return network.to(runtime.device), epoch
