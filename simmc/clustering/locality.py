"""An order of rows in which neighbours come close together, and rows that share their weights.

A row's work reads its neighbours, and theirs. In the order of storage, which for shuffled windows
means nothing, each of them comes from far memory once there are more rows than a processor's cache
can hold; in this order the row before has just read most of them. Results are the same in any.
"""

import numpy as np

from simmc.compiled import check_indices, compiled


def near_order(neighbors: np.ndarray) -> np.ndarray:
    """(N,) int32: all rows, depth first through the neighbour lists (N, k), nearest first."""
    check_lists(neighbors, len(neighbors))
    return _walk(neighbors)


def check_lists(neighbors: np.ndarray, n: int) -> None:
    """ValueError unless `neighbors` holds a list of rows for each of n rows."""
    if np.ndim(neighbors) != 2 or len(neighbors) != n:
        raise ValueError(f"neighbors must have shape ({n}, k), not {np.shape(neighbors)}")
    check_indices("neighbors", neighbors, n)


@compiled()
def _walk(neighbors):  # type: ignore[no-untyped-def]
    n, k = neighbors.shape
    order = np.empty(n, np.int32)
    waiting = np.empty(n, np.int32)
    seen = np.zeros(n, np.bool_)
    done = 0
    for seed in range(n):
        if seen[seed]:
            continue
        seen[seed] = True
        waiting[0] = seed
        size = 1
        while size:
            size -= 1
            i = waiting[size]
            order[done] = i
            done += 1
            for p in range(k - 1, -1, -1):
                j = neighbors[i, p]
                if not seen[j]:
                    seen[j] = True
                    waiting[size] = j
                    size += 1
    return order


def twins(neighbors: np.ndarray, k2: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Rows whose expanded weights are equal because they are means over the same rows.

    So it is with duplicates, all of which have the lists of the first. n of them would be n^2
    pairs of a graph: 10^9 where an encoder has collapsed to a point.

    Args:
        neighbors: (N, k1) int32, nearest first, equal distances by index.
        k2: rows that weights are averaged over.

    Returns:
        None where there are none; else the first row of each kind, (n,) int64 ascending, and the
        place (N,) int32 therein of each row's kind.
    """
    n = len(neighbors)
    # the first of several duplicates stands before the others in the lists of all of them
    moved = np.flatnonzero(neighbors[:, 0] != np.arange(n)) if n else np.empty(0, np.int64)
    if k2 == 1 or len(moved) == 0:  # unexpanded weights are not a matter of these lists alone
        return None
    asked = np.union1d(moved, neighbors[moved, 0])
    _, first_of_kind, kind = np.unique(
        neighbors[asked, :k2], axis=0, return_index=True, return_inverse=True
    )
    first = np.arange(n)
    first[asked] = asked[first_of_kind[kind.ravel()]]
    kept = np.unique(first)
    if len(kept) == n:
        return None
    return kept, np.searchsorted(kept, first).astype(np.int32)
