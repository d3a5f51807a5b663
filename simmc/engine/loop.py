"""The loop around the epochs of any method, and the files that it keeps up to date."""

import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from simmc.data.experiment.load import Split
from simmc.runs import checkpoints
from simmc.runs.directory import RunDirectory

Report = Callable[[dict[str, Any]], None]


class Training(Protocol):
    """What the loop asks of a method."""

    best_weights: dict[str, torch.Tensor] | None

    @property
    def done(self) -> bool:
        """Whether no more epochs are wanted."""

    def run_epoch(self) -> tuple[dict[str, Any], list[str]]:
        """One epoch: its record, and the protocols for which `best_weights` are the best."""

    saved_at: float

    def is_checkpoint_due(self) -> bool:
        """Whether the state before the next epoch is one to continue from."""

    def is_kept(self, protocol: str, checkpoint_due: bool) -> bool:
        """Whether weights that a protocol likes best so far are to be kept."""

    def state(self) -> dict[str, Any]:
        """That state, as plain values."""


def train(training: Training, run: RunDirectory, report: Report) -> None:
    """Run epochs until every protocol has ended or the cap is reached, keeping files up to date.

    The order of writes makes a kill at any moment harmless: weights of the epoch if it is the
    best so far, its line of metrics, then the checkpoint from which the run would go on.
    """
    while not training.done:
        record, best = training.run_epoch()
        due = training.is_checkpoint_due()  # asked once: it depends on the time
        for protocol in best:
            if training.is_kept(protocol, due):
                state = {"epoch": record["epoch"], "network": training.best_weights}
                checkpoints.save(weights_path(run, protocol), state)
        run.append_metrics(record)
        if due:
            checkpoints.save(run.last, training.state())
            training.saved_at = time.monotonic()
        report(record)


def weights_path(run: RunDirectory, protocol: str) -> Path:
    """Where the weights that a protocol chose are kept."""
    return run.best if protocol == "paper" else run.path / f"{protocol}.pt"


def fingerprint(split: Split) -> str:
    """Tells other windows, or the same in another order, from these."""
    shape = "x".join(map(str, split.windows.shape))
    return f"{shape}:{zlib.crc32(np.ascontiguousarray(split.windows).data):08x}"


def first_line(error: Exception) -> str:
    """An error's message cut to what fits into a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
