"""SimMC: simple masked contrastive learning of skeleton representations (Rao and Miao, IJCAI 2022).

The training loop reads as the paper's section 3: mask, encode, cluster each view, build
prototypes, contrast. Where the public program differs from the paper, a setting decides
(docs/fidelity.md). Shape letters: N windows, f frames, K inputs a frame, q views, H embedding,
C clusters, B batch.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from simmc.clustering import cluster_means
from simmc.engine.method import Method, a_step, counted, shape_of, version_of_choice
from simmc.engine.pseudo_labels import PseudoLabels
from simmc.engine.training import Encoded, Model, Shape, Training, batches
from simmc.errors import UserError
from simmc.evaluation import diagnostics
from simmc.losses import intra_sequence_contrast, prototype_contrast
from simmc.models.simmc import SimMCNetwork, count_parameters, draw_masks, training_flops
from simmc.runs.records import EpochRecord
from simmc.runs.runtime import few_threads
from simmc.scoring.match import encode, tensor_of
from simmc.settings import groups
from simmc.settings.groups import COUNT, FRACTION, POSITIVE
from simmc.settings.options import EVALUATION, Range, Settings, group_of, option, switch


@dataclass(frozen=True)
class Recipe(Settings):
    """Settings of masks, losses and encoder."""

    mask_x: int = option(2, "Frames dropped by the first mask (paper: x).", limits=Range(0))
    mask_x_2: int | str = option(
        "same",
        "Frames dropped by the second mask, or 'same'.",
        kind=int,
        limits=Range(0),
        words={"same": "same"},
    )
    q: int = option(2, "Masks of a window: 2, or 1 (ablation NPC).", limits=Range(1, 2))
    lambda_: float = option(
        0.5, "Weight of MIC; MPC has the rest (Eq. 7).", aliases=("mask_lambda",), limits=FRACTION
    )
    t: float = option(0.08, "Temperature of MPC (Eq. 5).", aliases=("tau",), limits=POSITIVE)
    encoder: str = option(
        "mlp",
        "mlp, or none: raw coordinates without training (Table 4, Baseline).",
        choices=("mlp", "none"),
    )
    H: int = option(256, "Width of the encoder.", aliases=("hidden",), limits=COUNT)
    D: int = option(1, "Hidden layers of the encoder.", limits=COUNT)
    mact: bool = option(False, "Log mACT and mRCL of the training features.", group=EVALUATION)
    jaccard_input: str = switch("jaccard_input")
    mask_scope: str = switch("mask_scope")
    mask_replay: str = switch("mask_replay")
    mpc_reduction: str = switch("mpc_reduction")
    zero_label_guard: str = switch("zero_label_guard")

    def check(self) -> None:
        """MIC needs a second mask."""
        if self.q == 1 and self.lambda_ > 0:
            raise UserError(
                "--q 1 has no second mask for MIC to compare with; add --lambda 0 (the ablation "
                "NPC is --q 1 --mask_x 0 --lambda 0)."
            )

    @property
    def dropped(self) -> tuple[int, ...]:
        """Frames dropped by each mask."""
        second = self.mask_x if isinstance(self.mask_x_2, str) else self.mask_x_2
        return (self.mask_x, second)[: self.q]

    def require_frames(self, length: int) -> None:
        """UserError where a mask drops all frames of a window."""
        for flag, dropped in (("--mask_x", self.mask_x), ("--mask_x_2", self.mask_x_2)):
            if not isinstance(dropped, str) and dropped >= length:
                raise UserError(
                    f"{flag} {dropped} leaves no frame of a window of --length {length}; "
                    f"allowed: 0 to {length - 1}."
                )


@dataclass(frozen=True, kw_only=True)
class SimMCSettings(Settings):
    """Everything that a training or evaluation of SimMC takes."""

    COMMAND: ClassVar[str] = "simmc"
    SUMMARY: ClassVar[str] = (
        "Train SimMC on unlabelled skeleton windows and score it by matching probe against gallery "
        "windows, or score a trained run (--mode Eval)."
    )
    WITHOUT_PRESET: ClassVar[dict[str, Any]] = {**groups.AUTO, "input": None}

    place: groups.Place
    machine: groups.Machine
    common: groups.Common
    windows: groups.Windows
    joints: groups.Joints = group_of(**groups.AUTO_JOINTS)
    training: groups.Training
    stopping: groups.Stopping
    clustering: groups.Clustering = group_of(**groups.AUTO_CLUSTERING)
    labels: groups.LabelFree
    rematch: groups.Rematch
    recipe: Recipe

    preset_names = staticmethod(groups.presets_of_probe)

    def check(self) -> None:
        """A mask keeps at least one frame."""
        self.recipe.require_frames(self.place.length)


class SimMC(Training[Any]):
    """A training in progress; the arguments are those of `Training`."""

    CHOSEN_BY: ClassVar = {"paper": "top1", "label_free": "label_free_score"}
    OTHER_REMEDY = " or a larger --t"
    network: SimMCNetwork
    pseudo: PseudoLabels

    @staticmethod
    def new_network(settings: Any, shape: Shape, generator: torch.Generator) -> SimMCNetwork:
        """The encoder."""
        recipe = settings.recipe
        return SimMCNetwork(shape.width, recipe.H, recipe.D, generator=generator)

    @staticmethod
    def encoder(model: Model[Any]) -> Encoded:
        """Means over all frames of their features; of raw coordinates without a network."""
        device = model.runtime.device
        return lambda split: encode(model.network, tensor_of(split, device))[:, 0]

    def prepare(self) -> None:
        """Windows in memory, and their clusterings."""
        s, recipe = self.settings, self.settings.recipe
        self.train_windows = tensor_of(self.data.train, self.runtime.device)
        normalise = recipe.jaccard_input == "normalised"
        self.pseudo = PseudoLabels(s.clustering, self.runtime, self.clock, normalise=normalise)

    def look(self) -> EpochRecord:
        """Encode the masked views and cluster each."""
        self.masks = self.draw_masks()
        with self.clock("features"):
            self.views = encode(self.network, self.train_windows, self.masks)  # (N, q, H)
            self.require_finite(self.views)
        record = self.feature_record() if self.settings.recipe.mact else {}
        if self.body:
            with self.clock("features"):
                seen = encode(self.network, self.train_windows[self.body.rows])[:, 0]
                record["body_agreement"] = self.body(seen.cpu())
        self.pseudo_labels = self.pseudo.of(self.views.unbind(1))  # (q, N)
        return record | self.pseudo.record(self.pseudo_labels, self.data.train.identity)

    def steps(self) -> EpochRecord:
        """The steps of an epoch."""
        # A step of KGBD takes 21 ms on one thread and 13 to 14 ms on two; more do not help.
        with few_threads(2):
            return self.contrast(self.views, self.masks, self.pseudo_labels)

    def draw_masks(self) -> torch.Tensor:
        """(N, q, f) frame weights of the masked views (Eq. 2)."""
        s: Recipe = self.settings.recipe
        n, length = self.train_windows.shape[:2]
        group = self.settings.windows.batch_size if s.mask_scope == "batch" else 1
        masks = draw_masks(self.seeds.masks, n, length, s.dropped, group=group)
        return torch.from_numpy(masks).to(self.runtime.device)

    def contrast(
        self, views: torch.Tensor, masks: torch.Tensor, labels: torch.Tensor
    ) -> EpochRecord:
        """Prototypes (Eq. 4), then one step a batch on lambda MIC + (1 - lambda) MPC (Eq. 7)."""
        s: Recipe = self.settings.recipe
        prototypes = [cluster_means(v, y) for v, y in zip(views.unbind(1), labels, strict=True)]
        kept = torch.nonzero((labels >= 0).all(0)).flatten()  # outliers of any view are left out
        sums = torch.zeros(2, device=views.device)
        steps = 0
        for place, rows in batches(kept, self.settings.windows):  # must not wait for a GPU
            # Q3: the public program uses the masks at the batch's place in the epoch, although
            # the windows have moved up because outliers were removed.
            drawn = masks[place if s.mask_replay == "index" else rows]
            v = self.network(self.train_windows[rows], drawn)  # (B, q, H)
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

    def feature_record(self) -> EpochRecord:
        """MACT and mRCL of the unmasked training features; diagnostics that nothing uses."""
        features = encode(self.network, self.train_windows)[:, 0].cpu().numpy()
        truth = self.data.train.identity
        if (truth < 0).all():
            return {}
        mact, mrcl = diagnostics.tightness_looseness(features[truth >= 0], truth[truth >= 0])
        return {"mACT": mact, "mRCL": mrcl}


def model_size(settings: SimMCSettings) -> str:
    """Parameters, and operations of a training step in the papers' way of counting."""
    s, shape, length = settings.recipe, shape_of(settings), settings.place.length
    batch = settings.windows.batch_size
    flops = training_flops(shape.width, s.H, s.D, views=2, batch=batch, length=length)
    parameters = count_parameters(SimMC.new_network(settings, shape, torch.Generator()))
    step = a_step(settings, flops, "forward and backward, as the papers count")
    return f"{counted('SimMC', settings, parameters)}, {step}"


METHOD = Method(
    SimMCSettings,
    "train SimMC without labels, or score a trained run",
    title=lambda settings: "SimMC",
    training=SimMC,
    size=model_size,
    baseline=lambda settings: settings.recipe.encoder == "none",
    embeds=True,
    shape_flags="--dataset, --H and --D",
    version=2,
    since=version_of_choice,
)
