"""AGEs and CAGEs: the models of all coordinates and pretext tasks as one source of features.

Shape letters: m models, T tasks, f frames, B windows, J joints, H units. Model 3 t + d is that of
task t and coordinate d (x, y, z).
"""

from typing import ClassVar

import torch

from simmc.losses import locality_mask
from simmc.models.sgela_encoder import LAYERS, Decoded, GaitModels, GaitShape
from simmc.models.source import SourceNetwork

AXES = 3
FRAMES_AT_ONCE = 8192  # bounds the memory that features take


class GaitNetwork(SourceNetwork):
    """The models of T pretext tasks, and the features that they give.

    Args:
        tasks: T.
        shape: of each model.
        reach: D of the locality mask, for attention masked; None: the length of the windows.
        masked: number of tasks, the first ones, whose targets are the frames in reverse order; the
            mask applies to these only.
        generator: source of the initial weights.

    Attributes:
        models: the 3 T models.
    """

    KINDS: ClassVar[tuple[str, ...]] = ("mean", "sc", "last")
    VIEWS: ClassVar[tuple[str, ...]] = ("ap", "sc")

    def __init__(
        self,
        tasks: int,
        shape: GaitShape,
        *,
        reach: float | None = None,
        masked: int = 1,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.tasks, self.reach, self.masked = tasks, reach, masked
        self.models = GaitModels(AXES * tasks, shape, generator=generator)

    def mask(self, like: torch.Tensor) -> torch.Tensor:
        """(m, f, f) mask l_t(j) of each model for (m, f, B, J) frames; 1 where none applies."""
        length = like.shape[1]
        mask = like.new_ones(AXES * self.tasks, length, length)
        local = locality_mask(length, self.reach or length)
        mask[: AXES * self.masked] = local.to(mask, non_blocking=True)
        return mask

    def contexts(self, windows: torch.Tensor) -> torch.Tensor:
        """(T, 3, f, B, H) contexts c_t of (B, f, 3 J) windows."""
        parts = windows.split(max(1, FRAMES_AT_ONCE // windows.shape[1]))
        contexts = torch.cat([self.decode(part).contexts for part in parts], dim=2)
        return contexts.unflatten(0, (self.tasks, AXES))

    def frames(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, f, 3 T H): v_t = [c_t of x, y, z] of every task, for t = 1 .. f (Eq. 11).

        Step t decodes frame f - t + 1 in reverse reconstruction.
        """
        return self.contexts(windows).permute(3, 2, 0, 1, 4).flatten(2)

    def pooled(self, windows: torch.Tensor, kind: str) -> torch.Tensor:
        """(B, e): "mean" of v_t over t; "sc", all v_t joined; "last", v_f.

        "sc" lists all steps of x, then of y, then of z, as the public program does; Eq. 12 lists
        the coordinates within each step. The distances of features are the same.
        """
        if kind == "sc":
            return self.contexts(windows).permute(3, 0, 1, 2, 4).flatten(1)
        frames = self.frames(windows)
        if kind == "last":
            return frames[:, -1]
        if kind != "mean":
            raise ValueError(f"kind must be one of {', '.join(self.KINDS)}, not {kind!r}")
        return frames.mean(dim=1)

    def views(self, windows: torch.Tensor, how: str) -> torch.Tensor:
        """(B, v, e): "ap", the frames, whose predictions are averaged; "sc", all joined."""
        if how == "sc":
            return self.pooled(windows, how)[:, None]
        if how != "ap":
            raise ValueError(f"how must be one of {', '.join(self.VIEWS)}, not {how!r}")
        return self.frames(windows)

    def decode(self, windows: torch.Tensor) -> Decoded:
        """Outputs of all models for (B, f, 3 J) windows; decoders are fed their own outputs."""
        frames = coordinates(windows).repeat(self.tasks, 1, 1, 1)
        return self.models(frames, self.mask(frames))


def coordinates(windows: torch.Tensor) -> torch.Tensor:
    """(B, f, 3 J) joint-major windows to (3, f, B, J), one coordinate after the other."""
    return windows.unflatten(2, (-1, AXES)).permute(3, 1, 0, 2)


def stored_parameters(shape: GaitShape, length: int, tasks: int = 1) -> int:
    """Parameters as the papers count them: those that the public program stores.

    Beside the models' own these are the decoder's columns for skeletons that are always zero, and a
    second copy of the first encoder kernel and of one bias, which nothing reads: the program makes
    its first cell twice. Recognition heads are not counted.

    Args:
        shape: of each model.
        length: f.
        tasks: T.
    """
    j, h = shape.joints, shape.hidden
    wide = LAYERS * h * 4 * h  # input and recurrent kernel of a layer of h inputs
    attends = shape.attention != "none"
    encoder = (j + h) * 4 * h + (LAYERS - 1) * wide + LAYERS * 4 * h
    copy = (j + h) * 4 * h + 4 * h
    decoder = (j + h * attends + h) * 4 * h + (LAYERS - 1) * wide + LAYERS * 4 * h
    attention = attends * (shape.projected * h * h + 2 * h * h)
    head = (length * h + h) * h + 2 * h if shape.contrast_length else 0
    return AXES * tasks * (encoder + copy + decoder + attention + h * j + j + head)


def step_flops(shape: GaitShape, length: int, batch: int, tasks: int = 1) -> int:
    """Floating-point operations of a training step: 3 * 2 B m n for an m x n product of B rows.

    The count of `simmc.models.simmc.training_flops`. The papers' numbers (37.37 GFLOP for AGE,
    7.47 for SGELA, which is AGE and more) could not be reproduced this way or another.
    """
    j, h = shape.joints, shape.hidden
    attends = shape.attention != "none"
    encoder = (j + h) * 4 * h + (LAYERS - 1) * 2 * h * 4 * h
    decoder = (j + h * attends + h) * 4 * h + (LAYERS - 1) * 2 * h * 4 * h
    attention = attends * (shape.projected * h * h + 2 * length * h + 2 * h * h)
    head = (length * h + h) * h if shape.contrast_length else 0
    return 6 * batch * AXES * tasks * (length * (encoder + decoder + attention + h * j) + head)
