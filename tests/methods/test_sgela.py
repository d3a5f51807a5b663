"""The recipe of AGE and SGELA: which windows meet in a batch, and what each task asks for."""

import copy

import numpy as np
import pytest
import torch

from simmc.data.experiment.experiment import Experiment, Split
from simmc.data.skeletons import Skeleton
from simmc.methods import sgela as method
from simmc.methods.sgela import AgeSettings, SgelaSettings
from simmc.models.optimizer import FlatAdam
from simmc.models.sgela import coordinates
from simmc.runs.runtime import generators
from tests.methods import make
from tests.reference import sgela as literal

LENGTH = 3
TWO = Skeleton("two", ("hip", "hand"), "hip", (), (), ())
SMALL = {"dataset": "KGBD", "H": 3, "batch_size": 4, "epochs": 2, "length": LENGTH}


def experiment(persons=(3, 3, 3), recordings=None, seed=0):
    """Generated windows (N, 3, 2, 3), person by person as they are stored."""
    rng = np.random.default_rng(seed)
    identity = np.repeat(np.arange(len(persons)), persons)
    windows = rng.normal(size=(len(identity), LENGTH, 2, 3)).astype(np.float32)
    one = Split(windows, identity, None if recordings is None else np.array(recordings))
    people = list(range(len(persons)))
    return Experiment(one, one, one, people, people, False, TWO, [], None)


def training(settings=SgelaSettings, data=None, **changes):
    chosen = settings.of(**SMALL | changes)
    protocols = ("paper", "label_free")
    return method.GaitTraining(chosen, data or experiment(), generators(0), make.CPU, protocols)


def rows_of(made):
    return [rows.tolist() for rows in made.batches]


def test_batches_as_stored_leave_out_the_last_part():
    assert rows_of(training()) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert rows_of(training(batch_size=20)) == [list(range(9))]  # better than nothing


def test_age_draws_one_order():
    made = training(AgeSettings)
    assert [len(rows) for rows in rows_of(made)] == [4, 4]
    flat = [row for rows in rows_of(made) for row in rows]
    assert len(set(flat)) == 8 and flat != sorted(flat)
    first = rows_of(made)
    made.run_epoch()
    assert rows_of(made) == first == rows_of(training(AgeSettings))


def test_batches_of_a_person_and_of_a_recording():
    persons, recordings = (6, 1, 2), [0, 0, 1, 1, 1, 1, 2, 3, 3]
    data = experiment(persons, recordings)
    assert rows_of(training(data=data, lcl_batches="person")) == [[0, 1, 2, 3], [4, 5], [6], [7, 8]]
    by_recording = [[0, 1], [2, 3, 4, 5], [6], [7, 8]]
    assert rows_of(training(data=data, lcl_batches="recording")) == by_recording
    unknown = experiment(persons)
    assert rows_of(training(data=unknown, lcl_batches="recording")) == rows_of(training())
    without = training(data=data, lcl_batches="person", lambda_C=0)
    assert rows_of(without) == rows_of(training())


def test_without_identities_batches_end_with_recordings():
    def without(**changes):
        """What differs in the label-free run of these settings."""
        given = SgelaSettings.of(**SMALL, **changes)
        plain, own = method.METHOD.label_free(given).flat(), given.flat()
        return {name: plain[name] for name in own if plain[name] != own[name]}

    assert without(lcl_batches="person") == {"lcl_batches": "recording"}
    assert without() == without(lcl_batches="person", lambda_C=0) == {}
    both = without(lcl_batches="person", class_sampling="all")
    assert both == {"lcl_batches": "recording", "class_sampling": "off"}


@pytest.mark.parametrize("settings", [AgeSettings, SgelaSettings])
def test_two_thirds_of_biwi(settings):
    seen = {
        (dataset, how): {
            row
            for rows in rows_of(
                training(settings, dataset=dataset, probe=probe, encoder_windows=how, batch_size=3)
            )
            for row in rows
        }
        for dataset, probe in (("BIWI", "Walking"), ("KGBD", "probe"))
        for how in ("two_thirds", "all")
    }
    assert seen["BIWI", "two_thirds"] == set(range(6))
    assert all(rows == set(range(9)) for key, rows in seen.items() if key != ("BIWI", "two_thirds"))


def test_inputs_and_targets_of_each_task():
    made = training(task="rev_rec+pred+sort")
    assert made.settings.task == "rev_rec+pred+sort"
    rows = torch.tensor([2, 8])
    inputs, targets = made.examples(rows)
    assert inputs.shape == targets.shape == (9, LENGTH, 2, 2)
    given = coordinates(made.windows[rows])
    assert torch.equal(inputs[:3], given) and torch.equal(targets[:3], given.flip(1))
    assert torch.equal(inputs[3:6], given)
    following = coordinates(made.windows[[3, 8]])  # the last window is its own target
    assert torch.equal(targets[3:6], following)
    assert torch.equal(targets[6:], given)
    for b, row in enumerate(rows.tolist()):
        order = made.shuffled[row]
        assert sorted(order.tolist()) == list(range(LENGTH))
        assert torch.equal(inputs[6:, :, b], given[:, order, b])
    assert len({tuple(order.tolist()) for order in made.shuffled}) > 1
    again = made.examples(rows)
    assert torch.equal(again[0], inputs)  # the order is drawn once


