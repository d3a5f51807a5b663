import pytest
import torch

from simmc.losses import prototype_contrast
from tests.reference import losses as literal


def draw(instances=7, clusters=4, width=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    v = torch.randn(instances, width, generator=g, dtype=torch.float64, requires_grad=True)
    p = torch.randn(clusters, width, generator=g, dtype=torch.float64)
    y = torch.randint(clusters, (instances,), generator=g)
    return v, y, p


@pytest.mark.parametrize("temperature", [0.06, 0.5, 2.0])
@pytest.mark.parametrize(("instances", "clusters"), [(1, 1), (7, 4), (3, 9)])
def test_value_and_gradient_equal_the_loops(temperature, instances, clusters):
    v, y, p = draw(instances, clusters)
    loss = prototype_contrast(v, y, p, temperature)
    (gradient,) = torch.autograd.grad(loss, v)
    wanted = literal.prototype_contrast(v, y, p, temperature)
    (wanted_gradient,) = torch.autograd.grad(wanted, v)
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(gradient, wanted_gradient)


def test_no_gradient_reaches_the_prototypes():
    v, y, p = draw()
    p.requires_grad_()
    prototype_contrast(v, y, p, 0.1).backward()
    assert p.grad is None
    assert v.grad is not None and v.grad.abs().sum() > 0


def test_perfect_and_worst_instances_in_closed_form():
    p = torch.eye(2, dtype=torch.float64)
    y = torch.tensor([0, 1])
    right = prototype_contrast(p.clone(), y, p, 0.5)
    wrong = prototype_contrast(p.flip(0), y, p, 0.5)
    torch.testing.assert_close(right, torch.log1p(torch.exp(torch.tensor(-2.0).double())))
    torch.testing.assert_close(wrong, right + 2.0)


def test_guard_drops_only_batches_of_cluster_zero():
    v, _, p = draw()
    zeros = torch.zeros(len(v), dtype=torch.int64)
    loss = prototype_contrast(v, zeros, p, 0.1, zero_label_guard=True)
    assert loss.item() == 0.0
    assert torch.autograd.grad(loss, v)[0].abs().sum() == 0
    assert prototype_contrast(v, zeros, p, 0.1).item() > 0
    mixed = zeros.clone()
    mixed[0] = 1
    guarded, free = (
        prototype_contrast(v, mixed, p, 0.1, zero_label_guard=g) for g in (True, False)
    )
    assert torch.equal(guarded, free)
    assert torch.equal(torch.autograd.grad(guarded, v)[0], torch.autograd.grad(free, v)[0])
