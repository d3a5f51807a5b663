import torch

from simmc.losses import intra_sequence_contrast
from tests.reference import losses as literal


def draw(batch=6, width=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, width, generator=g, dtype=torch.float64, requires_grad=True)
        for _ in range(4)
    ]


def test_value_and_gradient_equal_the_loops():
    v1, v2, z1, z2 = draw()
    loss = intra_sequence_contrast(v1, v2, z1, z2)
    wanted = literal.intra_sequence_contrast(v1, v2, z1, z2)
    torch.testing.assert_close(loss, wanted)
    for got, expected in zip(
        torch.autograd.grad(loss, [z1, z2]), torch.autograd.grad(wanted, [z1, z2]), strict=True
    ):
        torch.testing.assert_close(got, expected)


def test_the_stopped_side_gets_no_gradient():
    v1, v2, z1, z2 = draw()
    intra_sequence_contrast(v1, v2, z1, z2).backward()
    assert v1.grad is None and v2.grad is None
    assert z1.grad.abs().sum() > 0 and z2.grad.abs().sum() > 0


def test_agreement_is_minus_one_and_opposition_one():
    v = draw()[0]
    torch.testing.assert_close(intra_sequence_contrast(v, v, v, v).item(), -1.0)
    torch.testing.assert_close(intra_sequence_contrast(v, v, -v, -v).item(), 1.0)
