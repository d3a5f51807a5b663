"""The recognition stage: a head learns identities from the features of a source model. Supervised.

SGELA's head classifies frames one by one (average prediction) or a whole sequence (sequence-level
concatenation) of a frozen encoder; SM-SGE's classifies prefixes of a frozen encoder and adds up
their scores; MG-SCR trains its whole network that way. Direct fine-tuning ("+ DF" in SimMC's
tables, which give no details) trains the whole network and matches its features as SimMC does.
Shape letters: N windows, v views of a window, e features of a view, C identities.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch.nn.functional import cross_entropy

from simmc.data.experiment.experiment import Experiment
from simmc.data.specs import skeleton_of
from simmc.engine.method import EXPLAINED, Method
from simmc.engine.stored_run import other_data
from simmc.engine.training import LAST, Encoded, Model, Shape, Training
from simmc.errors import UserError
from simmc.methods.pretext import pooled, published_settings
from simmc.methods.sources import SOURCES, load_for_head, new_source, source_run, source_settings
from simmc.models.recognition import RecognitionNetwork
from simmc.models.simmc import count_parameters
from simmc.models.source import SourceNetwork
from simmc.runs.records import EpochRecord, Figures
from simmc.scoring.classify import (
    SEPARATE,
    classification_outcome,
    classification_record,
    classify,
    require_known,
    view,
)
from simmc.scoring.match import MatchRule, Outcome, retrieval_outcome, tensor_of
from simmc.settings import groups
from simmc.settings.groups import COUNT, dataset_and_probe
from simmc.settings.layers import Resolved
from simmc.settings.options import EVALUATION, MAIN, Range, Settings, group_of, option, switch

CLASSIFIED = ("supervised", "fixed_epochs")  # protocols; the first is chosen by the test Rank-1
MATCHED = ("paper", "fixed_epochs")
CLASSIFY, MATCH = "classify", "match"
GALLERY_DIVISIONS = ("KGBD", "KS20")  # SGELA leaves one recording a person out, and one a view


@dataclass(frozen=True, kw_only=True)
class RecognitionSettings(Settings):
    """Source model, what is trained, and how it is scored."""

    COMMAND: ClassVar[str] = "recognition"
    SUMMARY: ClassVar[str] = (
        "SUPERVISED: train a recognition head on a source model, and classify the probe's persons "
        "(SGELA's, MG-SCR's and SM-SGE's own protocol: Rank-1, nAUC) or match its features (+ DF)."
    )

    place: groups.Place
    machine: groups.Machine
    common: groups.Common
    windows: groups.Windows
    training: groups.Training = group_of(epochs=300, checkpoint_seconds=60.0)
    source: str = option(
        "SM-SGE", "Source model: SM-SGE, MG-SCR, SGELA or AGE.", choices=tuple(SOURCES), group=MAIN
    )
    score: str = option(
        CLASSIFY,
        "classify: the head names the probe's persons; match: direct fine-tuning, the features are "
        "matched as SimMC's are.",
        choices=(CLASSIFY, MATCH),
        group=MAIN,
    )
    encoder_run: str = option(
        "",
        "Folder of the source model's run, also one of another dataset with the same joints; "
        "default: its newest for this dataset and probe.",
        group=MAIN,
    )
    train: str = option(
        "head",
        "What learns: the head alone (SGELA, SM-SGE), or the whole network (MG-SCR, + DF).",
        choices=("head", "all"),
    )
    train_on: str = option(
        "auto",
        "Windows that are learned: the training set, or the gallery as well. auto: what SGELA does "
        "to classify KGBD and KS20, else the training set.",
        choices=("auto", "train", "train_gallery"),
    )
    views: str = option(
        "",
        "What the head judges: ap (frames; a window by their mean), sc (all frames at once), or "
        "prefix (first frames; a window by their sum). Default: the source's own.",
    )
    kind: str = option(
        "", "With --score match: the pooled feature. Default: the first.", group=EVALUATION
    )
    hidden: int = option(256, "Units of the head; 0: as many as features.", limits=Range(0))
    decay: float = option(
        0.0, "Weight of half the sum of squares of what is trained.", limits=Range(0)
    )
    patience: int = option(
        10000,
        "Epochs without a better test Rank-1 after which no epoch counts as best.",
        limits=COUNT,
    )
    identities: str = option(
        "all",
        "all: every training person is a class; test: those of the probe alone (BIWI's 28 of 50).",
        choices=("all", "test"),
    )
    order: str = switch("order")
    test_batches: str = switch("test_batches")

    @staticmethod
    def preset_names(values: Mapping[str, Any]) -> list[str]:
        """`<SOURCE>_<DATASET>`, then `<SOURCE>`."""
        dataset, _ = dataset_and_probe(values)
        return [f"{values['source']}_{dataset}", values["source"]]

    @property
    def with_gallery(self) -> bool:
        """Whether the gallery's windows are learned."""
        if self.train_on != "auto":
            return self.train_on == "train_gallery"
        divided = self.place.dataset in GALLERY_DIVISIONS and "." not in self.place.probe
        return self.score == CLASSIFY and divided

    def check(self) -> None:
        """A pooled feature that the source has, a gallery that is not learned as well."""
        kinds = SOURCES[self.source].kinds
        if self.kind and self.kind not in kinds:
            raise UserError(
                f"--kind {self.kind!r} is not possible with --source {self.source}; allowed: "
                f"{', '.join(kinds)}."
            )
        if self.score == MATCH and self.train_on == "train_gallery":
            raise UserError(
                "--train_on train_gallery: with --score match the gallery is what probes are "
                "matched against; leave one of the two out."
            )


