import torch

from simmc.models.products import StepProducts, noted

B, F, ROWS, N, M = 2, 4, 3, 5, 2


def leaves(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in shapes
    ]


def chain(product, start, added):
    """A sum over steps in which each product goes into the next one."""
    x, total = start, 0.0
    for t in range(added.shape[1]):
        y = product(x, t)
        total = total + (t + 1) * y.square().sum()
        x = torch.tanh(y).repeat(1, 1, 3)[..., : start.shape[-1]]
    return total


def test_gradients_equal_those_of_plain_products():
    matrix, added, start = leaves((B, N, M), (B, F, ROWS, M), (B, ROWS, N))
    steps = StepProducts(matrix, added)
    got = chain(lambda x, t: steps(x), start, added)
    wanted = chain(lambda x, t: added[:, t] + x @ matrix, start, added)
    torch.testing.assert_close(got, wanted)
    for a, b in zip(
        torch.autograd.grad(got, [matrix, added, start]),
        torch.autograd.grad(wanted, [matrix, added, start]),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_what_is_added_may_be_broadcast():
    matrix, start = leaves((B, N, M), (B, ROWS, N))
    zeros = torch.zeros(1, dtype=torch.float64).expand(B, F, ROWS, M)
    steps = StepProducts(matrix, zeros)
    got = chain(lambda x, t: steps(x), start, zeros)
    wanted = chain(lambda x, t: x @ matrix, start, zeros)
    (a,), (b,) = (torch.autograd.grad(total, [matrix]) for total in (got, wanted))
    torch.testing.assert_close(a, b)


def test_steps_left_out_at_the_start_and_altogether():
    matrix, added, x = leaves((B, N, M), (B, F, ROWS, M), (B, ROWS, N))
    notes: list[torch.Tensor] = []
    rows = noted(added, matrix, notes).unbind(1)
    notes += [x.detach()] * (F - 1)
    total = sum(row.square().sum() for row in rows)  # as if the product had been 0
    (slope,) = torch.autograd.grad(total, [matrix])
    torch.testing.assert_close(slope, sum(x.mT @ (2 * added[:, t]) for t in range(1, F)))
    unused = noted(added, matrix, []).sum()
    assert torch.autograd.grad(unused, [matrix], allow_unused=True) == (None,)
