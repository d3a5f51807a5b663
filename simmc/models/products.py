"""Products of a few matrices each, and those of many steps with the same matrix.

A batched product on a CPU gives every thread whole matrices: three of them, as for three
coordinates, take two threads as long as four would, and leave all of eight but three idle. Where
threads would wait, `product` works the matrices one by one, each with all threads.

Where a recurrent network multiplies by the same matrix at every step, plain differentiation makes
a gradient of the matrix at every step and adds them up. Here the steps use the matrix as a
constant and note what they multiplied; the gradients of all steps then come together in what was
added to the products, and meet the notes in a single product.
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

LARGE = 2**20  # multiplications of a product that are worth a call of their own


class StepProducts:
    """`added_t + x_t M` for t = 1, 2, ...

    Args:
        matrix: (b, n, m) float, b of them at once.
        added: (b, f, rows, m) float, broadcast as one likes; f steps can be made.
    """

    def __init__(self, matrix: torch.Tensor, added: torch.Tensor) -> None:
        notes: list[torch.Tensor] = []
        self._matrix, self._notes = matrix.detach(), notes
        self._added = list(noted(added, matrix, notes).unbind(1))

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """The next product: (b, rows, n) to (b, rows, m)."""
        self._notes.append(values.detach())
        return product(values, self._matrix, self._added.pop(0))


def product(a: torch.Tensor, b: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
    """`added + a b`.

    Args:
        a: (k, rows, n) float, k matrices.
        b: (k, n, m) float.
        added: (k, rows or 1, m) float; None: 0.

    Returns:
        (k, rows, m) float.
    """
    found: torch.Tensor = _Product.apply(a, b, added)
    return found


def multiplied(
    a: torch.Tensor,
    b: torch.Tensor,
    added: torch.Tensor | None = None,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """What `product` gives, without gradients; in place of `out`, which may be `added`."""
    if not _one_by_one(a, b):
        if added is None:
            return torch.bmm(a, b, out=out)
        return torch.baddbmm(added, a, b, out=out)
    if out is None:
        out = a.new_empty(len(a), a.shape[1], b.shape[2])
    for i, part in enumerate(out.unbind()):
        if added is None:
            torch.mm(a[i], b[i], out=part)
        else:
            torch.addmm(added[i], a[i], b[i], out=part)
    return out


def _one_by_one(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.device.type != "cpu" or len(a) % torch.get_num_threads() == 0:
        return False
    return a.shape[1] * a.shape[2] * b.shape[2] >= LARGE


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, a: torch.Tensor, b: torch.Tensor, added: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.save_for_backward(a, b)
        ctx.added = None if added is None else added.shape
        return multiplied(a, b, added)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> tuple:
        a, b = ctx.saved_tensors
        of_a, of_b, of_added = ctx.needs_input_grad
        return (
            multiplied(slope, b.mT) if of_a else None,
            multiplied(a.mT, slope) if of_b else None,
            slope.sum_to_size(ctx.added) if of_added else None,
        )


def noted(added: torch.Tensor, matrix: torch.Tensor, notes: list[torch.Tensor]) -> torch.Tensor:
    """`added` itself, through which the gradient reaches `matrix`.

    Args:
        added: (b, f, rows, m) float, what is added to the product of each step.
        matrix: (b, n, m) float.
        notes: to be filled, step by step, with the (b, rows, n) that were multiplied by `matrix`
            detached. First steps may be missing, where the product is known to be 0.
    """
    found: torch.Tensor = _Noted.apply(added, matrix, notes)
    return found


class _Noted(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, added: torch.Tensor, matrix: torch.Tensor, notes: list[torch.Tensor]
    ) -> torch.Tensor:
        ctx.notes = notes
        return added.view_as(added)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> tuple:
        if not ctx.notes:
            return slope, None, None
        values = torch.stack(ctx.notes, dim=1).flatten(1, 2)
        late = slope[:, -len(ctx.notes) :].flatten(1, 2)
        return slope, multiplied(values.mT, late), None
