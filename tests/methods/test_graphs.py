"""The recipes of MG-SCR and SM-SGE against losses worked out subsequence by subsequence."""

import copy
import math

import numpy as np
import pytest
import torch

from simmc.data.experiment.experiment import Experiment, Split
from simmc.data.graph_levels import GRAPH_LEVELS, skeleton_graph
from simmc.data.skeletons import CASIA_14
from simmc.errors import UserError
from simmc.methods import mgscr, smsge
from simmc.methods.graph_training import drawn_positions, shuffles_graphs
from simmc.methods.mgscr import MGSCRSettings
from simmc.methods.smsge import SMSGESettings
from simmc.models.smsge import coarser
from simmc.models.subsequences import misplaced_subsequences
from simmc.runs.runtime import generators
from tests.methods import make
from tests.reference import graphs as literal

LENGTH = 4
SMALL = {"dataset": "CASIA_B", "probe": "nm.nm", "H": 4, "length": LENGTH, "class_sampling": "off"}
RECIPES = {
    "mgscr": (mgscr.MGSCRTraining, MGSCRSettings),
    "smsge": (smsge.SMSGETraining, SMSGESettings),
}
both = pytest.mark.parametrize("name", RECIPES)


def experiment(n=12, seed=0):
    """Generated windows of persons who differ in size."""
    rng = np.random.default_rng(seed)
    identity = np.arange(n) % 3
    still = rng.normal(size=(1, 1, 14, 3)) * (1 + identity)[:, None, None, None]
    moving = still + 0.1 * rng.normal(size=(n, LENGTH, 14, 3))
    one = Split(moving.astype(np.float32), identity, None)
    return Experiment(one, one, one, [0, 1, 2], [0, 1, 2], False, CASIA_14, [], None)


def training(name, seed=0, **changes):
    recipe, settings = RECIPES[name]
    chosen = settings.of(**SMALL | {"batch_size": 4, "epochs": 3} | changes)
    return recipe(chosen, experiment(), generators(seed), make.CPU, ("paper", "label_free"))


def exact(made):
    """In double precision; its weights are no longer those of the optimiser."""
    made.network = copy.deepcopy(made.network).double()
    return made


def few_windows():
    return torch.from_numpy(experiment().train.windows[:2]).flatten(2).double()


def test_drawn_positions():
    rng = np.random.default_rng(0)
    drawn = [drawn_positions(rng, 5) for _ in range(200)]
    for positions in drawn:
        assert [len(p) for p in positions] == [1, 2, 3, 4, 5]
        assert all(p == sorted(set(p)) and set(p) <= set(range(5)) for p in positions)
    # every frame as often as every other
    counts = np.bincount([p for positions in drawn for p in positions[1]], minlength=5)
    assert counts.min() > 0.7 * counts.mean()


@both
def test_frames_are_drawn_once_or_for_each_batch(name):
    once, anew = training(name), training(name, sampled_frames="batch")
    frames = LENGTH - 1 if name == "mgscr" else LENGTH
    positions = once.positions.next()
    assert [len(p) for p in positions] == list(range(1, frames + 1))
    assert {t for p in positions for t in p} <= set(range(frames))
    assert positions == once.positions.next() == training(name).positions.next()
    before = once.seeds.masks.bit_generator.state["state"]
    once.run_epoch()
    assert once.seeds.masks.bit_generator.state["state"] == before
    before = anew.seeds.masks.bit_generator.state["state"]
    anew.run_epoch()
    assert anew.seeds.masks.bit_generator.state["state"] != before


@pytest.mark.parametrize("gathering", ["sorted", "published"])
def test_the_loss_of_mgscr_is_that_of_single_subsequences(gathering):
    made = exact(training("mgscr", gathering=gathering))
    windows, positions = few_windows(), [[1], [0, 2], [0, 1, 2]]
    features = made.network.frames(windows)
    found = made.loss(windows, positions)
    if gathering == "sorted":
        wanted = literal.sparse_prediction(made.network, features, windows, positions)
    else:
        tree = misplaced_subsequences(positions, 2)
        wanted = 0
        for b in range(2):  # each window has sequences of its own
            rows = [tree.frames[tree.members[:, k].nonzero()[:, 0], b].tolist() for k in range(3)]
            one = slice(b, b + 1)
            wanted = wanted + literal.sparse_prediction(
                made.network, features[one], windows[one], rows
            )
    torch.testing.assert_close(found, wanted)
    weights = list(made.network.parameters())
    pair = [torch.autograd.grad(value, weights) for value in (found, wanted)]
    for one, other in zip(*pair, strict=True):
        torch.testing.assert_close(one, other)


