"""Features brought to one scale, by what the training windows show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simmc.data.experiment.experiment import Experiment

SMALLEST_DEVIATION = 1e-6  # of a feature that is not taken for a constant
Scale = tuple[np.ndarray, np.ndarray]  # (d,) float64 each: what is taken off, then the factor


def scale_of(windows: np.ndarray, deviation: float = 1.0) -> Scale:
    """The scale by which every feature gets mean 0 and one deviation over all frames.

    Args:
        windows: (N, f, d) of features; constant ones become 0.
        deviation: that every feature then has.
    """
    frames = windows.reshape(-1, windows.shape[2])
    mean = frames.mean(0, dtype=np.float64)
    spread = frames.std(0, dtype=np.float64)
    varies = spread > SMALLEST_DEVIATION
    return mean, np.divide(deviation, spread, out=np.zeros_like(spread), where=varies)


def standardised(
    data: Experiment, deviation: float = 1.0, scale: Scale | None = None
) -> Experiment:
    """Every feature with mean 0 and one deviation over the frames of the training windows.

    Args:
        data: windows (N, f, d) of features; constant ones become 0.
        deviation: that every feature then has.
        scale: of another experiment, to be used in place of its own.
    """
    mean, factor = scale_of(data.train.windows, deviation) if scale is None else scale

    def apply(windows: np.ndarray) -> np.ndarray:
        shifted = windows - mean.astype(np.float32)
        shifted *= factor.astype(np.float32)
        return shifted

    train = replace(data.train, windows=apply(data.train.windows))
    probe = replace(data.probe, windows=apply(data.probe.windows))
    gallery = probe
    if not data.same_windows:
        gallery = replace(data.gallery, windows=apply(data.gallery.windows))
    return replace(data, train=train, probe=probe, gallery=gallery)