def test_plus_as_released_sees_reversed_data_three_times():
    made, exact = (training(task="plus", plus_data=how) for how in ("reversed", "tasks"))
    assert made.settings.tasks == exact.settings.tasks == ("rev_rec", "pred", "sort")
    rows = torch.arange(4)
    inputs, targets = made.examples(rows)
    given = coordinates(made.windows[rows])
    assert torch.equal(inputs, given.repeat(3, 1, 1, 1))
    assert torch.equal(targets, given.flip(1).repeat(3, 1, 1, 1))
    apart = training(task="rev_rec+pred+sort")
    for a, b in zip(exact.examples(rows), apart.examples(rows), strict=True):
        assert torch.equal(a, b)
    # but locality is taught to the first models alone
    assert made.network.mask(inputs)[3:].eq(1).all()


def literal_learn(made):
    """The weights after an epoch's steps, window by window from the equations."""
    s, gait = made.settings, made.settings.gait
    contrast = getattr(s, "lambda_C", 0.0)
    models = copy.deepcopy(made.network.models)
    adam = FlatAdam(models, s.training.lr)
    tasks = method.learned_tasks(s)
    windows = made.data.train.windows.astype(np.float64)
    sums = [0.0, 0.0, 0.0]
    for rows in rows_of(made):
        terms = [torch.zeros((), dtype=torch.float64) for _ in range(3)]
        for t, task in enumerate(tasks):
            for axis in range(3):
                model, vectors = 3 * t + axis, []
                for row in rows:
                    given = torch.from_numpy(windows[row][:, :, axis])
                    target = given
                    if task == "rev_rec":
                        target = given.flip(0)
                    if task == "pred":
                        following = min(row + 1, len(windows) - 1)
                        target = torch.from_numpy(windows[following][:, :, axis])
                    if task == "sort":
                        given = given[made.shuffled[row]]
                    reach = LENGTH if gait.D is None else gait.D
                    mask = literal.mask(LENGTH, reach)
                    outputs, aligned, contexts = literal.decode(
                        models,
                        model,
                        given,
                        models.shape,
                        mask,
                        target if s.tasks[t] == "rev_rec" else None,
                    )
                    terms[0] = terms[0] + literal.reconstruction(outputs, target)
                    if s.tasks[t] == "rev_rec" and gait.attention == "locality":
                        terms[1] = terms[1] + literal.locality_alignment([aligned], mask)
                    if contrast:
                        vectors.append(literal.contrast_head(models.head, model, contexts))
                if contrast and len(rows) > s.interval:
                    terms[2] = terms[2] + literal.neighbor_contrast(
                        torch.stack(vectors), s.tau, s.interval, same_window=s.lcl_same_window
                    )
        total = terms[0] + gait.lambda_A * terms[1] + contrast * terms[2]
        total = total + gait.l2 * sum(0.5 * (p**2).sum() for p in models.parameters())
        adam.zero_grad()
        total.backward()
        for p in models.parameters():
            p.grad.clamp_(-5, 5)
        adam.step()
        sums = [a + b.item() for a, b in zip(sums, terms, strict=True)]
    names = ("reconstruction", "locality", "contrast")
    return models, {f"loss_{n}": v / len(made.batches) for n, v in zip(names, sums, strict=True)}


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        (AgeSettings, {}),
        (SgelaSettings, {"tau": 0.5}),
        (
            SgelaSettings,
            {
                "task": "plus",
                "plus_data": "tasks",
                "decoder_input": "skeletons",
                "attention_form": "dot",
                "lcl_batches": "person",
                "lcl_same_window": "out",
                "lambda_A": 0.5,
                "lambda_C": 2.0,
                "D": 1.0,
            },
        ),
    ],
    ids=["AGE", "SGELA", "exact plus"],
)
def test_an_epoch_equals_the_loops(settings, changes):
    made = training(settings, experiment((3, 3)), batch_size=3, lr=0.01, **changes)
    generator = torch.Generator().manual_seed(5)
    for weight in made.network.parameters():  # some gradients are to be clipped
        torch.nn.init.uniform_(weight, -2, 2, generator=generator)
    made.network.double()
    made.optimizer = FlatAdam(made.network, made.settings.training.lr)
    made.windows = 2 * made.windows.double()
    made.data.train.windows[:] = made.windows.reshape(6, LENGTH, 2, 3).float().numpy()
    wanted, losses = literal_learn(made)
    record = made.learn()
    assert record.pop("steps") == 2
    assert record == pytest.approx(losses, rel=1e-6)
    for (name, got), weight in zip(
        made.network.models.named_parameters(), wanted.parameters(), strict=True
    ):
        torch.testing.assert_close(got, weight, rtol=1e-6, atol=1e-8, msg=name)


@pytest.mark.parametrize("settings", [AgeSettings, SgelaSettings])
def test_a_continued_training_is_the_whole_training(settings, tmp_path):
    made, other = training(settings), training(settings)
    made.run_epoch()
    other.load_state(copy.deepcopy(made.state()))
    assert rows_of(other) == rows_of(made) and torch.equal(other.shuffled, made.shuffled)
    make.assert_continues(lambda: training(settings), tmp_path, at=1)
