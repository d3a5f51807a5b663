"""Which gallery windows share a probe's identity."""

import numpy as np


def match_spans(probe_ids: np.ndarray, gallery_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the matches of every probe: they lie together once the gallery is in order of identity.

    Args:
        probe_ids: (Np,) identities of any sortable type.
        gallery_ids: (Ng,) identities.

    Returns:
        order (Ng,) int64, the gallery by identity and then by index, and spans (Np, 2) int64:
        the matches of probe i are order[spans[i, 0] : spans[i, 1]].
    """
    order = np.argsort(gallery_ids, kind="stable")
    ordered = gallery_ids[order]
    sides = [np.searchsorted(ordered, probe_ids, side) for side in ("left", "right")]
    return order, np.stack(sides, axis=1)
