"""Which gallery windows share a probe's identity."""

import numpy as np


def is_junk(ids: np.ndarray) -> np.ndarray:
    """(N,) bool: identities below 0, which name nobody: never a match, never scored as a probe."""
    return ids < 0 if ids.dtype.kind in "if" else np.zeros(len(ids), bool)


def has_match(probe_ids: np.ndarray, gallery_ids: np.ndarray, *, same: bool = False) -> np.ndarray:
    """(Np,) bool: probes with a match in the gallery.

    Args:
        probe_ids: (Np,) identities.
        gallery_ids: (Ng,) identities.
        same: both are one list, in which no window matches itself.
    """
    present, counts = np.unique(gallery_ids, return_counts=True)
    return np.isin(probe_ids, present[counts > same]) & ~is_junk(probe_ids)


def match_spans(probe_ids: np.ndarray, gallery_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the matches of every probe: they lie together once the gallery is in order of identity.

    Args:
        probe_ids: (Np,) identities of any sortable type; numbers below 0 match nothing.
        gallery_ids: (Ng,) identities.

    Returns:
        order (Ng,) int64, the gallery by identity and then by index, and spans (Np, 2) int64:
        the matches of probe i are order[spans[i, 0] : spans[i, 1]].
    """
    order = np.argsort(gallery_ids, kind="stable")
    ordered = gallery_ids[order]
    sides = [np.searchsorted(ordered, probe_ids, side) for side in ("left", "right")]
    spans = np.stack(sides, axis=1)
    spans[is_junk(probe_ids)] = 0
    return order, spans
