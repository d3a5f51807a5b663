"""Several Adams on one network that share some of its parameters."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from simmc.models.optimizer import FlatAdam, take_up


class SharedAdam(FlatAdam):
    """One Adam for each of several losses, all stepped at once.

    The gradients of all losses are taken at the same weights; then each Adam makes its update, from
    moments of its own. Parameters that one loss alone reaches may be left to one Adam for all,
    whose numbers do not mix; those that several losses reach have moments for each.

    Args:
        network: its parameters are moved into one vector; the shared ones come first.
        shared: the parameters that several losses reach. Their `grad` stays 0: fill `slopes`.
        losses: how many.
        lr: step size.

    Attributes:
        slopes: (losses, shared numbers) float, the gradient of each loss.
    """

    def __init__(
        self, network: nn.Module, shared: Sequence[nn.Parameter], losses: int, lr: float
    ) -> None:
        first = list(network.parameters())[: len(shared)]
        if any(a is not b for a, b in zip(first, shared, strict=True)):
            raise ValueError("the shared parameters must be the network's first ones")
        super().__init__(network, lr)
        size = sum(p.numel() for p in shared)
        self.slopes = self.vector.new_zeros(losses, size)
        self.firsts, self.seconds = torch.zeros_like(self.slopes), torch.zeros_like(self.slopes)

    def zero_grad(self) -> None:
        """Set all gradients to 0, in place."""
        super().zero_grad()
        self.slopes.zero_()

    @torch.no_grad()
    def step(self) -> None:
        """One update of every Adam."""
        super().step()  # leaves the shared parameters as they are
        updates = self.firsts / self.take_in(self.slopes, self.firsts, self.seconds)
        self.vector[: updates.shape[1]].add_(updates.sum(0), alpha=-self.rate)

    def state_dict(self) -> dict[str, Any]:
        """Moments and step count, for a checkpoint."""
        return super().state_dict() | {"firsts": self.firsts, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the moments and step count of a checkpoint."""
        super().load_state_dict(state)
        for name in ("firsts", "seconds"):
            take_up(getattr(self, name), state[name], name)
