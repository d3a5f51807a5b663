import pytest
import torch
from torch import nn

from simmc.models.optimizer import FlatAdam, SharedAdam
from tests.reference import adam as literal

STEPS, LOSSES = 30, 3


class Parts(nn.Module):
    """Vectors of weights; several losses reach the first."""

    def __init__(self, dtype=torch.float64, own=2):
        super().__init__()
        self.shared = nn.Parameter(torch.linspace(-1, 1, 4, dtype=dtype))
        self.own = nn.Parameter(torch.ones(own, dtype=dtype))


def slopes(step, *shape):
    """Gradients of which some are far above epsilon and some far below."""
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(step)).double()
    return drawn * torch.logspace(1, -11, shape[-1], dtype=torch.float64)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-15), (torch.float32, 3e-6)])
def test_steps_equal_tensorflow_1(dtype, error):
    network, rates = Parts(dtype, own=500), [0.01, 0.003]  # long enough for vector instructions
    optimizer = FlatAdam(network, lr=0.01)
    value = torch.cat([p.detach().double() for p in network.parameters()])
    first = second = torch.zeros_like(value)
    for step in range(1, STEPS + 1):
        slope = slopes(step, len(value)).to(dtype)
        optimizer.lr = rates[step % 2]
        optimizer.zero_grad()
        optimizer.gradient += slope
        optimizer.step()
        value, first, second = literal.update(
            value, slope.double(), first, second, step, optimizer.lr
        )
        assert (optimizer.vector - value).abs().max() < error
    assert torch.equal(network.own.data, optimizer.vector[4:])  # the network's own weights


def test_one_loss_backward_reaches_the_gradient():
    network = Parts()
    optimizer = FlatAdam(network, lr=0.1)
    (network.shared.sum() * 2 + network.own.sum() * 3).backward()
    assert optimizer.gradient.tolist() == [2.0] * 4 + [3.0] * 2


def test_shared_weights_have_one_adam_for_each_loss():
    network = Parts()
    optimizer = SharedAdam(network, [network.shared], LOSSES, lr=0.01)
    shared, own = network.shared.detach().clone(), network.own.detach().clone()
    moments = [(torch.zeros(4).double(), torch.zeros(4).double()) for _ in range(LOSSES)]
    first = second = torch.zeros(2).double()
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        optimizer.slopes.copy_(slopes(step, LOSSES, 4))
        network.own.grad.copy_(slopes(step, 2))
        optimizer.step()
        before = shared
        for loss, slope in enumerate(slopes(step, LOSSES, 4)):
            moved, *moments[loss] = literal.update(before, slope, *moments[loss], step, 0.01)
            shared = shared + (moved - before)
        own, first, second = literal.update(own, slopes(step, 2), first, second, step, 0.01)
        torch.testing.assert_close(network.shared.data, shared, rtol=0, atol=1e-15)
        torch.testing.assert_close(network.own.data, own, rtol=0, atol=1e-15)


def test_the_shared_parameters_come_first():
    network = Parts()
    with pytest.raises(ValueError, match="first"):
        SharedAdam(network, [network.own], LOSSES, lr=0.01)


def make(network):
    return SharedAdam(network, [network.shared], LOSSES, lr=0.01)


def test_its_state_continues_exactly():
    networks = [Parts(), Parts()]
    optimizers = [make(network) for network in networks]
    for step in range(6):
        if step == 3:
            networks[1].load_state_dict(networks[0].state_dict())
            optimizers[1].load_state_dict(optimizers[0].state_dict())
        for network, optimizer in list(zip(networks, optimizers, strict=True))[: 1 + (step >= 3)]:
            optimizer.zero_grad()
            optimizer.slopes.copy_(slopes(step, LOSSES, 4))
            network.own.grad.copy_(slopes(step, 2))
            optimizer.step()
    assert torch.equal(optimizers[0].vector, optimizers[1].vector)
    assert optimizers[0].steps == optimizers[1].steps == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first": torch.zeros(3)}, r"first: shape \(3,\) for \(6,\)"),
        ({"second": torch.full((6,), float("nan"))}, "second: .* not finite"),
        ({"firsts": torch.zeros(LOSSES, 5)}, "firsts"),
        ({"seconds": torch.full((LOSSES, 4), float("inf"))}, "seconds"),
        ({"steps": -1}, "step count"),
        ({"steps": 1.0}, "step count"),
        ({"steps": True}, "step count"),
    ],
    ids=str,
)
def test_damaged_states_are_refused(change, message):
    optimizer = make(Parts())
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(optimizer.state_dict() | change)


def test_threads_leave_no_trace():
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            network = nn.Linear(300, 301)
            nn.init.constant_(network.weight, 0.1)
            nn.init.constant_(network.bias, 0.1)
            optimizer = FlatAdam(network, lr=0.01)
            for step in range(5):
                optimizer.gradient.copy_(slopes(step, len(optimizer.gradient)))
                optimizer.step()
            found.append(optimizer.vector)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)
