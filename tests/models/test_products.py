import pytest
import torch

from simmc.models import products
from simmc.models.products import StepProducts, multiplied, noted, product

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


@pytest.fixture(params=[1, 2], ids=["at once", "one by one"])
def threads(request, monkeypatch):
    """Three matrices leave one thread of two idle, and none of one."""
    monkeypatch.setattr(products, "LARGE", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)
    return request.param


@pytest.mark.parametrize("rows_added", [None, 1, ROWS])
def test_values_and_gradients_of_a_product(threads, rows_added):
    a, b, *added = leaves((3, ROWS, N), (3, N, M), *([(3, rows_added, M)] if rows_added else []))
    given = [a, b, *added]
    got, wanted = product(*given), a @ b + sum(added)
    torch.testing.assert_close(got, wanted)
    slopes = (torch.autograd.grad(made.pow(3).sum(), given) for made in (got, wanted))
    torch.testing.assert_close(*slopes)


def test_a_product_takes_the_place_of_what_is_added(threads):
    a, b, added = (leaf.detach() for leaf in leaves((3, ROWS, N), (3, M, N), (3, ROWS, M)))
    wanted = added + a @ b.mT
    assert multiplied(a, b.mT, added, out=added) is added
    torch.testing.assert_close(added, wanted)


def test_matrices_are_worked_one_by_one_only_where_threads_would_wait(threads, monkeypatch):
    at_once = []
    monkeypatch.setattr(torch, "bmm", lambda *_, **__: at_once.append(True))
    for large in (ROWS * N * M, ROWS * N * M + 1):
        monkeypatch.setattr(products, "LARGE", large)
        multiplied(torch.ones(3, ROWS, N), torch.ones(3, N, M))
        multiplied(torch.ones(4, ROWS, N), torch.ones(4, N, M))
    assert len(at_once) == (4 if threads == 1 else 3)
