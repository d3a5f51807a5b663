"""The one loop: what an epoch is, which one counts, when it ends, and the files that it keeps."""

from itertools import count
from typing import Any, ClassVar

import pytest
import torch

from simmc.engine import training as engine
from simmc.engine.training import LAST, Training, load_weights, train, weights_path
from simmc.errors import UserError
from simmc.methods.supervised import PROTOCOLS, Supervised, SupervisedSettings
from simmc.runs import checkpoints
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import generators
from tests.methods import make

SCORES = [0.9, 0.3, 0.2, 0.5, 0.4]  # of the epochs 0 to 4
BOTH = ("paper", "fixed_epochs")


class Scripted(Training[Any]):
    """Adds 1 to its only weight in every epoch, and notes what is called."""

    CHOSEN_BY: ClassVar = {"paper": "top1", "fixed_epochs": LAST, "label_free": LAST}

    def __init__(self, protocols, patience=None, **changes):
        settings = SupervisedSettings.of(**{"dataset": "KGBD", "epochs": 4} | changes)
        self.called, self.given = [], patience
        super().__init__(settings, make.experiment(), generators(0), make.CPU, protocols)

    @staticmethod
    def encoder(model):
        raise AssertionError("evaluate does not look at windows")

    @staticmethod
    def new_network(settings, shape, generator):
        network = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(network.weight)
        return network

    @property
    def patience(self):
        return self.given

    def evaluate(self):
        self.called.append(("evaluate", self.epoch))
        return {"top1": SCORES[self.epoch]}

    def steps(self):
        self.called.append(("learn", self.epoch))
        with torch.no_grad():
            self.network.weight += 1
        return {"steps": 1}


def run_all(made):
    """What every epoch found best, and the weight that was kept for it."""
    found = []
    while not made.done:
        record, best = made.run_epoch()
        kept = made.best_weights["weight"].item() if best else None
        found.append((record.get("top1"), best, kept))
    return found


# which epoch counts


def test_what_an_epoch_is():
    made = Scripted(BOTH)
    # the untrained epoch 0 never counts; kept weights are those before the epoch's steps
    assert run_all(made) == [
        (0.9, [], None),
        (0.3, ["paper", "fixed_epochs"], 1.0),
        (0.2, ["fixed_epochs"], 2.0),
        (0.5, ["paper", "fixed_epochs"], 3.0),
        (0.4, ["fixed_epochs"], 4.0),
    ]
    order = [(what, epoch) for epoch in range(5) for what in ("evaluate", "learn")]
    assert made.called == order[:-1]  # the last epoch takes no steps
    found = {name: s.best_epoch for name, s in made.selectors.items()}
    assert found == {"paper": 3, "fixed_epochs": 4}


@pytest.mark.parametrize(("patience", "chosen"), [(2, 1), (3, 3), (None, 3)])
def test_patience_ends_the_choice_but_not_the_training(patience, chosen):
    made = Scripted(BOTH, patience)
    assert len(run_all(made)) == 5
    assert made.selectors["paper"].best_epoch == chosen
    assert made.selectors["fixed_epochs"].best_epoch == 4


def test_evaluations_now_and_then_and_at_the_end():
    made = Scripted(BOTH, eval_every=3)
    assert [top1 for top1, _, _ in run_all(made)] == [0.9, None, None, 0.5, 0.4]


def test_label_free_numbers_need_no_probe_before_the_end():
    made = Scripted(("label_free",))
    assert [best for _, best, _ in run_all(made)] == [[]] + [["label_free"]] * 4
    assert made.called == [("learn", epoch) for epoch in range(4)]


@pytest.mark.parametrize(
    ("selection", "paper", "label_free", "done"),
    [
        ("probe", 2, 1, False),
        ("probe", 1, 2, False),
        ("probe", 2, 2, True),
        ("label_free", 1, 2, True),
        ("label_free", 2, 1, False),
    ],
)
def test_which_protocol_ends_a_run(selection, paper, label_free, done):
    training = make.training(selection=selection, patience=2)
    training.selectors["paper"].waited = paper
    training.selectors["label_free"].waited = label_free
    assert training.done is done


def test_a_single_protocol_ends_its_run():
    for protocol in ("paper", "label_free"):
        for selection in ("probe", "label_free"):
            training = make.training(protocols=(protocol,), selection=selection, patience=2)
            assert not training.done
            training.selectors[protocol].waited = 2
            assert training.done


# files


