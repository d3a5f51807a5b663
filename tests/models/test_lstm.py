import math

import pytest
import torch

from simmc.models import lstm
from simmc.models.lstm import StackedLSTM, product
from tests.reference import lstm as literal

COPIES, LENGTH, BATCH, WIDTH, HIDDEN, LAYERS = 2, 3, 2, 3, 2, 2


def make(seed=0, spread: float | None = 0.8, width=WIDTH, copies=COPIES):
    generator = torch.Generator().manual_seed(seed)
    network = StackedLSTM(copies, width, HIDDEN, LAYERS, generator=generator, spread=spread)
    for layer in network.layers:  # biases that are not zero
        torch.nn.init.uniform_(layer.bias, -0.5, 0.5, generator=generator)
    return network.double(), generator


def weights_of(network, copy):
    return [(one.kernel[copy], one.recurrent[copy], one.bias[copy]) for one in network.layers]


def literal_outputs(network, inputs, state=None):
    """(copies, f, B, hidden) outputs, and the state as `StackedLSTM` gives it."""
    outputs, states = [], []
    for copy in range(len(inputs)):
        rows = []
        for b in range(inputs.shape[2]):
            start = state and [(h[copy, b], c[copy, b]) for h, c in zip(*state, strict=True)]
            rows.append(literal.stack(weights_of(network, copy), inputs[copy, :, b], start))
        outputs.append(torch.stack([out for out, _ in rows], dim=1))
        states.append([final for _, final in rows])
    parts = []
    for part in (0, 1):
        layers = []
        for layer in range(LAYERS):
            values = [[torch.stack(final[layer][part]) for final in one] for one in states]
            layers.append(torch.stack([torch.stack(value) for value in values]))
        parts.append(torch.stack(layers))
    return torch.stack(outputs), tuple(parts)


def objective(outputs, state):
    """A scalar in which every output and state has a weight of its own."""
    total = 0.0
    for part in (outputs, *state):
        scale = torch.linspace(-1, 2, part.numel(), dtype=part.dtype).reshape(part.shape)
        total = total + (scale * part).sum()
    return total


def draw_inputs(generator, given):
    inputs = torch.randn(COPIES, LENGTH, BATCH, WIDTH, generator=generator, dtype=torch.float64)
    if not given:
        return inputs.requires_grad_(), None
    shape = (LAYERS, COPIES, BATCH, HIDDEN)
    h, c = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return inputs.requires_grad_(), (h.requires_grad_(), c.requires_grad_())


@pytest.mark.parametrize("given", [False, True], ids=["from zeros", "from a state"])
def test_values_and_gradients_equal_the_loops(given):
    network, generator = make()
    inputs, state = draw_inputs(generator, given)
    leaves = [inputs, *network.parameters(), *(state or ())]
    got = network(inputs, state)
    wanted = literal_outputs(network, inputs, state)
    torch.testing.assert_close(got, wanted)
    slopes = torch.autograd.grad(objective(*got), leaves)
    wanted_slopes = torch.autograd.grad(objective(*wanted), leaves)
    for slope, wanted_slope in zip(slopes, wanted_slopes, strict=True):
        torch.testing.assert_close(slope, wanted_slope)


@pytest.mark.parametrize("given", [False, True], ids=["from zeros", "from a state"])
def test_frame_by_frame_equals_all_at_once(given):
    network, generator = make()
    inputs, state = draw_inputs(generator, given)
    leaves = [inputs, *network.parameters(), *(state or ())]
    steps = network.begin(state)
    outputs = torch.stack([steps.step(frame) for frame in inputs.unbind(1)], dim=1)
    wanted, _ = network(inputs, state)
    torch.testing.assert_close(outputs, wanted)
    slopes = torch.autograd.grad(objective(outputs, ()), leaves)
    for slope, wanted_slope in zip(
        slopes, torch.autograd.grad(objective(wanted, ()), leaves), strict=True
    ):
        torch.testing.assert_close(slope, wanted_slope)