class Recognition(Training[RecognitionSettings]):
    """A training in progress; the arguments are those of `Training`.

    `seeds.weights` draws the head, `seeds.masks` a random order of windows.
    """

    CHOSEN_BY: ClassVar = {"supervised": "top1", "paper": "top1", "fixed_epochs": LAST}
    network: RecognitionNetwork

    @staticmethod
    def new_network(
        settings: RecognitionSettings, shape: Shape, generator: torch.Generator
    ) -> RecognitionNetwork:
        """A head on the trained source network."""
        return with_head(new_source(settings), settings, shape, generator)

    @staticmethod
    def encoder(model: Model[RecognitionSettings]) -> Encoded:
        """Pooled features of the fine-tuned source network."""
        source = model.network.source
        return pooled(source, model.settings.kind or source.KINDS[0], model.runtime)

    def prepare(self) -> None:
        """Windows, views and identities in memory."""
        s, data, runtime, network = self.settings, self.data, self.runtime, self.network
        require_known(data, s.place, f"--score {s.score}", named=s.score != MATCH)
        self.windows = tensor_of(data.train, runtime.device)
        self.identity = torch.from_numpy(data.train.identity).to(runtime.device)
        self.seen = self.probe_seen = None
        if s.train == "head":  # the views of a frozen network never change
            self.seen, self.probe_seen = (
                view(network.source, split, network.how, runtime)
                for split in (data.train, data.probe)
            )

    @property
    def patience(self) -> int:
        """A setting of this method."""
        return self.settings.patience

    def evaluate(self) -> Figures:
        """Rank-n and nAUC of the probe, or its matching."""
        if self.settings.score == MATCH:
            return super().evaluate()
        batch = whole_batches(self.settings)
        judged, _ = classify(
            self.network, self.data, self.runtime, batch=batch, seen=self.probe_seen
        )
        return classification_record(judged)

    def steps(self) -> EpochRecord:
        """Cross-entropy on identities, of each view or of the sum of a window's scores."""
        s, network = self.settings, self.network
        separate = network.how in SEPARATE
        sums = torch.zeros(2, device=self.windows.device)
        steps = 0
        for rows, part in self.bar(list(self.batches())):
            views = self.seen[rows] if self.seen is not None else network.views(self.windows[rows])
            labels = self.identity[rows]
            if separate:
                scores = network.judge(views.flatten(0, 1)[part])
                labels = labels.repeat_interleave(views.shape[1])[part]
            else:
                scores = network.judge(views).sum(1)
            loss = cross_entropy(scores, labels)
            self.optimizer.zero_grad()
            loss.backward()
            # gradient of half the sum of squares of all trained weights
            self.optimizer.gradient.add_(self.optimizer.vector, alpha=s.decay)
            self.optimizer.step()
            sums += torch.stack([loss.detach(), (scores.argmax(1) == labels).float().mean()])
            steps += 1
        self.require_finite(sums)
        loss_mean, right = (sums / max(steps, 1)).tolist()
        return {"steps": steps, "loss_identity": loss_mean, "train_top1": right}

    def batches(self) -> Iterator[tuple[torch.Tensor, slice]]:
        """Windows of each step, and which of their views take part: batches count views."""
        s, n = self.settings, len(self.windows)
        size = s.windows.batch_size
        order = torch.arange(n)
        if s.order == "shuffled":
            order = torch.from_numpy(self.seeds.masks.permutation(n))
        order = order.to(self.windows.device)
        each = self.windows.shape[1] if self.network.how == "ap" else 1  # views of a window
        end = n * each if s.windows.part_batches == "keep" else n * each // size * size
        for low in range(0, end, size):
            high = min(low + size, end)
            first, last = low // each, -(-high // each)
            yield order[first:last], slice(low - first * each, high - first * each)


