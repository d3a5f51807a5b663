"""Adam as TensorFlow 1 defines it: torch's own, with another epsilon at each step."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

# The function and not the class: the first torch.optim.Adam of a process imports torch's
# compiler, which takes seconds.
from torch.optim.adam import adam

BETAS = (0.9, 0.999)  # decay of the two moments
EPSILON = 1e-8


class FlatAdam:
    """Adam over all parameters of a network, which become views of one vector.

    TensorFlow 1 adds epsilon to the root of the raw second moment, PyTorch to the root of the
    bias-corrected one. Dividing epsilon by the root of the correction makes both the same.

    Args:
        network: its trainable parameters are moved into the vector (values unchanged).
        lr: step size; may be changed between steps.

    Attributes:
        vector: (n,) float, the weights.
        gradient: (n,) float, their gradients.
        first: (n,) float, mean of the gradients.
        second: (n,) float, mean of their squares.
        steps: number of steps so far.
    """

    def __init__(self, network: nn.Module, lr: float) -> None:
        self.lr, self.steps = lr, 0
        parameters = [p for p in network.parameters() if p.requires_grad]
        self.vector = torch.cat([p.detach().reshape(-1) for p in parameters])
        self.gradient, self.first, self.second = (torch.zeros_like(self.vector) for _ in range(3))
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
        self._update(self.vector, self.gradient, self.first, self.second)

    def _update(
        self,
        weights: torch.Tensor,
        gradient: torch.Tensor,
        first: torch.Tensor,
        second: torch.Tensor,
    ) -> None:
        before = torch.full((), float(self.steps - 1), device=weights.device)
        adam(
            [weights],
            [gradient],
            [first],
            [second],
            max_exp_avg_sqs=[],
            state_steps=[before],
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self.lr,
            weight_decay=0.0,
            eps=EPSILON / math.sqrt(1 - BETAS[1] ** self.steps),
            maximize=False,
        )

    def state_dict(self) -> dict[str, Any]:
        """Moments and step count, for a checkpoint."""
        return {"first": self.first, "second": self.second, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Loads a checkpoint's moments and step count; ValueError where they do not fit."""
        for name, own in self.state_dict().items():
            stored = state[name]
            if name == "steps":
                if type(stored) is not int or stored < 0:
                    raise ValueError("the optimizer's step count is not a whole number")
                self.steps = stored
            elif stored.shape != own.shape or not stored.isfinite().all():
                shapes = f"{tuple(stored.shape)} for {tuple(own.shape)}"
                raise ValueError(f"the optimizer's {name}: shape {shapes}, or not finite")
            else:
                own.copy_(stored)


class SharedAdam(FlatAdam):
    """One Adam for each of several losses, all from gradients at the same weights.

    The parameters that several losses reach have moments for each loss, and move by the sum of the
    updates. All others are reached by one loss each, so one Adam serves them all.

    Args:
        network: its parameters are moved into one vector; the shared ones come first.
        shared: the parameters that several losses reach. Their `grad` stays 0: set `slopes`.
        losses: number of losses.
        lr: step size.

    Attributes:
        slopes: (losses, shared numbers) float, the gradient of each loss.
        firsts: of the same shape, mean of the gradients.
        seconds: of the same shape, mean of their squares.
    """

    def __init__(
        self, network: nn.Module, shared: Sequence[nn.Parameter], losses: int, lr: float
    ) -> None:
        first = list(network.parameters())[: len(shared)]
        if any(a is not b for a, b in zip(first, shared, strict=True)):
            raise ValueError("the shared parameters must be the network's first ones")
        super().__init__(network, lr)
        self.slopes = self.vector.new_zeros(losses, sum(p.numel() for p in shared))
        self.firsts, self.seconds = torch.zeros_like(self.slopes), torch.zeros_like(self.slopes)

    def zero_grad(self) -> None:
        """Set all gradients to 0, in place."""
        super().zero_grad()
        self.slopes.zero_()

    @torch.no_grad()
    def step(self) -> None:
        """One update of every Adam."""
        super().step()  # leaves the shared parameters unchanged
        updates = torch.zeros_like(self.slopes)  # weights that start at 0 become their updates
        self._update(updates, self.slopes, self.firsts, self.seconds)
        self.vector[: updates.shape[1]] += updates.sum(0)

    def state_dict(self) -> dict[str, Any]:
        """Moments and step count, for a checkpoint."""
        return super().state_dict() | {"firsts": self.firsts, "seconds": self.seconds}