def level_losses(network, windows, positions):
    """The four losses of SM-SGE, each with a graph of its own."""
    skeletons = {}
    for level in GRAPH_LEVELS:
        means = torch.from_numpy(skeleton_graph(CASIA_14, level).means(14))
        skeletons[level] = (means @ windows.unflatten(2, (14, 3))).flatten(2)
    losses = []
    for level in GRAPH_LEVELS:
        features = network.by_frame(windows)[level].transpose(0, 1)
        losses.append(
            literal.scale_reconstruction(
                network, level, coarser(level), features, skeletons, positions
            )
        )
    return losses


def test_a_step_of_smsge_is_one_of_four_adams():
    made = training("smsge")
    windows, positions = few_windows(), [[3], [0, 2], [0, 1, 3], [0, 1, 2, 3]]
    before = copy.deepcopy(made.network).double()
    found = made.step(windows.float(), positions)
    losses = level_losses(before, windows, positions)
    torch.testing.assert_close(found.double(), torch.stack(losses), rtol=1e-4, atol=1e-5)
    names = [name for name, _ in before.named_parameters()]
    weights = list(before.parameters())
    wanted = [w.detach().clone() for w in weights]
    rate = made.settings.training.lr * math.sqrt(1 - 0.999) / (1 - 0.9)
    slopes = [
        torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True) for loss in losses
    ]
    for level in slopes:
        for new, g in zip(wanted, level, strict=True):
            if g is not None:
                new -= rate * (0.1 * g) / ((0.001 * g * g).sqrt() + 1e-8)
    for i, (name, new) in enumerate(zip(names, made.network.parameters(), strict=True)):
        # where a slope is all but 0 its sign decides the step, and rounding decides the sign
        parts = [level[i] for level in slopes if level[i] is not None]
        clear = torch.stack([p.abs() > 1e-4 for p in parts]).all(0)
        assert clear.any(), name
        torch.testing.assert_close(
            new.double()[clear], wanted[i][clear], rtol=1e-3, atol=1e-5, msg=name
        )


def test_which_weights_each_loss_of_smsge_reaches():
    made = training("smsge")
    made.optimizer.lr = 0.0
    made.step(few_windows().float(), [[0], [0, 1], [1, 2, 3], [0, 1, 2, 3]])
    shared = made.network.shared_parameters()
    names = [name for name, _ in made.network.named_parameters()][: len(shared)]
    for row, level in zip(made.optimizer.slopes, GRAPH_LEVELS, strict=True):
        for name, part in zip(names, row.split([w.numel() for w in shared]), strict=True):
            own = name.partition(".")[2]
            reached = (
                own.startswith(f"{level}_from_")
                if "_from_" in own
                else own.split(".")[1] in coarser(level)
            )
            assert (part.abs().max() > 0) == reached, (level, name)
    assert all(weight.grad.abs().max() == 0 for weight in shared)
    assert all(w.grad.abs().max() > 0 for w in made.network.encoders.parameters())


@both
@pytest.mark.parametrize("sampled_frames", ["once", "batch"])
def test_a_continued_training_is_the_whole_training(name, sampled_frames, tmp_path):
    make.assert_continues(lambda: training(name, sampled_frames=sampled_frames), tmp_path, at=1)


def test_a_window_of_one_frame_leaves_nothing_to_predict():
    with pytest.raises(UserError, match="--length 1"):
        training("mgscr", length=1)


@pytest.mark.parametrize("recipe", [mgscr, smsge])
def test_the_order_of_the_windows(recipe):
    sampled = recipe.SOURCE.settings.of(**SMALL | {"class_sampling": "all"})
    plain = recipe.METHOD.label_free(sampled)
    assert plain == sampled.but(class_sampling="off")
    assert not shuffles_graphs(sampled) and shuffles_graphs(plain)
    assert recipe.SOURCE.shuffles is shuffles_graphs
