"""Products of many steps with one matrix, whose gradient is one product over all steps.

Where a recurrent network multiplies by the same matrix at every step, plain differentiation makes
a gradient of the matrix at every step and adds them up. Here the steps use the matrix as a
constant and note what they multiplied; the gradients of all steps then come together in what was
added to the products, and meet the notes in a single product.
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable


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
        return torch.baddbmm(self._added.pop(0), values, self._matrix)


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
        multiplied = torch.stack(ctx.notes, dim=1).flatten(1, 2)
        late = slope[:, -len(ctx.notes) :].flatten(1, 2)
        return slope, torch.bmm(multiplied.transpose(1, 2), late), None
