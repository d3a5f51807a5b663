"""Random frame masks (SimMC Eq. 2)."""

import numpy as np


def draw_masks(
    rng: np.random.Generator,
    windows: int,
    length: int,
    dropped: tuple[int, ...],
    *,
    group: int = 1,
) -> np.ndarray:
    """Keep-masks M(f, x) for every window and view, as weights that sum to 1 over the frames.

    In each mask x frame positions, uniform and without replacement, are dropped and the f - x
    others share the weight (the 1 / (f - x) of Eq. 3).

    Args:
        rng: source of the draws.
        windows: N.
        length: f.
        dropped: x of each of the q views, 0 <= x < f.
        group: this many consecutive windows share their masks: 1 draws for every window (the
            paper), the batch size draws once a batch (the public program, quirk Q2).

    Returns:
        (N, q, f) float32.
    """
    groups = -(-windows // group)
    order = rng.random((groups, len(dropped), length)).argsort(axis=2)
    x = np.asarray(dropped)[None, :, None]
    weights = np.where(order >= x, 1.0 / (length - x), 0.0).astype(np.float32)
    return np.repeat(weights, group, axis=0)[:windows]
