import torch

from simmc.losses import reconstruction
from tests.reference import sgela as literal


def test_value_and_gradient_equal_the_loops():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    a.requires_grad_()
    got, wanted = reconstruction(a, b), literal.reconstruction(a, b)
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(torch.autograd.grad(got, a), torch.autograd.grad(wanted, a))


def test_it_is_a_sum_over_the_batch():
    a, b = torch.ones(2, 3, 4, 5), torch.zeros(2, 3, 4, 5)
    assert reconstruction(a, b) == 60
    assert reconstruction(a.repeat(1, 1, 2, 1), b.repeat(1, 1, 2, 1)) == 120
