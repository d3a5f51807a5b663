"""The label-free promise: no identity and no probe or gallery window decides label-free weights.

Every method with a label-free run trains twice. The second time all training identities are
shuffled, window by window, and all probe and gallery windows and identities are others, another
number of them. The label-free weights have to be the same to the last bit. What a user may know
without naming anybody stays: the windows, their order and the numbers of their recordings.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simmc.data import specs
from simmc.data.skeletons import KINECT_V1
from simmc.data.store import write_dataset
from simmc.engine.run import plan_stages
from simmc.engine.training import Training
from simmc.methods import registry
from simmc.methods.simmc_uf import UNLABELLED
from simmc.methods.sources import SOURCES
from simmc.runs import checkpoints
from simmc.runs.directory import RunDirectory
from simmc.scoring.match import RATES
from simmc.settings import resolve
from tests.cli.conftest import TWIN, assert_same_state, read_json, run

PERSONS, TRACKS, WINDOWS, LENGTH = 5, 3, 5, 6
SIZE = ("--length", LENGTH, "--batch_size", 15, "--H", 8, "--threads", 1)
TWO = ("--epochs", 2)
NEIGHBORS = ("--k1", 6, "--k2", 2)
CLUSTERING = (*NEIGHBORS, "--eps", 0.6, "--epochs", 6)  # these have a choice of epochs
AUTO = ("--eps", "auto", "--min_samples", "auto", "--input", "auto", "--best_by", "body")
RULES = ("off", "all")  # of class sampling: without identities, and with them in the first training
# what may differ in metrics.jsonl: it is shown, and nothing uses it
COUNTS = ("probes", "unmatched", "averaged")
DIAGNOSTICS = (*RATES, *COUNTS, "mi", "ami", "seconds", "levels")
# command -> what makes a training small, one entry for each way in which it learns
LEARNS: dict[str, list[tuple[object, ...]]] = {
    "simmc": [CLUSTERING, (*CLUSTERING, *AUTO)],
    "himpc": [(*CLUSTERING, "--M", 2, *AUTO)],
    "trackmc": [
        (*TWO, *NEIGHBORS, "--recordings", tier) for tier in ("auto", "off", "positives", "merge")
    ],
    "age": [TWO],
    "sgela": [
        (*TWO, "--lcl_batches", "person"),
        (*TWO, "--lcl_batches", "stored", "--task", "plus"),
    ],
    "mgscr": [TWO],
    "smsge": [TWO],
    "finetune": [(*CLUSTERING, "--standardise", "on", "--source", source) for source in SOURCES],
}
CASES = [
    (command, flags)
    for command, several in LEARNS.items()
    for flags in several
    if command != "finetune"
]


METHODS = {
    name: method
    for name, method in registry.METHODS.items()
    if "label_free" in method.protocols(method.settings.of())
}


def uses_identities(settings: Any) -> bool:
    """Whether identities decide what is learned from, or in which batches; the engine is not asked.

    Learning the gallery counts too: its windows are those that probes are matched against.
    """
    sampled = settings.windows.balances_classes(settings.place.dataset)
    batches = getattr(settings, "lcl_batches", "") == "person" and settings.lambda_C > 0
    pretext = getattr(settings, "pretext", None)
    return sampled or batches or (pretext is not None and pretext.train_on != "train")


def walk(
    rng: np.random.Generator, persons: int, tracks: int, noise: float
) -> tuple[np.ndarray, ...]:
    """Windows of persons who swing their limbs, in stored order; their identity and recording."""
    people = np.random.default_rng(7)
    bones, swing = people.normal(size=(2, persons, 1, 20, 3))
    identity = np.repeat(np.arange(persons), tracks * WINDOWS)
    recording = np.repeat(np.arange(persons * tracks), WINDOWS)
    phase = rng.uniform(0, 6, (len(identity), 1)) + 0.5 * np.arange(LENGTH)
    windows = bones[identity] + 0.3 * swing[identity] * np.sin(phase)[..., None, None]
    return windows + noise * rng.normal(size=windows.shape), identity, recording


def sets(changed: bool) -> dict[str, Any]:
    """What `write_dataset` takes; changed: all that a label-free training must not look at."""
    rng = np.random.default_rng(1)
    windows, identity, recording = walk(rng, PERSONS, TRACKS, 0.05)
    if changed:
        identity = 10 + np.random.default_rng(2).permutation(identity)
    splits, numbers = {"train": (windows, identity)}, {"train": recording}
    for number, split in enumerate(("probe", "gallery"), start=1):
        own = np.random.default_rng(number + 10 * changed)
        seen, label, track = walk(own, PERSONS + changed, 1 + changed, 2.0)
        if changed:
            seen, label = seen[::-1] * 1.5 + 0.2, 10 + label % 4
            label = label[track * WINDOWS]  # a recording shows one person
        splits[split], numbers[split] = (seen, label), track + 100 * number
    return {"splits": splits, "recordings": numbers}


class Runs:
    """Runs on the data as they are and on those with other identities and tests, each made once."""

    NAMES = ("data", "changed")

    def __init__(self, home: Path) -> None:
        self.home = home
        self._made: dict[object, RunDirectory] = {}
        self.label_free: dict[RunDirectory, list[Any]] = {}  # settings of trainings that serve it
        for name in self.NAMES:
            write_dataset(self.data_root(name), "mine", skeleton=KINECT_V1, **sets(name != "data"))

    def data_root(self, name: str) -> Path:
        return self.home / name

    def place(self, name: str) -> tuple[object, ...]:
        """Flags for data and runs."""
        root = self.data_root(name)
        return ("--dataset", "mine", "--data_root", root, "--model_root", root / "runs")

    def __call__(self, command: str, *flags: object) -> list[RunDirectory]:
        """The two runs of a command."""
        return [self.trained(name, command, *flags) for name in self.NAMES]

    def trained(self, name: str, command: str, *flags: object) -> RunDirectory:
        key = (name, command, flags)
        if key not in self._made:
            own = f"run{len(self._made)}"
            made = RunDirectory(self.data_root(name) / "runs" / "mine" / "probe" / own)
            with noted() as self.label_free[made]:
                assert run(command, *self.place(name), *SIZE, *flags, "--run", own) == 0
            self._made[key] = made
        return self._made[key]


@contextmanager
def noted() -> Iterator[list[Any]]:
    """The settings with which trainings for the label-free numbers begin meanwhile."""
    begin, found = Training.__init__, []

    def noting(training: Any, settings: Any, *rest: Any, **more: Any) -> None:
        begin(training, settings, *rest, **more)
        if "label_free" in training.protocols:
            found.append(settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "__init__", noting)
        yield found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("label free"))


def place_of(made: RunDirectory) -> RunDirectory:
    """Where a run keeps its label-free training."""
    return RunDirectory(made.path / TWIN) if (made.path / TWIN).is_dir() else made


def assert_no_influence(one: RunDirectory, other: RunDirectory) -> None:
    """Weights, choice of the epoch, state and log of two label-free trainings are the same."""
    a, b = place_of(one), place_of(other)
    names = sorted(path.name for path in a.path.glob("*.pt"))
    assert "label_free.pt" in names
    pair = [checkpoints.load(place.path / "label_free.pt") for place in (a, b)]
    assert_same_state(*pair)
    settings = one.read_config()["settings"]
    untrained_counts = "auto" in settings.get("recordings", "") or settings.get("best_by") == "body"
    assert pair[0]["epoch"] >= (0 if untrained_counts else 1)
    # and what would be learned next
    states = [checkpoints.load(place.last) for place in (a, b)]
    for state in states:
        del state["selectors"]
    assert_same_state(*states)
    rows = [place.read_metrics() for place in (a, b)]
    kept = [[{k: v for k, v in row.items() if k not in DIAGNOSTICS} for row in own] for own in rows]
    assert kept[0] == kept[1]
    epochs = one.read_config()["settings"]["epochs"]
    assert [row["epoch"] for row in kept[0]] == list(range(epochs + 1))
    assert all(row["steps"] > 0 for row in kept[0][:-1])
    found = [made.read_results()["protocols"]["label_free"] for made in (one, other)]
    assert found[0]["epoch"] == found[1]["epoch"] == pair[0]["epoch"]
    assert found[0]["mAP"] != found[1]["mAP"]  # the tests were others


def test_every_method_with_a_label_free_run_is_here():
    assert set(METHODS) == set(LEARNS)
    assert all(hasattr(method.settings.of(), "labels") for method in METHODS.values())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("command", "flags"), CASES)
def test_identities_and_tests_have_no_influence(command, flags, rule, runs):
    one, other = runs(command, *flags, "--class_sampling", rule)
    assert_no_influence(one, other)
    settings = METHODS[command].settings
    first, second = (
        resolve(settings, [], stored=made.read_config()).settings for made in (one, place_of(one))
    )
    assert not uses_identities(second)
    for made in (one, other):
        (begun,) = runs.label_free[made]  # what is stored is what was trained
        assert not uses_identities(begun)
    assert (place_of(one) is not one) == uses_identities(first)
    if uses_identities(first):  # so that the data of this test can show an influence
        states = [checkpoints.load(made.last)["network"] for made in (one, other)]
        assert any(not torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("source", SOURCES)
def test_nor_have_they_on_simmc_over_the_features_of_a_source(source, runs):
    """Where a source trained with identities first, the features are those of its second run."""
    command = SOURCES[source].command
    for made, name in zip(
        runs(command, *LEARNS[command][0], "--class_sampling", "all"), Runs.NAMES, strict=True
    ):
        which = ("--source", source, "--length", LENGTH, "--threads", 1, "--run", made.path.name)
        assert run("export-features", *runs.place(name), *which) == 0
    (flags,) = (flags for flags in LEARNS["finetune"] if source in flags)
    one, other = runs("finetune", *flags)
    assert_no_influence(one, other)
    used, free = (made.read_config()["settings"]["features"] for made in (one, place_of(one)))
    assert used == source and free == source + UNLABELLED
    (about,) = runs.data_root("data").rglob(f"frames_{free}.json")
    assert read_json(about)["settings"]["class_sampling"] == "off"


@pytest.mark.parametrize("command", sorted(METHODS.keys() - {"finetune"}))
@pytest.mark.parametrize("fidelity", ["released", "exact"])
def test_published_settings_have_one_training_for_the_label_free_numbers(command, fidelity):
    method = METHODS[command]
    for spec in specs.DATASETS.values():
        flags = ["--dataset", spec.name, "--probe", spec.probes[0], "--fidelity", fidelity]
        settings = resolve(method.settings, flags).settings
        (stage,) = (
            stage
            for _, stage, protocols in plan_stages(method, settings)
            if "label_free" in protocols
        )
        assert not uses_identities(stage)


@pytest.mark.parametrize("command", ["age", "mgscr", "smsge"])
def test_exact_is_one_training_for_both_protocols(command):
    flags = ["--dataset", "KGBD", "--fidelity", "exact"]
    settings = resolve(METHODS[command].settings, flags).settings
    ((_, _, protocols),) = plan_stages(METHODS[command], settings)
    assert set(protocols) == {"paper", "label_free"}


@pytest.mark.parametrize("command", sorted(source.command for source in SOURCES.values()))
def test_a_training_on_the_gallery_has_no_label_free_numbers(command, runs):
    flags = (*TWO, "--train_on", "train_gallery", "--class_sampling", "off")
    made = runs.trained("data", command, *flags)
    found = made.read_results()["protocols"]
    assert found["label_free"] is None and found["paper"] is not None
    assert not list(made.path.rglob("label_free.pt"))


IDENTITIES = "identities decided which windows"
LEAK = "windows of one recording are in training, gallery and probe"


@pytest.mark.parametrize(
    ("stress", "named"),
    [
        *((stress, IDENTITIES) for stress in ("keep:2", "noise:0.01+borrow:1", "strangers")),
        ("leak", LEAK),
        ("noise:0.01", ""),
    ],
)
def test_data_that_identities_chose_are_named(stress, named, runs, capsys):
    runs.trained("data", "trackmc", *TWO, "--k1", 6, "--k2", 2, "--stress", stress)
    said = "".join(capsys.readouterr())
    assert named in said and (named == IDENTITIES) == (IDENTITIES in said)
