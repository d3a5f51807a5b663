"""Graph layers against loops, and the compiled loops against the tensor operations."""

import numpy as np
import pytest
import torch

from simmc.data.graph_levels import GRAPH_LEVELS, skeleton_graph
from simmc.data.skeletons import CASIA_14, KINECT_V1, KINECT_V2
from simmc.models.graph_layers import (
    BLOCK,
    StructuralRelations,
    collaborative_relation,
    structural_relations,
)
from simmc.models.kernels.lanes import exponential
from simmc.models.simmc import count_parameters
from tests.reference import graphs as literal

# more than a block of frames, the last lanes not full
MANY = BLOCK + 67


def draw(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def layer_of(adjacency, seed=0):
    """A layer with biases that are not 0."""
    generator = torch.Generator().manual_seed(seed)
    layer = StructuralRelations(adjacency, generator=generator)
    for name in ("lift_bias", "score_biases", "biases"):
        torch.nn.init.normal_(getattr(layer, name), generator=generator)
    return layer


def weights_of(layer):
    return [value for _, value in layer.named_parameters()]


def gradients(value, inputs, seed=9):
    """Of a random weighting of all values."""
    slope = draw(*value.shape, seed=seed).to(value.dtype)
    return torch.autograd.grad((value * slope).sum(), inputs)


@pytest.mark.parametrize("level", ["component", "limb"])
def test_structural_relations_equal_the_loops(level):
    adjacency = skeleton_graph(KINECT_V1, level).adjacency()
    layer, positions = layer_of(adjacency).double(), draw(len(adjacency), 3, 2)
    found = layer(positions)
    wanted = literal.structural_relations(layer, adjacency, positions)
    torch.testing.assert_close(found, wanted)
    pairs = zip(*(gradients(v, weights_of(layer)) for v in (found, wanted)), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other)


def test_collaborative_relation_equals_the_loops():
    target, source = draw(4, 8, 3).requires_grad_(), draw(6, 8, 3, seed=1).requires_grad_()
    for pair in ((target, source), (target, target)):
        found, wanted = (f(*pair) for f in (collaborative_relation, literal.collaborative_relation))
        torch.testing.assert_close(found, wanted)
        inputs = tuple(dict.fromkeys(pair))
        for one, other in zip(*(gradients(v, inputs) for v in (found, wanted)), strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("skeleton", [KINECT_V1, KINECT_V2, CASIA_14], ids=lambda s: s.name)
@pytest.mark.parametrize("frames", [1, MANY])
def test_compiled_structural_relations(skeleton, frames):
    for level in GRAPH_LEVELS:
        adjacency = skeleton_graph(skeleton, level).adjacency()
        layer = layer_of(adjacency)
        positions = draw(len(adjacency), 3, frames, dtype=torch.float32)
        found = layer(positions)
        exact = [w.detach().double().requires_grad_() for w in weights_of(layer)]
        wanted = structural_relations(positions.double(), layer.edges, *exact)
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=2e-5)
        mine, theirs = gradients(found, weights_of(layer)), gradients(wanted, exact)
        for one, other in zip(mine, theirs, strict=True):
            scale = other.abs().max()
            torch.testing.assert_close(one.double() / scale, other / scale, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("n", "m"), [(5, 5), (10, 5), (39, 20)])
def test_compiled_collaborative_relation(n, m):
    pair = [draw(k, 8, MANY, seed=k + i, dtype=torch.float32) for i, k in enumerate((n, m))]
    pair = [t.requires_grad_() for t in pair]
    exact = [t.detach().double().requires_grad_() for t in pair]
    found, wanted = collaborative_relation(*pair), collaborative_relation(*exact)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=2e-5)
    for one, other in zip(gradients(found, pair), gradients(wanted, exact), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=2e-4)


def test_slopes_that_do_not_lie_in_order():
    """As those that come out of a transposition."""
    source = draw(5, 8, 70, dtype=torch.float32)
    target = draw(70, 8, 3, dtype=torch.float32).transpose(0, 2).requires_grad_()
    found = collaborative_relation(target, source)
    wanted = collaborative_relation(target.double(), source.double())
    slope = draw(70, 8, 3, dtype=torch.float32).transpose(0, 2)
    one, other = (torch.autograd.grad((v * slope).sum(), target)[0] for v in (found, wanted))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_threads_leave_no_trace():
    adjacency = skeleton_graph(KINECT_V1, "component").adjacency()
    layer = layer_of(adjacency)
    positions = draw(10, 3, 3 * MANY, dtype=torch.float32)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            value = layer(positions)
            found.append([value, *gradients(value, weights_of(layer))])
    finally:
        torch.set_num_threads(before)
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_initial_weights():
    layer = StructuralRelations(np.eye(2, dtype=bool), generator=torch.Generator().manual_seed(0))
    assert count_parameters(layer) == 752
    for weight, bound in ((layer.kernels, 6 / 16), (layer.own_scores, 6 / 9)):
        assert 0.9 * bound**0.5 < weight.abs().max() <= bound**0.5
    assert 0.5 < layer.lift.std() < 1.6
    for bias in (layer.lift_bias, layer.score_biases, layer.biases):
        assert bias.abs().max() == 0


def test_the_exponential():
    x = np.linspace(-100, 20, 4001, dtype=np.float32)
    found = np.array([exponential(v) for v in x])
    exact = np.exp(x.astype(np.float64))
    assert np.abs(found[x > -87] / exact[x > -87] - 1).max() < 3e-7
    assert (found[x <= -87] < 2e-38).all()


def test_shapes_that_compiled_loops_would_not_check():
    layer = StructuralRelations(np.eye(5, dtype=bool), generator=torch.Generator())
    for shape in ((4, 3, 7), (5, 2, 7), (5, 3)):
        with pytest.raises(ValueError, match="5 nodes"):
            layer(torch.zeros(shape))
    for target, source in (((4, 8, 9), (5, 8, 7)), ((4, 7, 9), (5, 7, 9)), ((4, 8), (5, 8))):
        with pytest.raises(ValueError, match="levels"):
            collaborative_relation(torch.zeros(target), torch.zeros(source))
