import pytest
import torch
from torch import nn

from simmc.models.optimizer import FlatAdam
from simmc.models.shared_adam import SharedAdam

LOSSES, STEPS = 3, 5


class Parts(nn.Module):
    """A shared vector, and one that the last loss alone reaches."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Parameter(torch.linspace(-1, 1, 4).double())
        self.own = nn.Parameter(torch.ones(2).double())


def slopes(step):
    generator = torch.Generator().manual_seed(step)
    return (
        torch.randn(LOSSES, 4, generator=generator).double(),
        torch.randn(2, generator=generator).double(),
    )


def test_it_is_one_adam_for_each_loss_and_all_gradients_at_the_same_weights():
    network = Parts()
    adam = SharedAdam(network, [network.shared], LOSSES, lr=0.01)
    # each on a copy that only carries its moments; the updates are added up
    copies = [Parts() for _ in range(LOSSES)]
    singles = [FlatAdam(copy, lr=0.01) for copy in copies]
    wanted = Parts()
    for step in range(STEPS):
        shared, own = slopes(step)
        adam.zero_grad()
        adam.slopes.copy_(shared)
        network.own.grad.copy_(own)
        adam.step()
        for single, copy, slope in zip(singles, copies, shared, strict=True):
            single.zero_grad()
            copy.shared.grad.copy_(slope)
            if single is singles[-1]:
                copy.own.grad.copy_(own)
            before = single.vector.clone()
            single.step()
            moved = single.vector - before
            wanted.shared.data += moved[:4]
            wanted.own.data += moved[4:]
        torch.testing.assert_close(network.shared, wanted.shared)
        torch.testing.assert_close(network.own, wanted.own)


def test_its_state_continues():
    networks = [Parts(), Parts()]
    adams = [SharedAdam(n, [n.shared], LOSSES, lr=0.01) for n in networks]
    for step in range(STEPS):
        if step == 2:
            networks[1].load_state_dict(networks[0].state_dict())
            adams[1].load_state_dict(adams[0].state_dict())
        for adam in adams if step >= 2 else adams[:1]:
            adam.zero_grad()
            adam.slopes.copy_(slopes(step)[0])
            adam.step()
    assert torch.equal(networks[0].shared, networks[1].shared)


def test_the_shared_parameters_come_first():
    network = Parts()
    with pytest.raises(ValueError, match="first"):
        SharedAdam(network, [network.own], LOSSES, lr=0.01)
