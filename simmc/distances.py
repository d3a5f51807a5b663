"""The squared Euclidean distance: one definition, to the last bit, for every use and device.

The float64 sum of squared differences in the order stated here. Left to themselves, compilers and
tensor libraries choose another order at each place of use, and equal pairs would differ.
"""

# Arguments of compiled loops are left without types where any floating type may come.
# mypy: disable-error-code="no-untyped-def"

import numpy as np
import torch

from simmc.compiled import compiled

LANES = 32  # partial sums


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
