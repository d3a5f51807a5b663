"""The squared Euclidean distance, and the compiled loops that list the nearest rows by it.

There is one definition of it, to the last bit, for every use and device.

The float64 sum of squared differences in the order stated here. Left to themselves, compilers and
tensor libraries choose another order at each place of use, and equal pairs would differ.
"""

# Arguments of compiled loops are left without types where any floating type may come.
# mypy: disable-error-code="no-untyped-def"

import numpy as np
import torch

from simmc.compiled import compiled

LANES = 32  # partial sums
CHUNK = 64  # entries of a tile compared at once; fewer would not be vectorised


@compiled()
def squared_distance(a, b, sums):
    """Squared Euclidean distance of a (d,) and b (d,) in double precision.

    Term k belongs to partial sum k mod 32; in the end the second half of the partial sums is added
    to the first again and again. Partial sums side by side let the compiler use wide instructions;
    `sums` (LANES,) float64 is overwritten.
    """
    d = a.shape[0]
    whole = d - d % LANES
    sums[:] = 0.0
    for k in range(0, whole, LANES):
        for lane in range(LANES):
            step = np.float64(a[k + lane]) - np.float64(b[k + lane])
            sums[lane] += step * step
    for k in range(whole, d):
        step = np.float64(a[k]) - np.float64(b[k])
        sums[k - whole] += step * step
    width = LANES // 2
    while width:
        for lane in range(width):
            sums[lane] += sums[lane + width]
        width //= 2
    return sums[0]


def host_array(values: torch.Tensor) -> np.ndarray:
    """The numbers of a tensor as an array; float32 for floats that numpy has no type for."""
    if values.is_floating_point() and values.element_size() < 4:
        values = values.float()  # exact
    return values.numpy(force=True)


def sum_of_squares(differences: torch.Tensor) -> torch.Tensor:
    """Squared lengths (...) of float64 differences (..., d), in the order of `squared_distance`.

    `differences` is overwritten.
    """
    squares = differences.square_()
    sums = squares.new_zeros(*squares.shape[:-1], LANES)
    for k in range(0, squares.shape[-1], LANES):
        lanes = squares[..., k : k + LANES]
        sums[..., : lanes.shape[-1]] += lanes
    return halved(sums)


def halved(values: torch.Tensor) -> torch.Tensor:
    """Sums (...) of values (..., 2^k), the second half added to the first again and again.

    Zeros at the end of a row change nothing, not even the last bit.
    """
    width = values.shape[-1]
    while width > 1:
        width //= 2
        values = values[..., :width] + values[..., width:]
    return values[..., 0]


@compiled(inline="always")
def insert(values, indices, row, value, index):
    """Put a value into its place in an ascending list, dropping the last."""
    p = values.shape[1] - 1
    while p > 0 and values[row, p - 1] > value:
        values[row, p] = values[row, p - 1]
        indices[row, p] = indices[row, p - 1]
        p -= 1
    values[row, p] = value
    indices[row, p] = index


@compiled()
def keep_along_rows(products, half, row0, column0, values, indices):
    """Insert the columns of a tile into the candidate lists of its rows.

    Few columns are near enough. Whole chunks are therefore tested first, by a loop of fixed
    length without branches, which the compiler turns into vector compares.
    """
    n_rows, n_columns = products.shape
    whole = n_columns // CHUNK
    for r in range(n_rows):
        i = row0 + r
        for q in range(whole + 1):
            begin, end = q * CHUNK, n_columns
            if q < whole:
                end = begin + CHUNK
                if not _any_below(products, r, half, q, values[i, -1]):
                    continue
            for c in range(begin, end):
                value = half[c] - products[r, c]
                if value < values[i, -1]:
                    insert(values, indices, i, value, column0 + c)


@compiled()
def _any_below(products, r, half, q, limit):
    """Whether a column of chunk q of row r has half - product < limit."""
    hit = np.int32(0)
    for e in range(CHUNK):
        c = q * CHUNK + e
        hit |= np.int32(half[c] - products[r, c] < limit)
    return hit != 0


@compiled()
def keep_along_columns(products, half, row0, column0, values, indices):
    """Insert the rows of a tile into the candidate lists of its columns."""
    n_rows, n_columns = products.shape
    whole = n_columns // CHUNK
    limits = values[column0 : column0 + n_columns, -1].copy()
    for r in range(n_rows):
        for q in range(whole + 1):
            begin, end = q * CHUNK, n_columns
            if q < whole:
                end = begin + CHUNK
                if not _any_below_its_limit(products, r, half[r], q, limits):
                    continue
            for c in range(begin, end):
                value = half[r] - products[r, c]
                if value < limits[c]:
                    insert(values, indices, column0 + c, value, row0 + r)
                    limits[c] = values[column0 + c, -1]


@compiled()
def _any_below_its_limit(products, r, shift, q, limits):
    """Whether a column c of chunk q of row r has shift - product < limits[c]."""
    hit = np.int32(0)
    for e in range(CHUNK):
        c = q * CHUNK + e
        hit |= np.int32(shift - products[r, c] < limits[c])
    return hit != 0


@compiled()
def merge(values, indices, more_values, more_indices):
    """Join a second set of candidate lists into the first."""
    n, m = values.shape
    for i in range(n):
        for j in range(m):
            if more_values[i, j] >= values[i, -1]:
                break
            insert(values, indices, i, more_values[i, j], more_indices[i, j])


@compiled()
def rank(rows, which, candidates, indices, squared):
    """Write the k nearest of the candidates of the rows `which`, by (distance, index).

    `candidates`, `indices` and `squared` have a line for each row in `which`; -1: none.
    """
    k = indices.shape[1]
    sums = np.empty(LANES)
    for position in range(len(which)):
        i = which[position]
        squared[position, :] = np.inf
        indices[position, :] = len(rows)
        for j in candidates[position]:
            if j < 0:
                continue
            total = squared_distance(rows[i], rows[j], sums)
            q = k - 1
            if total > squared[position, q]:
                continue
            if total == squared[position, q] and j > indices[position, q]:
                continue
            while q > 0 and (
                squared[position, q - 1] > total
                or (squared[position, q - 1] == total and indices[position, q - 1] > j)
            ):
                squared[position, q] = squared[position, q - 1]
                indices[position, q] = indices[position, q - 1]
                q -= 1
            squared[position, q] = total
            indices[position, q] = j
