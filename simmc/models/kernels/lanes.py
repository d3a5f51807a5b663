"""Shared helpers of the compiled loops of small networks, which fill the lanes of vector units.

Small matrices by the thousand are slow in a tensor library: each operation passes over all of
them in memory. Here `LANES` frames go through all operations together, in the cache, as the
lanes of vector instructions. Frames come last in every array; all is float32.
"""

# Arguments of compiled loops are left without types.
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from simmc.compiled import compiled

CHANNELS = 8  # of a node
LANES = 64  # fewer do not fill the vector units, more leave the cache
ONE, ZERO = np.float32(1), np.float32(0)
# Sums in any order, so that lanes can be added up. The check of a division by zero would keep a
# loop out of the vector units, and so would an index of which its sign is not plain: loops index
# from 0, in slices.
lanes_compiled = compiled(fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")


@compiled(fastmath={"contract"}, inline="always")
def exponential(x):
    """The exponential for x of at most 88, within 2e-7 of it, in operations that lanes have."""
    x = max(x, np.float32(-87))
    k = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    # ln 2 in two parts: the first has so few digits that its product is exact
    r = (x - k * np.float32(0.693359375)) + k * np.float32(2.12194440e-4)
    # near the Taylor series to the seventh order, for |r| <= 0.35
    p = np.float32(1.98756915e-4)
    p = p * r + np.float32(1.39819995e-3)
    p = p * r + np.float32(8.33345191e-3)
    p = p * r + np.float32(4.16657959e-2)
    p = p * r + np.float32(1.66666665e-1)
    p = p * r + np.float32(0.5)
    power = (np.int32(k) + np.int32(127)) << np.int32(23)  # the bits of 2 to the k
    return (p * r * r + r + ONE) * np.int32(power).view(np.float32)


@lanes_compiled
def take(frames, begin, end, taken):
    """LANES frames from begin on; lanes beyond the end are 0."""
    part = frames[begin : min(begin + LANES, end)]
    if len(part) == LANES:
        for lane in range(LANES):
            taken[lane] = part[lane]
    else:
        taken[:] = ZERO
        for lane in range(len(part)):
            taken[lane] = part[lane]


@lanes_compiled
def put(made, begin, end, frames):
    """Inverse of `take`, for the frames before the end."""
    part = frames[begin : min(begin + LANES, end)]
    if len(part) == LANES:
        for lane in range(LANES):
            part[lane] = made[lane]
    else:
        for lane in range(len(part)):
            part[lane] = made[lane]


@lanes_compiled
def dot(a, b):
    """Sum of the products of two rows."""
    total = ZERO
    for m in range(len(a)):
        total += a[m] * b[m]
    return total


@lanes_compiled
def add_scaled(weight, given, made):
    """Adds weight times one row to another."""
    for m in range(len(given)):
        made[m] += weight * given[m]
