"""The bound on coordinates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simmc.data.arrays import LIMIT_METRES, check_coordinates
from simmc.errors import UserError


@given(
    values=arrays(np.float64, (3, 2), elements=st.floats(-2 * LIMIT_METRES, 2 * LIMIT_METRES))
    | arrays(np.float64, (3, 2)),
    allow_nan=st.booleans(),
)
def test_what_is_within_the_bound_passes(values, allow_nan):
    fine = np.abs(values) <= LIMIT_METRES
    if allow_nan:
        fine |= np.isnan(values)
    if fine.all():
        check_coordinates(values, "some file", allow_nan=allow_nan)
        return
    first = tuple(int(i) for i in np.argwhere(~fine)[0])
    with pytest.raises(UserError, match=r"^some file: ") as caught:
        check_coordinates(values, "some file", allow_nan=allow_nan)
    assert f"index ({first[0]}, {first[1]})" in str(caught.value)


def test_nothing_and_nothing_seen():
    check_coordinates(np.empty((0, 3)), "some file")
    check_coordinates(np.full((2, 3), np.nan), "some file", allow_nan=True)
    check_coordinates(np.full((2, 3), 1, dtype=np.float16), "some file")


def test_millimetres_are_named():
    with pytest.raises(UserError, match="millimetres"):
        check_coordinates(np.array([0.2, 2350.0]), "some file")
