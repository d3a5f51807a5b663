"""Times of recordings: in a manifest, and which recordings overlap."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simmc.data.manifest import recording_times, time_attributes
from simmc.engine.tracklets import overlapping
from simmc.errors import UserError

SPANS = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 12), st.booleans()), min_size=0, max_size=25
)


@given(spans=SPANS)
def test_overlaps_are_those_of_all_pairs(spans):
    """Ends that touch, equal spans, spans within spans, and recordings without times."""
    times = np.array([(b, b + n) if known else (np.nan, np.nan) for b, n, known in spans])
    times = times.reshape(-1, 2).astype(float)
    wanted = [
        [i, j]
        for i in range(len(times))
        for j in range(i + 1, len(times))
        if times[i, 0] < times[j, 1] and times[j, 0] < times[i, 1]  # never, with NaN
    ]
    found = overlapping(times)
    assert found.shape == (len(wanted), 2) and found.dtype == np.int64
    assert found.tolist() == wanted


def test_times_come_back_to_the_last_bit():
    spans = [(0.1, 1 / 3), None, (1.7e9 + 1e-6, 1.7e9 + 2.5)]
    listed = [{"name": "a", "attributes": time_attributes(*s) if s else {}} for s in spans]
    found = recording_times(listed, Path("m"))
    assert found is not None
    for row, span in zip(found.tolist(), spans, strict=True):
        assert tuple(row) == span if span else np.isnan(row).all()


def test_no_times():
    assert recording_times([], Path("m")) is None
    assert recording_times([{"name": "a"}, {"attributes": {"view": "30"}}], Path("m")) is None


@pytest.mark.parametrize(
    ("start", "end"),
    [("1", "1"), ("2", "1"), ("1", None), (None, "1"), ("noon", "1"), ("0", "inf")],
)
def test_times_that_are_none(start, end):
    attributes = {k: v for k, v in {"start": start, "end": end}.items() if v is not None}
    with pytest.raises(UserError, match=r"m\.json: recording 'walk'.*expected seconds"):
        recording_times([{"name": "walk", "attributes": attributes}], Path("m.json"))