def whole_batches(settings: RecognitionSettings) -> int | None:
    """Batch size where only full batches of a person are scored (S7), else None."""
    return None if settings.test_batches == "all" else settings.windows.batch_size


def chosen_views(source: SourceNetwork, settings: RecognitionSettings) -> str:
    """The views that are classified; UserError where the source does not have them."""
    if settings.views and settings.views not in source.VIEWS:
        raise UserError(
            f"--views {settings.views}: {settings.source} has {', '.join(source.VIEWS)}."
        )
    return settings.views or source.VIEWS[0]


def with_head(
    source: SourceNetwork, settings: RecognitionSettings, shape: Shape, generator: torch.Generator
) -> RecognitionNetwork:
    """An untrained head for C classes on a source network, which is frozen if only it learns."""
    how = chosen_views(source, settings)
    with torch.no_grad():
        window = torch.zeros(1, settings.place.length, shape.width)
        width = source.views(window, how).shape[2]
    frozen = settings.train == "head"
    return RecognitionNetwork(
        source, how, width, settings.hidden, shape.classes, generator=generator, frozen=frozen
    )


def outcome(model: Model[RecognitionSettings], rule: MatchRule) -> Outcome:
    """Classification of the probe, or its matching."""
    if model.settings.score == MATCH:
        return retrieval_outcome(model.match(Recognition.encoder, rule))
    batch = whole_batches(model.settings)
    judged, pairs = classify(model.network, model.data, model.runtime, batch=batch)
    return classification_outcome(judged, pairs, model.data.identities)


def title(settings: RecognitionSettings) -> str:
    """The row's name in the papers' tables."""
    if settings.score != MATCH:
        return f"{settings.source} (recognition)"
    return "MG-SCR" if settings.source == "MG-SCR" else f"{settings.source} + DF"


def recipe(settings: RecognitionSettings) -> str:
    """The name of the stage in run folders."""
    return f"{settings.source}_{'DF' if settings.score == MATCH else 'recognition'}"


def with_encoder_run(settings: RecognitionSettings) -> RecognitionSettings:
    """Settings with the path of the source run, so that a newer run is never used instead."""
    if settings.encoder_run:
        return settings
    return settings.but(encoder_run=str(source_run(settings).path))


def model_size(settings: RecognitionSettings) -> str:
    """Parameters of what is trained, and of the source model."""
    source, place = SOURCES[settings.source], settings.place
    skeleton = skeleton_of(place.read_spec())
    known = bool(settings.encoder_run)
    trained = source_settings(settings) if known else published_settings(source.settings, settings)
    shapes = [Shape(skeleton, 3 * skeleton.n_joints, classes) for classes in (1, 2)]
    network = source.new_network(trained, shapes[0], torch.Generator())
    below = count_parameters(network)
    one, two = (
        count_parameters(with_head(network, settings, shape, torch.Generator())) for shape in shapes
    )
    each = two - one
    role = "not trained" if settings.train == "head" else "all trained"
    return (
        f"{title(settings)} on {place.dataset}: {one - each:,} parameters "
        f"({(one - each) / 1e6:.2f}M) are trained, and {each:,} for each training identity; "
        f"{settings.source} itself has {below:,}, {role}"
    )


def remarks(resolved: Resolved[RecognitionSettings], data: Experiment) -> list[str]:
    """A warning where the source model was trained on other data than the head."""
    run = source_run(resolved.settings)
    if not other_data(run, data.checksum):
        return []
    return [
        f"source model: {run.path} was trained on other data than these (the checksums of their "
        "manifests differ); it may have learned from windows that are probes here"
    ]


METHOD = Method(
    RecognitionSettings,
    "train a head on a source model with identity labels: classification, and + DF",
    title=title,
    load=load_for_head,
    training=Recognition,
    size=model_size,
    protocols=lambda s: MATCHED if s.score == MATCH else CLASSIFIED,
    explained=EXPLAINED
    | {
        "supervised": "supervised protocol: the epoch with the best test Rank-1, as published "
        "(the test chooses it)",
    },
    recipe=recipe,
    prepared=with_encoder_run,
    remarks=remarks,
    shape_flags="--source, --encoder_run, --views and --hidden",
    outcome=outcome,
    labels="a head was trained on the identity labels of the training windows.",
)
