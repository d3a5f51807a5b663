"""Class sampling: the released loader balances training windows by true identity."""

from __future__ import annotations

import numpy as np

from simmc.errors import UserError, numbered


def class_sample(labels: np.ndarray, batch_size: int, rng: np.random.Generator) -> np.ndarray:
    """Window indices balanced by class, (2 * floor(n/B) * C * b,) int64 (docs/data.md 5.4).

    In each of the 2 * floor(n/B) batches every class has b = floor(B/C) windows: its next b in file
    order or, if fewer than b are left, b draws with replacement from all of its windows.
    """
    if junk := int((labels < 0).sum()):
        below = numbered("{} training [window has|windows have] a label below 0", junk)
        raise UserError(
            f"{below}, which is no identity that can be balanced; use --class_sampling off"
        )
    classes, members = np.unique(labels, return_inverse=True)
    share = batch_size // len(classes)
    n_batches = 2 * (len(labels) // batch_size)
    if share == 0 or n_batches == 0:
        raise UserError(
            f"--batch_size {batch_size}: {len(labels)} training windows of "
            f"{numbered('{} [identity|identities]', len(classes))} cannot be balanced in batches "
            "of that size; use --class_sampling off or another size"
        )
    order = np.argsort(members, kind="stable")
    sizes = np.bincount(members)
    ends = np.cumsum(sizes)
    picked = np.empty((n_batches, len(classes), share), dtype=np.int64)
    for c, (size, end) in enumerate(zip(sizes, ends, strict=True)):
        rows = order[end - size : end]
        in_order = min(size // share, n_batches)
        picked[:in_order, c] = rows[: in_order * share].reshape(in_order, share)
        picked[in_order:, c] = rows[rng.integers(0, size, (n_batches - in_order, share))]
    return picked.ravel()
