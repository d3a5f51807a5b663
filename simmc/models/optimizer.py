"""Adam as TensorFlow 1 defines it, over one flat vector."""

import math
from typing import Any

import torch
from torch import nn

BLOCK = 2**18  # numbers whose gradients and moments stay in a core's cache during a step


class FlatAdam:
    """Adam with epsilon added to the root of the raw second moment (TensorFlow 1).

    PyTorch adds epsilon after the bias correction, which in the first steps is a much smaller
    damping. All parameters are views of one vector, so a step is a handful of operations
    whatever the number of layers. On a CPU a long vector is gone through block by block: each
    operation on all of it would fetch it from memory again. The numbers are the same.

    Args:
        network: its parameters are moved into the vector (values unchanged).
        lr: step size.
        betas: decay of the two moments.
        eps: epsilon.
    """

    def __init__(
        self,
        network: nn.Module,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self.lr, self.betas, self.eps, self.steps = lr, betas, eps, 0
        parameters = [p for p in network.parameters() if p.requires_grad]
        self.vector = torch.cat([p.detach().reshape(-1) for p in parameters])
        self.gradient = torch.zeros_like(self.vector)
        self.first = torch.zeros_like(self.vector)
        self.second = torch.zeros_like(self.vector)
        at = 0
        for p in parameters:
            here = slice(at, at + p.numel())
            p.data = self.vector[here].view_as(p)
            p.grad = self.gradient[here].view_as(p)
            at += p.numel()

    def zero_grad(self) -> None:
        """Set all gradients to 0, in place."""
        self.gradient.zero_()

    @torch.no_grad()
    def step(self) -> None:
        """One update from the accumulated gradients."""
        self.steps += 1
        size = BLOCK if self.vector.device.type == "cpu" else len(self.vector)
        parts = (self.vector, self.gradient, self.first, self.second)
        for vector, gradient, first, second in zip(*(p.split(size) for p in parts), strict=True):
            damping = self.take_in(gradient, first, second)
            vector.addcdiv_(first, damping, value=-self.rate)

    @property
    def rate(self) -> float:
        """Step size with the bias correction of both moments, after `steps` steps."""
        b1, b2 = self.betas
        return self.lr * math.sqrt(1 - b2**self.steps) / (1 - b1**self.steps)

    def take_in(
        self, gradient: torch.Tensor, first: torch.Tensor, second: torch.Tensor
    ) -> torch.Tensor:
        """Moves both moments, in place, towards a gradient of their shape.

        Returns:
            What the first moment is to be divided by: the root of the second one, plus epsilon.
        """
        b1, b2 = self.betas
        first.lerp_(gradient, 1 - b1)
        second.mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
        return second.sqrt().add_(self.eps)

    def state_dict(self) -> dict[str, Any]:
        """Moments and step count, for a checkpoint."""
        return {"first": self.first, "second": self.second, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the moments and step count of a checkpoint."""
        for name in ("first", "second"):
            take_up(getattr(self, name), state[name], name)
        if type(state["steps"]) is not int or state["steps"] < 0:
            raise ValueError("the optimizer's steps are no count")
        self.steps = state["steps"]


def take_up(own: torch.Tensor, stored: torch.Tensor, name: str) -> None:
    """Copies stored moments; ValueError where they have another shape or are not finite."""
    if stored.shape != own.shape or not stored.isfinite().all():
        raise ValueError(f"the optimizer's {name}: {tuple(stored.shape)} for {tuple(own.shape)}")
    own.copy_(stored)