def test_an_epoch_is_judged_by_the_weights_before_its_steps(tmp_path):
    training = make.training(epochs=2)
    before = {}
    step = training.run_epoch

    def watched():
        before[training.epoch] = make.weights_of(training)
        return step()

    training.run_epoch = watched
    run = RunDirectory(tmp_path)
    train(training, run, lambda record: None)
    for protocol in ("paper", "label_free"):
        kept = checkpoints.load(weights_path(run, protocol))
        assert kept["epoch"] == training.selectors[protocol].best_epoch >= 1
        make.assert_equal_weights(kept["network"], before[kept["epoch"]])
    assert not torch.equal(before[1]["output.weight"], before[2]["output.weight"])


class Ticking:
    """A clock on which one second passes at every call."""

    def __init__(self) -> None:
        self.seconds = count()

    def monotonic(self) -> float:
        return float(next(self.seconds))


def test_a_checkpoint_never_comes_without_the_newest_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "time", Ticking())
    settings = SupervisedSettings.of(
        dataset="KGBD", H=8, batch_size=16, epochs=12, checkpoint_seconds=4.0
    )
    training = Supervised(settings, make.experiment(), generators(0), make.CPU, PROTOCOLS)
    run = RunDirectory(tmp_path)
    found = []

    def look(record):
        """The epoch at which the run would continue, and that of the weights of the last epoch."""
        files = (run.last, weights_path(run, "fixed_epochs"))
        found.append(tuple(checkpoints.load(f)["epoch"] if f.is_file() else None for f in files))

    train(training, run, look)
    next_epochs = {following for following, _ in found} - {None}
    assert 2 < len(next_epochs) < 9  # neither in every epoch nor never
    for epoch, (following, kept) in enumerate(found[:-1]):
        assert following is None or kept == following - 1, epoch
    assert found[-1] == (12, 12)  # the last epoch takes no steps: the state before it stays


def test_checkpoints_by_time():
    made = Scripted(BOTH, epochs=3, checkpoint_seconds=1000)
    due, kept = [], []
    while not made.done:
        made.run_epoch()
        due.append(made.is_checkpoint_due())
        kept.append([made.is_kept(name, due[-1]) for name in BOTH])
    # epochs 0, 1, 2 leave the state before 1, 2, 3: that before the last epoch is always kept,
    # and that after it never, since the last epoch takes no steps
    assert due == [False, False, True, False]
    # the best by the test is kept at once, the last one in the end
    assert kept == [[True, False], [True, False], [True, True], [True, True]]
    made.saved_at -= 2000
    made.epoch = 1
    assert made.is_checkpoint_due()
    often = Scripted(BOTH, epochs=3, checkpoint_seconds=0)
    often.run_epoch()
    assert often.is_checkpoint_due()


# checkpoints that do not fit


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"H": 8}, "size mismatch"),
        ({"D": 2}, "cannot be continued"),
        ({"data": make.experiment(train=24)}, "comes from other training windows"),
        ({"data": make.experiment(seed=5)}, "comes from other training windows"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_by_name(other, message, tmp_path):
    state = make.training().state()
    path = tmp_path / "last.pt"
    with pytest.raises(UserError, match=message) as error:
        make.training(**other).restore(state, path)
    assert str(path) in str(error.value)
    assert "--resume" in str(error.value)


def test_an_incomplete_checkpoint_is_refused_by_name(tmp_path):
    state = make.training().state()
    del state["selectors"]
    with pytest.raises(UserError, match=r"last\.pt cannot be continued"):
        make.training().restore(state, tmp_path / "last.pt")


@pytest.mark.parametrize(
    "change",
    [
        {"network": None},
        {"network": {"w": torch.zeros(1)}},
        {"optimizer": None},
        {"optimizer": {"first": torch.zeros(()), "second": torch.zeros(()), "steps": 1}},
        {"selectors": {"paper": 3, "label_free": 3}},
        {"seeds": {"data": "9" * 5000, "masks": "{}", "weights": ""}},
        {"epoch": float("inf")},
        {"epoch": 10**30},
        {"previous_labels": torch.zeros(2, 3)},
        {"previous_labels": [[0]]},
        {"data": torch.zeros(3)},
    ],
    ids=str,
)
def test_a_checkpoint_of_wrong_contents_is_refused_by_name(change, tmp_path):
    state = make.training().state() | change
    with pytest.raises(UserError, match=r"last\.pt (cannot|comes) .*without --resume"):
        make.training().restore(state, tmp_path / "last.pt")


@pytest.mark.parametrize(
    "change", [{"network": None}, {"network": {3: 4}}, {"epoch": float("inf")}, {"epoch": "3"}]
)
def test_weights_of_wrong_contents_are_refused_by_name(change, tmp_path):
    training = make.training()
    path = tmp_path / "best.pt"
    checkpoints.save(path, {"epoch": 1, "network": training.network.state_dict()} | change)
    with pytest.raises(UserError, match=r"best\.pt"):
        load_weights(training.network, path, "--H")
