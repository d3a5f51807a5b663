"""What the engine has to know of a method: one row, at the end of the method's file.

Below it are the functions of any method: the data that its settings describe, and its runs' names.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import torch

from simmc.data.experiment import inputs
from simmc.data.experiment.experiment import Experiment, Features
from simmc.data.experiment.load import Request, load_experiment
from simmc.data.skeletons import Skeleton
from simmc.data.specs import skeleton_of
from simmc.engine.reporter import Reporter
from simmc.engine.training import Encoded, Model, Shape, Training, load_weights
from simmc.runs.records import Results, described_data, new_results
from simmc.runs.runtime import Runtime, generators
from simmc.scoring.match import MatchRule, Outcome, retrieval_outcome, unscored
from simmc.settings.groups import Common, Joints, Machine, Place, Stopping, Windows, chosen_probe
from simmc.settings.groups import Training as TrainingGroup
from simmc.settings.layers import Resolved
from simmc.settings.options import Settings

PAPER, LABEL_FREE, FIXED_EPOCHS = "paper", "label_free", "fixed_epochs"
EXPLAINED = {
    PAPER: "paper protocol: the epoch with the best probe top-1 (the test chooses it)",
    LABEL_FREE: "label-free protocol: the epoch chosen without identities, probe or gallery",
    FIXED_EPOCHS: "fixed-epochs protocol: the last of a number of epochs set beforehand (the test "
    "is not used)",
}
# of trainings whose last epoch is the one that counts
LAST_EPOCH = {
    PAPER: "paper protocol: the weights of the last epoch",
    LABEL_FREE: "label-free protocol: the weights of the last epoch, no identity was used",
}


G = TypeVar("G", bound=Settings)


class MethodSettings(Protocol):
    """What the settings of every trained method have."""

    COMMAND: ClassVar[str]

    @property
    def place(self) -> Place:
        """Dataset, probe, length of a window."""

    @property
    def machine(self) -> Machine:
        """Device and threads."""

    @property
    def common(self) -> Common:
        """Fidelity and seed."""

    @property
    def windows(self) -> Windows:
        """Which windows, and in which batches."""

    @property
    def training(self) -> TrainingGroup:
        """Epochs and the run folder."""

    def flat(self) -> dict[str, Any]:
        """Every setting by name."""

    def find(self, kind: type[G]) -> G | None:
        """The group of a type; None where these settings have none."""

    def but(self, **changes: Any) -> Self:
        """The same settings with some values changed."""


S = TypeVar("S", bound=MethodSettings)


@dataclass(frozen=True)
class Embedder:
    """A trained network as a function of windows.

    Attributes:
        features: gives the (N, d) float32 features of a split's windows.
        epoch: epoch of the weights.
    """

    features: Encoded
    epoch: int


def with_stored_names(settings: G) -> G:
    """The same settings, a set of the user's own and its probe named as in its manifest.

    An input that is auto becomes what the skeleton has of `inputs.AUTO_INPUT`.
    """
    place: Place = settings.place  # type: ignore[attr-defined]
    spec = place.read_spec()
    dataset, probe = chosen_probe(spec, place.probe, place.probe_type)
    changes = {"dataset": dataset, "probe": probe}
    flat = settings.flat()
    joints: Any = settings.find(Joints)  # its input is None while it is auto
    if joints is not None and joints.input is None:
        changes["input"] = inputs.without_view(skeleton_of(spec), inputs.AUTO_INPUT)
    if all(flat[name] == value for name, value in changes.items()):
        return settings
    return settings.but(**changes)


def load(settings: Any, **how: Any) -> Experiment:
    """The experiment, its frames described; `how` as in `load_joints`.

    Where the training windows' bones choose the epoch, they are measured as well.
    """
    data = load_joints(settings, **how)
    stopping = settings.find(Stopping)
    if stopping is not None and stopping.best_by == "body":
        data = replace(data, body=inputs.body_lengths(data.train.windows, data.skeleton))
    joints = how.get("joints") or settings.joints
    if not {inputs.TURNED, inputs.LEVELLED}.isdisjoint(joints.parts):
        data = replace(data, lean=inputs.sideways_lean(data.train, data.skeleton))
    return inputs.described(data, joints.parts, joints.input_scale)


def load_whole(settings: Any) -> Experiment:
    """All stored windows in the order of the files, described as in the training of a method."""
    joints = settings.joints
    every = settings.windows.but(class_sampling="off", part_batches="keep")
    data = load_joints(settings, windows=every, shuffle=False)
    like = load_joints(settings) if inputs.is_measured(joints.parts) else None
    return inputs.described(data, joints.parts, joints.input_scale, like)


def load_joints(
    settings: Any,
    *,
    joints: Joints | None = None,
    windows: Windows | None = None,
    shuffle: bool = True,
    with_gallery: bool = False,
    features: Features | None = None,
) -> Experiment:
    """The experiment before its frames are described.

    `joints` and `windows` count in place of those of the settings; `shuffle` brings the training
    windows into a random order once; `with_gallery` adds those of the gallery; `features` of a
    source model replace the windows.
    """
    place = settings.place
    joints, windows = joints or settings.joints, windows or settings.windows
    request = Request(
        Path(place.data_root),
        place.dataset,
        place.length,
        place.probe,
        kgbd_order=joints.kgbd_order,
        root=joints.root,
        class_sampling=windows.class_sampling,
        part_batches=windows.part_batches,
        double_load=windows.double_load,
        batch_size=windows.batch_size,
        shuffle=shuffle,
        cve_diagonal=windows.cve_diagonal,
        with_gallery=with_gallery,
        stress=windows.stress,
    )
    return load_experiment(request, generators(settings.common.seed).data, features)


def version_of_choice(settings: MethodSettings) -> int:
    """2 where bone lengths choose the epoch: since then it has to agree better by a margin."""
    stopping = settings.find(Stopping)
    return 2 if stopping is not None and stopping.best_by == "body" else 1


def check_input(settings: MethodSettings, skeleton: Skeleton) -> None:
    """UserError where a skeleton lacks joints or bones that --input needs."""
    joints = settings.find(Joints)
    if joints is not None:
        inputs.width(skeleton, joints.parts)


def without_class_balance(settings: S) -> S:
    """The same training without any use of identities, for methods that use them in loading."""
    if not settings.windows.balances_classes(settings.place.dataset):
        return settings
    return settings.but(class_sampling="off")


@dataclass(frozen=True)
class Method(Generic[S]):
    """A trained method; the functions that are left out have a sensible default.

    Attributes:
        settings: its settings class; `COMMAND` names the method everywhere.
        summary: its line in `simmc --help`.
        title: the name in tables.
        load: the data that settings describe.
        check_body: UserError where a skeleton lacks joints, bones or parts that settings need.
        training: its recipe.
        size: one sentence on parameters and operations.
        protocols: under which its epochs are chosen.
        explained: what each protocol is, in words.
        label_free: the settings of the label-free training, which uses no identity: the same
            settings where the first training uses none, None where there is no such training.
            Default: the same without class balance.
        recipe: the method's part of the names of runs.
        unit: whether features are matched at unit length.
        baseline: whether the settings ask for an evaluation without any training.
        labels: what identity labels are used for, if they are: printed before and after a training
            and stored in results.json, where "supervised" is then true.
        prepared: settings of a new training, with the paths that were looked up filled in.
        remarks: sentences for the user before a training.
        embeds: whether `simmc embed` and `simmc identify` support the method.
        shape_flags: the flags that decide the shape of the network.
        outcome: the numbers of a protocol, where they are more than those of matching what
            `training.encoder` gives.
        version: of its numbers. Raise it whenever they change: `simmc reproduce` then runs its
            cells again. The golden record is not written anew without (tests/golden/make.py).
        since: the version that last changed the numbers of given settings; None: the newest.
    """

    settings: type[S]
    summary: str
    title: Callable[[S], str]
    training: type[Training[S]]
    size: Callable[[S], str]
    load: Callable[[S], Experiment] = load
    protocols: Callable[[S], tuple[str, ...]] = lambda settings: (PAPER, LABEL_FREE)
    explained: Mapping[str, str] = field(default_factory=lambda: EXPLAINED)
    check_body: Callable[[S, Skeleton], None] = check_input
    label_free: Callable[[S], S | None] = without_class_balance
    recipe: Callable[[S], str] = lambda settings: settings.COMMAND
    unit: Callable[[S], bool] = lambda settings: False
    baseline: Callable[[S], bool] = lambda settings: False
    labels: str = ""
    prepared: Callable[[S], S] = lambda settings: settings
    remarks: Callable[[Resolved[Any], Experiment], list[str]] = lambda resolved, data: []
    embeds: bool = False
    shape_flags: str = "settings"
    outcome: Callable[[Model[S], MatchRule], Outcome] | None = None
    version: int = 1
    since: Callable[[S], int] | None = None

    def version_of(self, settings: S) -> int:
        """The version of the numbers of given settings."""
        return self.since(settings) if self.since else self.version

    def read(self, path: Path, settings: S, data: Experiment, runtime: Runtime) -> tuple[Any, int]:
        """The network that a checkpoint holds, and the epoch it comes from."""
        network = self.training.new_network(settings, Shape.of(data), torch.Generator())
        epoch = load_weights(network, path, self.shape_flags)
        return network.to(runtime.device), epoch

    def score(
        self, path: Path | None, settings: S, data: Experiment, runtime: Runtime, rule: MatchRule
    ) -> Outcome:
        """The numbers of the weights in a file; None: of raw coordinates."""
        network, epoch = self.read(path, settings, data, runtime) if path else (None, 0)
        model = Model(network, settings, data, runtime)
        if self.outcome:
            return replace(self.outcome(model, rule), epoch=epoch)
        return retrieval_outcome(model.match(self.training.encoder, rule), epoch)

    def embedder(self, path: Path, settings: S, data: Experiment, runtime: Runtime) -> Embedder:
        """A trained network as a function of windows."""
        network, epoch = self.read(path, settings, data, runtime)
        return Embedder(self.training.encoder(Model(network, settings, data, runtime)), epoch)


@dataclass(frozen=True)
class Job:
    """One call of a method: to train it, to continue a run or to score one."""

    method: Method[Any]
    resolved: Resolved[Any]
    runtime: Runtime
    reporter: Reporter

    @property
    def settings(self) -> Any:
        """The settings, without their origins."""
        return self.resolved.settings

    def config(self, data: Experiment) -> dict[str, Any]:
        """What config.json holds of a training."""
        version = self.method.version_of(self.settings)
        about = {"method_version": version, "data": described_data(data)}
        return self.resolved.to_dict() | about

    def frame(self, data: Experiment) -> Results:
        """The frame of results.json, without numbers."""
        method, settings = self.method, self.settings
        found = new_results(method.title(settings), settings, data, self.runtime)
        found["protocols"] = dict.fromkeys(method.protocols(settings))
        found["method_version"] = method.version_of(settings)
        if method.labels:
            found |= {"supervised": True, "note": method.labels}
        return found


def counted(title: str, settings: MethodSettings, parameters: int, note: str = "") -> str:
    """How many parameters a network has; `note` follows them in brackets."""
    millions = f"{parameters / 1e6:.2f}M{note}"
    return f"{title} on {settings.place.dataset}: {parameters:,} parameters ({millions})"


def a_step(settings: MethodSettings, flops: float, how: str) -> str:
    """Operations of a training step, and how they are counted."""
    return (
        f"{flops / 1e9:.2f} GFLOP a training step of {settings.windows.batch_size} windows of "
        f"{settings.place.length} frames ({how})"
    )


def shape_of(settings: Any) -> Shape:
    """The shape of the networks for a dataset, before it is loaded."""
    skeleton = skeleton_of(settings.place.read_spec())
    return Shape(skeleton, inputs.width(skeleton, settings.joints.parts))


def default_name(method: Method[Any], settings: MethodSettings) -> str:
    """Name of a run that the user did not name."""
    common = settings.common
    parts = [f"f{settings.place.length}", common.fidelity, f"seed{common.seed}"]
    if settings.COMMAND != "simmc":
        parts.insert(0, method.recipe(settings))
    flag = settings.training.save_flag
    return "_".join([*parts, flag] if flag else parts)


def pointer(method: Method[Any], settings: MethodSettings) -> str:
    """The file that names a recipe's newest run, beside its runs."""
    return "latest" if settings.COMMAND == "simmc" else f"latest_{method.recipe(settings)}"


def unscored_by(method: Method[Any], settings: Any, data: Experiment) -> Outcome | None:
    """The outcome where these data give no rates, else None."""
    return None if "supervised" in method.protocols(settings) else unscored(data)
