"""Named random streams, all from one seed, that can be stored and continued.

Each purpose has a stream of its own: a change in how often one is used does not shift the others.
Nothing draws from the global generators of numpy or torch.
"""

import json
from dataclasses import dataclass

import numpy as np
import torch

from simmc.errors import UserError
from simmc.runs.checkpoints import MISFIT

_HIGHEST = 2**63 - 1


@dataclass(frozen=True)
class Seeds:
    """The streams of one run.

    Attributes:
        data: class sampling and the order of the training windows.
        masks: the frames that each mask keeps.
        weights: initial weights; always on the CPU, so that every device starts from the same ones.
    """

    data: np.random.Generator
    masks: np.random.Generator
    weights: torch.Generator

    def state(self) -> dict[str, str]:
        """Where every stream stands, as text that fits into a checkpoint or JSON."""
        return {
            "data": json.dumps(self.data.bit_generator.state),
            "masks": json.dumps(self.masks.bit_generator.state),
            "weights": bytes(self.weights.get_state().numpy()).hex(),
        }

    def restore(self, state: dict[str, str]) -> None:
        """Continues every stream from where `state` was taken.

        Raises:
            UserError: the state is incomplete or not from this program.
        """
        try:
            data, masks = json.loads(state["data"]), json.loads(state["masks"])
            weights = torch.tensor(list(bytes.fromhex(state["weights"])), dtype=torch.uint8)
            self.data.bit_generator.state = data
            self.masks.bit_generator.state = masks
            self.weights.set_state(weights)
        except MISFIT as error:
            raise UserError(
                f"the checkpoint's random state cannot be continued ({error}). Start the run anew "
                "without --resume."
            ) from error


def generators(seed: int) -> Seeds:
    """Independent streams for one run.

    Args:
        seed: 0 to 2**63 - 1 (`--seed`).
    """
    if not 0 <= seed <= _HIGHEST:
        raise UserError(f"--seed must lie between 0 and {_HIGHEST}, not {seed}.")
    data, masks, weights = np.random.SeedSequence(seed).spawn(3)
    torch_seed = int(weights.generate_state(1, np.uint64)[0] >> np.uint64(1))
    return Seeds(
        data=np.random.Generator(np.random.PCG64(data)),
        masks=np.random.Generator(np.random.PCG64(masks)),
        weights=torch.Generator().manual_seed(torch_seed),
    )