def test_an_output_fed_back_equals_the_loops():
    network, generator = make(width=HIDDEN)
    state = draw_inputs(generator, True)[1]
    steps = network.begin(state)
    fed, outputs = None, []
    for _ in range(LENGTH):  # nothing is fed first: zeros
        fed = steps.step(fed)
        outputs.append(fed)
    wanted = []
    for copy in range(COPIES):
        for b in range(BATCH):
            now = [(h[copy, b], c[copy, b]) for h, c in zip(*state, strict=True)]
            x = torch.zeros(1, HIDDEN, dtype=torch.float64)
            for t in range(LENGTH):
                x, now = literal.stack(weights_of(network, copy), x, now)
                torch.testing.assert_close(outputs[t][copy, b], x[0])
            wanted.append(x[0].sum() * (1 + copy + b))
    scale = torch.tensor([[1.0, 2.0], [2.0, 3.0]], dtype=torch.float64)
    got = (outputs[-1].sum(-1) * scale).sum()
    leaves = [*network.parameters(), *state]
    slopes = torch.autograd.grad(got, leaves)
    for slope, wanted_slope in zip(slopes, torch.autograd.grad(sum(wanted), leaves), strict=True):
        torch.testing.assert_close(slope, wanted_slope)


def test_nothing_is_kept_where_no_gradient_is_wanted():
    network, generator = make()
    inputs, _ = draw_inputs(generator, False)
    with torch.no_grad():
        outputs, (h, _) = network(inputs)
    assert not outputs.requires_grad
    torch.testing.assert_close(outputs[:, -1], h[-1])


def test_initial_weights():
    generator = torch.Generator().manual_seed(3)
    plain = StackedLSTM(3, 20, 64, 2, generator=generator)
    glorot = StackedLSTM(1, 20, 64, 2, generator=generator, spread=None)
    for network in (plain, glorot):
        for layer in network.layers:
            inputs = layer.kernel.shape[1] + 64
            bound = 0.1 if network is plain else math.sqrt(6 / (inputs + 256))
            for weight in (layer.kernel, layer.recurrent):
                assert 0.98 * bound < weight.abs().max() <= bound
                assert abs(weight.mean()) < 0.05 * bound
            assert not layer.bias.any()
            assert layer.offset.tolist() == [0.0] * 64 + [1.0] * 64 + [0.0] * 128
    assert not torch.equal(plain.layers[0].kernel[0], plain.layers[0].kernel[1])
    sizes = sum(p.numel() for p in plain.parameters())
    assert sizes == 3 * ((20 + 64 + 1) * 256 + (64 + 64 + 1) * 256)
    assert "offset" not in " ".join(plain.state_dict())


def test_a_state_of_another_batch():
    stack = StackedLSTM(1, 3, 4, 1, generator=torch.Generator())
    h = torch.zeros(1, 1, 2, 4)
    with pytest.raises(ValueError, match="state of shapes"):
        stack(torch.zeros(1, 2, 5, 3), (torch.zeros(1, 1, 5, 4), h))


@pytest.mark.parametrize("added", [None, 1, 3])
@pytest.mark.parametrize("threads", [1, 2], ids=["at once", "one by one"])
def test_values_and_gradients_of_a_product(added, threads, monkeypatch):
    """Three matrices leave one thread of two idle, and none of one."""
    monkeypatch.setattr(lstm, "LARGE", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    if threads == 2:
        monkeypatch.delattr(torch, "bmm")
        monkeypatch.delattr(torch, "baddbmm")
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 3, 5), (3, 5, 2), *([(3, added, 2)] if added else [])]
    given = [torch.randn(s, generator=generator).double().requires_grad_() for s in shapes]
    got, wanted = product(*given), given[0] @ given[1] + sum(given[2:])
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(
        *(torch.autograd.grad(made.pow(3).sum(), given) for made in (got, wanted))
    )
