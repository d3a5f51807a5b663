import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simmc.data import windows
from tests.reference import windows as reference

LENGTHS = st.sampled_from([2, 4, 6, 8, 10, 12, 40])
FRAMES = st.lists(st.integers(0, 90), max_size=6)


def _pairs(plan: windows.Plan) -> list[tuple[int, int]]:
    return list(zip(plan.recording.tolist(), plan.start.tolist(), strict=True))


@given(FRAMES, LENGTHS)
def test_dense_order_is_the_released_one(n_frames, length):
    assert _pairs(windows.plan(n_frames, length, "repeated")) == reference.dense(n_frames, length)


@given(FRAMES, LENGTHS)
def test_plain_windows_touch_and_never_overlap(n_frames, length):
    found = _pairs(windows.plan(n_frames, length, "plain"))
    assert found == [(r, s) for r, n in enumerate(n_frames) for s in reference.plain(n, length)]


@given(FRAMES, LENGTHS)
def test_once_has_the_same_windows_without_repeats(n_frames, length):
    once = _pairs(windows.plan(n_frames, length, "once"))
    assert len(set(once)) == len(once)
    assert set(once) == set(reference.dense(n_frames, length))
    assert set(once) == {(r, s) for r, n in enumerate(n_frames) for s in range(n - length + 1)}


@given(FRAMES, LENGTHS)
def test_stride_is_the_first_offset(n_frames, length):
    stride = _pairs(windows.plan(n_frames, length, "stride"))
    assert stride == reference.dense(n_frames, length)[: len(stride)]
    assert all(start % (length // 2) == 0 for _, start in stride)


def test_dense_count_of_a_long_recording():
    # about 2 (L - f + 1) - f/2 (docs/data.md 5.2)
    assert len(windows.plan([100], 6, "repeated")) == 2 * (100 - 6 + 1) - 3


@given(st.lists(st.integers(0, 20), min_size=1, max_size=4), st.sampled_from([2, 4, 6]))
def test_windows_hold_the_frames_they_name(n_frames, length):
    # frame value = 1000 * recording + time, joints and coordinates distinguished by small offsets
    frames = [
        1000.0 * r + np.arange(n)[:, None, None] + np.arange(6).reshape(2, 3) / 10
        for r, n in enumerate(n_frames)
    ]
    for mode in ("plain", "repeated"):
        plan = windows.plan(n_frames, length, mode)  # type: ignore[arg-type]
        made = windows.windows_of(frames, length, mode)  # type: ignore[arg-type]
        expected = [frames[r][s : s + length] for r, s in _pairs(plan)]
        assert made.shape == (len(expected), length, 2, 3)
        assert all((a == b).all() for a, b in zip(made, expected, strict=True))
        planes = windows.coordinates(frames, plan, 2)
        assert planes.shape == (3, len(plan) * length, 2)
        assert planes.flags.c_contiguous
        assert planes.dtype == np.float64


@pytest.mark.parametrize(("n", "kept"), [(50, 30), (21, 1), (20, 0), (7, 0), (0, 0)])
def test_cut_drops_both_ends_and_survives_short_recordings(n, kept):
    frames = np.arange(n)[:, None, None] * np.ones((1, 2, 3))
    left = windows.cut(frames, 10, 10)
    assert len(left) == kept
    assert kept == 0 or left[0, 0, 0] == 10


def test_cut_of_nothing():
    assert len(windows.cut(np.zeros((5, 2, 3)), 0, 0)) == 5
